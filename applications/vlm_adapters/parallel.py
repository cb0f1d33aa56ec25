"""Independent jobs in several processes, one thread each: the matrices are small."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from ._optional import require

T = TypeVar("T")


def available_cores() -> int:
    """Count the cores that this process may use."""
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
    """Yield ``function(shared, item)`` for each item, in order; ``jobs`` does not change results.

    The function is of a module's top level, and ``shared`` is small: it is sent with each call. One
    job runs in this process.
    """
    if jobs == 1:
        with thread_count(threads):
            yield from (function(shared, item) for item in items)
        return
    joblib = require("joblib", extra="vlm")
    pool = joblib.Parallel(n_jobs=jobs, return_as="generator", batch_size=1)
    flush = float(torch.tensor(1e-40) * 0.5) == 0  # as this process does
    call = functools.partial(_call, os.getpid(), threads, flush, function, shared)
    yield from pool(joblib.delayed(call)(item) for item in items)


@contextmanager
def thread_count(threads: int) -> Iterator[None]:
    """Set the threads of torch within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _call(
    parent: int,
    threads: int,
    flush: bool,
    function: Callable[..., T],
    shared: Any,
    item: Any,
) -> T:
    _end_with(parent)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(flush)
    return function(shared, item)


@functools.cache
def _end_with(parent: int) -> None:
    """End this process soon after its parent, however that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()
