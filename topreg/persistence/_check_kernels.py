"""One pass over distance matrices that says whether anything needs a closer look."""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted
from topreg.metrics._kernels import TILE

BAND = 128  # rows read in their order before any column of theirs is


@compiled
def _signs(rows, infinity):
    """Negative if an entry has its sign bit set or lies above infinity (NaN)."""
    signs = rows.dtype.type(0)
    for i in range(rows.shape[0]):
        row = rows[i]
        for j in range(row.size):
            signs |= row[j] | (infinity - row[j])
    return signs


@compiled
def _differences(bits, top, left, buffer):
    """Non-zero if a tile differs from its mirror image."""
    n = bits.shape[0]
    unequal = bits.dtype.type(0)
    if left + TILE > n or top + TILE > n:
        for i in range(top, min(top + TILE, n)):
            for j in range(left, min(left + TILE, n)):
                unequal |= bits[i, j] ^ bits[j, i]
        return unequal
    for i in range(TILE):
        row = bits[top + i, left : left + TILE]
        for j in range(TILE):
            buffer[j, i] = row[j]
    for j in range(TILE):
        row, image = bits[left + j, top : top + TILE], buffer[j]
        for i in range(TILE):
            unequal |= row[i] ^ image[i]
    return unequal


@compiled
def clean_bands(bits, infinity, first, step, halt):
    """Whether every ``step``-th band of rows from ``first`` on is what the engines read.

    That is: symmetric to the bit, no sign bit, no NaN, zero on the diagonal. Rows are read in their
    order before columns are, since a column brings one cache line for each of its entries.
    """
    n = bits.shape[0]
    buffer = np.empty((TILE, TILE), bits.dtype)
    for top in range(first * BAND, n, step * BAND):
        bottom = min(top + BAND, n)
        unequal = bits.dtype.type(0)
        for i in range(top, bottom):
            unequal |= bits[i, i]
        if unequal != 0 or halted(halt) or _signs(bits[top:bottom], infinity) < 0:
            return False
        for left in range(top, n, TILE):
            for i in range(top, min(bottom, left + TILE), TILE):
                unequal |= _differences(bits, i, left, buffer)
        if unequal != 0:
            return False
    return True


@compiled
def clean(bits, sizes, infinity, halt):
    """Whether all matrices, laid one after the other, are clean."""
    corner = 0
    for n in sizes:
        if not clean_bands(bits[corner : corner + n * n].reshape(n, n), infinity, 0, 1, halt):
            return False
        corner += n * n
    return True
