"""The table of annotations, compiled.

An annotation is the vector over Z/2 of the values that the living cocycles take on an edge. Edges
whose annotations are known to be equal share a *row*; row 0 is zero. A class has a *slot*, one bit
of every row. Rows are stored word by word, ``words[q, row]``, so that the rows that carry a class
are found in one pass over consecutive memory. Rows and slots are reused.

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
ROWS, SPARE_ROWS, SLOTS, SPARE_SLOTS, DIED = range(5)  # of counts
HEAD, FILLED, FREE, CARRIERS = range(4)  # of of_rows: first edge, non-zero words; two lists of rows
BORN, FREE_SLOT = range(2)  # of of_slots: birth edge, or -1; a list of slots


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
    """Allocate counts, state of rows and of slots, words, a vector of words, pairs (birth, death).

    All but the words have room for the worst case: memory that nothing touches costs nothing.
    """
    counts = np.zeros(5, np.int64)
    counts[ROWS] = 1
    of_rows, of_slots = np.empty((4, edges + 1), np.int32), np.empty((2, edges), np.int64)
    words, boundary = np.zeros((1, 64), np.uint64), np.empty(edges // 64 + 1, np.uint64)
    return counts, of_rows, of_slots, words, boundary, np.empty((2, edges), np.int64)


@compiled
def _enlarge(words, height, width):
    """Return a copy with more words and rows; the new ones are zero."""
    grown = np.zeros((height, width), np.uint64)
    for q in range(words.shape[0]):  # by loops: assigning to a slice takes long to compile
        for row in range(words.shape[1]):
            grown[q, row] = words[q, row]
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
def add_row(first, second, slot, counts, of_rows, words):
    """Return a row for the sum of two rows and, unless it is -1, of the class of ``slot``.

    Return row 0 if the sum is zero. Return the words, too, since they may have been enlarged.
    """
    if counts[SPARE_ROWS]:
        counts[SPARE_ROWS] -= 1
        row = np.int64(of_rows[FREE, counts[SPARE_ROWS]])
    else:
        row = counts[ROWS]
        counts[ROWS] += 1
    height, filled = (counts[SLOTS] + 63) >> 6, 0
    if height > words.shape[0] or row >= words.shape[1]:
        higher = words.shape[0] if height <= words.shape[0] else 2 * words.shape[0]
        wider = words.shape[1] if row < words.shape[1] else 2 * words.shape[1]
        words = _enlarge(words, higher, wider)
    for q in range(height):
        word = words[q, first] ^ words[q, second]
        if slot >> 6 == q:
            word ^= bit_at(slot)
        words[q, row] = word
        filled += word != ZERO
    of_rows[HEAD, row], of_rows[FILLED, row] = -1, filled
    if filled == 0:
        drop_row(row, counts, of_rows)
        row = 0
    return row, words


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
def bounds(base, left, right, counts, words, boundary):
    """Write the annotation of a triangle's boundary; return whether it is not zero."""
    found = ZERO
    for q in range((counts[SLOTS] + 63) >> 6):
        boundary[q] = words[q, base] ^ words[q, left] ^ words[q, right]
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
def _add(slot, boundary, height, words, rows, filled, carriers):
    """Add ``boundary`` to the rows that carry the class of ``slot``; list and count them.

    ``filled`` counts the non-zero words of each row.
    """
    column, shift, count = words[slot >> 6], np.uint64(slot & 63), 0
    for row in range(1, rows):
        carriers[count] = row
        count += np.int64((column[row] >> shift) & ONE)
    for q in range(height):
        added = boundary[q]
        if added == ZERO:
            continue
        column = words[q]
        for place in range(count):
            row = carriers[place]
            old = column[row]
            new = old ^ added
            column[row] = new
            filled[row] += np.int32(new != ZERO) - np.int32(old != ZERO)
    return count


@compiled
def kill(edge, counts, of_rows, of_slots, words, boundary, pairs):
    """Let the youngest class of a boundary die at an edge; return how many rows change."""
    height = (counts[SLOTS] + 63) >> 6
    slot = _youngest(boundary, height, of_slots[BORN])
    changed = _add(slot, boundary, height, words, counts[ROWS], of_rows[FILLED], of_rows[CARRIERS])
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
