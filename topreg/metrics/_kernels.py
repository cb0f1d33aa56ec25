"""Compiled loops over dense distance matrices. Imported on first use, since numba is heavy."""

from __future__ import annotations

import math

import numpy as np

from topreg._compiled import compiled, halted

TILE = 16  # one cache line of float32
FEW_ROWS = 8  # with fewer rows a transposed copy of the other points does not pay
SOME = 16  # the shift is chosen among at least so many rows
FILTER = 1 << 14  # last digits of an entry that tell whether it may be listed
RUN = 512  # points measured at a time: their four sums stay in the first cache


@compiled
def squared_difference(x, y):
    """Return the sum of squared differences in double precision, by four independent sums."""
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
def has_exact_squares(points, limit):
    """Return whether all coordinates are integers, so small that squared distances are exact.

    All integers up to ``limit`` are exact. Roots of exact squares are correctly rounded, also by
    way of double precision, so distances from inner products are then exact.
    """
    largest = 0.0
    for i in range(points.shape[0]):
        for k in range(points.shape[1]):
            value = np.float64(points[i, k])
            if value != np.rint(value):
                return False
            largest = max(largest, abs(value))
    return 8 * largest * largest * points.shape[1] < limit  # of |x|^2 + |y|^2 after a shift


@compiled
def shift_of(points):
    """Return the row to subtract from all rows before inner products, or -1 for none.

    It is the row nearest to the middle of some rows, unless the origin is nearer. It is a data
    value, not the mean, so that coordinates with few digits (integers) keep exact differences and
    equal distances stay equal. The choice only affects rounding.
    """
    n, d = points.shape
    step = max(1, n // SOME)
    mean, count = np.zeros(d), 0
    for i in range(0, n, step):
        for k in range(d):
            mean[k] += points[i, k]
        count += 1
    nearest, middle = 0.0, -1
    for k in range(d):  # by loops: expressions of arrays take long to compile
        mean[k] /= max(count, 1)
        nearest += mean[k] * mean[k]
    for i in range(0, n, step):
        square = squared_difference(points[i], mean)
        if square < nearest:
            nearest, middle = square, i
    return middle


@compiled
def shift_rows(out, points):
    """Write the shifted rows. Coordinates that are not integers are rounded by the shift."""
    middle = shift_of(points)
    shift = np.zeros(points.shape[1], out.dtype)
    if middle >= 0:
        for k in range(shift.size):
            shift[k] = points[middle, k]
    for i in range(points.shape[0]):
        for k in range(points.shape[1]):
            out[i, k] = out.dtype.type(points[i, k]) - shift[k]


@compiled
def absolute_difference(x, y):
    """Return the sum of absolute differences in double precision."""
    total = 0.0
    for k in range(x.size):
        total += abs(np.float64(x[k]) - np.float64(y[k]))
    return total


@compiled
def edge_weight(x, y, manhattan, cosine):
    """Return the distance between two points, measured in double precision and rounded once.

    This is the weight by which edges are ordered, and the value that diagrams report. For the
    cosine, rows are unit vectors: one minus it is half of their squared difference.
    """
    kind = x.dtype.type
    if manhattan:
        return kind(absolute_difference(x, y))
    square = squared_difference(x, y)
    return kind(0.5 * square) if cosine else kind(np.sqrt(square))


@compiled
def edge_weights(out, x, y, manhattan, cosine):
    """Write the distances between each row of ``x`` and the same row of ``y``."""
    for k in range(out.size):
        out[k] = edge_weight(x[k], y[k], manhattan, cosine)


@compiled
def measure_edges(out, points, births, deaths, manhattan, cosine):
    """Write the lengths of birth edges (0 if none are given) and of death edges.

    Return False if a vertex of an edge does not exist.
    """
    n = len(points)
    for column in range(2):
        edges = deaths if column else births
        for edge in range(len(edges)):
            i, j = edges[edge]
            if not (0 <= i < n and 0 <= j < n):
                return False
            weight = points.dtype.type(0)
            if i != j:
                weight = edge_weight(points[i], points[j], manhattan, cosine)
            out[edge, column] = weight
    if len(births) == 0:
        out[:, 0] = 0
    return True


@compiled
def pull_edge(out, points, i, j, slope, length, manhattan, cosine):
    """Add to ``out`` the gradient in two points, given the gradient in their distance."""
    if i == j or length == 0:
        return
    if not (manhattan or cosine):
        slope /= length
    x, y, kind = points[i], points[j], points.dtype.type
    for k in range(points.shape[1]):
        gap = np.float64(y[k]) - np.float64(x[k])
        pull = kind(slope * (np.sign(gap) if manhattan else gap))
        out[i, k] -= pull
        out[j, k] += pull


@compiled
def pull_edges(out, slopes, lengths, points, births, deaths, manhattan, cosine):
    """Add to ``out`` the gradient in the points, given the gradient in the lengths."""
    for column in range(2):
        edges = deaths if column else births
        for edge in range(len(edges)):
            i, j = edges[edge]
            length, slope = np.float64(lengths[edge, column]), np.float64(slopes[edge, column])
            pull_edge(out, points, i, j, slope, length, manhattan, cosine)


@compiled
def _places(i, j, cloud, first, corner, sizes):
    """Return the places of the entries (i, j) and (j, i), -1 if there are none, and the cloud.

    ``cloud`` is the cloud of the edge before, ``first`` its first vertex, ``corner`` its first
    entry: edges usually come in the order of their clouds.
    """
    if i < first:
        cloud, first, corner = 0, 0, 0
    while cloud < sizes.size and i >= first + sizes[cloud]:
        first += sizes[cloud]
        corner += sizes[cloud] * sizes[cloud]
        cloud += 1
    if i < first or cloud == sizes.size or not first <= j < first + sizes[cloud]:
        return -1, -1, cloud, first, corner
    n = sizes[cloud]
    above, below = corner + (i - first) * n + j - first, corner + (j - first) * n + i - first
    return above, below, cloud, first, corner


@compiled
def read_entries(out, entries, sizes, births, deaths):
    """Write the given lengths of birth edges (0 if no edges are given) and of death edges.

    Return False if a vertex of an edge does not exist, or an edge joins two clouds.
    """
    half = entries.dtype.type(0.5)
    for column in range(2):
        edges, cloud, first, corner = deaths if column else births, 0, 0, 0
        for edge in range(len(edges)):
            i, j = edges[edge]
            above, below, cloud, first, corner = _places(i, j, cloud, first, corner, sizes)
            if above < 0:
                return False
            length = entries[above] * half + entries[below] * half  # their sum may overflow
            out[edge, column] = 0 if i == j or length < 0 else length
    if len(births) == 0:
        out[:, 0] = 0
    return True


@compiled
def pull_entries(out, slopes, entries, sizes, births, deaths):
    """Add to ``out`` the gradient in the entries, given the gradient in the lengths."""
    half = out.dtype.type(0.5)
    for column in range(2):
        edges, cloud, first, corner = deaths if column else births, 0, 0, 0
        for edge in range(len(edges)):
            i, j = edges[edge]
            above, below, cloud, first, corner = _places(i, j, cloud, first, corner, sizes)
            if i != j and not entries[above] * half + entries[below] * half < 0:
                pull = half * slopes[edge, column]
                out[above] += pull
                out[below] += pull


@compiled
def _sum_of_squares(x, scale):
    """Return the sum of squares in double precision, by four independent sums."""
    a, b, c, e = 0.0, 0.0, 0.0, 0.0
    stop = x.size - x.size % 4
    for k in range(0, stop, 4):
        p, q = np.float64(x[k]) * scale, np.float64(x[k + 1]) * scale
        r, s = np.float64(x[k + 2]) * scale, np.float64(x[k + 3]) * scale
        a += p * p
        b += q * q
        c += r * r
        e += s * s
    for k in range(stop, x.size):
        p = np.float64(x[k]) * scale
        a += p * p
    return (a + b) + (c + e)


@compiled
def unit_rows(out, points, begin, end, halt):
    """Write rows divided by their lengths, computed in double precision; zero rows stay."""
    for i in range(begin, end):
        if halted(halt):
            break
        scale = 1.0
        if points.itemsize == 8:  # squares of doubles may overflow or vanish
            largest = 0.0
            for k in range(points.shape[1]):
                largest = max(largest, abs(points[i, k]))
            if 0 < largest < np.inf:
                scale = 2.0 ** -math.frexp(largest)[1]  # rounds nothing
        length = np.sqrt(_sum_of_squares(points[i], scale))
        if not 0 < length < np.inf:  # keep rows with zero, NaN or infinite length
            length = 1.0
        row, vector = points[i], out[i]
        for k in range(row.size):
            vector[k] = np.float64(row[k]) * scale / length


@compiled
def _from_products(products, square_x, squares_y, separated, floor, cosine):
    """Turn one row of inner products into distances in place; -1 if rounding errors are too large.

    Return the number of entries with -1.
    """
    undecided, half = 0, products.dtype.type(0.5)
    for j in range(products.size):
        total = square_x + squares_y[j]
        square = total - (products[j] + products[j])
        decided = (square > separated * total) and (total > floor)
        value = half * square if cosine else np.sqrt(square)
        products[j] = value if decided else products.dtype.type(-1)
        undecided += 0 if decided else 1
    return undecided


@compiled
def _rounded_from_products(out, products, square_x, squares_y, separated, slack, cosine):
    """Write distances from one row of products in double precision, rounded; -1 if undecided.

    ``slack`` bounds the relative error of a value. A value is decided if both ends of its error
    round to the same number, which is that of ``edge_weight``. Return how many are undecided.
    """
    undecided = 0
    for j in range(out.size):
        total = square_x + squares_y[j]
        square = total - (products[j] + products[j])
        value = 0.5 * square if cosine else np.sqrt(square)
        low, high = out.dtype.type(value * (1 - slack)), out.dtype.type(value * (1 + slack))
        decided = (square > separated * total) and (low == high)
        out[j] = low if decided else out.dtype.type(-1)
        undecided += 0 if decided else 1
    return undecided


@compiled
def _measure_undecided(row, x, y, cosine):
    """Measure the distances that inner products left at -1."""
    for j in range(row.size):
        if row[j] < 0:
            row[j] = edge_weight(x, y[j], False, cosine)


@compiled
def _transpose_tile(matrix, top, left, buffer):
    """Copy one tile above the diagonal to its place below."""
    for i in range(TILE):
        row = matrix[top + i, left : left + TILE]
        for j in range(TILE):
            buffer[j, i] = row[j]
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
def estimate_upper(gram, points, separated, floor, cosine, halt):
    """Turn a Gram matrix, upper triangle given, into the full distance matrix in place.

    Return the largest ``|x|^2`` of a row that was multiplied.
    """
    n = gram.shape[0]
    squares, largest = np.empty(n, gram.dtype), 0.0
    for i in range(n):
        squares[i] = gram[i, i]
        largest = max(largest, squares[i])
    for i in range(n):
        if halted(halt):
            break
        gram[i, i] = 0
        row, others = gram[i, i + 1 :], points[i + 1 :]
        if _from_products(row, squares[i], squares[i + 1 :], separated, floor, cosine) > 0:
            _measure_undecided(row, points[i], others, cosine)
    mirror(gram, halt)
    return largest


@compiled
def estimate_rectangle(products, x, squares_x, y, squares_y, separated, floor, cosine, halt):
    """Turn the inner products of two sets of points into their distances in place."""
    for i in range(len(x)):
        if halted(halt):
            break
        row = products[i]
        if _from_products(row, squares_x[i], squares_y, separated, floor, cosine) > 0:
            _measure_undecided(row, x[i], y, cosine)


@compiled
def round_rows(
    out, products, x, squares_x, y, squares_y, separated, slack, cosine, begin, end, halt
):
    """Write rows of distances between ``x`` and ``y``, given inner products in double precision."""
    for i in range(begin, end):
        if halted(halt):
            break
        left = _rounded_from_products(
            out[i], products[i], squares_x[i], squares_y, separated, slack, cosine
        )
        if left > 0:
            _measure_undecided(out[i], x[i], y, cosine)


@compiled
def round_upper(out, products, points, squares, separated, slack, cosine, top, halt):
    """Write distances above the diagonal of one cloud, for some rows.

    The first row and column of ``products`` belong to the point ``top``. Squares of norms are read
    from its diagonal; those of points that come after these rows are given.
    """
    end = top + len(products)
    for i in range(top, end):
        squares[i] = products[i - top, i - top]
    for i in range(top, end):
        if halted(halt):
            break
        row, others = out[i, i + 1 :], products[i - top, i - top + 1 :]
        left = _rounded_from_products(
            row, others, squares[i], squares[i + 1 :], separated, slack, cosine
        )
        if left > 0:
            _measure_undecided(row, points[i], points[i + 1 :], cosine)
        out[i, i] = 0


@compiled
def upper_entries(matrix):
    """Return the entries above the diagonal."""
    n, count = matrix.shape[0], 0
    entries = np.empty(n * (n - 1) // 2, matrix.dtype)
    for i in range(n):
        for j in range(i + 1, n):
            entries[count] = matrix[i, j]
            count += 1
    return entries


@compiled
def close_entries(entries, slack):
    """Return the sorted entries that have a neighbour within a relative distance."""
    kept, count = np.empty(entries.size, entries.dtype), 0
    for place in range(entries.size):
        here, gap = entries[place], entries[place] * slack
        near = place > 0 and here - entries[place - 1] <= gap
        near = near or (place + 1 < entries.size and entries[place + 1] - here <= gap)
        if near and here > 0:  # zeros were measured
            kept[count] = here
            count += 1
    return kept[:count]


@compiled
def measure_listed(matrix, points, listed, cosine, halt):
    """Measure by differences the entries above the diagonal whose values are listed.

    A table of the last digits of listed values, which are nearly random, rules out most entries.
    """
    ones, known = np.uint64(FILTER - 1), np.zeros(FILTER, np.bool_)
    for bits in listed.view(np.uint64):
        known[bits & ones] = True
    for i in range(matrix.shape[0]):
        if halted(halt):
            break
        row, bits = matrix[i], matrix[i].view(np.uint64)
        for j in range(i + 1, matrix.shape[1]):
            if known[bits[j] & ones]:
                place = np.searchsorted(listed, row[j])
                if place < listed.size and listed[place] == row[j]:
                    row[j] = edge_weight(points[i], points[j], False, cosine)


@compiled
def coordinates(points):
    """Return the points transposed, (d, n), in double precision."""
    columns = np.empty((points.shape[1], points.shape[0]))
    for i in range(points.shape[0]):
        for k in range(points.shape[1]):
            columns[k, i] = points[i, k]
    return columns


@compiled
def _direct_row(row, x, columns, first, sums, cosine):
    """Write the distances from ``x`` to point ``first`` and all after it, many at a time.

    They equal those of ``squared_difference`` to the bit: the four sums are the same, in the same
    order.
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
            square = (sums[0, j] + sums[1, j]) + (sums[2, j] + sums[3, j])
            part[j] = 0.5 * square if cosine else np.sqrt(square)


@compiled
def _manhattan_row(row, x, columns, first, sums):
    """Write Manhattan distances from ``x`` to point ``first`` and all after it, many at a time.

    They equal those of ``absolute_difference`` to the bit, since the order of sums is the same.
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
def measure_rows(out, x, columns, manhattan, cosine, halt):
    """Write distances to points that are given transposed."""
    sums = np.empty((4, RUN))
    for i in range(len(x)):
        if halted(halt):
            break
        if manhattan:
            _manhattan_row(out[i], x[i], columns, 0, sums)
        else:
            _direct_row(out[i], x[i], columns, 0, sums, cosine)


@compiled
def measure_between(out, x, y, manhattan, cosine, halt):
    """Write distances measured by differences, for few coordinates or the Manhattan metric."""
    if len(x) >= FEW_ROWS or not manhattan:
        measure_rows(out, x, coordinates(y), manhattan, cosine, halt)
        return
    for i in range(len(x)):
        for j in range(len(y)):
            out[i, j] = absolute_difference(x[i], y[j])


@compiled
def measure_upper(out, points, manhattan, cosine, halt):
    """Write distances within one cloud: measure above the diagonal, copy below."""
    columns, sums = coordinates(points), np.empty((4, RUN))
    for i in range(len(points)):
        if halted(halt):
            break
        out[i, i] = 0
        if manhattan:
            _manhattan_row(out[i], points[i], columns, i + 1, sums)
        else:
            _direct_row(out[i], points[i], columns, i + 1, sums, cosine)
    mirror(out, halt)
