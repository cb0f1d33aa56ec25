"""First homology of a flag filtration by annotations over adjacency bitsets, compiled.

Edges enter in the total order. If u and v have no common neighbour, the edge (u, v) joins two
components or gives birth to a class. Otherwise its annotation follows from any one triangle. Every
other triangle (u, v, w) whose boundary has a non-zero annotation then kills the youngest class in
it.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted, inlined
from topreg._scratch_kernels import LINE, reserve, reserve_zeros
from topreg.persistence._check_kernels import is_clean
from topreg.persistence._component_kernels import join
from topreg.persistence.annotations._annotation_kernels import (
    BORN,
    CHANGED,
    DIED,
    FEW,
    FILLED,
    HEAD,
    MERGED,
    ONE,
    ROWS,
    SLOTS,
    SPARE_ROWS,
    SPARE_SLOTS,
    UNSURE,
    ZERO,
    add_row,
    bit_at,
    bounds,
    by_ends,
    cancel,
    clear_row,
    drop_row,
    empty_table,
    give_birth,
    kill,
    lowest_bit,
    not_cancelled,
    sort_births,
    triangles,
    twin_of,
)
from topreg.persistence.annotations._edge_kernels import (
    PACE,
    SHORT,
    distribute,
    ends_of,
    reach,
    room_to_sort,
    sort_buckets,
)


@inlined
def _share_a_neighbour(present, u, v):
    """Return whether two vertices have a common neighbour."""
    for q in range(0, present.shape[1], 4):  # noqa: SIM110 - numba compiles no generators in any()
        if triangles(present, present, u, v, q):
            return True
    return False


@inlined
def _new_triangles(present, active, u, v):
    """Return what ``triangles`` returns, for all words."""
    found = 0
    for q in range(0, present.shape[1], 4):
        found |= triangles(present, active, u, v, q)
    return found


@inlined
def _to_check(shared, one, other, labelled, single):
    """Return, as bits, the apexes whose triangles may have a boundary with an annotation.

    ``one`` and ``other`` tell which sides have an annotation, ``labelled`` whether the edge itself
    has one. If only a ``single`` row is alive, these bits decide. Otherwise labels and words do.
    """
    if single:
        uneven = one ^ other
        return shared & (~uneven if labelled else uneven)
    return shared if labelled else shared & (one | other)


@inlined
def _first_apex(u, v, active, common):
    """Return a common neighbour, and whether neither side over it has an annotation.

    Such a neighbour is preferred.
    """
    apex = -1
    for q in range(common.size):
        free = common[q] & ~(active[u, q] | active[v, q])
        if free != ZERO:
            return 64 * q + lowest_bit(free), True
        if apex < 0 and common[q] != ZERO:
            apex = 64 * q + lowest_bit(common[q])
    return apex, False


@compiled
def _is_over(ends, first, state, halt):
    """Return whether no class is alive, and none can be born by the edges from ``first``.

    Then the ends of each of these edges already have a common neighbour. The last edges, which are
    the least likely to have one, are asked first, and each only until it has.
    """
    present, counts = state[0], state[8]
    if counts[SLOTS] != counts[SPARE_SLOTS]:
        return False
    edge = counts[UNSURE]
    while edge > first:
        u, v = ends_of(ends[edge - 1], SHORT)
        if not _share_a_neighbour(present, u, v) or (edge & PACE == 0 and halted(halt)):
            break
        edge -= 1
    counts[UNSURE] = edge
    return edge <= first


@inlined
def _enter(u, v, present):
    """Record that an edge exists."""
    present[u, v >> 6] |= bit_at(v)
    present[v, u >> 6] |= bit_at(u)


@inlined
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
def _release(edge, ends, active, degree, label, following):
    """Remove the annotation of this edge and of those that follow it in its row."""
    while edge >= 0:
        u, v = ends_of(ends[edge], SHORT)
        label[u, v] = label[v, u] = 0
        active[u, v >> 6] &= ~bit_at(v)
        active[v, u >> 6] &= ~bit_at(u)
        degree[u] -= 1
        degree[v] -= 1
        edge = following[edge]


@compiled
def _join_twins(changed, ends, label, following, counts, of_rows, table):
    """Let the edges of each changed row that equals another row share that one.

    A single row needs no comparisons. Therefore this is worth it if few rows are left.
    """
    for place in range(changed):
        row = of_rows[CHANGED, place]
        twin = twin_of(row, counts, table) if of_rows[FILLED, row] else 0
        if twin:
            edge = last = of_rows[HEAD, row]
            while edge >= 0:
                u, v = ends_of(ends[edge], SHORT)
                label[u, v] = label[v, u] = twin
                last, edge = edge, following[edge]
            following[last] = of_rows[HEAD, twin]
            of_rows[HEAD, twin] = of_rows[HEAD, row]
            clear_row(row, counts, table)
            drop_row(row, counts, of_rows)


@compiled
def _start(edges, n, block):
    """Allocate the state of a reduction."""
    width, fours = (n + 63) >> 6, (n + 255) >> 8
    bits = reserve_zeros(block, 8 * n * fours, np.uint64).reshape(2, n, 4 * fours)
    label = reserve_zeros(block, n * 64 * width, np.int32).reshape(n, 64 * width)
    degree, common = reserve_zeros(block, n, np.int32), reserve(block, width, np.uint64)
    parent, merges = reserve(block, n, np.int64), reserve(block, 2 * n, np.int64).reshape(2, n)
    for vertex in range(n):
        parent[vertex] = vertex
    counts, of_rows, of_slots, table, boundary, pairs = empty_table(edges, block)
    counts[UNSURE] = edges
    following = reserve(block, edges, np.int32)  # the next edge of the same row
    of_graph = bits[0], bits[1], label, degree, common, following, parent, merges
    return (*of_graph, counts, of_rows, of_slots, boundary, pairs), table


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
def _enter_edges(ends, start, stop, state, table, block, halt):
    """Let some edges enter in their order; return the table."""
    present, active, label, degree, common, following, parent, merges = state[:8]
    counts, of_rows, of_slots, boundary, pairs = state[8:]
    for edge in range(start, stop):
        if halted(halt):
            break
        u, v = ends_of(ends[edge], SHORT)
        if degree[u] | degree[v] == 0 and _share_a_neighbour(present, u, v):
            _enter(u, v, present)
            continue
        found = _new_triangles(present, active, u, v)
        _enter(u, v, present)
        if found == 1:  # no side has an annotation
            continue
        if not found:
            younger = join(parent, u, v)
            if younger >= 0:
                merges[0, counts[MERGED]], merges[1, counts[MERGED]] = edge, younger
                counts[MERGED] += 1
            else:
                slot = give_birth(edge, counts, of_slots)
                row, table = add_row(0, 0, slot, counts, of_rows, table, block)
                _mark(edge, u, v, row, active, degree, label, of_rows, following)
            continue
        for q in range(common.size):
            common[q] = present[u, q] & present[v, q]
        apex, clean = _first_apex(u, v, active, common)
        if not clean and label[u, apex] != label[v, apex]:
            first, second = np.int64(label[u, apex]), np.int64(label[v, apex])
            row = first | second  # one of them if the other is zero
            if first and second:
                row, table = add_row(first, second, -1, counts, of_rows, table, block)
            if row:
                _mark(edge, u, v, row, active, degree, label, of_rows, following)

        for q in range(common.size):
            if halted(halt):
                break
            rest = common[q]
            single = counts[ROWS] - counts[SPARE_ROWS] == 2
            rest = _to_check(rest, active[u, q], active[v, q], label[u, v] != 0, single)
            if rest & (rest - ONE) != ZERO:
                word = slice(64 * q, 64 * q + 64)
                rest &= not_cancelled(label[u, word], label[v, word], label[u, v])
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
                for place in range(changed):
                    row = of_rows[CHANGED, place]
                    if of_rows[FILLED, row] == 0:
                        head = of_rows[HEAD, row]
                        _release(head, ends, active, degree, label, following)
                        drop_row(row, counts, of_rows)
                if counts[ROWS] - counts[SPARE_ROWS] <= FEW:
                    _join_twins(changed, ends, label, following, counts, of_rows, table)
    return table


@compiled
def _result(ends, state):
    """Return what a reduction finds.

    Edges are numbered by their places in the order. The result is

    - the ends of the edges in that order, as many as were needed,
    - for dimension 0 two rows: death edges, and the vertices that die there,
    - for dimension 1 two rows, births and deaths, in the order (death, birth),
    - for each slot the birth edge of the essential class in it, or -1,
    - for each vertex its parent; the smallest vertex of a component is its own parent.
    """
    parent, merges, counts, _of_rows, of_slots, _boundary, pairs = state[6:]
    sort_births(pairs[0], pairs[1], counts[DIED])
    pairs, born = pairs[:, : counts[DIED]], of_slots[BORN, : counts[SLOTS]]
    return ends, merges[:, : counts[MERGED]], pairs, born, parent


@compiled
def reduce_edges_by_bits(ends, n, block, halt):
    """Find pairs in dimensions 0 and 1 of edges in their order, 16 bits for each end."""
    state, table = _start(ends.size, n, block)
    pace = _pace(ends.size)
    for first in range(0, ends.size, pace):
        table = _enter_edges(ends, first, min(first + pace, ends.size), state, table, block, halt)
        if halted(halt) or _is_over(ends, first + pace, state, halt):
            break
    return _result(ends, state)


@compiled
def _pace(edges):
    """Return after how many edges it is worth to look whether all is over."""
    return max(512, edges >> 5)


@compiled
def reduce_matrix(matrix, infinity, limit, top, offset, block, halt):
    """Return whether one matrix is clean, and its pairs by end points, which are valid only then.

    The matrix is not checked if ``infinity`` is 0. Edges are sorted bucket by bucket, because the
    last are rarely needed. One function, because each that calls it is optimised again with it.
    """
    clean = infinity == 0 or is_clean(matrix, infinity, halt)
    records, others, digits = room_to_sort(matrix.shape[0], block)
    last = reach(matrix, limit, top) if clean else matrix.dtype.type(-1)
    begins = distribute(matrix, last, top, records, block, halt)
    ends, bucket = records[: begins[-1]], 0
    state, table = _start(ends.size, matrix.shape[0], block)
    pace = _pace(ends.size)
    while bucket < begins.size - 1:
        first = begins[bucket]
        bucket = sort_buckets(matrix, top, ends, begins, bucket, pace, others, digits, halt)
        table = _enter_edges(ends, first, begins[bucket], state, table, block, halt)
        if halted(halt) or _is_over(ends, begins[bucket], state, halt):
            break
    return clean, by_ends(offset, SHORT, *_result(ends, state))


@compiled
def reduce_clouds(bits, sizes, first, last, limit, top, block, halt):
    """Return pairs of the clouds ``first`` to ``last - 1`` by end points, one tuple per cloud."""
    entry, vertex, asked, most = 0, 0, block[:8].view(np.int64), LINE
    for cloud in range(first):
        entry += sizes[cloud] * sizes[cloud]
        vertex += sizes[cloud]
    found = []
    for cloud in range(first, last):
        if halted(halt):
            break
        n = sizes[cloud]
        matrix = bits[entry : entry + n * n].reshape(n, n)
        found.append(
            reduce_matrix(matrix, matrix.dtype.type(0), limit, top, vertex, block, halt)[1]
        )
        entry += n * n
        vertex += n
        most, asked[0] = max(most, asked[0]), LINE  # the next cloud uses the same memory
    asked[0] = most
    return found
