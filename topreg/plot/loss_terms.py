"""Terms of a loss over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from topreg.plot._arguments import Array, curve
from topreg.plot._axes import axis, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RANGE = 100  # more than this from the smallest to the greatest number calls for a log axis
LINES = ("-", "--", "-.", ":")


def loss_terms(
    terms: Mapping[str, Sequence[float] | Tensor],
    *,
    log: bool | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw how the terms of a loss go over training.

    Args:
        terms: Values by name, step by step; sequences may differ in length. NaN and infinity are
            gaps.
        log: Whether the axis of values is logarithmic. If left out it is where all numbers are
            positive and the greatest is more than 100 times the smallest.
        ax: Where to draw; a new figure of pyplot if left out.

    Returns:
        The axis, with a legend.

    Raises:
        TypeError: If ``terms`` are no mapping or hold what are no numbers.
        ValueError: If a tensor is no vector.
        ModuleNotFoundError: If matplotlib is not installed.

    Shape:
        - terms: as many numbers for each name as there were steps.

    Note:
        The curves are ``ax.lines``, in the order of the terms; steps are counted from 0.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from topreg.plot import loss_terms
        >>> terms = {"cross-entropy": [2.3, 0.9, 0.5], "track coincidence": [0.02, 0.01, 0.009]}
        >>> loss_terms(terms, ax=Figure().subplots()).get_yscale()
        'log'
    """
    if not isinstance(terms, Mapping):
        raise TypeError(
            f"`terms` should be a mapping from names to numbers. Got {type(terms).__name__}."
        )
    curves = {name: curve(f'terms["{name}"]', values) for name, values in terms.items()}
    ax = axis(ax)
    from matplotlib.ticker import MaxNLocator

    for place, (name, values) in enumerate(curves.items()):
        mark = "o" if len(values) == 1 else ""
        line = LINES[place % len(LINES)]
        ax.plot(values, label=name, color=colour(place), linestyle=line, marker=mark)
    if _spans_magnitudes(curves) if log is None else log:
        ax.set_yscale("log", nonpositive="mask")
    ax.set_xlabel("step")
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    if curves:
        ax.legend(loc="upper right")
    return ax


def _spans_magnitudes(curves: Mapping[str, Array]) -> bool:
    """Whether all finite numbers are positive and of very different size."""
    flat = np.concatenate([np.empty(0), *curves.values()])
    flat = flat[np.isfinite(flat)]
    return bool(len(flat) and flat.min() > 0 and flat.max() > RANGE * flat.min())
