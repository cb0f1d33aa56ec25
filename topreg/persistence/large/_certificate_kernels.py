"""Boruvka's rounds on lists of nearest neighbours, with bounds on all other edges; compiled.

The first ``certain[p]`` entries of the list of vertex ``p`` are its first edges in the total order.
Every other edge weighs at least ``bound[p]``. The first ``passed[p]`` entries lead into p's own
component; the next one is its open edge.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled
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
