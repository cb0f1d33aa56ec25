"""One pass over distance matrices that finds out whether they are clean."""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted


@compiled
def _coefficients(n):
    """Return two fixed pseudo-random numbers per vertex (SplitMix64)."""
    one, other = np.empty(n, np.int32), np.empty(n, np.int32)
    state = np.uint64(0)
    for k in range(n):
        state += np.uint64(0x9E3779B97F4A7C15)
        z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        one[k], other[k] = np.int32(z & np.uint64(0xFFFFFFFF)), np.int32(z >> np.uint64(32))
    return one, other


@compiled
def imbalance(bits, infinity, first, step, halt):
    """Check every ``step``-th row, beginning with ``first``; return a sum, and whether one is bad.

    A matrix is clean if it is symmetric to the bit and has no sign bit, no NaN, and zeros on the
    diagonal. Then the sums over all rows add up to 0, and no row is bad.

    The total is the sum of ``(r[i] s[j] - s[i] r[j]) bits[i, j]`` over all entries, modulo 2^64. In
    a symmetric matrix the two copies of an entry cancel. With r = (1, 0), s = (0, 1) the total is
    ``bits[0, 1] - bits[1, 0]``. The numbers r and s are random, so that differences of several
    entries do not cancel each other either. Reading each row once takes a fourth of the time of
    comparing entries across the diagonal.
    """
    n = bits.shape[0]
    r, s = _coefficients(n)
    total, signs, diagonal = np.int64(0), bits.dtype.type(0), bits.dtype.type(0)
    for i in range(first, n, step):
        if halted(halt):
            break
        row, of_r, of_s = bits[i], np.int64(0), np.int64(0)
        for j in range(n):
            entry = row[j]
            signs |= entry | (infinity - entry)  # negative for a sign bit, and for NaN
            of_r += np.int64(r[j]) * np.int64(entry)
            of_s += np.int64(s[j]) * np.int64(entry)
        total += np.int64(r[i]) * of_s - np.int64(s[i]) * of_r
        diagonal |= row[i]
    return total, signs < 0 or diagonal != 0


@compiled
def is_clean(bits, infinity, halt):
    """Return whether a matrix is clean, so that the engines can read it as it is."""
    total, bad = imbalance(bits, infinity, 0, 1, halt)
    return total == 0 and not bad


@compiled
def are_clean(bits, sizes, infinity, halt):
    """Return whether all matrices, stored one after the other, are clean."""
    corner = 0
    for n in sizes:
        if not is_clean(bits[corner : corner + n * n].reshape(n, n), infinity, halt):
            return False
        corner += n * n
    return True
