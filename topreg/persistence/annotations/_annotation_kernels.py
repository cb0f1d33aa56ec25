"""The table of annotations, compiled.

An annotation is the vector over Z/2 of the values that the living cocycles take on an edge. Edges
whose annotations are known to be equal share a *row*; row 0 is zero. A class has a *slot*, one bit
of every row. The table holds the matrix of bits, row by row, and its transpose, which tells which
rows carry a class. Rows and slots are reused.

The state is passed as plain arrays: tuples of them cost a hundred times as much.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from topreg._compiled import compiled

ONE = np.uint64(1)
ZERO = np.uint64(0)
ROWS, SPARE_ROWS, SLOTS, SPARE_SLOTS, DIED, WIDTH = range(6)  # of counts; words per row
HEAD, FILLED, FREE, CHANGED = range(4)  # of of_rows: first edge, non-zero words; two lists of rows
BORN, FREE_SLOT, USED = range(3)  # of of_slots: birth edge, or -1; a list of slots, and of words


@intrinsic
def lowest_bit(_typing, _word):
    """Return the position of the lowest set bit of a non-zero word, by one instruction."""

    def generate(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@compiled
def bit_at(position):
    """Return the word with one bit set."""
    return ONE << np.uint64(position & 63)


@compiled
def empty_table(edges):
    """Allocate counts, state of rows and of slots, the table, a vector, pairs (birth, death).

    All but the table have room for the worst case: memory that nothing touches costs nothing.
    """
    counts = np.zeros(6, np.int64)
    counts[ROWS] = counts[WIDTH] = 1
    of_rows, of_slots = np.empty((4, edges + 1), np.int32), np.empty((3, edges), np.int64)
    table, boundary = np.zeros((2, 64), np.uint64), np.empty(edges // 64 + 1, np.uint64)
    return counts, of_rows, of_slots, table, boundary, np.empty((2, edges), np.int64)


@compiled
def _lines(table, counts):
    """Return how many words a row of the transpose has."""
    return table.shape[1] // counts[WIDTH] >> 6


@compiled
def _matrices(table, counts):
    """Return the matrix of words, row by row, and its transpose."""
    width = counts[WIDTH]
    height = table.shape[1] // width
    return table[0].reshape(height, width), table[1].reshape(64 * width, height >> 6)


@compiled
def _enlarge(table, counts, height, width):
    """Return a copy with more rows and words; the new ones are zero."""
    old, old_carriers = _matrices(table, counts)
    grown, counts[WIDTH] = np.zeros((2, height * width), np.uint64), width
    new, new_carriers = _matrices(grown, counts)
    for row in range(old.shape[0]):  # by loops: assigning to a slice takes long to compile
        for q in range(old.shape[1]):
            new[row, q] = old[row, q]
    for slot in range(old_carriers.shape[0]):
        for line in range(old_carriers.shape[1]):
            new_carriers[slot, line] = old_carriers[slot, line]
    return grown


@compiled
def give_birth(edge, counts, of_slots):
    """Return a slot for the class that an edge creates."""
    if counts[SPARE_SLOTS]:
        counts[SPARE_SLOTS] -= 1
        slot = of_slots[FREE_SLOT, counts[SPARE_SLOTS]]
    else:
        slot = counts[SLOTS]
        counts[SLOTS] += 1
    of_slots[BORN, slot] = edge
    return slot


@compiled
def add_row(first, second, slot, counts, of_rows, table):
    """Return a row for the sum of two rows and, unless it is -1, of the class of ``slot``.

    Return row 0 if the sum is zero. Return the table, too, since it may have been enlarged.
    """
    if counts[SPARE_ROWS]:
        counts[SPARE_ROWS] -= 1
        row = np.int64(of_rows[FREE, counts[SPARE_ROWS]])
    else:
        row = counts[ROWS]
        counts[ROWS] += 1
    width, filled = (counts[SLOTS] + 63) >> 6, 0
    height = table.shape[1] // counts[WIDTH]
    if row >= height or width > counts[WIDTH]:
        higher = height if row < height else 2 * height
        wider = counts[WIDTH] if width <= counts[WIDTH] else 2 * counts[WIDTH]
        table = _enlarge(table, counts, higher, wider)
    words, carriers, wide, lines = table[0], table[1], counts[WIDTH], _lines(table, counts)
    for q in range(width):
        word = words[first * wide + q] ^ words[second * wide + q]
        if slot >> 6 == q:
            word ^= bit_at(slot)
        words[row * wide + q] = word
        filled += word != ZERO
        while word != ZERO:
            carriers[(64 * q + lowest_bit(word)) * lines + (row >> 6)] |= bit_at(row)
            word &= word - ONE
    of_rows[HEAD, row], of_rows[FILLED, row] = -1, filled
    if filled == 0:
        drop_row(row, counts, of_rows)
        row = 0
    return row, table


@compiled
def drop_row(row, counts, of_rows):
    """Mark a zero row as free."""
    of_rows[FREE, counts[SPARE_ROWS]] = row
    counts[SPARE_ROWS] += 1


@compiled
def cancel(base, left, right):
    """Return whether three rows add up to zero, as their numbers show."""
    if base == 0:
        return left == right
    return (left == 0 and right == base) or (right == 0 and left == base)


@compiled
def bounds(base, left, right, counts, table, boundary):
    """Write the annotation of a triangle's boundary; return whether it is not zero."""
    words, found, width = table[0], ZERO, counts[WIDTH]
    for q in range((counts[SLOTS] + 63) >> 6):
        boundary[q] = words[base * width + q] ^ words[left * width + q] ^ words[right * width + q]
        found |= boundary[q]
    return found != ZERO


@compiled
def _youngest(boundary, height, born):
    """Return the slot of the class with the latest birth in a boundary."""
    youngest = -1
    for q in range(height):
        rest = boundary[q]
        while rest != ZERO:
            slot = 64 * q + lowest_bit(rest)
            if youngest < 0 or born[slot] > born[youngest]:
                youngest = slot
            rest &= rest - ONE
    return youngest


@compiled
def _transpose(own, boundary, width, carriers, tall, used):
    """Add ``boundary`` to the rows of ``own``, in the transpose; list the words of it."""
    count = 0
    for q in range(width):
        rest = boundary[q]
        used[count] = q
        count += rest != ZERO
        while rest != ZERO:
            start = (64 * q + lowest_bit(rest)) * tall
            rest &= rest - ONE
            others = carriers[start : start + own.size]
            for line in range(own.size):
                others[line] ^= own[line]
    return count


@compiled
def kill(edge, counts, of_rows, of_slots, table, boundary, pairs):
    """Let the youngest class of a boundary die at an edge; list the rows that change, count them.

    The boundary is added to every row that carries the class.
    """
    words, wide, tall, used = table[0], counts[WIDTH], _lines(table, counts), of_slots[USED]
    width, changed = (counts[SLOTS] + 63) >> 6, 0
    slot = _youngest(boundary, width, of_slots[BORN])
    own = table[1, slot * tall : slot * tall + ((counts[ROWS] + 63) >> 6)].copy()
    count = _transpose(own, boundary, width, table[1], tall, used)
    for line in range(own.size):
        rest = own[line]
        while rest != ZERO:
            row = 64 * line + lowest_bit(rest)
            rest &= rest - ONE
            of_rows[CHANGED, changed] = row
            changed += 1
            filled = of_rows[FILLED, row]
            for place in range(count):
                q = used[place]
                old = words[row * wide + q]
                new = old ^ boundary[q]
                words[row * wide + q] = new
                filled += np.int32(new != ZERO) - np.int32(old != ZERO)
            of_rows[FILLED, row] = filled
    pairs[0, counts[DIED]], pairs[1, counts[DIED]] = of_slots[BORN, slot], edge
    counts[DIED] += 1
    of_slots[BORN, slot] = -1
    of_slots[FREE_SLOT, counts[SPARE_SLOTS]] = slot
    counts[SPARE_SLOTS] += 1
    return changed


@compiled
def sort_births(births, deaths, count):
    """Sort classes that die at the same edge by their births."""
    for place in range(count):
        while place and deaths[place - 1] == deaths[place] and births[place - 1] > births[place]:
            births[place - 1], births[place] = births[place], births[place - 1]
            place -= 1


@compiled
def _ends(low, high, edges, offset):
    """Return the end points of some edges."""
    ends = np.empty((edges.size, 2), np.int64)
    for row in range(edges.size):
        ends[row, 0] = offset + low[edges[row]]
        ends[row, 1] = offset + high[edges[row]]
    return ends


@compiled
def by_ends(offset, low, high, merges, pairs, born, parent):
    """Convert the result of a reduction to end points; ``offset`` is added to all vertices.

    Return birth, death and essential edges of dimension 0, with (v, v) for a vertex, then those of
    dimension 1.
    """
    n = parent.size
    dead, elders, eldest = np.empty((merges.shape[1], 2), np.int64), np.empty((n, 2), np.int64), 0
    for row in range(len(dead)):
        dead[row, 0] = dead[row, 1] = offset + merges[1, row]
    for vertex in range(n):
        elders[eldest, 0] = elders[eldest, 1] = offset + vertex
        eldest += parent[vertex] == vertex
    stays, essential, staying = np.zeros(low.size, np.bool_), np.empty(born.size, np.int64), 0
    for edge in born:
        if edge >= 0:
            stays[edge] = True
    for edge in range(low.size):
        if stays[edge]:
            essential[staying] = edge
            staying += 1
    return (
        dead,
        _ends(low, high, merges[0], offset),
        elders[:eldest],
        _ends(low, high, pairs[0], offset),
        _ends(low, high, pairs[1], offset),
        _ends(low, high, essential[:staying], offset),
    )
