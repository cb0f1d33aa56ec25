"""Tables over shots: accuracies, and what the constraint adds, paired by seed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from ..experiments import Run

Table = list[list[str]]


def accuracy_table(runs: Sequence[Run]) -> Table:
    """Mean and standard deviation over seeds of the headline accuracy.

    Args:
        runs: Runs of several methods.

    Returns:
        A header, then a row for each method.
    """
    shots, seeds = _shots(runs), len({run.seed for run in runs})
    rows = [[f"accuracy, %, {seeds} seeds", *(f"{count}-shot" for count in shots)]]
    for method in dict.fromkeys(run.method for run in runs):
        values = [
            [run.accuracy for run in runs if run.method == method and run.shots == count]
            for count in shots
        ]
        rows.append([method, *map(_mean_and_deviation, values)])
    return rows


def difference_table(runs: Sequence[Run], pairs: Mapping[str, str]) -> Table:
    """Constraint minus baseline, paired by shots and seed, in points.

    Args:
        runs: Runs of several methods.
        pairs: Preset of the baseline for each preset with the constraint.

    Returns:
        A header, then a row for each pair; the last two columns pool all shot counts.
    """
    shots = _shots(runs)
    rows = [["difference, points", *(f"{count}-shot" for count in shots), "all", "better"]]
    titles = {run.preset: run.method for run in runs}
    for constrained, baseline in pairs.items():
        gains = {count: _gains(runs, constrained, baseline, count) for count in shots}
        pooled = [gain for count in shots for gain in gains[count]]
        rows.append(
            [
                f"{titles[constrained]} - {titles[baseline]}",
                *(_mean_and_deviation(gains[count], signed=True) for count in shots),
                _mean_and_deviation(pooled, signed=True),
                f"{sum(gain > 0 for gain in pooled)} of {len(pooled)}",
            ]
        )
    return rows


def markdown(table: Table) -> str:
    """A table as GitHub reads it.

    Args:
        table: Header and rows.

    Returns:
        Lines, each ended.
    """
    lines = [table[0], ["---"] + ["---:"] * (len(table[0]) - 1), *table[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _gains(runs: Sequence[Run], constrained: str, baseline: str, shots: int) -> list[float]:
    """Differences in accuracy, one for each seed."""
    found = {(run.preset, run.seed): run.accuracy for run in runs if run.shots == shots}
    seeds = [run.seed for run in runs if run.shots == shots and run.preset == baseline]
    return [found[constrained, seed] - found[baseline, seed] for seed in seeds]


def _mean_and_deviation(values: Sequence[float], *, signed: bool = False) -> str:
    """Mean, and the sample standard deviation where there are two values."""
    mean = f"{statistics.fmean(values):{'+' if signed else ''}.2f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.2f}"


def _shots(runs: Sequence[Run]) -> list[int]:
    return list(dict.fromkeys(run.shots for run in runs))
