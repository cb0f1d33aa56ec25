"""Prim's algorithm, compiled. Imported on first use, since numba is heavy.

Weights are read through their bits: those of non-negative floats, taken as integers, keep the
order of the floats, and integers let the compiler use vector instructions for the minimum.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted
from topreg.persistence._component_kernels import elder_rule

CHUNK = 256  # entries relaxed before the chunk is searched for its minimum


@compiled
def _relax(row, best, parent, vertex, top):
    """Offer the edges from ``vertex`` to every vertex outside the tree; return the lowest weight.

    Vertices of the tree carry ``best = -1``, which nothing improves. Among edges of equal weight
    to one vertex ``j`` the total order (weight, i, j) prefers the smaller other end, whichever
    side of ``j`` it lies on.
    """
    low = top
    for j in range(row.size):
        weight = row[j] & top  # clears the sign, so that -0.0 counts as 0.0
        known, known_parent = best[j], parent[j]
        better = (weight < known) or ((weight == known) and (vertex < known_parent))
        known = weight if better else known
        best[j] = known
        parent[j] = vertex if better else known_parent
        low = min(low, known if known >= 0 else top)
    return low


@compiled
def _tree(bits, limit, top, low_ends, high_ends, weights, halt):
    """Minimum spanning forest of one cloud in Prim's order; returns its number of edges."""
    n = bits.shape[0]
    best = np.full(n, top, bits.dtype)
    parent = np.full(n, n, bits.dtype)
    vertex, edges, visited, unvisited = 0, 0, 1, 0
    while visited < n and not halted(halt):
        best[vertex] = -1
        lowest, nearest, low_end, high_end = top, -1, 0, 0
        for start in range(0, n, CHUNK):
            stop = min(n, start + CHUNK)
            low = _relax(
                bits[vertex, start:stop], best[start:stop], parent[start:stop],
                bits.dtype.type(vertex), top,
            )  # fmt: skip
            if low > lowest or low == top:
                continue
            if low < lowest:
                lowest, nearest = low, -1
            for j in range(start, stop):
                if best[j] == low:
                    i, k = min(parent[j], j), max(parent[j], j)
                    if nearest < 0 or i < low_end or (i == low_end and k < high_end):
                        nearest, low_end, high_end = j, i, k
        visited += 1
        if nearest < 0 or lowest > limit:  # the component is complete: start at the next one
            while best[unvisited] < 0:
                unvisited += 1
            vertex = unvisited
            continue
        low_ends[edges], high_ends[edges], weights[edges] = low_end, high_end, lowest
        edges += 1
        vertex = nearest
    return edges


@compiled
def forests(bits, sizes, first, last, limit, top, deaths, births, elders, counts, halt):
    """Pairs of clouds ``first`` to ``last``; ``bits`` holds their matrices one after the other.

    Cloud ``c`` writes ``counts[c]`` death edges and birth vertices from the row of its first
    vertex on, in the total order, and marks in ``elders`` the smallest vertex of each component.
    """
    entry, vertex = 0, 0
    for cloud in range(first):
        entry += sizes[cloud] * sizes[cloud]
        vertex += sizes[cloud]
    for cloud in range(first, last):
        n = sizes[cloud]
        matrix = bits[entry : entry + n * n].reshape(n, n)
        low_ends, high_ends = np.empty(n, np.int64), np.empty(n, np.int64)
        weights = np.empty(n, bits.dtype)
        m = _tree(matrix, limit, top, low_ends, high_ends, weights, halt)
        order = np.argsort(low_ends[:m] * n + high_ends[:m])
        order = order[np.argsort(weights[:m][order], kind="mergesort")]
        low_ends, high_ends = low_ends[:m][order], high_ends[:m][order]
        parent = np.arange(n)
        elder_rule(low_ends, high_ends, parent, births[vertex : vertex + m])
        for edge in range(m):
            deaths[vertex + edge, 0] = vertex + low_ends[edge]
            deaths[vertex + edge, 1] = vertex + high_ends[edge]
            births[vertex + edge] += vertex
        for i in range(n):
            elders[vertex + i] = parent[i] == i
        counts[cloud] = m
        entry += n * n
        vertex += n


@compiled
def compact(deaths, births, sizes, counts):
    """Move the pairs of each cloud up to those of the cloud before; returns their number."""
    vertex, pairs = 0, 0
    for cloud in range(sizes.size):
        for edge in range(counts[cloud]):
            deaths[pairs, 0], deaths[pairs, 1] = deaths[vertex + edge, 0], deaths[vertex + edge, 1]
            births[pairs] = births[vertex + edge]
            pairs += 1
        vertex += sizes[cloud]
    return pairs
