"""First homology of a flag filtration by annotations over adjacency bitsets, compiled.

Edges enter in the total order. If u and v have no common neighbour, the edge (u, v) joins two
components or gives birth to a class. Otherwise its annotation follows from any one triangle. Every
other triangle (u, v, w) whose boundary has a non-zero annotation then kills the youngest class in
it.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted
from topreg.persistence._check_kernels import is_clean
from topreg.persistence._component_kernels import join
from topreg.persistence.annotations._annotation_kernels import (
    BORN,
    CHANGED,
    DIED,
    FILLED,
    HEAD,
    ONE,
    ROWS,
    SLOTS,
    SPARE_ROWS,
    SPARE_SLOTS,
    ZERO,
    add_row,
    bit_at,
    bounds,
    by_ends,
    cancel,
    drop_row,
    empty_table,
    give_birth,
    kill,
    lowest_bit,
    sort_births,
)
from topreg.persistence.annotations._edge_kernels import (
    ENDS,
    LAST,
    PACE,
    bounds_of_shares,
    records_of_matrix,
    sorted_records,
    take,
    unpack,
)


@compiled
def _share_a_neighbour(present, u, v):
    """Return whether two vertices have a common neighbour."""
    for q in range(present.shape[1]):  # noqa: SIM110 - numba compiles no generators in any()
        if present[u, q] & present[v, q] != ZERO:
            return True
    return False


@compiled
def _common_neighbours(present, active, u, v, common):
    """Fill ``common`` with the bits of the apexes of the new triangles; return one apex, or -1.

    Prefer an apex over which neither side has an annotation; return also whether it is one.
    """
    apex, clean = -1, False
    for q in range(common.size):
        shared = present[u, q] & present[v, q]
        common[q] = shared
        if shared != ZERO and not clean:
            free = shared & ~(active[u, q] | active[v, q])
            if free != ZERO:
                apex, clean = 64 * q + lowest_bit(free), True
            elif apex < 0:
                apex = 64 * q + lowest_bit(shared)
    return apex, clean


@compiled
def _to_check(shared, one, other, labelled, single):
    """Return, as bits, the apexes whose triangles may have a boundary with an annotation.

    ``one`` and ``other`` tell which sides have an annotation, ``labelled`` whether the edge itself
    has one. If only a ``single`` row is alive, these bits decide. Otherwise labels and words do.
    """
    if single:
        uneven = one ^ other
        return shared & (~uneven if labelled else uneven)
    return shared if labelled else shared & (one | other)


@compiled
def _not_cancelled(left, right, base):
    """Return, as bits, which of 64 apexes have sides that do not cancel the row of the edge.

    A row cancels an equal one. All 64 take as long as some five that are looked at one by one.
    """
    bits = ZERO
    for place in range(64):
        one, other = left[place], right[place]
        even = ((one ^ other) == base) & ((one == 0) | (other == 0) | (base == 0))
        bits |= np.uint64(not even) << np.uint64(place)
    return bits


@compiled
def _no_birth_ahead(present, records, left, halt):
    """Return whether the ends of every remaining edge already have a common neighbour."""
    for place in range(left):
        if place & PACE == 0 and halted(halt):
            break
        ends = records[place] & ENDS
        if not _share_a_neighbour(present, ends >> np.uint64(16), ends & LAST):
            return False
    return True


@compiled
def _enter(u, v, present):
    """Record that an edge exists."""
    present[u, v >> 6] |= bit_at(v)
    present[v, u >> 6] |= bit_at(u)


@compiled
def _mark(edge, u, v, row, active, degree, label, of_rows, following):
    """Give an edge the annotation of a row."""
    label[u, v] = label[v, u] = row
    active[u, v >> 6] |= bit_at(v)
    active[v, u >> 6] |= bit_at(u)
    degree[u] += 1
    degree[v] += 1
    following[edge] = of_rows[HEAD, row]
    of_rows[HEAD, row] = edge


@compiled
def _release(edge, low, high, active, degree, label, following):
    """Remove the annotation of this edge and of those that follow it in its row."""
    while edge >= 0:
        u, v = low[edge], high[edge]
        label[u, v] = label[v, u] = 0
        active[u, v >> 6] &= ~bit_at(v)
        active[v, u >> 6] &= ~bit_at(u)
        degree[u] -= 1
        degree[v] -= 1
        edge = following[edge]


# Worked example: the unit square, with vertices 0 to 3 in the order of its corners.
#
# The order of the edges is 01, 03, 12, 23 (the sides), then 02, 13 (the diagonals). Their places
# are 0 to 5. An annotation tells to which living holes an edge contributes.
#
# - 01, 03 and 12: the ends have no common neighbour and lie in two components. These join.
#   Vertices 1, 3 and 2 die, since 0 is the smallest of every joined component.
# - 23: no common neighbour, but one component. A hole is born. 23 gets a row with the hole's bit;
#   all other edges have row 0.
# - 02: the common neighbours are 1 and 3. The triangle 012 determines the annotation of 02: the sum
#   of those of 01 and 12, which is 0. The boundary of the triangle 023 then adds up to the hole's
#   bit. The triangle fills the hole, so the hole dies: the pair is (birth 3, death 4).
# - 13: the common neighbours are 0 and 2, and no edge has an annotation left. Nothing changes.
@compiled
def reduce_records(records, n, halt):
    """Find pairs in dimensions 0 and 1 of the edges given by records; the records are overwritten.

    Edges are numbered by their places in the order. Return

    - the low and the high ends of the edges in that order, as many as were needed,
    - for dimension 0 two rows: death edges, and the vertices that die there,
    - for dimension 1 two rows, births and deaths, in the order (death, birth),
    - for each slot the birth edge of the essential class in it, or -1,
    - for each vertex its parent; the smallest vertex of a component is its own parent.
    """
    low, high = np.empty(records.size, np.int32), np.empty(records.size, np.int32)
    width = (n + 63) >> 6
    present, active = np.zeros((n, width), np.uint64), np.zeros((n, width), np.uint64)
    label, degree = np.zeros((n, 64 * width), np.int32), np.zeros(n, np.int32)
    common, parent = np.empty(width, np.uint64), np.arange(n)
    following = np.empty(records.size, np.int32)  # the next edge of the same row
    counts, of_rows, of_slots, table, boundary, pairs = empty_table(records.size)
    merges, merged = np.empty((2, n), np.int64), 0
    taken, remaining, stop = np.empty(records.size, np.uint64), records.size, 0

    for bound in bounds_of_shares(records, halt):
        start, remaining = stop, take(records, remaining, bound, taken, halt)
        stop = records.size - remaining
        unpack(sorted_records(taken[: stop - start], halt), low, high, start)
        for edge in range(start, stop):
            if halted(halt):
                break
            u, v = low[edge], high[edge]
            if degree[u] == 0 and degree[v] == 0 and _share_a_neighbour(present, u, v):
                _enter(u, v, present)
                continue
            apex, clean = _common_neighbours(present, active, u, v, common)
            _enter(u, v, present)
            if apex < 0:
                younger = join(parent, u, v)
                if younger >= 0:
                    merges[0, merged], merges[1, merged] = edge, younger
                    merged += 1
                else:
                    slot = give_birth(edge, counts, of_slots)
                    row, table = add_row(0, 0, slot, counts, of_rows, table)
                    _mark(edge, u, v, row, active, degree, label, of_rows, following)
                continue
            if not clean and label[u, apex] != label[v, apex]:
                first, second = np.int64(label[u, apex]), np.int64(label[v, apex])
                row = first | second  # one of them if the other is zero
                if first and second:
                    row, table = add_row(first, second, -1, counts, of_rows, table)
                if row:
                    _mark(edge, u, v, row, active, degree, label, of_rows, following)

            for q in range(width):
                if halted(halt):
                    break
                rest = common[q]
                single = counts[ROWS] - counts[SPARE_ROWS] == 2
                rest = _to_check(rest, active[u, q], active[v, q], label[u, v] != 0, single)
                if rest & (rest - ONE) != ZERO:
                    block = slice(64 * q, 64 * q + 64)
                    rest &= _not_cancelled(label[u, block], label[v, block], label[u, v])
                while rest != ZERO:
                    single = counts[ROWS] - counts[SPARE_ROWS] == 2
                    rest = _to_check(rest, active[u, q], active[v, q], label[u, v] != 0, single)
                    if rest == ZERO:
                        break
                    apex = 64 * q + lowest_bit(rest)
                    rest &= rest - ONE
                    base, left, right = label[u, v], label[u, apex], label[v, apex]
                    if cancel(base, left, right):
                        continue
                    if not bounds(base, left, right, counts, table, boundary):
                        continue
                    changed = kill(edge, counts, of_rows, of_slots, table, boundary, pairs)
                    for row in of_rows[CHANGED, :changed]:
                        if of_rows[FILLED, row] == 0:
                            head = of_rows[HEAD, row]
                            _release(head, low, high, active, degree, label, following)
                            drop_row(row, counts, of_rows)
        if halted(halt):
            break
        none_alive = counts[SLOTS] == counts[SPARE_SLOTS]
        if none_alive and _no_birth_ahead(present, records, remaining, halt):
            break

    sort_births(pairs[0], pairs[1], counts[DIED])
    pairs, born = pairs[:, : counts[DIED]], of_slots[BORN, : counts[SLOTS]]
    return low, high, merges[:, :merged], pairs, born, parent


@compiled
def reduce_matrix(matrix, infinity, limit, top, halt):
    """Return whether one matrix is clean, and its pairs by end points, which are valid only then.

    The matrix is not checked if ``infinity`` is 0.
    """
    clean = infinity == 0 or is_clean(matrix, infinity, halt)
    records = records_of_matrix(matrix, limit if clean else -1, top, halt)
    return clean, by_ends(0, *reduce_records(records, matrix.shape[0], halt))


@compiled
def reduce_clouds(bits, sizes, first, last, limit, top, halt):
    """Return pairs of the clouds ``first`` to ``last - 1`` by end points, a tuple per cloud."""
    entry, vertex = 0, 0
    for cloud in range(first):
        entry += sizes[cloud] * sizes[cloud]
        vertex += sizes[cloud]
    found = []
    for cloud in range(first, last):
        if halted(halt):
            break
        n = sizes[cloud]
        records = records_of_matrix(bits[entry : entry + n * n].reshape(n, n), limit, top, halt)
        found.append(by_ends(vertex, *reduce_records(records, n, halt)))
        entry += n * n
        vertex += n
    return found
