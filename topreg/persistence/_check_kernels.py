"""One pass over distance matrices that says whether anything needs a closer look."""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled
from topreg.metrics._kernels import TILE, transpose_into


@compiled
def _full_tile(bits, top, left, infinity, buffer):
    """Differences between a tile and its mirror image, and signs of out-of-range entries."""
    transpose_into(buffer, bits, top, left)
    unequal, signs = bits.dtype.type(0), bits.dtype.type(0)
    for j in range(TILE):
        row, image = bits[left + j, top : top + TILE], buffer[j]
        for i in range(TILE):
            unequal |= row[i] ^ image[i]
            signs |= row[i] | (infinity - row[i])  # negative below zero and above infinity (NaN)
    return unequal, signs


@compiled
def _partial_tile(bits, top, left, infinity):
    """The same for a tile at the border."""
    n = bits.shape[0]
    unequal, signs = bits.dtype.type(0), bits.dtype.type(0)
    for i in range(top, min(top + TILE, n)):
        for j in range(left, min(left + TILE, n)):
            unequal |= bits[i, j] ^ bits[j, i]
            signs |= bits[j, i] | (infinity - bits[j, i])
    return unequal, signs


@compiled
def _clean_matrix(bits, infinity):
    """Symmetric to the bit, no sign bit, no NaN, zero on the diagonal."""
    n = bits.shape[0]
    buffer = np.empty((TILE, TILE), bits.dtype)
    for i in range(n):
        if bits[i, i] != 0:
            return False
    for top in range(0, n, TILE):
        for left in range(top, n, TILE):
            if left + TILE <= n:
                unequal, signs = _full_tile(bits, top, left, infinity, buffer)
            else:
                unequal, signs = _partial_tile(bits, top, left, infinity)
            if unequal != 0 or signs < 0:
                return False
    return True


@compiled
def clean(bits, sizes, infinity):
    """Whether all matrices, laid one after the other, are clean."""
    corner = 0
    for n in sizes:
        if not _clean_matrix(bits[corner : corner + n * n].reshape(n, n), infinity):
            return False
        corner += n * n
    return True
