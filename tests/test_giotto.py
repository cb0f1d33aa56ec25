"""giotto-ph in another process: the same pairs, also after that process has died."""

import importlib.util

import pytest
from asserts import same_pairs
from strategies import gaussian

from topreg import RipsFiltration
from topreg.persistence.library import _giotto

pytestmark = pytest.mark.skipif(importlib.util.find_spec("gph") is None, reason="needs giotto-ph")


@pytest.fixture
def server(monkeypatch):
    """Every search runs in the other process."""
    monkeypatch.setattr(_giotto, "LONG", 0)
    yield _giotto._server
    _giotto._server.end()


def search(points):
    return RipsFiltration().all_pairs(points, 2)


def test_pairs_are_those_of_this_process(server, monkeypatch):
    points = gaussian(0, 20, 5)
    there = search(points)
    monkeypatch.setattr(_giotto, "LONG", 1 << 62)
    for own, other in zip(search(points), there, strict=True):
        same_pairs(own, other)


def test_a_process_that_died_is_started_again(server):
    points = gaussian(1, 12, 4)
    first = search(points)
    server._process.kill()
    server._process.wait()
    for own, other in zip(search(points), first, strict=True):
        same_pairs(own, other)


def test_one_process_serves_all_searches(server):
    search(gaussian(0, 8, 4))
    process = server._process
    search(gaussian(1, 9, 4))
    assert server._process is process
    server.end()
    assert process.poll() is not None


def test_a_death_during_a_search_says_what_to_do(server):
    with pytest.raises(MemoryError, match=r"exit code 1\. Choose landmarks"):
        server.answer({"no such option": 0})
    assert server._process is None
