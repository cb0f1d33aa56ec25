"""The same edges in two embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from topreg._pairs import PersistencePairs
from topreg.plot._drawing import (
    Array,
    as_embedding,
    draw_edges,
    draw_points,
    draw_scale,
    panels,
    per_pair,
    scale,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def tracks(
    source: Tensor,
    target: Tensor,
    pairs: PersistencePairs,
    *,
    values: Tensor | None = None,
    axes: Sequence[Axes] | None = None,
) -> tuple[Axes, Axes]:
    r"""Draw the death edges of pairs in two embeddings side by side, each edge in one colour.

    In dimension 0 these are the :term:`persistence tracks <persistence track>` that
    :func:`~topreg.track_coincidence` compares.

    Args:
        source: Position of each vertex in the first plane.
        target: Position of each vertex in the second plane.
        pairs: :term:`Persistence pairs <persistence pair>` of one cloud.
        values: One number per edge that determines its colour, for instance the cosine between its
            tracks in the original spaces. Edges whose number is not finite are grey. If left out,
            the cosines between the drawn edges, on a scale from -1 to 1.
        axes: Two axes to draw on; a new figure of pyplot if left out.

    Returns:
        The two axes, of equal aspect, with one colour bar.

    Raises:
        TypeError: If an argument is of another type.
        ValueError: If an embedding is not in the plane or not finite, ``pairs`` belong to several
            clouds or to another one, or numbers of entries do not agree.
        ModuleNotFoundError: If matplotlib is not installed.

    Shape:
        - source, target: :math:`(n, 2)`; values: :math:`(m,)`.

    Note:
        The edges are the first collection of each axis, in the order of the pairs; both share one
        scale, ``collections[0].norm``, with the colour bar.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from topreg import RipsFiltration
        >>> from topreg.plot import tracks
        >>> points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
        >>> flipped = points * torch.tensor([1.0, -1.0])
        >>> pairs = RipsFiltration().pairs(points)
        >>> left, right = tracks(points, flipped, pairs, axes=Figure().subplots(1, 2))
        >>> right.collections[0].get_array().tolist()
        [1.0, -1.0]
    """
    both = as_embedding("source", source, pairs), as_embedding("target", target, pairs)
    colours = _cosines(*both, pairs) if values is None else per_pair("values", values, pairs)
    first, second = panels("axes", axes, 2)
    norm = scale(colours)
    if values is None:
        norm.vmin, norm.vmax = -1, 1
    for ax, points, title in zip((first, second), both, ("source", "target"), strict=True):
        lines = draw_edges(ax, points, pairs.death_edges, colours, norm)
        draw_points(ax, points)
        ax.set_title(title)
    draw_scale([first, second], lines, colours, "cosine" if values is None else "")
    return first, second


def _cosines(source: Array, target: Array, pairs: PersistencePairs) -> Array:
    """Return the cosine of each edge between both planes; NaN if it has no length in one."""
    i, j = pairs.death_edges.cpu().numpy().T
    first, second = source[j] - source[i], target[j] - target[i]
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosines: Array = (first * second).sum(1) / np.where(lengths > 0, lengths, np.nan)
    return cosines
