"""Mean, standard deviation and confidence interval over seeds, as text."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import NamedTuple, TypeVar

__all__ = [
    "Interval",
    "counted",
    "interval",
    "interval_text",
    "mean_and_deviation",
    "seed_means",
    "signed",
]

NOTHING = "-"
Place = TypeVar("Place", bound=Hashable)


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def seed_means(
    values: Mapping[tuple[Place, int], float], places: Collection[Place]
) -> dict[int, float]:
    """The mean over places for each seed that has them all.

    Args:
        values: By place and seed; a place is a data set, say, or a data set and a shot count.
        places: What the mean is over.

    Returns:
        One value for each complete seed, by seed. Incomplete ones are left out, for their mean
        would be that of other tasks.
    """
    seeds = sorted({seed for _, seed in values})
    found = {seed: [values.get((place, seed)) for place in places] for seed in seeds}
    return {
        seed: statistics.fmean(value for value in row if value is not None)
        for seed, row in found.items()
        if row and None not in row
    }


def mean_and_deviation(values: Sequence[float], seeds: int | None = None) -> str:
    """Mean, and the sample standard deviation where there are two values.

    Args:
        values: One for each seed.
        seeds: How many there should be; fewer are said.

    Returns:
        For instance ``71.00 ± 1.41``; a dash without values.
    """
    if not values:
        return NOTHING
    mean = f"{statistics.fmean(values):.2f}"
    text = mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2f}"
    fewer = seeds is not None and len(values) < seeds
    return f"{text} ({counted(len(values), 'seed')})" if fewer else text


def interval(values: Sequence[float]) -> Interval | None:
    """The 95 % confidence interval of the mean, from Student's t.

    Args:
        values: Independent ones: one for each seed.

    Returns:
        Mean and ends; None for fewer than two values, which say nothing of their spread.
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # the quantile of Student's t

    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    half = float(stdtrit(len(values) - 1, 0.975)) * deviation / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def interval_text(values: Sequence[float]) -> str:
    """Signed mean and interval, for instance ``+0.50 [-0.20, +1.20]``; a dash without values."""
    if not values:
        return NOTHING
    found = interval(values)
    if found is None:
        return signed(values[0])
    return f"{signed(found.mean)} [{signed(found.low)}, {signed(found.high)}]"


def signed(value: float) -> str:
    """Two decimals with a sign; what rounds to zero is +0.00."""
    return f"{round(value, 2) + 0.0:+.2f}"


def counted(count: int, noun: str) -> str:
    """A number and a noun, in the plural but for 1."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
