"""A tree's edges over an embedding in the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from topreg import _checks
from topreg._pairs import PersistencePairs
from topreg.plot._drawing import (
    as_embedding,
    axis,
    draw_edges,
    draw_points,
    draw_scale,
    per_pair,
    scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def spanning_tree(
    embedding: Tensor,
    pairs: PersistencePairs,
    *,
    values: Tensor | None = None,
    labels: Tensor | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw the death edges of pairs over an embedding; in dimension 0, the minimum spanning tree.

    Args:
        embedding: Position of each vertex in the plane.
        pairs: :term:`Persistence pairs <persistence pair>` of one cloud, usually found in a space
            with more coordinates.
        values: One number per edge that determines its colour, for instance its death; lengths in
            the embedding if left out. Edges whose number is not finite are grey.
        labels: Labels of the points, which determine their colours; points are grey if left out.
        ax: Where to draw; a new figure of pyplot if left out.

    Returns:
        The axis, of equal aspect, with a colour bar next to it, and a legend below for up to 20
        labels.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If the embedding is not in the plane or not finite, ``pairs`` belong to several
            clouds or to another one, or numbers of entries do not agree.
        ModuleNotFoundError: If matplotlib is not installed.

    Shape:
        - embedding: :math:`(n, 2)`; values: :math:`(m,)`; labels: :math:`(n,)`, integers.

    Note:
        The edges are one collection, ``ax.collections[0]``, in the order of the pairs;
        ``ax.collections[0].set_clim(-1, 1)`` changes the limits of the colours and of their bar.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from topreg import RipsFiltration
        >>> from topreg.plot import spanning_tree
        >>> points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
        >>> ax = spanning_tree(points, RipsFiltration().pairs(points), ax=Figure().subplots())
        >>> ax.collections[0].get_array().tolist()
        [1.0, 2.0]
    """
    points = as_embedding("embedding", embedding, pairs)
    if values is not None:
        colours = per_pair("values", values, pairs)
    else:
        start, end = points[pairs.death_edges.cpu().numpy()].swapaxes(0, 1)
        colours = np.linalg.norm(end - start, axis=1)
    if labels is not None:
        _checks.is_integer("labels", labels)
        _checks.one_each("labels", labels, len(points), "vertex")
    ax = axis(ax)
    lines = draw_edges(ax, points, pairs.death_edges, colours, scale(colours))
    draw_points(ax, points, None if labels is None else labels.cpu().numpy())
    draw_scale([ax], lines, colours, "length" if values is None else "")
    return ax
