"""How the library compiles its loops, and how it spreads rows and clouds over threads."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import torch

THREADING_THRESHOLD = 1 << 18  # matrix entries below which a second thread costs more than it saves


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile without the GIL; keep the machine code on disk unless no directory is writable."""
    try:
        return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # "cannot cache function": read-only installation and read-only home
        return numba.njit(nogil=True, error_model="numpy")(function)


def in_threads(work: Callable[[int, int], Any]) -> list[Any]:
    """What ``work(thread, threads)`` gives on each of torch's number of threads.

    The pool lives for one call: threads kept for longer would not survive a fork.
    """
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(threads), [threads] * threads))


def over_rows(
    rows: int, work: Callable[[int, int], object], entries: int = THREADING_THRESHOLD
) -> None:
    """Call ``work(begin, end)`` on consecutive rows, on torch's number of threads.

    So few ``entries`` that threads would not pay are left to this one.
    """
    if entries < THREADING_THRESHOLD or torch.get_num_threads() < 2:
        work(0, rows)
        return
    in_threads(lambda thread, of: work(rows * thread // of, rows * (thread + 1) // of))


def in_runs(work: Callable[[int, int], list[Any]], sizes: list[int]) -> list[Any]:
    """What ``work(first, last)`` gives for runs of consecutive clouds, one list after the other.

    For work whose time varies and is about 30 times that of one look at each matrix entry: threads
    take the next run when they are free. Runs are long, because the interpreter's lock is handed
    over between them.
    """
    threads = min(torch.get_num_threads(), len(sizes))
    if threads < 2 or 30 * sum(n * n for n in sizes) < THREADING_THRESHOLD:
        return work(0, len(sizes))
    bounds = _equal_shares(sizes, 8 * threads)
    runs = iter(list(enumerate(itertools.pairwise(bounds))))
    found: list[list[Any]] = [[] for _ in bounds[1:]]

    def take_runs() -> None:
        for place, (first, last) in runs:
            found[place] = work(first, last)

    with ThreadPoolExecutor(threads - 1) as pool:  # this thread works too: others start late
        others = [pool.submit(take_runs) for _ in range(threads - 1)]
        take_runs()
        for other in others:
            other.result()
    return [one for run in found for one in run]


def over_clouds(work: Callable[[int, int], object], sizes: list[int]) -> None:
    """Call ``work(first, last)`` on consecutive clouds, on torch's number of threads."""
    threads = min(torch.get_num_threads(), len(sizes))
    if threads < 2 or sum(n * n for n in sizes) < THREADING_THRESHOLD:
        work(0, len(sizes))
        return
    bounds = _equal_shares(sizes, threads)
    in_threads(
        lambda thread, _: work(*bounds[thread : thread + 2]) if bounds[thread + 1 :] else None
    )


def _equal_shares(sizes: list[int], shares: int) -> list[int]:
    """Cut points that give each share about the same number of matrix entries."""
    total = sum(n * n for n in sizes)
    bounds, seen = [0], 0
    for cloud, n in enumerate(sizes):
        seen += n * n
        if seen * shares >= total * len(bounds) and len(bounds) < shares:
            bounds.append(cloud + 1)
    return [*bounds, len(sizes)] if bounds[-1] < len(sizes) else bounds
