"""The table of annotations, compiled.

An annotation is the vector over Z/2 of the values that the living cocycles take on an edge. Edges
whose annotations are known to be equal share a *row*; row 0 is zero. A class has a *slot*, one bit
of every row. The table holds the first words of all rows, then their second words, and so on, so
that the rows that carry a class are found by reading in order. Rows and slots are reused.

These functions take the parts of the state that they use as plain arrays.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from topreg._compiled import compiled, inlined
from topreg._scratch_kernels import reserve, reserve_zeros
from topreg.persistence.annotations._edge_kernels import ends_of

ONE = np.uint64(1)
ZERO = np.uint64(0)
ROWS, SPARE_ROWS, SLOTS, SPARE_SLOTS, DIED, MERGED, UNSURE = range(7)  # of counts
COUNTS = 7
FEW = 16  # rows among which equal ones are looked for
HEAD, FILLED, FREE, CHANGED = range(4)  # of of_rows: first edge, non-zero words; two lists of rows
BORN, FREE_SLOT = range(2)  # of of_slots: birth edge, or -1; a list of slots


@intrinsic
def lowest_bit(_typing, _word):
    """Return the position of the lowest set bit of a non-zero word, by one instruction."""

    def generate(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


def _vector(context, builder, signature, arguments, place):
    """Return the first 64 entries of an array that is an argument, as one vector."""
    array = context.make_array(signature.args[place])(context, builder, arguments[place])
    many = ir.VectorType(array.data.type.pointee, 64)
    bytes_per_entry = array.data.type.pointee.width // 8
    return builder.load(builder.bitcast(array.data, many.as_pointer()), align=bytes_per_entry)


def _repeated(builder, number):
    """Return a vector of 64 times the same number, and one of zeros."""
    zeros = ir.Constant(ir.VectorType(number.type, 64), [0] * 64)
    places = ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64)
    single = builder.insert_element(zeros, number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(single, zeros, places), zeros


@intrinsic
def triangles(_typing, present, active, u, v, first):
    """Return what four words of adjacency bits, from ``first``, show of the triangles over an edge.

    It is 0 if there are none there, 1 if no other side of them has an annotation, and 3 if one has.
    """

    def generate(context, builder, signature, arguments):
        number, four = ir.IntType(64), ir.VectorType(ir.IntType(64), 4)
        u, v, first = arguments[2:]

        def words(place, row):
            array = context.make_array(signature.args[place])(context, builder, arguments[place])
            width = builder.extract_value(array.shape, 1)
            start = builder.gep(array.data, [builder.add(builder.mul(row, width), first)])
            return builder.load(builder.bitcast(start, four.as_pointer()), align=8)

        def any_of(bits):
            found = builder.icmp_unsigned("!=", bits, ir.Constant(four, [0] * 4))
            found = builder.bitcast(found, ir.IntType(4))
            return builder.zext(builder.icmp_unsigned("!=", found, found.type(0)), number)

        apexes = builder.and_(words(0, u), words(0, v))
        labelled = builder.and_(apexes, builder.or_(words(1, u), words(1, v)))
        return builder.or_(any_of(apexes), builder.shl(any_of(labelled), number(1)))

    return types.int64(present, active, *[types.int64] * 3), generate


@intrinsic
def not_cancelled(_typing, left, right, base):
    """Return, as bits, which of 64 apexes have sides that do not cancel the row of the edge.

    A row cancels an equal one, as in :func:`cancel`. All 64 are compared by vector instructions,
    which the compiler does not find by itself.
    """

    def generate(context, builder, signature, arguments):
        def equal(these, those):
            return builder.icmp_unsigned("==", these, those)

        one, other = (_vector(context, builder, signature, arguments, side) for side in (0, 1))
        base, zero = _repeated(builder, arguments[2])
        any_zero = builder.or_(builder.or_(equal(one, zero), equal(other, zero)), equal(base, zero))
        even = builder.and_(equal(builder.xor(one, other), base), any_zero)
        return builder.bitcast(builder.not_(even), ir.IntType(64))

    return types.uint64(left, right, base), generate


@intrinsic
def carriers(_typing, words, bit):
    """Return, as bits, which of 64 words have the given bit."""

    def generate(context, builder, signature, arguments):
        given, zero = _repeated(builder, arguments[1])
        common = builder.and_(_vector(context, builder, signature, arguments, 0), given)
        return builder.bitcast(builder.icmp_unsigned("!=", common, zero), ir.IntType(64))

    return types.uint64(words, bit), generate


@inlined
def bit_at(position):
    """Return the word with one bit set."""
    return ONE << np.uint64(position & 63)


@compiled
def empty_table(edges, block):
    """Allocate counts, state of rows and of slots, the table, a vector, pairs (birth, death).

    All but the table have room for the worst case: memory that nothing touches costs nothing.
    """
    counts, table = reserve_zeros(block, COUNTS, np.int64), reserve_zeros(block, 64, np.uint64)
    counts[ROWS] = 1
    of_rows = reserve(block, 4 * (edges + 1), np.int32).reshape(4, edges + 1)
    of_slots = reserve(block, 2 * edges, np.int64).reshape(2, edges)
    pairs = reserve(block, 2 * edges, np.int64).reshape(2, edges)
    boundary = reserve(block, edges // 64 + 1, np.uint64)
    return counts, of_rows, of_slots, table.reshape(1, 64), boundary, pairs


@compiled
def _enlarge(table, rows, wider, longer, block):
    """Return a copy with more words in a row, or more rows. The new ones are zero.

    The number of rows stays an odd multiple of 64, since the first words of few rows share a line
    of the cache if it is a power of two.
    """
    width, height = table.shape
    width, height = (2 * width if wider else width), (2 * height + 64 if longer else height)
    grown = reserve_zeros(block, width * height, np.uint64).reshape(width, height)
    for q in range(table.shape[0]):  # by loops: assigning to a slice takes long to compile
        for row in range(rows):
            grown[q, row] = table[q, row]
    return grown


@inlined
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
    wider, longer = width > table.shape[0], row >= table.shape[1]
    if wider or longer:
        table = _enlarge(table, min(counts[ROWS], table.shape[1]), wider, longer, block)
    for q in range(width):
        word = table[q, first] ^ table[q, second]
        if slot >> 6 == q:
            word ^= bit_at(slot)
        table[q, row] = word
        filled += word != ZERO
    of_rows[HEAD, row], of_rows[FILLED, row] = -1, filled
    if filled == 0:
        drop_row(row, counts, of_rows)
        row = 0
    return row, table


@inlined
def drop_row(row, counts, of_rows):
    """Mark a zero row as free."""
    of_rows[FREE, counts[SPARE_ROWS]] = row
    counts[SPARE_ROWS] += 1


@compiled
def twin_of(row, counts, table):
    """Return another row that is equal to this one, which is not zero; 0 if there is none."""
    first, width = 0, (counts[SLOTS] + 63) >> 6
    while table[first, row] == ZERO:
        first += 1
    for other in range(1, counts[ROWS]):
        if table[first, other] == table[first, row] and other != row:
            equal = True
            for q in range(width):
                equal &= table[q, other] == table[q, row]
            if equal:
                return other
    return 0


@compiled
def clear_row(row, counts, table):
    """Make a row zero."""
    for q in range((counts[SLOTS] + 63) >> 6):
        table[q, row] = ZERO


@inlined
def cancel(base, left, right):
    """Return whether three rows add up to zero, as their numbers show."""
    if base == 0:
        return left == right
    return (left == 0 and right == base) or (right == 0 and left == base)


@inlined
def bounds(base, left, right, counts, table, boundary):
    """Write the annotation of a triangle's boundary; return whether it is not zero."""
    found = ZERO
    for q in range((counts[SLOTS] + 63) >> 6):
        word = table[q, base] ^ table[q, left] ^ table[q, right]
        boundary[q] = word
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
def _list_carriers(slot, words, rows, listed):
    """List the rows that carry the class of a slot, given its word of each row; count them."""
    bit, count = bit_at(slot), 0
    for start in range(0, rows, 64):
        rest = carriers(words[start : start + 64], bit)
        while rest != ZERO:
            listed[count] = start + lowest_bit(rest)
            count += 1
            rest &= rest - ONE
    return count


@compiled
def kill(edge, counts, of_rows, of_slots, table, boundary, pairs):
    """Let the youngest class of a boundary die at an edge; list the rows that change, count them.

    The boundary is added to every row that carries the class.
    """
    width, changed, filled = (counts[SLOTS] + 63) >> 6, of_rows[CHANGED], of_rows[FILLED]
    slot = _youngest(boundary, width, of_slots[BORN])
    count = _list_carriers(slot, table[slot >> 6], counts[ROWS], changed)
    for q in range(width):
        added, words = boundary[q], table[q]
        if added != ZERO:
            for place in range(count):
                row = changed[place]
                old = words[row]
                new = old ^ added
                words[row] = new
                filled[row] += np.int32(new != ZERO) - np.int32(old != ZERO)
    pairs[0, counts[DIED]], pairs[1, counts[DIED]] = of_slots[BORN, slot], edge
    counts[DIED] += 1
    of_slots[BORN, slot] = -1
    of_slots[FREE_SLOT, counts[SPARE_SLOTS]] = slot
    counts[SPARE_SLOTS] += 1
    return count


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
