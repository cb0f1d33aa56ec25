"""Dimension 0 of large clouds: Boruvka's rounds on lists of neighbours, exact by certificates.

One pass over tiles of distances lists the nearest neighbours of every vertex, and bounds the edges
that it does not list. If the cheapest listed edge of a component is lighter than all its bounds,
the component is joined along that edge. If no component has such an edge, the used-up lists of some
are searched again. Imported on first use, since numba is heavy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topreg.persistence._component_kernels import elder_rule
from topreg.persistence.large import _certificate_kernels as kernels
from topreg.persistence.large._neighbours import WIDTH, Lists, Neighbours
from topreg.persistence.large._ranks import Ranks
from topreg.persistence.large._tiled import Progress

Edges = tuple[NDArray[Any], NDArray[Any]]  # (m, 2) end points i < j, and (m,) weights


def forest_of_cloud(
    points: Tensor,
    metric: str,
    longest: float,
    *,
    memory: int,
    progress: Progress | None = None,
    ranks: Ranks | None = None,
    width: int = WIDTH,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return death edges, birth vertices and the smallest vertex of each component of one cloud.

    Of coincident points only the first takes part in the search. Then each copy is joined at weight
    0: to the smallest vertex to which its first point has weight 0, or to the first point itself.

    Shape:
        - points: (n, d), float32 or float64; normalised for the cosine.
        - Output: (m, 2), (m,) and (e,), int64, in the total order.
    """
    on_cpu = points.cpu().numpy()
    vertices, first = np.arange(len(points)), kernels.first_copies(on_cpu)
    different, copies = vertices[first == vertices], vertices[first != vertices]
    if len(copies):
        points = points[torch.from_numpy(different).to(points.device)]
    neighbours = Neighbours(points, metric, memory=memory, ranks=ranks or Ranks(), width=width)
    found, weights = spanning_forest(
        neighbours, _limit(longest, on_cpu.dtype), progress or (lambda *_: None)
    )
    found, hooks = different[found], vertices.copy()
    weightless = found[weights == 0]  # by underflow different points may have weight 0, too
    np.minimum.at(hooks, weightless[:, 1], weightless[:, 0])
    edges = np.concatenate([np.stack([hooks[first[copies]], copies], axis=1), found])
    weights = np.concatenate([np.zeros_like(weights, shape=len(copies)), weights])
    low, high = np.ascontiguousarray(edges[np.lexsort((edges[:, 1], edges[:, 0], weights))].T)
    parent, births = vertices.copy(), np.empty(len(edges), np.int64)
    elder_rule(low, high, parent, births)
    return np.stack([low, high], axis=1), births, vertices[parent == vertices]


def _limit(longest: float, dtype: np.dtype[Any]) -> Any:
    """Return the largest weight of an edge; a clipped weight is an edge only without threshold."""
    largest = np.finfo(dtype).max
    if longest == np.inf:
        return largest
    return dtype.type(min(longest, float(np.nextafter(largest, dtype.type(0)))))


def spanning_forest(neighbours: Neighbours, longest: Any, progress: Progress) -> Edges:
    """Return the edges of the minimum spanning forest up to ``longest``, not sorted."""
    forest = _Forest(neighbours.of_all(progress), longest)
    while not forest.is_tree():
        if not forest.join_certain():
            rows = forest.to_search()
            if not len(rows):
                break
            forest.replace(rows, neighbours.outside(rows, forest.label))
        progress("tree", forest.found, len(forest.edges))
    return forest.edges[: forest.found], forest.weights[: forest.found]


# Worked example: vertices 0 to 4 on a line, at 0, 1, 3, 5.5 and 6.5.
#
# Let each vertex list its nearest two. Vertex 0 lists 1 (at 1) and 2 (at 3); its bound is 5.5, so
# every other vertex is at least that far away. Vertex 1 lists 0 (1) and 2 (2) with bound 4.5, and
# vertex 2 lists 1 (2) and 3 (2.5) with bound 3.
#
# - Round 1: every vertex is a component and takes its first entry. {0, 1, 2} and {3, 4} arise.
# - Round 2: the entries of 0 and 1 stay within {0, 1, 2}: their lists are used up. The open edge 23
#   weighs 2.5. No edge that 0 or 1 do not list is lighter than 4.5, and the list of 2 is sorted.
#   So 23 is the cheapest edge that leaves the component. It is certain, and the tree is complete.
#
# With one entry each, all lists are used up in round 2, and nothing is certain. New lists are
# searched for half of the components: for 3 and 4, since {3, 4} has fewer vertices than {0, 1, 2}.
# These lists hold only vertices outside {3, 4}. Vertex 3 finds 2 at 2.5, and the search goes on.


class _Forest:
    """Components, and the lists of edges of their vertices."""

    def __init__(self, lists: Lists, longest: Any) -> None:
        n, dtype = len(lists.near), lists.weights.dtype
        self.label = np.arange(n)  # the smallest vertex of each vertex's component
        self.edges = np.empty((max(n - 1, 0), 2), np.int64)
        self.weights = np.empty(max(n - 1, 0), dtype)
        self.found = 0
        self._lists = lists
        self._longest = longest
        self._passed = np.zeros(n, np.int32)  # entries that lead into the vertex's own component
        self._state = self.label, *lists, self._passed, np.empty(n, np.int64)  # the best edges

    def is_tree(self) -> bool:
        """Return whether there is only one component."""
        return self.found == len(self.edges)

    def join_certain(self) -> bool:
        """Join every component whose cheapest edge is certain; return whether there was one."""
        before, lowest = self.found, np.empty(len(self.label))
        kernels.best_edges(*self._state, lowest)
        tree = self.edges, self.weights, before
        self.found = kernels.join_certain(*self._state, lowest, self._longest, *tree)
        return self.found > before

    def to_search(self) -> NDArray[np.int64]:
        """Return vertices whose lists must be searched again, if nothing was certain.

        They are those of half of the components, rounded up: the half that needs the fewest.
        """
        rows = np.empty(len(self.label), np.int64)
        rows = rows[: kernels.used_up(*self._state, self._longest, rows)]
        _, component, needed = np.unique(self.label[rows], return_inverse=True, return_counts=True)
        cheap = np.zeros(len(needed), np.bool_)
        cheap[np.argsort(needed, kind="stable")[: (len(needed) + 1) // 2]] = True
        kept: NDArray[np.int64] = rows[cheap[component]]
        return kept

    def replace(self, rows: NDArray[np.int64], lists: Lists) -> None:
        """Replace the lists of some vertices."""
        for kept, new in zip(self._lists, lists, strict=True):
            kept[rows] = new
        self._passed[rows] = 0
