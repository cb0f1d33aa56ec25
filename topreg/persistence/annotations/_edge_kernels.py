"""Edges as records that sort fast, compiled.

A record holds a key in its upper half and the ends of an edge, i < j, in its lower half. Records
with equal keys are in the order of their ends. Keys come from the bits of the weights: read as
integers, the bits of non-negative floats keep the order of the floats.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted

HALF = np.uint64(32)
LAST = np.uint64(0xFFFF)
WIDEST = 11  # bits of a digit: more than 2,048 counters do not stay in the cache
MANY = 1 << 12  # so many edges or more are sorted in shares
SHARES, SAMPLE = 4, 1 << 9
PACE = (1 << 16) - 1  # records between two checks of the halt flag
ENDS, HIGHEST = np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFFFFFFFFFF)


@compiled
def enclosing_radius(matrix, top):
    """Return the least weight of a vertex's heaviest edge, over all vertices.

    At this weight and above the complex is a cone over that vertex: no class is alive or born.
    """
    radius = top
    for i in range(matrix.shape[0]):
        heaviest = matrix[i, i] & top
        for j in range(matrix.shape[1]):
            heaviest = max(heaviest, matrix[i, j] & top)
        radius = min(radius, heaviest)
    return radius


@compiled
def _half(weight, high):
    """Return the high or the low 32 bits of a weight; a weight of 32 bits counts as low."""
    word = np.uint64(weight)
    return word >> HALF if high else word & ENDS


@compiled
def _records(matrix, limit, top, halt):
    """Return records (low half of the weight, i, j) of edges up to ``limit``, sorted by (i, j)."""
    n, count = matrix.shape[0], 0
    records = np.empty(n * (n - 1) // 2 + 1, np.uint64)  # one more: a last write may not count
    for i in range(n):
        if halted(halt):
            break
        for j in range(i + 1, n):
            weight = matrix[i, j] & top
            records[count] = (_half(weight, False) << HALF) | np.uint64((i << 16) | j)
            count += weight <= limit
    return records[:count]


@compiled
def _digits(records, lowest, width, passes, halt):
    """Return for each digit of the upper half, and each value of it, where its records begin."""
    counts, mask = np.zeros((passes, 1 << width), np.int64), np.uint64((1 << width) - 1)
    for place in range(records.size):
        if place & PACE == 0 and halted(halt):
            break
        rest = (records[place] - lowest) >> HALF
        for digit in range(passes):
            counts[digit, rest & mask] += 1
            rest >>= np.uint64(width)
    for digit in range(passes):
        begin = 0
        for value in range(1 << width):
            begin, counts[digit, value] = begin + counts[digit, value], begin
    return counts


# Worked example: records with the keys 70, 4165, 66 and 71.
#
# The smallest key, 66, is subtracted: 4, 4099, 0, 5. The largest difference has 13 bits. A digit
# has at most 11 bits, so two digits of 7 bits are needed. Each digit has 2^7 = 128 values.
#
#     difference         4    4099       0       5
#     (high, low)   (0, 4)  (32, 3)  (0, 0)  (0, 5)
#
# - Pass 1 sorts by the low digit: 0, 4099, 4, 5. Counting tells where each value begins: the
#   value 0 at place 0, 3 at place 1, 4 at place 2 and 5 at place 3.
# - Pass 2 sorts by the high digit: 0, 4, 5, 4099. Records of equal digits keep their order, so that
#   those whose high digit is 0 stay sorted by the low digit.
#
# The keys are 66, 70, 71, 4165. Records of one key keep the order in which they came.
@compiled
def sorted_records(records, halt):
    """Sort records by their keys: a stable radix sort over the bits that the keys span."""
    if records.size == 0:
        return records
    lowest, highest = records[0], records[0]
    for record in records:
        lowest, highest = min(lowest, record), max(highest, record)
    lowest, bits = (lowest >> HALF) << HALF, 0
    span = (highest - lowest) >> HALF
    while span != 0:
        span >>= np.uint64(1)
        bits += 1
    passes = max(1, (bits + WIDEST - 1) // WIDEST)
    width = (bits + passes - 1) // passes
    begins, mask = _digits(records, lowest, width, passes, halt), np.uint64((1 << width) - 1)
    others = np.empty_like(records)
    for digit in range(passes):
        begin, shift = begins[digit], HALF + np.uint64(digit * width)
        for place in range(records.size):
            if place & PACE == 0 and halted(halt):
                return records
            record = records[place]
            value = ((record - lowest) >> shift) & mask
            others[begin[value]] = record
            begin[value] += 1
        records, others = others, records
    return records


@compiled
def records_of_matrix(matrix, limit, top, halt):
    """Return records of the edges that homology depends on, not sorted.

    Weights of 64 bits do not fit into a record; there the key is the place in the order.
    """
    limit = min(limit, enclosing_radius(matrix, top)) if matrix.shape[0] else limit
    records = _records(matrix, limit, top, halt)
    if matrix.itemsize == 4:
        return records
    # by the low half of the weight, then stably by the high one
    records = sorted_records(records, halt)
    for edge in range(0 if halted(halt) else records.size):
        ends = records[edge] & ENDS
        weight = matrix[ends >> np.uint64(16), ends & LAST] & top
        records[edge] = (_half(weight, True) << HALF) | ends
    records = sorted_records(records, halt)
    for edge in range(records.size):
        records[edge] = (np.uint64(edge) << HALF) | (records[edge] & ENDS)
    return records


@compiled
def unpack(records, low, high, start):
    """Write the ends of the edges, beginning at place ``start``."""
    for edge in range(records.size):
        low[start + edge] = (records[edge] >> np.uint64(16)) & LAST
        high[start + edge] = records[edge] & LAST


@compiled
def bounds_of_shares(records, halt):
    """Return the largest record of each share of the edges, estimated from a sample.

    Shares are sorted one by one, because the last are rarely needed: no class is alive or can be
    born. Few edges are one share.
    """
    bounds = np.full(SHARES if records.size >= MANY else 1, HIGHEST)
    if bounds.size > 1:
        step = records.size // SAMPLE
        sample = np.empty(SAMPLE, np.uint64)
        for place in range(SAMPLE):
            sample[place] = records[place * step]
        sample = sorted_records(sample, halt)
        for share in range(SHARES - 1):
            bounds[share] = sample[(share + 1) * SAMPLE // SHARES] | ENDS
    return bounds


@compiled
def take(records, left, bound, taken, halt):
    """Move the records up to ``bound`` to ``taken`` and close the gaps; count those left."""
    count, kept = 0, 0
    for place in range(left):
        if place & PACE == 0 and halted(halt):
            return left
        record = records[place]
        taken[count] = record
        records[kept] = record
        count += record <= bound
        kept += record > bound
    return kept
