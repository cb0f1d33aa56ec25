"""The paper's numbers beside ours."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..runs import Run
from .comparison_rules import column_of, matches, row_of, scope_of
from .grouping import distinct_runs, unique
from .paper_backbones import paper_backbone
from .paper_tables import PaperValue, paper_values
from .spread import NOTHING, counted, mean_and_deviation, seed_means, signed
from .tables import Table

__all__ = ["paper_comparison"]

TARGETS = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
Ours = dict[str, dict[str, dict[str, dict[int, float]]]]
"""Headline accuracies by row of the paper, title of ours, column and seed."""


class Paper(NamedTuple):
    """A table of the paper by row and column, and what its rows have in common with some others."""

    cells: dict[str, dict[str, float | None]]
    scopes: dict[str, str]


def paper_comparison(runs: Sequence[Run], table: int) -> Table:
    """A table of the paper with ours, mean and standard deviation over seeds, and the difference.

    Args:
        runs: Runs of one kind of training data, with CLIP's ResNet-50 through open_clip; for table
            2 with any of its four backbones.
        table: Number of the paper's table, 1 to 5.

    Returns:
        A header with the columns in which we have a number. For each row of the paper its numbers,
        ours and ours minus the paper's, method by method; rows that we do not have are marked as
        quoted. Of tables 2 and 5 only the backbones and the shot counts that we have.

    Raises:
        ValueError: If the paper has no such table, the backbone of a run is not the paper's, the
            runs do not belong in one table, or no number is in both.

    Note:
        The paper has one run for each number, and does not say how the epoch was chosen.
    """
    values = paper_values(table)
    runs = _comparable(runs, values, table)
    ours = _ours(runs, values, table)
    paper = _paper(values, table)
    columns = unique(
        column
        for row, cells in paper.cells.items()
        for column in cells
        if any(column in mine for mine in ours[row].values())
    )
    if not columns:
        raise ValueError(
            f"`runs` should share a number with table {table} of the paper: method, data set and "
            f"shots. Got none in {counted(len(runs), 'run')}."
        )
    columns += _add_averages(ours, paper, columns, table)
    data = ", ".join(unique(run.data for run in runs))
    return _rows(ours, paper, columns, f"table {table}, accuracy, %, ours {data}")


def _comparable(runs: Sequence[Run], values: Sequence[PaperValue], table: int) -> list[Run]:
    """Distinct runs with the paper's backbones."""
    wanted = unique(value.backbone for value in values)
    foreign = unique(run.backbone for run in runs if paper_backbone(run.backbone) not in wanted)
    if foreign:
        raise ValueError(
            f"`runs` should have a backbone of the paper's table {table}: CLIP's "
            f"{', '.join(wanted)}, for instance `open_clip/RN50/openai`. Got {', '.join(foreign)}. "
            "Numbers of other backbones do not compare with the paper's."
        )
    if table != 2:
        return distinct_runs(runs)
    backbones = unique(run.backbone for run in runs)
    parts = [[run for run in runs if run.backbone == backbone] for backbone in backbones]
    return [run for part in parts or [[]] for run in distinct_runs(part)]


def _ours(runs: Sequence[Run], values: Sequence[PaperValue], table: int) -> Ours:
    """Our accuracies where the paper has a number."""
    ours: Ours = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for value in values:
        for run in runs:
            if value.accuracy is not None and matches(run, value, table):
                cell = ours[row_of(value, table)][run.method][column_of(value, table)]
                cell[run.seed] = run.accuracy
    return ours


def _paper(values: Sequence[PaperValue], table: int) -> Paper:
    """The paper's table by row and column."""
    paper = Paper(defaultdict(dict), {})
    for value in values:
        row = row_of(value, table)
        paper.cells[row][column_of(value, table)] = value.accuracy
        paper.scopes[row] = scope_of(value, table)
    return paper


def _add_averages(ours: Ours, paper: Paper, columns: Sequence[str], table: int) -> list[str]:
    """Add the average over targets of table 2, or over the columns of table 5; its name."""
    if table == 2 and set(TARGETS) <= set(columns):
        name, places = "average_target", list(TARGETS)  # the paper's is the printed one
    elif table == 5 and len(columns) > 1:
        name, places = f"average of {len(columns)}", list(columns)
        for printed in paper.cells.values():
            values = [printed[column] for column in columns]
            known = [value for value in values if value is not None]
            printed[name] = statistics.fmean(known) if len(known) == len(values) else None
    else:
        return []
    for rows in ours.values():
        for cells in rows.values():
            found = {(c, s): v for c in places for s, v in cells[c].items()}
            cells[name] = seed_means(found, places)
    return [name]


def _rows(ours: Ours, paper: Paper, columns: Sequence[str], title: str) -> Table:
    """The table: row by row the paper's, ours and the difference."""
    most = max(len(c) for rows in ours.values() for cells in rows.values() for c in cells.values())
    scopes = {paper.scopes[row] for row, rows in ours.items() if rows}
    table = [[f"{title} over {counted(most, 'seed')}", *columns]]
    for row, printed in paper.cells.items():
        if paper.scopes[row] in scopes:
            kind = "paper" if ours[row] else "quoted from the paper"
            table.append([f"{row} ({kind})", *(_printed(printed.get(c)) for c in columns)])
            for title, cells in ours[row].items():
                found = [list(cells[column].values()) for column in columns]
                table.append([f"{title} (ours)", *(mean_and_deviation(f, most) for f in found)])
                table.append(["difference", *_differences(found, printed, columns)])
    return table


def _differences(
    found: Sequence[Sequence[float]], printed: Mapping[str, float | None], columns: Sequence[str]
) -> list[str]:
    """Ours minus the paper's, where both are."""
    return [
        signed(statistics.fmean(values) - number)
        if values and (number := printed.get(column)) is not None
        else NOTHING
        for values, column in zip(found, columns, strict=True)
    ]


def _printed(number: float | None) -> str:
    """A number of the paper."""
    return NOTHING if number is None else f"{number:.2f}"
