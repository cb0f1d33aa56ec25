"""What the constraint adds, paired by task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from ..runs import Run
from .grouping import distinct_runs, shot_counts, unique
from .spread import interval_text, seed_means
from .tables import Table

__all__ = ["difference_table", "gains"]

EQUAL = 1e-9  # points; accuracies are quotients of small whole numbers
Place = tuple[str, int]
"""Data set and shots."""


def difference_table(runs: Sequence[Run], pairs: Mapping[str, str]) -> Table:
    """Constraint minus baseline in points, paired by data set, shots and seed.

    The mean comes with its 95 % confidence interval from Student's t. The unit is the seed: what
    one seed gives on several data sets or, in the column "all", at several shot counts is averaged
    first. The interval speaks of other seeds, not of other data sets.

    Args:
        runs: Runs of several methods.
        pairs: Preset of the baseline for each preset with the constraint; those without runs of
            both are left out.

    Returns:
        A header, then a row for each pair of methods. One seed has no interval. A column leaves out
        seeds that lack one of its tasks; the counts of better, equal and worse have every pair.

    Raises:
        ValueError: If the runs do not belong in one table.
    """
    runs = distinct_runs(runs)
    shots = shot_counts(runs)
    columns = [f"{count}-shot" for count in shots]
    table = [["difference, points [95 % interval]", *columns, "all", "seeds", "better/equal/worse"]]
    for constrained, baseline in _titles(runs, pairs):
        found = gains(runs, constrained, baseline)
        if found:
            table.append([f"{constrained} - {baseline}", *_row(found, shots)])
    return table


def gains(runs: Sequence[Run], constrained: str, baseline: str) -> dict[tuple[Place, int], float]:
    """Differences in headline accuracy where both methods have a run.

    Args:
        runs: Distinct runs.
        constrained: Title of the method with the constraint.
        baseline: Title of the method without.

    Returns:
        Points by place and seed.
    """
    sides = [
        {((run.dataset, run.shots), run.seed): run.accuracy for run in runs if run.method == title}
        for title in (constrained, baseline)
    ]
    return {task: value - sides[1][task] for task, value in sides[0].items() if task in sides[1]}


def _row(found: Mapping[tuple[Place, int], float], shots: Sequence[int]) -> list[str]:
    """Mean differences at each shot count and at all, the number of seeds, and the counts."""
    datasets = unique(dataset for (dataset, _), _ in found)
    own_shots = sorted({count for (_, count), _ in found})
    cells = [_seed_gains(found, datasets, [count]) for count in shots]
    overall = _seed_gains(found, datasets, own_shots)
    values = found.values()
    better = sum(value > EQUAL for value in values)
    worse = sum(value < -EQUAL for value in values)
    counts = f"{better}/{len(values) - better - worse}/{worse}"
    return [*map(interval_text, cells), interval_text(overall), str(len(overall)), counts]


def _seed_gains(
    found: Mapping[tuple[Place, int], float], datasets: Sequence[str], shots: Sequence[int]
) -> list[float]:
    """Mean difference of each seed over data sets and shot counts."""
    places = list(product(datasets, shots))
    inside = {task: value for task, value in found.items() if task[0][1] in shots}
    return list(seed_means(inside, places).values())


def _titles(runs: Sequence[Run], pairs: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Titles of constraint and baseline, variants with each other."""
    for presets in pairs.items():
        constrained, baseline = (
            unique(run.method for run in runs if run.preset == preset) for preset in presets
        )
        yield from product(constrained, baseline)
