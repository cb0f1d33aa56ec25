"""Sorted edges of a complete weighted graph, compiled.

As in Prim's kernels, weights are read through their bits: those of non-negative floats, taken as
integers, keep the order of the floats.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled

WIDE = 1 << 13  # edges from which digits of 11 bits pay for their 2,048 counters


@compiled
def enclosing_radius(matrix, top):
    """The smallest over all vertices of the weight of its heaviest edge.

    From there on the complex is a cone over that vertex: no class is left and none is born.
    """
    radius = top
    for i in range(matrix.shape[0]):
        heaviest = matrix[i, i] & top
        for j in range(matrix.shape[1]):
            heaviest = max(heaviest, matrix[i, j] & top)
        radius = min(radius, heaviest)
    return radius


@compiled
def _listed(matrix, limit, top):
    """Edges no heavier than ``limit`` in the order of their ends; ends as ``i << 32 | j``."""
    n = matrix.shape[0]
    keys = np.empty(n * (n - 1) // 2 + 1, matrix.dtype)  # one more for the write that is undone
    ends = np.empty(keys.size, np.int64)
    count = 0
    for i in range(n):
        for j in range(i + 1, n):
            weight = matrix[i, j] & top
            keys[count], ends[count] = weight, (i << 32) | j
            count += weight <= limit
    return keys[:count], ends[:count]


@compiled
def _digits(keys, lowest, width, passes):
    """How often each digit of ``key - lowest`` occurs, turned into where its edges begin."""
    counts = np.zeros((passes, 1 << width), np.int64)
    mask = keys.dtype.type((1 << width) - 1)
    for key in keys:
        rest = key - lowest
        for digit in range(passes):
            counts[digit, rest & mask] += 1
            rest >>= width
    for digit in range(passes):
        begin = 0
        for value in range(1 << width):
            begin, counts[digit, value] = begin + counts[digit, value], begin
    return counts


@compiled
def _sorted_ends(keys, ends):
    """``ends`` by ascending keys: a stable radix sort that leaves out the digits all keys share."""
    lowest, highest = keys[0], keys[0]
    for key in keys:
        lowest, highest = min(lowest, key), max(highest, key)
    width, passes = 11 if keys.size >= WIDE else 8, 0
    spread = highest - lowest
    while spread:
        spread >>= width
        passes += 1
    begins = _digits(keys, lowest, width, passes)
    mask = keys.dtype.type((1 << width) - 1)
    other_keys, other_ends = np.empty_like(keys), np.empty_like(ends)
    for digit in range(passes):
        begin, shift = begins[digit], keys.dtype.type(digit * width)
        for edge in range(keys.size):
            key = keys[edge]
            value = ((key - lowest) >> shift) & mask
            place = begin[value]
            begin[value] = place + 1
            other_keys[place], other_ends[place] = key, ends[edge]
        keys, other_keys = other_keys, keys
        ends, other_ends = other_ends, ends
    return ends


@compiled
def sorted_edges(matrix, limit, top):
    """Ends of the edges that homology depends on, in the total order (weight, i, j)."""
    limit = min(limit, enclosing_radius(matrix, top)) if matrix.shape[0] else limit
    keys, ends = _listed(matrix, limit, top)
    if keys.size == 0:
        return np.empty(0, np.int32), np.empty(0, np.int32)
    ends = _sorted_ends(keys, ends)
    low, high = np.empty(ends.size, np.int32), np.empty(ends.size, np.int32)
    for edge in range(ends.size):
        low[edge], high[edge] = ends[edge] >> 32, ends[edge] & 0xFFFFFFFF
    return low, high
