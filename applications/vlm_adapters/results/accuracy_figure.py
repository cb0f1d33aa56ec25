"""Accuracy over shots, drawn without a display."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..runs import Run
from .drawing import Style, add_legend, add_titles, figure_file, legend_height, styles
from .grouping import distinct_runs, shot_counts, unique
from .tables import seed_accuracies

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["save_accuracy_figure"]


def save_accuracy_figure(path: Path, runs: Sequence[Run], title: str) -> None:
    """Headline accuracy over shots, mean with one standard deviation over seeds.

    Args:
        path: PNG file.
        runs: Runs of several methods; of several data sets each has a panel, and a last one shows
            their average.
        title: Heading of the figure.

    Raises:
        ValueError: If the runs do not belong in one figure.
        ModuleNotFoundError: If matplotlib is not installed.
    """
    runs = distinct_runs(runs)
    panels = panels_of(runs)
    columns = 1 if len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    look = styles(runs)
    height = (2.2 if columns == 1 else 1.15 * rows) + legend_height(list(look)) + 0.6
    with figure_file(path, height) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        places = list(grid.flat)
        for (name, shown), axes in zip(panels.items(), places, strict=False):
            _draw(axes, shown, look)
            axes.set_title(name)
        for axes in places[len(panels) :]:
            axes.set_axis_off()
        add_titles(figure, grid, title, "images a class (shots)", "test accuracy, %")
        add_legend(figure, places)


def panels_of(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs of each data set by its name, then all for the average; one data set needs no name."""
    datasets = unique(run.dataset for run in runs)
    if len(datasets) == 1:
        return {"": list(runs)}
    panels = {name: [run for run in runs if run.dataset == name] for name in datasets}
    return {**panels, f"average of {len(datasets)}": list(runs)}


def _draw(axes: Axes, runs: Sequence[Run], look: Mapping[str, Style]) -> None:
    """One panel: a line for each method."""
    shots = shot_counts(runs)
    methods = unique(run.method for run in runs)
    step = min(0.04, 0.3 / len(methods))
    for place, method in enumerate(methods):
        cells = {count: seed_accuracies(runs, method, count) for count in shots}
        values = {count: list(cell.values()) for count, cell in cells.items() if cell}
        shift = 2 ** (step * (place - (len(methods) - 1) / 2))  # keeps error bars apart
        axes.errorbar(
            [count * shift for count in values],
            [statistics.fmean(v) for v in values.values()],
            yerr=[statistics.stdev(v) if len(v) > 1 else 0.0 for v in values.values()],
            label=method, capsize=1.5, elinewidth=0.7, capthick=0.7, **look[method]._asdict(),
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, [str(count) for count in shots])
    axes.minorticks_off()
