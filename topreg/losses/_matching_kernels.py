"""Matchings of least cost, compiled. Imported on first use, since numba is heavy.

Both functions minimise the sum of ``costs[i, j]`` over matched rows and columns, plus ``own`` over
unmatched rows and ``others`` over unmatched columns. Rows are added one at a time. Each follows the
shortest augmenting path (Jonker and Volgenant 1987) to a free column, or to a row that becomes
unmatched instead. The dual variables ``paid`` and ``price`` keep
``costs[i, j] >= paid[i] + price[j]``, with equality where ``i`` and ``j`` are matched, ``own >=
paid`` and ``others >= price``.
"""

from __future__ import annotations

import math

import numpy as np

from topreg._compiled import compiled

BITS = 56
BASE = 2.0**BITS


@compiled
def _augment(column_of, row_of, before, source, end, last_row):
    """Match along the path that leads from row ``source`` to column ``end`` or to ``last_row``."""
    i, j = last_row, end
    while True:
        if j < row_of.size:
            i = before[j]
            row_of[j] = i
        column_of[i], j = j, column_of[i]
        if i == source:
            return


@compiled
def smallest_positive(between, own, others):
    """Return the smallest positive number of three arrays; infinity if there is none."""
    smallest = np.inf
    for numbers in (between.ravel(), own, others):
        for number in numbers:
            if 0 < number < smallest:
                smallest = number
    return smallest


@compiled
def _accuracy(costs, own, others, column_of, row_of, paid, price):
    """Return how far a matching's total may exceed the least, and the largest cost that it uses.

    Every matching totals ``paid.sum() + price.sum()`` plus the slack of its choices, such as
    ``costs[i, j] - paid[i] - price[j]``. Without rounding no slack would be negative, and the slack
    of the matching's own choices would be 0.
    """
    m, n = costs.shape
    used = lowest = largest = largest_paid = largest_price = 0.0
    for i in range(m):
        largest_paid = max(largest_paid, abs(paid[i]))
        for j in range(n):
            slack = costs[i, j] - paid[i] - price[j]
            lowest = min(lowest, slack)
        lowest = min(lowest, own[i] - paid[i])
        j = column_of[i]
        cost = own[i] if j == n else costs[i, j]
        used += abs(cost - paid[i] - (0.0 if j == n else price[j]))
        largest = max(largest, cost)
    for j in range(n):
        largest_price = max(largest_price, abs(price[j]))
        lowest = min(lowest, others[j] - price[j])
        if row_of[j] < 0:
            used += abs(others[j] - price[j])
            largest = max(largest, others[j])
    rounding = 2.0**-51 * (largest_paid + largest_price)
    return used + (m + n) * (rounding - lowest), largest


@compiled
def rounded_matching(costs, own, others):
    """Return the column of each row (n for an unmatched row), ``paid`` and ``price``.

    Sums are rounded. The last two results are those of :func:`_accuracy`.
    """
    m, n = costs.shape
    column_of, row_of = np.full(m, n), np.full(n, -1)
    paid, price = np.zeros(m), others.copy()
    length, before, todo = np.empty(n), np.empty(n, np.int64), np.empty(n, np.int64)
    for source in range(m):
        row, last_row, end = source, source, n
        way, alone, left = 0.0, own[source], n
        for j in range(n):
            length[j], todo[j] = np.inf, j
        while True:
            offset = way - paid[row]
            if offset + own[row] < alone:
                alone, last_row = offset + own[row], row
            nearest, way = -1, alone
            for place in range(left):
                j = todo[place]
                longer = offset + costs[row, j] - price[j]
                if longer < length[j]:
                    length[j], before[j] = longer, row
                if length[j] < way or (length[j] == way and nearest >= 0 and row_of[j] < 0):
                    nearest, way = place, length[j]
            if nearest < 0:
                break
            j = todo[nearest]
            if row_of[j] < 0:
                end = j
                break
            left -= 1
            todo[nearest], todo[left] = todo[left], j
            row = row_of[j]
        paid[source] += way
        for place in range(left, n):
            j = todo[place]
            paid[row_of[j]] += way - length[j]
            price[j] -= way - length[j]
        _augment(column_of, row_of, before, source, end, last_row)
    error, largest = _accuracy(costs, own, others, column_of, row_of, paid, price)
    return column_of, paid, price, error, largest


@compiled
def _add(number, cost):
    """Add a non-negative float to a row of digits, without carrying."""
    for k in range(number.size):
        digit = math.floor(cost)
        number[k] += np.int64(digit)
        cost = (cost - digit) * BASE  # exact


@compiled
def _carry(number):
    """Bring all digits but the first into ``[0, 2**BITS)``."""
    for k in range(number.size - 1, 0, -1):
        high = number[k] >> BITS
        number[k] -= high << BITS
        number[k - 1] += high


@compiled
def _difference(a, cost, b, c):
    """Return a number with the sign of ``a + cost - b - c``.

    The digits after the k-th change the difference by less than 2 units of the k-th.
    """
    difference = np.int64(0)
    for k in range(a.size):
        digit = math.floor(cost)
        cost = (cost - digit) * BASE
        difference = (difference << BITS) + a[k] + np.int64(digit) - b[k] - c[k]
        if abs(difference) >= 2:
            break
    return difference


@compiled
def exact_matching(costs, columns, starts, own, others, digits):
    """Return the column of each row, one of ``columns[starts[i] : starts[i + 1]]``, or n for none.

    Costs are floats. Floating-point sums would lose small costs next to a large one, so sums are
    exact fixed-point numbers: rows of int64 digits. The first digit is the whole part and carries
    the sign. Each further digit is in ``[0, 2**BITS)`` and counts ``2**-BITS`` of the one before.
    With 2 bits per digit, 2.75 is ``[2, 3]`` and -0.25 is ``[-1, 3]``.
    """
    m, n = own.size, others.size
    column_of, row_of = np.full(m, n), np.full(n, -1)
    paid, price = np.zeros((m, digits), np.int64), np.zeros((n, digits), np.int64)
    for j in range(n):
        _add(price[j], others[j])
    length, before = np.zeros((n, digits), np.int64), np.full(n, -1)
    reached, done = np.empty(n, np.int64), np.zeros(n, np.bool_)
    zero, way, alone = np.zeros((3, digits), np.int64)
    for source in range(m):
        row, last_row, passed, count = source, source, 0, 0
        way[:], alone[:] = 0, 0
        _add(alone, own[source])
        while True:
            if _difference(way, own[row], alone, zero) < 0:
                alone[:], last_row = way, row
                _add(alone, own[row])
                _carry(alone)
            for place in range(starts[row], starts[row + 1]):
                j = columns[place]
                best = alone if before[j] < 0 else length[j]
                if not done[j] and _difference(way, costs[place], price[j], best) < 0:
                    length[j] = way - price[j]
                    _add(length[j], costs[place])
                    _carry(length[j])
                    if before[j] < 0:
                        reached[count], count = j, count + 1
                    before[j] = row
            nearest, lowest = -1, alone
            for place in range(passed, count):
                j = reached[place]
                closer = _difference(length[j], 0.0, lowest, zero)
                if closer < 0 or (closer == 0 and nearest >= 0 and row_of[j] < 0):
                    nearest, lowest = place, length[j]
            if nearest < 0 or row_of[reached[nearest]] < 0:
                end = n if nearest < 0 else reached[nearest]
                break
            j = reached[nearest]
            reached[nearest], reached[passed] = reached[passed], j
            done[j], passed, row = True, passed + 1, row_of[j]
            way[:] = length[j] - paid[row]
            _carry(way)
        paid[source] += lowest
        for place in range(passed):
            j = reached[place]
            change = lowest - length[j]
            paid[row_of[j]] += change
            _carry(paid[row_of[j]])
            price[j] -= change
            _carry(price[j])
        _augment(column_of, row_of, before, source, end, last_row)
        for place in range(count):
            before[reached[place]], done[reached[place]] = -1, False
    return column_of
