"""Edges over an embedding, coloured by one number per edge."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from topreg.plot._arguments import Array
from topreg.plot._axes import GREY, colour, shades, size_in_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.colors import Normalize

NAMED = 20  # most labels for which a legend is drawn


def scale(values: Array) -> Normalize:
    """Return a colour scale from the least to the greatest finite number."""
    from matplotlib.colors import Normalize

    known = values[np.isfinite(values)]
    return Normalize(known.min(), known.max()) if len(known) else Normalize(0, 1)


def draw_edges(
    ax: Axes, points: Array, edges: Tensor, values: Array, norm: Normalize
) -> LineCollection:
    """Draw edges in the colours of their values, without ticks, with equal scales on both axes."""
    from matplotlib.collections import LineCollection

    segments = points[edges.cpu().numpy()]
    lines = LineCollection(list(segments), cmap=shades(), norm=norm, linewidths=1.2, zorder=1)
    lines.set_array(np.ma.masked_invalid(values))
    ax.add_collection(lines)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_aspect("equal", adjustable="datalim")
    return lines


def draw_points(ax: Axes, points: Array, labels: Array | None = None) -> None:
    """Draw points, grey or in the colours of their labels."""
    size = min(20.0, max(4.0, 4000 / (len(points) + 1)))
    if labels is None:
        x, y = points.T
        ax.scatter(x, y, s=size, color=GREY, linewidths=0, zorder=2)
        return
    known = np.unique(labels)
    for place, label in enumerate(known):
        x, y = points[labels == label].T
        ax.scatter(x, y, s=size, color=colour(place), linewidths=0, zorder=2, label=str(label))
    if 0 < len(known) <= NAMED:
        _draw_legend(ax, len(known))


def _draw_legend(ax: Axes, count: int) -> None:
    """Write the labels below an axis without ticks, in rows of equal length."""
    most = max(1, int(size_in_points(ax)[0] // 32))
    rows = -(-count // most)
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        borderaxespad=0.2,
        ncols=-(-count // rows),
        frameon=False,
        handletextpad=0.0,
        columnspacing=0.6,
        markerscale=1.5,
    )


def draw_scale(axes: Sequence[Axes], lines: LineCollection, values: Array, label: str) -> None:
    """Draw a narrow colour bar next to the axes of one figure, if any edge has a number."""
    if not np.isfinite(values).any():
        return
    figure = axes[-1].figure
    neighbours = [ax for ax in axes if ax.figure is figure]
    bar = figure.colorbar(lines, ax=neighbours, aspect=35, shrink=0.8, fraction=0.06, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label(label)
