"""The table of annotations, compiled.

An annotation is the vector over Z/2 of the values that the living cocycles take on an edge. Edges
whose annotations are known to be equal share a *row*; row 0 is zero. A class has a *slot*, one bit
of every row. The table holds the matrix of bits, row by row, and its transpose, which tells which
rows carry a class. Rows and slots are reused.

These functions take the parts of the state that they use as plain arrays.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from topreg._compiled import compiled
from topreg._scratch_kernels import reserve, reserve_zeros
from topreg.persistence.annotations._edge_kernels import ends_of

ONE = np.uint64(1)
ZERO = np.uint64(0)
ROWS, SPARE_ROWS, SLOTS, SPARE_SLOTS, DIED, WIDTH, MERGED = range(7)  # of counts; words per row
COUNTS = 7
FEW = 16  # rows among which equal ones are looked for
HEAD, FILLED, FREE, CHANGED = range(4)  # of of_rows: first edge, non-zero words; two lists of rows
BORN, FREE_SLOT, USED = range(3)  # of of_slots: birth edge, or -1; a list of slots, and of words


@intrinsic
def lowest_bit(_typing, _word):
    """Return the position of the lowest set bit of a non-zero word, by one instruction."""

    def generate(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@intrinsic
def not_cancelled(_typing, left, right, base):
    """Return, as bits, which of 64 apexes have sides that do not cancel the row of the edge.

    A row cancels an equal one, as in :func:`cancel`. All 64 are compared by vector instructions,
    which the compiler does not find by itself.
    """

    def generate(context, builder, signature, arguments):
        kind, rows = ir.IntType(32), ir.VectorType(ir.IntType(32), 64)

        def rows_of(place):
            array = context.make_array(signature.args[place])(context, builder, arguments[place])
            return builder.load(builder.bitcast(array.data, rows.as_pointer()), align=4)

        def equal(these, those):
            return builder.icmp_unsigned("==", these, those)

        one, other, zero = rows_of(0), rows_of(1), ir.Constant(rows, [0] * 64)
        base = builder.insert_element(zero, arguments[2], ir.Constant(kind, 0))
        base = builder.shuffle_vector(base, zero, zero)  # 64 times the same
        any_zero = builder.or_(builder.or_(equal(one, zero), equal(other, zero)), equal(base, zero))
        even = builder.and_(equal(builder.xor(one, other), base), any_zero)
        return builder.bitcast(builder.not_(even), ir.IntType(64))

    return types.uint64(left, right, base), generate


@compiled
def bit_at(position):
    """Return the word with one bit set."""
    return ONE << np.uint64(position & 63)


@compiled
def empty_table(edges, block):
    """Allocate counts, state of rows and of slots, the table, a vector, pairs (birth, death).

    All but the table have room for the worst case: memory that nothing touches costs nothing.
    """
    counts, table = reserve_zeros(block, COUNTS, np.int64), reserve_zeros(block, 128, np.uint64)
    counts[ROWS] = counts[WIDTH] = 1
    of_rows = reserve(block, 4 * (edges + 1), np.int32).reshape(4, edges + 1)
    of_slots = reserve(block, 3 * edges, np.int64).reshape(3, edges)
    pairs = reserve(block, 2 * edges, np.int64).reshape(2, edges)
    boundary = reserve(block, 2 * (edges // 64 + 1), np.uint64).reshape(2, edges // 64 + 1)
    return counts, of_rows, of_slots, table.reshape(2, 64), boundary, pairs


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
def _enlarge(table, counts, height, width, block):
    """Return a copy with more rows and words; the new ones are zero."""
    old, old_carriers = _matrices(table, counts)
    grown = reserve_zeros(block, 2 * height * width, np.uint64).reshape(2, height * width)
    counts[WIDTH] = width
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
def add_row(first, second, slot, counts, of_rows, table, block):
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
        table = _enlarge(table, counts, higher, wider, block)
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
def twin_of(row, counts, of_rows, table):
    """Return another row that is equal to this one, which is not zero; 0 if there is none."""
    words, carriers, wide, lines = table[0], table[1], counts[WIDTH], _lines(table, counts)
    q = 0
    while words[row * wide + q] == ZERO:
        q += 1
    start = (64 * q + lowest_bit(words[row * wide + q])) * lines
    for line in range((counts[ROWS] + 63) >> 6):
        rest = carriers[start + line]
        while rest != ZERO:
            other, equal = 64 * line + lowest_bit(rest), True
            rest &= rest - ONE
            for q in range((counts[SLOTS] + 63) >> 6):
                equal &= words[row * wide + q] == words[other * wide + q]
            if equal and other != row:
                return other
    return 0


@compiled
def clear_row(row, counts, of_rows, table):
    """Make a row zero."""
    words, carriers, wide, lines = table[0], table[1], counts[WIDTH], _lines(table, counts)
    for q in range((counts[SLOTS] + 63) >> 6):
        rest, words[row * wide + q] = words[row * wide + q], ZERO
        while rest != ZERO:
            carriers[(64 * q + lowest_bit(rest)) * lines + (row >> 6)] &= ~bit_at(row)
            rest &= rest - ONE
    of_rows[FILLED, row] = 0


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
        word = words[base * width + q] ^ words[left * width + q] ^ words[right * width + q]
        boundary[0, q] = word
        found |= word
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
def kill(edge, counts, of_rows, of_slots, table, vectors, pairs):
    """Let the youngest class of a boundary die at an edge; list the rows that change, count them.

    The boundary is added to every row that carries the class.
    """
    words, wide, tall, used = table[0], counts[WIDTH], _lines(table, counts), of_slots[USED]
    width, changed, boundary, own = (counts[SLOTS] + 63) >> 6, 0, vectors[0], vectors[1]
    slot = _youngest(boundary, width, of_slots[BORN])
    own = own[: (counts[ROWS] + 63) >> 6]
    for line in range(own.size):
        own[line] = table[1, slot * tall + line]
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
def _end_points(ends, bits, edges, offset):
    """Return the end points of some edges."""
    rows = np.empty((edges.size, 2), np.int64)
    for row in range(edges.size):
        low, high = ends_of(ends[edges[row]], bits)
        rows[row, 0], rows[row, 1] = offset + low, offset + high
    return rows


@compiled
def by_ends(offset, bits, ends, merges, pairs, born, parent):
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
    stays, staying = np.zeros(ends.size, np.bool_), 0
    for edge in born:
        if edge >= 0:
            stays[edge], staying = True, staying + 1
    essential, staying = np.empty(staying, np.int64), 0
    for edge in range(ends.size if essential.size else 0):
        if stays[edge]:
            essential[staying], staying = edge, staying + 1
    return (
        dead,
        _end_points(ends, bits, merges[0], offset),
        elders[:eldest],
        _end_points(ends, bits, pairs[0], offset),
        _end_points(ends, bits, pairs[1], offset),
        _end_points(ends, bits, essential, offset),
    )
