"""Tables after the paper's tables 3 and 4: the constraint's terms, and its factors."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ..options import one_of
from ..runs import Run
from .grouping import distinct_runs, shot_counts, titled, unique
from .spread import mean_and_deviation
from .tables import Table, heading, seed_accuracies

__all__ = ["FACTORS", "Series", "Terms", "ablation_table", "factor_series", "terms_of"]

FACTORS = ("weight", "perturbation_weight", "coincidence_weight")


class Terms(NamedTuple):
    """Which terms of the constraint take part in a training."""

    track_coincidence: bool
    perturbation: bool


class Series(NamedTuple):
    """Runs that differ in one factor of the constraint.

    Attributes:
        label: Method, shots and the other factor.
        values: Headline accuracies, one a seed, by value of the factor in ascending order.
    """

    label: str
    values: dict[float, list[float]]


def ablation_table(runs: Sequence[Run], factor: str | None = None) -> Table:
    """Accuracies by the terms of the constraint, or by one of its factors.

    Args:
        runs: Runs of several methods; a factor's on one data set.
        factor: ``"weight"`` (eta and omega of the paper), ``"perturbation_weight"`` (lambda) or
            ``"coincidence_weight"``; the terms if left out.

    Returns:
        After the paper's table 3, a row for each method whose adapter was trained with the
        constraint in some run; after its table 4, a row for each method and shot count that was
        run with several values. The header alone where there is none.

    Raises:
        ValueError: If the runs do not belong in one table, or there is no such factor.
    """
    if factor is None:
        return _terms_table(runs)
    series = factor_series(runs, factor)
    values = sorted({value for one in series for value in one.values})
    table = [[f"accuracy, %, by {factor}", *(f"{value:g}" for value in values)]]
    for one in series:
        most = max(map(len, one.values.values()))
        cells = [mean_and_deviation(one.values.get(value, []), most) for value in values]
        table.append([one.label, *cells])
    return table


def factor_series(runs: Sequence[Run], factor: str) -> list[Series]:
    """Runs that differ in one factor of the constraint and in no other option.

    Args:
        runs: Runs on one data set.
        factor: One of :data:`FACTORS`.

    Returns:
        One series for each method, shot count and value of all other options, if it has several
        values of the factor.

    Raises:
        ValueError: If the runs do not belong in one table, are of several data sets, or there is
            no such factor.
    """
    one_of("factor", factor, FACTORS)
    distinct_runs(runs)
    datasets = unique(run.dataset for run in runs)
    if len(datasets) > 1:
        raise ValueError(f"`runs` should be of one data set. Got {', '.join(datasets)}.")
    constrained = [run for run in runs if constraint_of(run).get("weight")]
    rest = titled([replace(run, config=_without(run.config, factor)) for run in constrained])
    groups = defaultdict[tuple[str, int], list[Run]](list)
    for run, named in zip(constrained, rest, strict=True):
        groups[named.method, run.shots].append(run)
    found = [
        Series(_label(title, shots, group[0], factor), _by_value(group, factor))
        for (title, shots), group in groups.items()
    ]
    return [series for series in found if len(series.values) > 1]


def terms_of(run: Run) -> Terms:
    """Which terms of the constraint took part in a run's training.

    Args:
        run: The run.

    Returns:
        Both False without the constraint.
    """
    constraint = constraint_of(run)
    active = bool(constraint.get("weight"))
    return Terms(
        active and bool(constraint.get("coincidence_weight", 1.0)),
        active and bool(constraint.get("perturbation_weight")),
    )


def adapter_of(run: Run) -> str:
    """Kind of a run's adapter; an empty text if its options were not kept."""
    return str(run.config.get("adapter", {}).get("kind", ""))


def constraint_of(run: Run) -> Mapping[str, Any]:
    """Options of a run's constraint."""
    options: Mapping[str, Any] = run.config.get("constraint", {})
    return options


def _terms_table(runs: Sequence[Run]) -> Table:
    """Rows by adapter, and by terms within an adapter."""
    runs = distinct_runs(runs)
    shots = shot_counts(runs)
    kinds = unique(adapter_of(run) for run in runs if any(terms_of(run)))
    runs = [run for run in runs if adapter_of(run) in kinds]
    rows = {run.method: (kinds.index(adapter_of(run)), terms_of(run)) for run in runs}
    cells = {
        method: [list(seed_accuracies(runs, method, count).values()) for count in shots]
        for method in sorted(rows, key=lambda method: rows[method])
    }
    most = max((len(cell) for row in cells.values() for cell in row), default=0)
    title = heading(runs, most) if runs else "accuracy, %"
    columns = [f"{count}-shot" for count in shots]
    table = [[title, "track coincidence", "deviating perturbation", *columns]]
    for method, row in cells.items():
        marks = ["yes" if term else "no" for term in rows[method][1]]
        table.append([method, *marks, *(mean_and_deviation(cell, most) for cell in row)])
    return table


def _by_value(runs: Sequence[Run], factor: str) -> dict[float, list[float]]:
    """Headline accuracies by value of the factor."""
    values = defaultdict[float, list[float]](list)
    for run in runs:
        values[float(constraint_of(run)[factor])].append(run.accuracy)
    return {value: values[value] for value in sorted(values)}


def _without(config: Mapping[str, Any], factor: str) -> dict[str, Any]:
    """All options but the factor."""
    constraint = {key: v for key, v in config["constraint"].items() if key != factor}
    return {**config, "constraint": constraint}


def _label(title: str, shots: int, run: Run, factor: str) -> str:
    """Method, shots, and the factor that the paper names beside this one."""
    fixed = "weight" if factor == "perturbation_weight" else "perturbation_weight"
    if re.search(rf"\b{fixed}=", title):
        return f"{title}, {shots}-shot"
    return f"{title}, {shots}-shot ({fixed}={constraint_of(run)[fixed]})"
