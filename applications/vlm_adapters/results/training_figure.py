"""How the terms of the objective fall, and the validation accuracy rises, while training."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..runs import Run
from .drawing import Style, add_legend, add_titles, figure_file, legend_height, styles
from .grouping import distinct_runs, unique

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["save_training_figure"]

PANELS = {
    "cross_entropy": "cross-entropy",
    "val_accuracy": "validation accuracy, %",
    "track_coincidence": "track coincidence",
    "deviating_perturbation": "deviating perturbation",
}
LOGGED = (*PANELS, "learning_rate")
CONSTRAINT = ("track_coincidence", "deviating_perturbation")


def save_training_figure(path: Path, runs: Sequence[Run], title: str) -> None:
    """The log of some trainings: one line for each method, mean over seeds.

    Args:
        path: PNG file.
        runs: Trainings of several methods on one data set at one shot count; untrained methods are
            left out.
        title: Heading of the figure.

    Raises:
        ValueError: If there is no training, there are several data sets or shot counts, or the
            runs do not belong in one figure.
        ModuleNotFoundError: If matplotlib is not installed.

    Note:
        The terms are those that were trained: a method without the constraint has none. They are
        shown without their weights.
    """
    runs = [run for run in distinct_runs(runs) if run.log]
    tasks = unique(f"{run.dataset} at {run.shots} shots" for run in runs)
    if len(tasks) != 1:
        raise ValueError(
            "`runs` should be trainings on one data set at one shot count. "
            f"Got {', '.join(tasks) or 'no training'}."
        )
    look = styles(runs)
    others = unique(name for run in runs for name in run.log[0] if name not in LOGGED)
    panels = PANELS | {name: name.replace("_", " ") for name in others}
    if len(panels) % 2:
        panels["learning_rate"] = "learning rate"
    with figure_file(path, 1.5 * (len(panels) // 2) + legend_height(list(look))) as figure:
        grid = figure.subplots(len(panels) // 2, 2, sharex=True, squeeze=False)
        for (name, label), axes in zip(panels.items(), grid.flat, strict=True):
            _draw(axes, runs, name, look)
            axes.set_title(label)
        add_titles(figure, grid, title, "epoch")
        add_legend(figure, list(grid.flat))


def mean_curve(runs: Sequence[Run], name: str) -> list[float]:
    """Mean over runs of one entry of their logs, epoch by epoch as far as all go.

    Args:
        runs: Runs of one method.
        name: Entry of the log.

    Returns:
        One value for each epoch.
    """
    logs = [[epoch[name] for epoch in run.log] for run in runs if name in run.log[0]]
    return [statistics.fmean(values) for values in zip(*logs, strict=False)]


def _draw(axes: Axes, runs: Sequence[Run], name: str, look: Mapping[str, Style]) -> None:
    """One panel: a line for each method that has this entry."""
    found = {
        method: mean_curve([run for run in runs if run.method == method], name) for method in look
    }
    curves = {m: curve for m, curve in found.items() if name not in CONSTRAINT or any(curve)}
    for method, curve in curves.items():
        epochs, marks = range(1, len(curve) + 1), max(1, math.ceil(len(curve) / 5))
        axes.plot(epochs, curve, label=method, markevery=marks, **look[method]._asdict())
    if not curves:
        axes.text(0.5, 0.5, "not trained", transform=axes.transAxes, ha="center", va="center")
    lowest, highest = (end(map(end, curves.values()), default=0.0) for end in (min, max))
    if name == "cross_entropy" and 0 < 10 * lowest < highest:
        axes.set_yscale("log")
        axes.minorticks_off()
