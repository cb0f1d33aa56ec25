"""Persistence diagrams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from topreg.plot._drawing import GREY, Array, ByLabel, axis, classes, colour, extent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def diagram(diagrams: ByLabel, *, essential: ByLabel | None = None, ax: Axes | None = None) -> Axes:
    r"""Draw deaths against births, with the diagonal and a line at infinity for essential classes.

    Args:
        diagrams: A :term:`persistence diagram`, or several by label, for instance
            ``{"components": zeroth, "loops": first}``. Rows with an infinite death count as
            essential.
        essential: Births of the :term:`essential classes <essential class>`; by label if
            ``diagrams`` are.
        ax: Where to draw; a new figure of pyplot if left out.

    Returns:
        The axis, of equal aspect, with a legend if there are labels.

    Raises:
        TypeError: If an argument is of another type or not floating point.
        ValueError: If shapes are wrong, a birth is infinite, a number is NaN, or ``essential``
            has a label that ``diagrams`` does not have.
        ModuleNotFoundError: If matplotlib is not installed.

    Shape:
        - diagrams: :math:`(m, 2)` each; essential: :math:`(e,)` each.

    Note:
        The points of each label are one collection in ``ax.collections``, in the order of the
        rows. Classes of zero persistence are drawn, on the diagonal.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from topreg import RipsFiltration
        >>> from topreg.plot import diagram
        >>> points = torch.tensor([[0.0], [1.0], [3.0]])
        >>> pairs = RipsFiltration().pairs(points)
        >>> values = RipsFiltration().diagram(pairs, points)
        >>> ax = diagram(values, essential=torch.zeros(1), ax=Figure().subplots())
        >>> ax.collections[0].get_offsets().tolist()
        [[0.0, 1.0], [0.0, 2.0]]
    """
    rows = classes(diagrams, essential)
    ax = axis(ax)
    low, high = extent(list(rows.values()))
    endless = any(np.isinf(part).any() for part in rows.values())
    top = high + 0.1 * (high - low) if endless else high
    ax.axline((low, low), (top, top), color=GREY, linewidth=0.8, zorder=1)
    if endless:
        _draw_infinity(ax, top)
    for place, (label, part) in enumerate(rows.items()):
        _draw_points(ax, part, top, label=label or None, color=colour(place))
    ax.set_aspect("equal", adjustable="box")
    ax.set_xlabel("birth")
    ax.set_ylabel("death")
    if any(rows):
        ax.legend(loc="lower right", frameon=False)  # below the diagonal there is room
    return ax


def _draw_infinity(ax: Axes, top: float) -> None:
    """Draw the line of essential classes, and the symbol of infinity next to the axis."""
    ax.axhline(top, color=GREY, linewidth=0.8, linestyle="--", zorder=1)
    ax.text(
        1.01,
        top,
        r"$\infty$",
        transform=ax.get_yaxis_transform(),
        ha="left",
        va="center",
        fontsize="large",
    )


def _draw_points(ax: Axes, rows: Array, top: float, **options: Any) -> None:
    """Draw classes that die as dots, the others as triangles that point upwards."""
    dies = np.isfinite(rows[:, 1])
    ax.scatter(rows[dies, 0], rows[dies, 1], s=18, alpha=0.75, linewidths=0, zorder=2, **options)
    births = rows[~dies, 0]
    if len(births):
        options["label"] = None
        ax.scatter(births, np.full_like(births, top), marker="^", s=36, zorder=2, **options)
