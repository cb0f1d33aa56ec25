"""Which figures some runs allow."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..runs import Run
from .ablations import FACTORS, factor_series
from .accuracy_figure import save_accuracy_figure
from .factor_figure import save_factor_figure
from .grouping import distinct_runs, unique
from .terms_figure import save_terms_figure, term_gains
from .training_figure import save_training_figure

__all__ = ["Picture", "pictures_of"]


class Picture(NamedTuple):
    """A figure that is still to be drawn.

    Attributes:
        name: Of its file.
        title: Its heading.
        draw: Draws it into a file.
    """

    name: str
    title: str
    draw: Callable[[Path], None]


def pictures_of(runs: Sequence[Run], *, alone: bool) -> list[Picture]:
    """The figures of the runs of one backbone and kind of training data.

    Args:
        runs: The runs.
        alone: Whether the folder has no other backbone or kind, so that names need not tell.

    Returns:
        Accuracies; terms of the constraint where there is a baseline; for each data set the factors
        that vary, and the trainings at the most shots.
    """
    backbone, data = runs[0].backbone, runs[0].data
    title, ending = f"{backbone}, {data} views", "" if alone else f"-{_slug(backbone)}-{data}"
    found = [
        Picture(
            f"accuracy{ending}.png", title, partial(save_accuracy_figure, runs=runs, title=title)
        )
    ]
    if term_gains(distinct_runs(runs)):
        draw = partial(save_terms_figure, runs=runs, title=title)
        found.append(Picture(f"terms{ending}.png", title, draw))
    datasets = unique(run.dataset for run in runs)
    for dataset in datasets:
        mine = [run for run in runs if run.dataset == dataset]
        name = ending if len(datasets) == 1 else f"{ending}-{_slug(dataset)}"
        found += _pictures_of_one(mine, f"{dataset}, {title}", name)
    return found


def _pictures_of_one(runs: Sequence[Run], title: str, ending: str) -> list[Picture]:
    """The figures of the runs on one data set."""
    found = []
    for factor in FACTORS:
        if factor_series(runs, factor):
            draw = partial(save_factor_figure, runs=runs, factor=factor, title=title)
            found.append(Picture(f"{factor}{ending}.png", title, draw))
    most = max((run.shots for run in runs if run.log), default=0)
    trained = [run for run in runs if run.log and run.shots == most]
    if trained:
        heading = f"{title}, {most}-shot"
        draw = partial(save_training_figure, runs=trained, title=heading)
        found.append(Picture(f"training{ending}.png", heading, draw))
    return found


def _slug(name: str) -> str:
    """A name as part of a file's name."""
    return re.sub(r"[^\w.-]+", "_", name)
