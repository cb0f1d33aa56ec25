"""Edges as records that sort fast, compiled.

A record holds a key in its upper half and the ends of an edge, i < j, in its lower half. Records
with equal keys are in the order of their ends. Keys come from the bits of the weights: read as
integers, the bits of non-negative floats keep the order of the floats.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted
from topreg._scratch_kernels import reserve, reserve_zeros

SHORT, HALF = np.uint64(16), np.uint64(32)  # bits of an end in a record, and of both
NARROWEST, WIDEST = 7, 11  # bits of a digit: more than 2,048 counters do not stay in the cache
DIGITS = 3 << WIDEST  # counters of a sort; more digits than three are narrower
MANY = 96  # edges of fewer vertices are one bucket
SAMPLE, BUCKETS = 1 << 6, 1 << 8
PACE = (1 << 16) - 1  # records between two checks of the halt flag
ONE, ENDS = np.uint64(1), np.uint64(0xFFFFFFFF)


@compiled
def ends_of(edge, bits):
    """Return the ends of an edge, smaller first, from a word that holds so many bits of each."""
    last = (ONE << bits) - ONE
    return np.int64((edge >> bits) & last), np.int64(edge & last)


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
def _scale(matrix, limit, top):
    """Return the first weight of the buckets, and how far bits are shifted to number them.

    Buckets are of equal width. They begin with the least weight of a sample, or with a sixteenth of
    the limit if that is more.
    """
    n, step, shift = matrix.shape[0], (matrix.size // SAMPLE) | 1, 0
    octaves = 1 << (54 if matrix.itemsize == 8 else 25)  # what four more in the exponent adds
    first = limit
    for place in range(SAMPLE):
        i, j = divmod(place * step % matrix.size, n)
        if i != j:
            first = min(first, matrix[i, j] & top)
    first = max(first, limit - octaves)
    while limit - first >> shift >= BUCKETS:
        shift += 1
    return first, shift


@compiled
def _number(row, limit, top, first, shift, numbers):
    """Write for each weight of a row the number of its bucket, or ``BUCKETS`` over the limit."""
    for j in range(row.size):
        weight = row[j] & top
        numbers[j] = (max(weight, first) - first) >> shift if weight <= limit else BUCKETS


@compiled
def _collect(matrix, limit, top, to_key, records):
    """Write records of the edges up to a weight, sorted by (i, j); count them."""
    count = 0
    for i in range(matrix.shape[0]):
        for j in range(i + 1, matrix.shape[0]):
            weight = matrix[i, j] & top
            records[count] = (np.uint64(weight >> to_key) << HALF) | np.uint64((i << 16) | j)
            count += weight <= limit
    return count


@compiled
def distribute(matrix, limit, top, records, block, halt):
    """Write records of the edges up to a weight, bucket by bucket; return where buckets begin.

    Within a bucket, edges are sorted by (i, j). Few edges are one bucket.
    """
    n, begins = matrix.shape[0], reserve_zeros(block, BUCKETS + 3, np.int32)
    if n < 2 or limit < 0 or halted(halt):
        return begins[:1]
    to_key = 32 if matrix.itemsize == 8 else 0
    if n < MANY:
        begins[1] = _collect(matrix, limit, top, to_key, records)
        return begins[:2]
    numbers = reserve(block, n, np.uint32)  # unsigned: Numba need not look for negative places
    first, shift = _scale(matrix, limit, top)
    for i in range(n - 1):
        if halted(halt):
            return begins[:1]
        _number(matrix[i, i + 1 :], limit, top, first, shift, numbers)
        for j in range(n - 1 - i):
            begins[numbers[j] + np.uint32(2)] += 1
    for bucket in range(BUCKETS + 1):
        begins[bucket + 2] += begins[bucket + 1]
    for i in range(n - 1):
        if halted(halt):
            return begins[:1]
        row = matrix[i, i + 1 :]
        _number(row, limit, top, first, shift, numbers)
        ends = (i << 16) + i + 1
        for j in range(n - 1 - i):
            bucket = numbers[j] + np.uint32(1)
            place = np.uint32(begins[bucket])
            begins[bucket] = place + 1
            key = np.uint64((row[j] & top) >> to_key)
            records[place] = (key << HALF) | np.uint64(ends + j)
    return begins[: BUCKETS + 1]


@compiled
def _count_digits(records, lowest, width, begins, halt):
    """Write for each digit of the upper half, and each value of it, where its records begin."""
    mask = np.uint64((1 << width) - 1)
    for digit in range(begins.shape[0]):  # by loops: assigning to a slice takes long to compile
        for value in range(1 << width):
            begins[digit, value] = 0
    for place in range(records.size):
        if place & PACE == 0 and halted(halt):
            break
        rest = (records[place] - lowest) >> HALF
        for digit in range(begins.shape[0]):
            begins[digit, rest & mask] += 1
            rest >>= np.uint64(width)
    for digit in range(begins.shape[0]):
        begin = 0
        for value in range(1 << width):
            begin, begins[digit, value] = begin + begins[digit, value], begin


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
def sort_records(records, others, digits, halt):
    """Sort records by their keys: a stable radix sort over the bits that the keys span.

    ``others`` has room for as many records, ``digits`` for the counts of all digits.
    """
    if records.size < 2:
        return
    lowest, highest = records[0], records[0]
    for record in records:
        lowest, highest = min(lowest, record), max(highest, record)
    lowest, bits = (lowest >> HALF) << HALF, 0
    span = (highest - lowest) >> HALF
    while span != 0:
        span >>= ONE
        bits += 1
    widest = WIDEST
    while widest > NARROWEST and 1 << widest > records.size:  # clearing counters takes time, too
        widest -= 1
    passes = max(1, (bits + widest - 1) // widest)
    width = (bits + passes - 1) // passes
    begins, mask = digits[: passes << width].reshape(passes, -1), np.uint64((1 << width) - 1)
    _count_digits(records, lowest, width, begins, halt)
    source, target = records, others
    for digit in range(passes):
        begin, shift = begins[digit], HALF + np.uint64(digit * width)
        for place in range(records.size):
            if place & PACE == 0 and halted(halt):
                return
            record = source[place]
            value = ((record - lowest) >> shift) & mask
            target[begin[value]] = record
            begin[value] += 1
        source, target = target, source
    for place in range(records.size if passes & 1 else 0):
        records[place] = others[place]


@compiled
def sort_buckets(matrix, top, records, begins, first, pace, others, digits, halt):
    """Sort ``pace`` records or more, beginning with a bucket; return the next bucket.

    Weights of 64 bits are sorted by the low half, then stably by the high one.
    """
    bucket = first
    while bucket < begins.size - 1 and begins[bucket] - begins[first] < pace:
        bucket += 1
    records = records[begins[first] : begins[bucket]]
    for half in range(0 if matrix.itemsize == 8 else 1, 2):
        for place in range(0 if halted(halt) or matrix.itemsize == 4 else records.size):
            weight = np.uint64(matrix[ends_of(records[place], SHORT)] & top)
            records[place] = ((weight >> np.uint64(32 * half)) << HALF) | (records[place] & ENDS)
        sort_records(records, others, digits, halt)
    return bucket


@compiled
def reach(matrix, limit, top):
    """Return the weight of the last edge on which homology may depend."""
    return min(limit, enclosing_radius(matrix, top))


@compiled
def edges_in_order(matrix, limit, top, block, halt):
    """Return the edges (m, 2) on which homology may depend, in their order."""
    records, others, digits = room_to_sort(matrix.shape[0], block)
    begins = distribute(matrix, reach(matrix, limit, top), top, records, block, halt)
    edges = np.empty((begins[-1], 2), np.int64)
    sort_buckets(matrix, top, records, begins, 0, len(edges), others, digits, halt)
    for edge in range(len(edges)):
        edges[edge, 0], edges[edge, 1] = ends_of(records[edge], SHORT)
    return edges


@compiled
def room_to_sort(n, block):
    """Return room for the records of all edges, for as many again, and for counts of digits."""
    edges = n * (n - 1) // 2
    records = reserve(block, edges + 1, np.uint64)  # one more: a last write may not count
    return records, reserve(block, edges, np.uint64), reserve(block, DIGITS, np.uint32)


@compiled
def count_edges(matrix, limit, top, halt):
    """Count the edges on which homology may depend."""
    count, limit = 0, reach(matrix, limit, top)
    for i in range(matrix.shape[0]):
        if halted(halt):
            break
        for j in range(i + 1, matrix.shape[0]):
            count += matrix[i, j] & top <= limit
    return count
