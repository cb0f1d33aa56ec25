"""Lists of nearest neighbours, updated by one tile of distances after the other; compiled.

Distances are read through their bits: as integers they keep the order of non-negative floats and
let the compiler use vector instructions. A list is not sorted. ``farthest`` is the place of its
largest entry and ``limit`` that entry, so that one comparison rejects most distances.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted
from topreg.metrics._kernels import edge_weight

CHUNK = 64  # distances compared together; nearly always none of them enters a list


@compiled
def _put(keys, near, farthest, limit, at, key, vertex):
    """Replace the farthest neighbour of list ``at``."""
    keys[at, farthest[at]], near[at, farthest[at]] = key, vertex
    place = 0
    for k in range(1, keys.shape[1]):
        if keys[at, k] > keys[at, place]:
            place = k
    farthest[at], limit[at] = place, keys[at, place]


@compiled
def offer_rows(tile, rows, lists, first_column, label, keys, near, farthest, limit):
    """Offer each row of a tile to its own list.

    Row ``r`` has the distances from vertex ``rows[r]`` to ``first_column`` and the vertices after
    it. It belongs to ``lists[r]``. Vertices of the same label are left out.
    """
    for r in range(rows.size):
        row, at, own = tile[r], lists[r], label[rows[r]]
        for start in range(0, row.size, CHUNK):
            stop, low = min(start + CHUNK, row.size), limit[at]
            signs = tile.dtype.type(0)
            for c in range(start, stop):
                signs |= row[c] - low
            if signs >= 0:
                continue
            for c in range(start, stop):
                if row[c] < limit[at] and label[first_column + c] != own:
                    _put(keys, near, farthest, limit, at, row[c], first_column + c)


@compiled
def offer_columns(tile, first_row, first_column, begin, end, keys, near, farthest, limit):
    """Offer the columns ``begin`` to ``end`` of a tile, each to the list of its own vertex."""
    for r in range(tile.shape[0]):
        row = tile[r]
        for start in range(begin, end, CHUNK):
            stop = min(start + CHUNK, end)
            signs = tile.dtype.type(0)
            for c in range(start, stop):
                signs |= row[c] - limit[first_column + c]
            if signs >= 0:
                continue
            for c in range(start, stop):
                if row[c] < limit[first_column + c]:
                    at = first_column + c
                    _put(keys, near, farthest, limit, at, row[c], first_row + r)


@compiled
def offer_lists(other_keys, other_near, begin, end, keys, near, farthest, limit):
    """Offer the entries of other lists to the lists ``begin`` to ``end``."""
    for at in range(begin, end):
        for k in range(other_keys.shape[1]):
            if other_near[at, k] >= 0 and other_keys[at, k] < limit[at]:
                _put(keys, near, farthest, limit, at, other_keys[at, k], other_near[at, k])


@compiled
def measure_lists(points, rows, near, weights, begin, end, manhattan, cosine, largest, halt):
    """Measure the edges of the lists ``begin`` to ``end``, and sort each by (weight, neighbour).

    Empty places (``near`` -1) come last, with infinite weight.
    """
    for at in range(begin, end):
        if halted(halt):
            break
        filled = 0
        for k in range(near.shape[1]):
            vertex = near[at, k]
            if vertex < 0:
                continue
            weight = min(edge_weight(points[rows[at]], points[vertex], manhattan, cosine), largest)
            place = filled
            while place > 0 and (
                weights[at, place - 1] > weight
                or (weights[at, place - 1] == weight and near[at, place - 1] > vertex)
            ):
                weights[at, place], near[at, place] = weights[at, place - 1], near[at, place - 1]
                place -= 1
            weights[at, place], near[at, place] = weight, vertex
            filled += 1
        weights[at, filled:], near[at, filled:] = np.inf, -1


@compiled
def measure_all(points, rows, label, weights, near, begin, end, manhattan, cosine, largest, halt):
    """Write exact lists of the rows ``begin`` to ``end``: measure every vertex of another label."""
    width = near.shape[1]
    for at in range(begin, end):
        if halted(halt):
            break
        weights[at], near[at] = np.inf, -1
        for vertex in range(len(points)):
            if label[vertex] == label[rows[at]]:
                continue
            weight = min(edge_weight(points[rows[at]], points[vertex], manhattan, cosine), largest)
            if weight >= weights[at, width - 1]:  # vertices ascend: an equal one comes later
                continue
            place = width - 1
            while place > 0 and weights[at, place - 1] > weight:
                weights[at, place], near[at, place] = weights[at, place - 1], near[at, place - 1]
                place -= 1
            weights[at, place], near[at, place] = weight, vertex
