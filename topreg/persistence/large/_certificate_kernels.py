"""Boruvka's rounds on lists of nearest neighbours, with bounds on all other edges; compiled.

The first ``certain[p]`` entries of the list of vertex ``p`` are its first edges in the total order.
Every other edge weighs at least ``bound[p]``. The first ``passed[p]`` entries lead into p's own
component; the next one is its open edge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from topreg._compiled import compiled, over_rows
from topreg.persistence._component_kernels import join


@compiled
def count_certain(weights, near, certain, bound):
    """Count the entries of each list that come before all edges that are not listed."""
    for p in range(len(near)):
        count = 0
        while count < near.shape[1] and near[p, count] >= 0 and weights[p, count] < bound[p]:
            count += 1
        certain[p] = count


@compiled
def _earlier(weights, near, passed, p, q):
    """Return whether the open edge of vertex p comes before that of vertex q."""
    one, other = weights[p, passed[p]], weights[q, passed[q]]
    if one != other:
        return one < other
    p_end, q_end = near[p, passed[p]], near[q, passed[q]]
    i, j = min(p, p_end), min(q, q_end)
    return i < j or (i == j and max(p, p_end) < max(q, q_end))


@compiled
def best_edges(label, weights, near, certain, bound, passed, best, lowest):
    """Find the cheapest open edge of each component, and a bound on its edges that are not listed.

    ``best`` becomes, by label, the vertex with that open edge, or -1. ``lowest`` becomes the
    smallest bound of the component's vertices whose lists are used up.
    """
    best[:], lowest[:] = -1, np.inf
    for p in range(label.size):
        own = label[p]
        while passed[p] < certain[p] and label[near[p, passed[p]]] == own:
            passed[p] += 1
        if passed[p] == certain[p]:
            lowest[own] = min(lowest[own], bound[p])
        elif best[own] < 0 or _earlier(weights, near, passed, p, best[own]):
            best[own] = p


@compiled
def join_certain(
    label, weights, near, certain, bound, passed, best, lowest, longest, edges, edge_weights, found
):
    """Join components along their cheapest edges if these are certain; return the number of edges.

    An edge is certain if all edges that are not listed are heavier. ``label`` is updated.
    """
    for own in range(label.size):
        p = best[own]
        if p < 0:
            continue
        q, weight = near[p, passed[p]], weights[p, passed[p]]
        if weight < lowest[own] and weight <= longest and join(label, p, q) >= 0:
            edges[found, 0], edges[found, 1], edge_weights[found] = min(p, q), max(p, q), weight
            found += 1
    for p in range(label.size):
        label[p] = label[label[p]]  # no label exceeds its vertex: that of the label is final
    return found


@compiled
def used_up(label, weights, near, certain, bound, passed, best, longest, rows):
    """Write the vertices whose used-up lists keep their component from being joined; count them.

    Their bound does not exceed the cheapest open edge of the component, if there is one.
    """
    count = 0
    for p in range(label.size):
        other = best[label[p]]
        limit = longest if other < 0 else min(longest, weights[other, passed[other]])
        if passed[p] == certain[p] and bound[p] <= limit:
            rows[count] = p
            count += 1
    return count


def first_copies(points: NDArray[Any]) -> NDArray[np.int64]:
    """Return for each row the first row that equals it, which is itself unless it is a copy.

    If two different rows have the same hash, copies of the second are not recognised.
    """
    n = len(points)
    hashes, first = np.empty(n, np.uint64), np.arange(n)
    bits = points.view(np.uint32 if points.dtype == np.float32 else np.uint64)
    over_rows(n, lambda i, j, _: _hash_rows(bits, hashes, i, j))
    order = np.argsort(hashes, kind="stable")
    _find_copies(points, hashes, order, first)
    return first


@compiled
def _hash_rows(bits, hashes, begin, end):
    """Hash the bits of each row; -0.0 counts as 0.0."""
    sign = bits.dtype.type(1) << bits.dtype.type(8 * bits.itemsize - 1)
    for i in range(begin, end):
        total = np.uint64(14695981039346656037)
        for k in range(bits.shape[1]):
            entry = np.uint64(0) if bits[i, k] == sign else np.uint64(bits[i, k])
            total = (total ^ entry) * np.uint64(1099511628211)
            total ^= total >> np.uint64(29)
        hashes[i] = total


@compiled
def _find_copies(points, hashes, order, first):
    """Compare each row with the first row of the same hash; rows come in ascending order."""
    start = 0
    for place in range(1, order.size):
        one, other = order[start], order[place]
        if hashes[one] != hashes[other]:
            start = place
        elif np.all(points[one] == points[other]):
            first[other] = one
