"""Times of calls that take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def turns(
    calls: list[Callable[[], object]], seconds: float, block: int = 1, least: int = 5
) -> list[list[float]]:
    """Milliseconds of calls that take turns in blocks of so many calls each."""
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    while calls and (time.perf_counter() < end or len(times[0]) < least):
        for call, kept in zip(calls, times, strict=True):
            for _ in range(block):
                start = time.perf_counter()
                call()
                kept.append(1e3 * (time.perf_counter() - start))
    return times


def medians(
    calls: list[Callable[[], object]], seconds: float, block: int, least: int = 5
) -> list[float]:
    """Median milliseconds of each call, taking turns."""
    return [statistics.median(kept) for kept in turns(calls, seconds, block, least)]


def spread(times: list[float], digits: int = 2) -> str:
    """Median and quartiles."""
    return spelled(statistics.quantiles(times, n=4), digits)


def spelled(quartiles: list[float], digits: int = 2) -> str:
    """The median, and the other two quartiles in brackets."""
    low, middle, high = (f"{quartile:,.{digits}f}" for quartile in quartiles)
    return f"{middle} ({low} to {high})"
