"""Persistence barcodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topreg.plot._drawing import Array, ByLabel, axis, classes, colour, extent, size_in_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def barcode(diagrams: ByLabel, *, essential: ByLabel | None = None, ax: Axes | None = None) -> Axes:
    r"""Draw a bar from birth to death for each class, with an arrow if the class never dies.

    Bars are sorted by birth, then by death, from below, one label after the other.

    Args:
        diagrams: A :term:`persistence diagram`, or several by label, for instance
            ``{"components": zeroth, "loops": first}``. Rows with an infinite death count as
            essential.
        essential: Births of the :term:`essential classes <essential class>`; by label if
            ``diagrams`` are.
        ax: Where to draw; a new figure of pyplot if left out.

    Returns:
        The axis, with a legend if there are labels.

    Raises:
        TypeError: If an argument is of another type or not floating point.
        ValueError: If shapes are wrong, a birth is infinite, a number is NaN, or ``essential``
            has a label that ``diagrams`` does not have.
        ModuleNotFoundError: If matplotlib is not installed.

    Shape:
        - diagrams: :math:`(m, 2)` each; essential: :math:`(e,)` each.

    Note:
        The bars of each label are one collection in ``ax.collections``. A class of zero persistence
        takes up a row, but its bar has no length. The width of bars depends on the size of the axis
        at the time of the call.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from topreg import RipsFiltration
        >>> from topreg.plot import barcode
        >>> points = torch.tensor([[0.0], [1.0], [3.0]])
        >>> pairs = RipsFiltration().pairs(points)
        >>> ax = barcode(RipsFiltration().diagram(pairs, points), ax=Figure().subplots())
        >>> [bar.tolist() for bar in ax.collections[0].get_segments()]
        [[[0.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [2.0, 1.0]]]
    """
    rows = classes(diagrams, essential)
    ax = axis(ax)
    low, high = extent(list(rows.values()))
    count = sum(map(len, rows.values()))
    room = size_in_points(ax)[1] / max(count, 1)
    width = min(3.0, 0.6 * room) if room > 2 else 1.2 * room  # narrow gaps would flicker
    first = 0
    for place, (label, part) in enumerate(rows.items()):
        style = {"color": colour(place), "label": label or None, "linewidths": width}
        _draw_bars(ax, part, first, high + 0.05 * (high - low), **style)
        first += len(part)
    ax.autoscale_view()
    ax.set_yticks([])
    ax.set_xlabel("scale")
    if any(rows):
        ax.legend(loc="lower right")
    return ax


def _draw_bars(ax: Axes, rows: Array, first: int, end: float, **style: Any) -> None:
    """Draw the bars of one label from row ``first`` upwards, with arrow heads on endless ones."""
    from matplotlib.collections import LineCollection

    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    places = np.arange(first, first + len(rows))
    endless = np.isinf(rows[:, 1])
    rows[endless, 1] = end
    bars = np.stack([rows, np.stack([places, places], 1)], axis=2)
    ax.add_collection(LineCollection(list(bars), capstyle="butt", **style))
    if endless.any():
        heads = np.full(endless.sum(), end), places[endless]
        ax.scatter(*heads, marker=">", s=30, linewidths=0, color=[style["color"]])
