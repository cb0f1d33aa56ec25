"""Duplicate rows of a cloud. Imported on first use, since numba is heavy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from topreg._compiled import compiled, over_rows


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
