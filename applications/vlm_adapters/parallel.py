"""Independent jobs in several processes, one thread each: the matrices are small."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import torch

Map = Callable[[Callable[[Any, Any], Any], Iterable[Any]], Iterator[Any]]

_shared: list[Any] = []  # what all jobs of this worker read, sent to it once


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def workers(jobs: int, shared: Any) -> Iterator[Map]:
    """Processes that hold ``shared``; with one job, this process.

    Results do not depend on the number of jobs.

    Args:
        jobs: Number of processes.
        shared: First argument of every call.

    Yields:
        ``run(function, items)``, which yields ``function(shared, item)`` in the order of the items.
    """
    if jobs == 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield lambda function, items: (function(shared, item) for item in items)
        finally:
            torch.set_num_threads(threads)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _start, (shared,)) as pool:
        yield lambda function, items: pool.map(_Call(function), items)


class _Call:
    """A function of the shared value and an item, as a function of the item; picklable."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = function

    def __call__(self, item: Any) -> Any:
        return self.function(_shared[0], item)


def _start(shared: Any) -> None:
    """Begin a worker process."""
    _shared[:] = [shared]
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
