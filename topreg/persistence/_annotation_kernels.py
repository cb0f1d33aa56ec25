"""First homology of a flag filtration by annotations over adjacency bitsets, compiled.

An annotation is the vector over Z/2 of the values that the living cocycles take on an edge. Edges
enter in the total order. An edge (u, v) without a common neighbour joins two components or gives
birth to a class; otherwise its annotation follows from any one triangle, and every other triangle
(u, v, w) whose boundary has a non-zero annotation kills the youngest class in it.

Edges whose annotations are known to be equal share a *row*; row 0 is zero. Rows are stored word by
word, ``words[q, row]``, so that the rows that carry a class are found in one walk along memory.
The state is passed as plain arrays: tuples of them cost a hundred times as much.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from topreg._compiled import compiled
from topreg.persistence._edge_kernels import (
    ENDS,
    LAST,
    bounds_of_shares,
    sorted_records,
    take,
    unpack,
)
from topreg.persistence._prim_kernels import _root

ONE = np.uint64(1)
ZERO = np.uint64(0)


@intrinsic
def _lowest_bit(_typing, _word):
    """Position of the lowest set bit of a non-zero word, by one instruction."""

    def generate(_context, builder, _signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@compiled
def _bit(position):
    """The word with one bit set."""
    return ONE << np.uint64(position & 63)


@compiled
def _enlarged(table, height, width):
    """A copy with more rows and columns, the new ones zero."""
    grown = np.zeros((height, width), table.dtype)
    for i in range(table.shape[0]):  # by loops: assigning to a slice takes seconds to compile
        for j in range(table.shape[1]):
            grown[i, j] = table[i, j]
    return grown


@compiled
def _share_a_neighbour(present, u, v):
    """Whether two vertices have a common neighbour."""
    for q in range(present.shape[1]):  # noqa: SIM110 - numba compiles no generators in any()
        if present[u, q] & present[v, q] != ZERO:
            return True
    return False


@compiled
def _common_neighbours(present, active, u, v, common):
    """Fill ``common`` with the bits of the apexes of the new triangles; return one apex, or -1.

    An apex over which neither side has an annotation is preferred; whether it is one is returned
    too.
    """
    apex, clean = -1, False
    for q in range(common.size):
        shared = present[u, q] & present[v, q]
        common[q] = shared
        if shared != ZERO and not clean:
            free = shared & ~(active[u, q] | active[v, q])
            if free != ZERO:
                apex, clean = 64 * q + _lowest_bit(free), True
            elif apex < 0:
                apex = 64 * q + _lowest_bit(shared)
    return apex, clean


@compiled
def _set_sum(words, height, row, first, second, slot):
    """Write the sum of two rows, and of a new class in ``slot`` if any; count non-zero words."""
    filled = 0
    for q in range(height):
        word = words[q, first] ^ words[q, second]
        if slot >> 6 == q:
            word ^= _bit(slot)
        words[q, row] = word
        filled += word != ZERO
    return filled


@compiled
def _mark(u, v, edge, row, active, degree, label, heads, following):
    """Give an edge the annotation of a row."""
    label[u, v] = label[v, u] = row
    active[u, v >> 6] |= _bit(v)
    active[v, u >> 6] |= _bit(u)
    degree[u] += 1
    degree[v] += 1
    following[edge] = heads[row]
    heads[row] = edge


@compiled
def _release(row, low, high, active, degree, label, heads, following):
    """Take the annotation from the edges of a row that has become zero."""
    edge = heads[row]
    while edge >= 0:
        u, v = low[edge], high[edge]
        label[u, v] = label[v, u] = 0
        active[u, v >> 6] &= ~_bit(v)
        active[v, u >> 6] &= ~_bit(u)
        degree[u] -= 1
        degree[v] -= 1
        edge = following[edge]


@compiled
def _to_check(shared, one, other, labelled, single):
    """Apexes whose triangles may have a boundary with an annotation, by bits.

    ``one`` and ``other`` say which sides have an annotation, ``labelled`` whether the edge itself
    has. With a ``single`` row alive these bits decide; without, labels and words do.
    """
    if single:
        uneven = one ^ other
        return shared & (~uneven if labelled else uneven)
    return shared if labelled else shared & (one | other)


@compiled
def _cancel(base, left, right):
    """Whether three rows are known to add up to zero by their numbers."""
    if base == 0:
        return left == right
    return (left == 0 and right == base) or (right == 0 and left == base)


@compiled
def _boundary(words, height, base, left, right, boundary):
    """Write the annotation of a triangle's boundary; return whether it is not zero."""
    found = ZERO
    for q in range(height):
        boundary[q] = words[q, base] ^ words[q, left] ^ words[q, right]
        found |= boundary[q]
    return found != ZERO


@compiled
def _youngest(boundary, height, born):
    """Slot of the class with the latest birth in a boundary."""
    youngest = -1
    for q in range(height):
        rest = boundary[q]
        while rest != ZERO:
            slot = 64 * q + _lowest_bit(rest)
            if youngest < 0 or born[slot] > born[youngest]:
                youngest = slot
            rest &= rest - ONE
    return youngest


@compiled
def _kill(slot, boundary, height, words, rows, filled, carriers):
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
def _no_birth_ahead(present, records, left):
    """Whether the ends of every edge that is left already have a common neighbour."""
    for place in range(left):
        ends = records[place] & ENDS
        if not _share_a_neighbour(present, ends >> np.uint64(16), ends & LAST):
            return False
    return True


@compiled
def reduce_records(records, n, low, high):
    """Persistence pairs in dimensions 0 and 1 of the edges given by records, which are used up.

    The order of the edges is written to ``low`` and ``high`` as far as it is needed, and edges are
    named by their places in it. Returns, in rows of two, the deaths in dimension 0 with the
    vertices that die there; in rows of two the births and deaths in dimension 1, in the order
    (death, birth); for each slot the birth of the class that stays in it, or -1; and for each
    vertex its parent, which for the smallest of its component is the vertex itself.
    """
    width = (n + 63) >> 6
    present, active = np.zeros((n, width), np.uint64), np.zeros((n, width), np.uint64)
    label, degree = np.zeros((n, n), np.int32), np.zeros(n, np.int32)
    common, parent = np.empty(width, np.uint64), np.arange(n)
    following = np.empty(low.size, np.int32)  # the next edge of the same row
    words, boundary = np.zeros((1, 64), np.uint64), np.zeros(1, np.uint64)
    of_rows = np.zeros((4, 64), np.int32)
    heads, filled, free_rows, carriers = of_rows
    of_slots = np.zeros((2, 64), np.int64)
    born, free_slots = of_slots
    pairs = np.empty((2, 64), np.int64)
    merges = np.empty((2, n), np.int64)
    rows, spare_rows, slots, spare_slots, merged, died = 1, 0, 0, 0, 0, 0
    taken, remaining, stop = np.empty(records.size, np.uint64), records.size, 0

    for bound in bounds_of_shares(records):
        start, remaining = stop, take(records, remaining, bound, taken)
        stop = records.size - remaining
        unpack(sorted_records(taken[: stop - start]), low, high, start)
        for edge in range(start, stop):
            u, v = low[edge], high[edge]
            quiet = degree[u] == 0 and degree[v] == 0
            if quiet and _share_a_neighbour(present, u, v):
                present[u, v >> 6] |= _bit(v)
                present[v, u >> 6] |= _bit(u)
                continue
            apex, clean = _common_neighbours(present, active, u, v, common)
            present[u, v >> 6] |= _bit(v)
            present[v, u >> 6] |= _bit(u)
            slot, first, second = -1, 0, 0
            if apex < 0:
                elder, younger = _root(parent, u), _root(parent, v)
                if elder != younger:
                    elder, younger = min(elder, younger), max(elder, younger)
                    parent[younger] = elder
                    merges[0, merged], merges[1, merged] = edge, younger
                    merged += 1
                    continue
                if spare_slots:
                    spare_slots -= 1
                    slot = free_slots[spare_slots]
                else:
                    if slots == born.size:
                        of_slots = _enlarged(of_slots, of_slots.shape[0], 2 * of_slots.shape[1])
                        born, free_slots = of_slots
                    slot = slots
                    slots += 1
                born[slot] = edge
            elif not clean:
                first, second = label[u, apex], label[v, apex]

            height, row = (slots + 63) >> 6, first + second
            if slot >= 0 or (first != second and first and second):
                if spare_rows:
                    spare_rows -= 1
                    row = free_rows[spare_rows]
                else:
                    if rows == heads.size:
                        of_rows = _enlarged(of_rows, of_rows.shape[0], 2 * of_rows.shape[1])
                        heads, filled, free_rows, carriers = of_rows
                    row = rows
                    rows += 1
                if height > words.shape[0] or heads.size > words.shape[1]:
                    words = _enlarged(words, max(height, 2 * height - 2), heads.size)
                    boundary = np.zeros(words.shape[0], np.uint64)
                heads[row] = -1
                filled[row] = _set_sum(words, height, row, first, second, slot)
                if filled[row] == 0:
                    free_rows[spare_rows] = row
                    spare_rows += 1
                    row = 0
            elif first == second:
                row = 0
            if row:
                _mark(u, v, edge, row, active, degree, label, heads, following)
            if slot >= 0:
                continue

            for q in range(width):
                rest = common[q]
                while rest != ZERO:
                    single = rows - spare_rows == 2
                    rest = _to_check(rest, active[u, q], active[v, q], label[u, v] != 0, single)
                    if rest == ZERO:
                        break
                    apex = 64 * q + _lowest_bit(rest)
                    rest &= rest - ONE
                    base, left, right = label[u, v], label[u, apex], label[v, apex]
                    if _cancel(base, left, right):
                        continue
                    if not _boundary(words, height, base, left, right, boundary):
                        continue
                    slot = _youngest(boundary, height, born)
                    count = _kill(slot, boundary, height, words, rows, filled, carriers)
                    for row in carriers[:count]:
                        if filled[row] == 0:
                            _release(row, low, high, active, degree, label, heads, following)
                            free_rows[spare_rows] = row
                            spare_rows += 1
                    if died == pairs.shape[1]:
                        pairs = _enlarged(pairs, pairs.shape[0], 2 * pairs.shape[1])
                    pairs[0, died], pairs[1, died] = born[slot], edge
                    died += 1
                    born[slot] = -1
                    free_slots[spare_slots] = slot
                    spare_slots += 1
        if slots == spare_slots and _no_birth_ahead(present, records, remaining):
            break

    _sort_births(pairs[0], pairs[1], died)
    return merges[:, :merged], pairs[:, :died], born[:slots], parent


@compiled
def _sort_births(births, deaths, count):
    """Several classes can die at one edge: order them by their births."""
    for place in range(count):
        while place and deaths[place - 1] == deaths[place] and births[place - 1] > births[place]:
            births[place - 1], births[place] = births[place], births[place - 1]
            place -= 1


@compiled
def _ends(low, high, edges, offset):
    """End points of some edges."""
    ends = np.empty((edges.size, 2), np.int64)
    for row in range(edges.size):
        ends[row, 0] = offset + low[edges[row]]
        ends[row, 1] = offset + high[edges[row]]
    return ends


@compiled
def homology(records, n, offset):
    """Pairs in dimensions 0 and 1 by their end points; vertices are numbered from ``offset`` on.

    Returns death edges and birth vertices of dimension 0, the smallest vertices of components,
    and birth, death and essential edges of dimension 1.
    """
    low, high = np.empty(records.size, np.int32), np.empty(records.size, np.int32)
    merges, pairs, born, parent = reduce_records(records, n, low, high)
    dead, elders, eldest = np.empty(merges.shape[1], np.int64), np.empty(n, np.int64), 0
    for row in range(dead.size):
        dead[row] = offset + merges[1, row]
    for vertex in range(n):
        elders[eldest] = offset + vertex
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
        _ends(low, high, merges[0], offset), dead, elders[:eldest],
        _ends(low, high, pairs[0], offset), _ends(low, high, pairs[1], offset),
        _ends(low, high, essential[:staying], offset),
    )  # fmt: skip
