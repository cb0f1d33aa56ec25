"""Accuracy over the values of a factor, after the paper's table 4."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from ..runs import Run
from .ablations import factor_series
from .drawing import COLOURS, MARKERS, add_titles, figure_file

__all__ = ["save_factor_figure"]


def save_factor_figure(path: Path, runs: Sequence[Run], factor: str, title: str) -> None:
    """Accuracy over the values of one factor, mean with one standard deviation over seeds.

    Args:
        path: PNG file.
        runs: Runs on one data set.
        factor: As in :func:`ablation_table`.
        title: Heading of the figure.

    Raises:
        ValueError: If no method was run with several values of the factor, or the runs do not
            belong in one figure.
        ModuleNotFoundError: If matplotlib is not installed.
    """
    series = factor_series(runs, factor)
    if not series:
        raise ValueError(
            f"`runs` should hold a method with several values of {factor} and all other options "
            "equal. Got none."
        )
    colours = list(COLOURS.values())[::-1]
    with figure_file(path, 1.5 * len(series) + 0.5) as figure:
        grid = figure.subplots(len(series), 1, squeeze=False)
        for place, (one, axes) in enumerate(zip(series, grid[:, 0], strict=True)):
            values = one.values.values()
            axes.errorbar(
                range(len(values)), [statistics.fmean(v) for v in values],
                yerr=[statistics.stdev(v) if len(v) > 1 else 0.0 for v in values],
                color=colours[place % len(colours)], marker=MARKERS[place % len(MARKERS)],
                capsize=1.5, elinewidth=0.7,
            )  # fmt: skip
            axes.set_xticks(range(len(values)), [f"{value:g}" for value in one.values])
            axes.set_title(one.label)
        add_titles(figure, grid, title, f"constraint.{factor}", "test accuracy, %")
