"""Axes, given or new, and colours that are visible on a white and on a black page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

GREY = "0.5"  # as far from white as from black, for what is neutral
ENDS = 0.27, 0.77  # of plasma: contrast of 2 and more with white and with near-black


def axis(ax: Axes | None) -> Axes:
    """Return the given axis, or one on a new figure of pyplot."""
    return panels("ax", None if ax is None else [ax], 1)[0]


def panels(name: str, axes: Sequence[Axes] | None, count: int) -> list[Axes]:
    """Return the given axes, or new ones on a new figure of pyplot."""
    kind = _class_of_axes()
    if axes is None:
        return _new(count)
    given = list(axes) if isinstance(axes, Sequence | np.ndarray) else [axes]
    wrong = [type(one).__name__ for one in given if not isinstance(one, kind)]
    if wrong:
        raise TypeError(f"`{name}` should be Axes of matplotlib. Got {wrong[0]}.")
    if len(given) != count:
        raise ValueError(f"`{name}` should hold {count} Axes. Got {len(given)}.")
    return given


def _new(count: int) -> list[Axes]:
    """Return axes side by side on a new figure, wider than the default if there are several."""
    from matplotlib import pyplot, rcParams

    width, height = rcParams["figure.figsize"]
    size = (width * (1 + count) / 2, height)
    _, grid = pyplot.subplots(1, count, squeeze=False, figsize=size, layout="constrained")
    return list(grid[0])


def colour(place: int) -> Any:
    """Return a colour of the caller's colour cycle."""
    from matplotlib.colors import to_rgba

    return to_rgba(f"C{place}")


def shades() -> Colormap:
    """Return the colour map plasma without its ends; grey where there is no number."""
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    first, last = ENDS
    steps = [colormaps["plasma"](first + (last - first) * step / 63) for step in range(64)]
    return LinearSegmentedColormap.from_list("topreg", steps).with_extremes(bad=GREY)


def size_in_points(ax: Axes) -> tuple[float, float]:
    """Return the width and height of an axis in points, 1/72 of an inch."""
    return ax.bbox.width * 72 / ax.figure.dpi, ax.bbox.height * 72 / ax.figure.dpi


def _class_of_axes() -> type:
    """Return Matplotlib's ``Axes``; raise with advice if it is not installed."""
    try:
        from matplotlib.axes import Axes
    except ModuleNotFoundError as error:
        error.msg = (
            f"`topreg.plot` needs matplotlib. Got no module named `{error.name}`. "
            'Run `pip install "topreg[viz]"`.'
        )
        raise
    return Axes
