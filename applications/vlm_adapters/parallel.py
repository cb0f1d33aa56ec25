"""Independent jobs in several processes, one thread each: the matrices are small."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from ._optional import require

T = TypeVar("T")


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_all(
    function: Callable[[Any, Any], T],
    shared: Any,
    items: Iterable[Any],
    *,
    jobs: int = 1,
    threads: int = 1,
) -> Iterator[T]:
    """``function(shared, item)`` for each item, in order; results do not depend on ``jobs``.

    Args:
        function: Of a module's top level.
        shared: First argument of every call; small, since it is sent with each.
        items: Second arguments.
        jobs: Number of processes; with one, this process.
        threads: Of each process.

    Yields:
        The results, each as soon as those before it are there.
    """
    if jobs == 1:
        with thread_count(threads):
            yield from (function(shared, item) for item in items)
        return
    joblib = require("joblib", extra="vlm")
    pool = joblib.Parallel(n_jobs=jobs, return_as="generator", batch_size=1)
    options = threads, _flushes_denormals()
    yield from pool(joblib.delayed(_call)(function, shared, item, *options) for item in items)


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """So many threads of torch within the block.

    Args:
        threads: Of this process.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _flushes_denormals() -> bool:
    """Whether this process does, as those that it starts shall."""
    return float(torch.tensor(1e-40) * 0.5) == 0


def _call(
    function: Callable[[Any, Any], T], shared: Any, item: Any, threads: int, flush: bool
) -> T:
    """One call in a worker process."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(flush)
    return function(shared, item)
