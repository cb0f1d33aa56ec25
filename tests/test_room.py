"""Searches that cannot work say so before they allocate, with bytes and a way out."""

import math
import os
import pathlib

import pytest
import torch
from asserts import same_pairs
from strategies import gaussian

from topreg import RipsFiltration, _room, pairwise_distances, rtd, rtd_lite, signature_loss
from topreg.filtrations import _rips
from topreg.persistence import MOST_VERTICES, _dispatch
from topreg.persistence.annotations import _annotations

CURE = r"Choose landmarks with `farthest_point_sampling`, .* `FlagFiltration`"


@pytest.fixture
def little_room(monkeypatch):
    """A machine with a thousand free bytes, on which everything is worth a look."""
    monkeypatch.setattr(_room, "free_memory", lambda: 1000)
    monkeypatch.setattr(_room, "SMALL", 0)
    monkeypatch.setattr(_dispatch, "FEW", 0)
    monkeypatch.setattr(_rips, "pairs_of_few", lambda *_: None)
    monkeypatch.setattr(_annotations, "SMALL", 0)


def points(n, width=1):
    """Many points in little memory."""
    return torch.zeros(1, width).expand(n, width)


@pytest.fixture
def no_distances(monkeypatch):
    """Nothing may be measured."""
    for name in ("selection_weights", "estimated_weights"):
        monkeypatch.setattr(_dispatch, name, lambda *_: pytest.fail("measured"))
    monkeypatch.setattr(_rips, "estimated_weights", lambda *_: pytest.fail("measured"))


@pytest.mark.parametrize("metric", ["euclidean", lambda x, y: pytest.fail("measured")])
def test_too_many_vertices_are_refused_before_distances(no_distances, metric):
    text = f"fewer than 65,536 vertices in dimension 1 and above. Got 65,536. {CURE}"
    with pytest.raises(ValueError, match=text):
        RipsFiltration(metric=metric).pairs(points(MOST_VERTICES), 1)
    with pytest.raises(ValueError, match=text):
        RipsFiltration(metric=metric).all_pairs([points(3), points(MOST_VERTICES)], 1)


def test_rtd_doubles_its_vertices(no_distances):
    x = points(MOST_VERTICES // 2)
    with pytest.raises(ValueError, match=r"`source` should have fewer than 32,768 points\. Got"):
        rtd(x, x)


@pytest.mark.parametrize("dimension", [0, 1])
def test_distances_that_do_not_fit_are_refused(little_room, no_distances, dimension):
    text = (
        "`points` should be few enough that their distances fit into memory. "
        rf"Got 20 vertices, which need at least 1.6e-06 GB; 1e-06 GB are free. {CURE}"
    )
    with pytest.raises(MemoryError, match=text):
        RipsFiltration().pairs(points(20), dimension)
    with pytest.raises(MemoryError, match=r"30 vertices in 2 clouds, .* at least 2e-06 GB"):
        RipsFiltration().pairs([points(20), points(10)], dimension)
    with pytest.raises(MemoryError, match=r"need at least 3\.2e-06 GB"):
        RipsFiltration().pairs(points(20).double(), dimension)
    with pytest.raises(MemoryError, match=CURE):
        RipsFiltration(metric=lambda x, y: pytest.fail("measured")).pairs(points(20), dimension)
    with pytest.raises(MemoryError, match=CURE):  # would be copied in single precision
        RipsFiltration(metric="precomputed").pairs(torch.zeros(20, 20).half(), dimension)


def test_what_needs_no_matrix_is_not_refused(little_room):
    x = gaussian(0, 20, 3)
    matrix = pairwise_distances(x)
    found = RipsFiltration(engine="tiled").pairs(x)
    same_pairs(found, RipsFiltration(metric="precomputed").pairs(matrix))


def test_edges_that_do_not_fit_are_refused_after_they_are_counted(little_room):
    matrix = pairwise_distances(gaussian(0, 20, 30))
    edges = (matrix <= matrix.amax(1).amin()).triu(1).sum()  # up to the radius of the cloud
    with pytest.raises(MemoryError, match=f"which need at least {20 * int(edges) / 1e9:.3g} GB"):
        RipsFiltration(metric="precomputed").pairs(matrix, 1)


@pytest.mark.parametrize(("normalize", "matrices"), [(None, 3), (1.0, 5), (0.9, 5)])
def test_losses_count_their_matrices(monkeypatch, no_distances, normalize, matrices):
    monkeypatch.setattr(_room, "SMALL", 0)
    monkeypatch.setattr(_dispatch, "FEW", 0)
    monkeypatch.setattr(_dispatch, "SOME_POINTS", 0)
    x = points(50)
    for loss, count in ((rtd_lite, matrices), (rtd, matrices + 4), (signature_loss, 1)):
        monkeypatch.setattr(_room, "free_memory", lambda count=count: count * 4 * 50 * 50 - 1)
        with pytest.raises(MemoryError, match=f"`source` should be few enough .* {CURE}"):
            loss(x, x, normalize=normalize)


@pytest.mark.parametrize("normalize", [None, 1.0, 0.9])
def test_signature_loss_finds_large_clouds_without_matrices(monkeypatch, normalize):
    x, z = gaussian(0, 60, 5), gaussian(1, 60, 2)
    for metric in ("euclidean", "cosine"):
        rips = RipsFiltration(metric=metric)
        options = {"normalize": normalize, "filtration": rips}
        expected = signature_loss(x, z, **options)
        with monkeypatch.context() as patch:
            patch.setattr(_dispatch, "LARGE", 50)
            patch.setattr(_dispatch, "SOME_POINTS", 0)
            patch.setattr(_dispatch, "estimated_weights", lambda *_: pytest.fail("measured"))
            if normalize is None:
                patch.setattr(_rips, "estimated_weights", lambda *_: pytest.fail("measured"))
            torch.testing.assert_close(signature_loss(x, z, **options), expected)
            with pytest.raises(ValueError, match=r"`target` should be finite\. Got 1 row"):
                signature_loss(x, z.index_fill(0, torch.tensor([3]), math.nan), **options)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Allocation failed (probably too large)."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    ],
)
@pytest.mark.parametrize("clouds", [1, 2])
def test_failed_allocations_are_explained(monkeypatch, error, clouds):
    def fail(*_):
        raise error

    monkeypatch.setattr(_annotations, "SMALL", 0)
    modules = (*_annotations._modules()[:-1], fail)
    monkeypatch.setattr(_annotations, "_modules", lambda: modules)
    monkeypatch.setattr("topreg.persistence.annotations._dense_kernels.reduce_clouds", fail)
    x = gaussian(0, clouds, 30, 2)
    with pytest.raises(MemoryError, match=f"may need 4.14e-05 GB; an allocation failed. {CURE}"):
        RipsFiltration().pairs(x, 1)


def test_an_allocation_that_really_fails_is_explained(monkeypatch):
    monkeypatch.setattr(_room, "free_memory", lambda: None)
    n = 1 << 23  # more bytes than addresses
    with pytest.raises(MemoryError, match=r"may need 2\.81e\+05 GB; an allocation failed"):
        RipsFiltration(engine="prim").pairs(points(n))


def test_other_errors_pass_through():
    with pytest.raises(RuntimeError, match="something else"), _room.room_for(5, [1]):
        raise RuntimeError("something else")
    own = "`points` should be few enough"
    with pytest.raises(MemoryError, match=f"{own}!"), _room.room_for(5, [1]):
        raise MemoryError(f"{own}!")


def test_free_memory_is_what_the_machine_says(monkeypatch):
    table = "MemTotal: 100 kB\nMemFree:  1 kB\nMemAvailable:   70 kB\nSwapFree: 5 kB\n"
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path: table)
    assert _room.free_memory() == 75 * 1024

    def missing(path):
        raise FileNotFoundError

    monkeypatch.setattr(pathlib.Path, "read_text", missing)
    monkeypatch.setattr(
        os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 10}.__getitem__, raising=False
    )
    assert _room.free_memory() == 40960
    monkeypatch.delattr(os, "sysconf")
    assert _room.free_memory() is None
    _room.check_room(1 << 60, [5])  # nothing is known: nothing is refused


def test_bytes_count_in_at_least_single_precision():
    count = _room.bytes_of_matrices
    assert count([3, 2], torch.float64) == 8 * 13
    assert count([3, 2], torch.bfloat16) == 4 * 13
    assert count([3, 2], torch.float32, 2) == 8 * 13
