"""Merge trees: the dendrogram of dimension 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from topreg import _checks
from topreg._pairs import PersistencePairs, are_of_dimension_0, are_of_one_cloud
from topreg.plot._drawing import Array, axis, colour, extent, numbers, size_in_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def merge_tree(
    pairs: PersistencePairs,
    deaths: Tensor,
    *,
    labels: Sequence[Any] | Tensor | None = None,
    ax: Axes | None = None,
) -> Axes:
    r"""Draw which components merge at which scale: the dendrogram of single linkage.

    Each vertex is a leaf at its birth. Each pair is a bracket at its death that joins two
    components. A component that never dies ends in an arrow. Leaves are ordered so that no branch
    crosses another. The component with the smaller first vertex is on the left; with Rips
    filtrations it is the one that survives.

    Args:
        pairs: :term:`Persistence pairs <persistence pair>` of dimension 0 of one cloud.
        deaths: Scale of each death edge, or the diagram. A vertex without a birth in the diagram
            starts at the least of the given births, or at 0 if only deaths are given.
        labels: Text below the leaves, one per vertex; none if left out.
        ax: Where to draw; a new figure of pyplot if left out.

    Returns:
        The axis. Leaf k, counted from the left, is at x = k.

    Raises:
        TypeError: If ``pairs`` are not PersistencePairs or ``deaths`` not floating point.
        ValueError: If ``pairs`` belong to several clouds, have another dimension or hold a cycle,
            or numbers of entries do not agree.
        ModuleNotFoundError: If matplotlib is not installed.

    Shape:
        - deaths: :math:`(m,)` or :math:`(m, 2)`; labels: n entries.

    Note:
        The brackets are one collection, ``ax.collections[0]``, in ascending order of deaths. If
        pairs are missing, because of ``max_edge_length``, ``select`` or ``between``, the result is
        a forest. Time :math:`O(m \log m)`.

    Source:
        Gower and Ross, Applied Statistics 1969: single linkage from the minimum spanning tree.

    Example:
        >>> import torch
        >>> from matplotlib.figure import Figure
        >>> from topreg import RipsFiltration
        >>> from topreg.plot import merge_tree
        >>> points = torch.tensor([[0.0], [3.0], [1.0]])
        >>> pairs = RipsFiltration().pairs(points)
        >>> values = RipsFiltration().diagram(pairs, points)
        >>> ax = merge_tree(pairs, values, labels="abc", ax=Figure().subplots())
        >>> [label.get_text() for label in ax.get_xticklabels()]
        ['a', 'c', 'b']
    """
    births, heights = _scales(pairs, deaths)
    order = heights.argsort(kind="stable")
    edges = pairs.death_edges.cpu()[order].tolist()
    leaves, merges, roots = _layout(births, heights[order], edges)
    names = None if labels is None else _names(labels, len(births))
    ax = axis(ax)
    low, high = extent([births, heights])
    _draw(ax, merges, roots, high + 0.05 * (high - low))
    ax.set_ylabel("scale")
    ax.set_xticks([])
    if names is not None:
        _write(ax, [names[vertex] for vertex in leaves])
    return ax


def _scales(pairs: PersistencePairs, deaths: Tensor) -> tuple[Array, Array]:
    """Return the births of all vertices and the deaths of all pairs."""
    are_of_one_cloud(pairs)
    are_of_dimension_0(pairs)
    _checks.is_floating("deaths", deaths)
    if deaths.shape not in ((len(pairs),), (len(pairs), 2)):
        raise ValueError(
            f"`deaths` should have shape ({len(pairs)},) or ({len(pairs)}, 2), one row per pair. "
            f"Got {_checks.shape(deaths)}."
        )
    _checks.are_finite("deaths", deaths.detach().reshape(len(pairs), deaths.ndim))
    rows = numbers(deaths)
    known = rows[:, 0] if rows.ndim == 2 else np.zeros(len(rows))
    births = np.full(pairs.cloud_sizes[0], known.min(initial=0.0 if not len(known) else np.inf))
    births[pairs.birth_edges[:, 0].cpu().numpy()] = known
    return births, rows[:, 1] if rows.ndim == 2 else rows


def _names(labels: Sequence[Any] | Tensor, vertices: int) -> list[str]:
    """Return the text below each leaf."""
    names = list(map(str, labels.tolist() if isinstance(labels, Tensor) else labels))
    if len(names) != vertices:
        raise ValueError(
            f"`labels` should have one entry per vertex, {vertices}. Got {len(names)}."
        )
    return names


def _draw(ax: Axes, merges: Array, roots: Array, top: float) -> None:
    """Draw brackets, and an arrow on each root."""
    from matplotlib.collections import LineCollection

    style = {"color": colour(0), "linewidths": min(1.5, max(0.4, 150 / (len(merges) + 1)))}
    ax.add_collection(LineCollection(list(merges), **style))
    x, y = roots.T
    ax.vlines(x, y, top, **style)
    ax.scatter(x, np.full_like(x, top), marker="^", s=30, linewidths=0, color=[colour(0)])
    ax.autoscale_view()


def _write(ax: Axes, names: list[str]) -> None:
    """Write names below the leaves, upright if they are long, small if there are many."""
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties

    usual = FontProperties(size=rcParams["xtick.labelsize"]).get_size_in_points()
    room = size_in_points(ax)[0] / max(len(names), 1)
    size = max(1.0, min(usual, 0.8 * room))
    upright = 90 if max(map(len, names), default=0) * 0.65 * size > room else 0
    ax.set_xticks(range(len(names)), names, fontsize=size, rotation=upright)
    ax.tick_params(axis="x", length=0)


def _layout(
    births: Array, deaths: Array, edges: Sequence[Sequence[int]]
) -> tuple[list[int], Array, Array]:
    """Return leaves from left to right, corners (m, 4, 2) of merges, and places (r, 2) of roots.

    The k-th edge joins two components to node n + k; the one with the smaller first vertex is on
    the left. Leaves are at 0, 1, ... and a merge is in the middle of the nodes that it joins.
    """
    n = len(births)
    parent, node, last = (list(range(n)) for _ in range(3))
    following, joined, leaves = [-1] * n, [], []
    for number, (i, j) in enumerate(edges, n):
        left, right = sorted((_first(parent, i), _first(parent, j)))
        if left == right:
            raise ValueError(
                f"`pairs` should join different components. Got an edge ({i}, {j}) within one."
            )
        joined.append((node[left], node[right]))
        parent[right], node[left] = left, number
        following[last[left]], last[left] = right, last[right]
    firsts = [v for v in range(n) if parent[v] == v]
    for vertex in firsts:
        while vertex >= 0:
            leaves.append(vertex)
            vertex = following[vertex]
    place, height = np.empty(n + len(joined)), np.concatenate([births, deaths])
    place[leaves] = np.arange(n)
    for number, ends in enumerate(joined, n):
        place[number] = place[list(ends)].mean()
    corners = np.array(joined, dtype=np.int64).reshape(-1, 2)[:, [0, 0, 1, 1]]
    merges = np.stack([place[corners], height[corners]], 2)
    merges[:, 1:3, 1] = deaths[:, None]
    roots = [node[v] for v in firsts]
    return leaves, merges, np.stack([place[roots], height[roots]], 1)


def _first(parent: list[int], vertex: int) -> int:
    """Return the first vertex of a component; halve the path to it for the next search."""
    while parent[vertex] != vertex:
        parent[vertex] = parent[parent[vertex]]
        vertex = parent[vertex]
    return vertex
