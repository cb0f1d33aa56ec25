"""Compiled loops over dense distance matrices. Imported on first use, since numba is heavy."""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted

TILE = 16  # one cache line of float32
FEW_ROWS = 8  # fewer do not pay for the transposed copy of the other points
RUN = 512  # points measured at a time: their four sums stay in the first cache


@compiled
def squared_difference(x, y):
    """Sum of squared differences in double precision, in four independent sums."""
    a, b, c, e = 0.0, 0.0, 0.0, 0.0
    stop = x.size - x.size % 4
    for k in range(0, stop, 4):
        p = np.float64(x[k]) - np.float64(y[k])
        q = np.float64(x[k + 1]) - np.float64(y[k + 1])
        r = np.float64(x[k + 2]) - np.float64(y[k + 2])
        s = np.float64(x[k + 3]) - np.float64(y[k + 3])
        a += p * p
        b += q * q
        c += r * r
        e += s * s
    for k in range(stop, x.size):
        p = np.float64(x[k]) - np.float64(y[k])
        a += p * p
    return (a + b) + (c + e)


@compiled
def centre(points, first, last):
    """Shift rows ``first`` to ``last`` in place by the better of the origin and their medoid.

    The shift is a data value, never the mean, so that coordinates with few digits (integers) keep
    exact differences and equal distances stay equal. Other coordinates are rounded by the shift:
    only the Gram matrix may be taken of the result.
    """
    n, d = last - first, points.shape[1]
    mean = np.zeros(d)
    for i in range(first, last):
        for k in range(d):
            mean[k] += points[i, k]
    mean /= max(n, 1)
    nearest, medoid = np.inf, first
    for i in range(first, last):
        square = squared_difference(points[i], mean)
        if square < nearest:
            nearest, medoid = square, i
    offset = np.sum(mean * mean)
    if n == 0 or not nearest < offset:
        return
    shift = points[medoid].copy()
    for i in range(first, last):
        for k in range(d):
            points[i, k] -= shift[k]


@compiled
def absolute_difference(x, y):
    """Sum of absolute differences in double precision."""
    total = 0.0
    for k in range(x.size):
        total += abs(np.float64(x[k]) - np.float64(y[k]))
    return total


@compiled
def _from_products(products, square_x, squares_y, separated, floor):
    """Turn one row of inner products into distances in place; -1 where rounding decides.

    Returns how many entries were left at -1.
    """
    undecided = 0
    for j in range(products.size):
        total = square_x + squares_y[j]
        square = total - (products[j] + products[j])
        decided = (square > separated * total) and (total > floor)
        products[j] = np.sqrt(square) if decided else products.dtype.type(-1)
        undecided += 0 if decided else 1
    return undecided


@compiled
def euclidean_row(row, x, square_x, y, squares_y, separated, floor):
    """Distances from ``x`` to the rows of ``y``, given their inner products in ``row``."""
    if _from_products(row, square_x, squares_y, separated, floor) > 0:
        for j in range(row.size):
            if row[j] < 0:
                row[j] = np.sqrt(squared_difference(x, y[j]))


@compiled
def transpose_into(buffer, matrix, top, left):
    """Copy a whole tile of a matrix, transposed."""
    for i in range(TILE):
        row = matrix[top + i, left : left + TILE]
        for j in range(TILE):
            buffer[j, i] = row[j]


@compiled
def _transpose_tile(matrix, top, left, buffer):
    """Copy one tile above the diagonal to its place below."""
    transpose_into(buffer, matrix, top, left)
    for j in range(TILE):
        row, image = matrix[left + j, top : top + TILE], buffer[j]
        for i in range(TILE):
            row[i] = image[i]


@compiled
def mirror(matrix, halt):
    """Copy the upper triangle of a square matrix to the lower one.

    Tiles pass through a buffer: columns of a matrix whose width is a power of two share few cache
    sets, and writing down them directly took five times as long.
    """
    n = matrix.shape[0]
    whole = n - n % TILE
    buffer = np.empty((TILE, TILE), matrix.dtype)
    for top in range(0, whole, TILE):
        if halted(halt):
            break
        for i in range(top, top + TILE):
            for j in range(i + 1, top + TILE):
                matrix[j, i] = matrix[i, j]
        for left in range(top + TILE, whole, TILE):
            _transpose_tile(matrix, top, left, buffer)
    for j in range(whole, n):
        for i in range(j):
            matrix[j, i] = matrix[i, j]


@compiled
def euclidean_upper(gram, points, separated, floor, halt):
    """Turn a Gram matrix, upper triangle given, into the full distance matrix in place."""
    n = gram.shape[0]
    squares = np.empty(n, gram.dtype)
    for i in range(n):
        squares[i] = gram[i, i]
    for i in range(n):
        if halted(halt):
            break
        gram[i, i] = 0
        euclidean_row(
            gram[i, i + 1 :], points[i], squares[i], points[i + 1 :], squares[i + 1 :],
            separated, floor,
        )  # fmt: skip
    mirror(gram, halt)


@compiled
def euclidean_rectangle(products, x, squares_x, y, squares_y, separated, floor, halt):
    """Turn the inner products of two sets of points into their distances in place."""
    for i in range(len(x)):
        if halted(halt):
            break
        euclidean_row(products[i], x[i], squares_x[i], y, squares_y, separated, floor)


@compiled
def coordinates(points):
    """The points transposed, (d, n), in double precision."""
    columns = np.empty((points.shape[1], points.shape[0]))
    for i in range(points.shape[0]):
        for k in range(points.shape[1]):
            columns[k, i] = points[i, k]
    return columns


@compiled
def _direct_row(row, x, columns, first, sums):
    """Distances from ``x`` to the points from ``first`` on, by differences, many at a time.

    Bit for bit what ``squared_difference`` gives: the same four sums, added in the same order.
    """
    d, n = columns.shape
    whole = d - d % 4
    for start in range(first, n, RUN):
        size = min(RUN, n - start)
        sums[:, :size] = 0
        for k in range(d):
            column, total = columns[k, start : start + size], sums[k % 4 if k < whole else 0]
            coordinate = np.float64(x[k])
            for j in range(size):
                gap = coordinate - column[j]
                total[j] += gap * gap
        part = row[start : start + size]
        for j in range(size):
            part[j] = np.sqrt((sums[0, j] + sums[1, j]) + (sums[2, j] + sums[3, j]))


@compiled
def euclidean_direct(out, x, y, halt):
    """Distances by differences alone, for few coordinates."""
    columns, sums = coordinates(y), np.empty((4, RUN))
    for i in range(len(x)):
        if halted(halt):
            break
        _direct_row(out[i], x[i], columns, 0, sums)


@compiled
def euclidean_direct_upper(out, points, halt):
    """The same within one cloud: measured above the diagonal, copied below."""
    columns, sums = coordinates(points), np.empty((4, RUN))
    for i in range(len(points)):
        if halted(halt):
            break
        out[i, i] = 0
        _direct_row(out[i], points[i], columns, i + 1, sums)
    mirror(out, halt)


@compiled
def _manhattan_row(row, x, columns, first, sums):
    """Sums of absolute differences from ``x`` to the points from ``first`` on, many at a time.

    Bit for bit what ``absolute_difference`` gives: added in the order of the coordinates.
    """
    d, n = columns.shape
    total = sums[0]
    for start in range(first, n, RUN):
        size = min(RUN, n - start)
        total[:size] = 0
        for k in range(d):
            column, coordinate = columns[k, start : start + size], np.float64(x[k])
            for j in range(size):
                total[j] += abs(coordinate - column[j])
        part = row[start : start + size]
        for j in range(size):
            part[j] = total[j]


@compiled
def manhattan_rows(out, x, columns, halt):
    """Sums of absolute differences to points given by their coordinates."""
    sums = np.empty((1, RUN))
    for i in range(len(x)):
        if halted(halt):
            break
        _manhattan_row(out[i], x[i], columns, 0, sums)


@compiled
def manhattan(out, x, y, halt):
    """Sums of absolute differences."""
    if len(x) >= FEW_ROWS:
        manhattan_rows(out, x, coordinates(y), halt)
        return
    for i in range(len(x)):
        for j in range(len(y)):
            out[i, j] = absolute_difference(x[i], y[j])


@compiled
def manhattan_upper(out, points, halt):
    """The same within one cloud: measured above the diagonal, copied below."""
    columns, sums = coordinates(points), np.empty((1, RUN))
    for i in range(len(points)):
        if halted(halt):
            break
        out[i, i] = 0
        _manhattan_row(out[i], points[i], columns, i + 1, sums)
    mirror(out, halt)
