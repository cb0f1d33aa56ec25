"""First homology of a flag filtration by annotations over lists of neighbours, compiled.

The algorithm is that of ``_dense_kernels``, for graphs with too few edges for a matrix. Common
neighbours are found by merging two sorted lists. Memory grows with the number of edges and with the
square of the number of classes that live at once and that some triangle may fill.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted
from topreg._scratch_kernels import reserve
from topreg.persistence._component_kernels import join
from topreg.persistence.annotations._annotation_kernels import (
    BORN,
    CHANGED,
    DIED,
    FILLED,
    HEAD,
    SLOTS,
    add_row,
    bounds,
    cancel,
    drop_row,
    empty_table,
    give_birth,
    kill,
    sort_births,
)
from topreg.persistence.annotations._edge_kernels import HALF, ends_of


@compiled
def _unpack(ends):
    """Return the smaller and the larger ends of edges."""
    low, high = np.empty(ends.size, np.int32), np.empty(ends.size, np.int32)
    for edge in range(ends.size):
        low[edge], high[edge] = ends_of(ends[edge], HALF)
    return low, high


@compiled
def _lists(low, high, n):
    """Allocate the lists of all vertices; return where each begins, the entries, and the ends."""
    begins = np.zeros(n + 1, np.int64)
    for edge in range(low.size):
        begins[low[edge] + 1] += 1
        begins[high[edge] + 1] += 1
    for vertex in range(n):
        begins[vertex + 1] += begins[vertex]
    entries, ends = np.empty((2, 2 * low.size), np.int64), begins[:n].copy()
    return begins, entries, ends


@compiled
def _append(entries, ends, vertex, neighbour, edge):
    """Add a neighbour, and the edge to it, to the list of a vertex."""
    place = ends[vertex]
    entries[0, place], entries[1, place] = neighbour, edge
    ends[vertex] += 1


@compiled
def _adjacency(low, high, n):
    """Return where each list begins, and ascending neighbours with the numbers of their edges."""
    begins, entries, ends = _lists(low, high, n)
    for edge in range(low.size):
        _append(entries, ends, low[edge], high[edge], edge)
        _append(entries, ends, high[edge], low[edge], edge)
    _, ascending, ends = _lists(low, high, n)
    for vertex in range(n):  # appended vertex after vertex, lists are sorted
        for place in range(begins[vertex], begins[vertex + 1]):
            _append(ascending, ends, entries[0, place], vertex, entries[1, place])
    return begins, ascending


@compiled
def _place(neighbours, begin, end, neighbour):
    """Return the place at which a neighbour is, or would be, in an ascending part of a list."""
    while begin < end:
        middle = (begin + end) >> 1
        if neighbours[middle] < neighbour:
            begin = middle + 1
        else:
            end = middle
    return begin


@compiled
def _triangles(before, u, v, begins, entries, sides):
    """Write the other two sides of each triangle over an edge; count them.

    Only sides with numbers smaller than ``before`` count. If the other list is much longer, it is
    searched by bisection.
    """
    if begins[u + 1] - begins[u] > begins[v + 1] - begins[v]:
        u, v = v, u
    count, other, end = 0, begins[v], begins[v + 1]
    far = (end - other) > 16 * (begins[u + 1] - begins[u])
    for one in range(begins[u], begins[u + 1]):
        neighbour = entries[0, one]
        if far:
            other = _place(entries[0], other, end, neighbour)
        while other < end and entries[0, other] < neighbour:
            other += 1
        if other == end:
            break
        if entries[0, other] == neighbour and max(entries[1, one], entries[1, other]) < before:
            sides[0, count], sides[1, count] = entries[1, one], entries[1, other]
            count += 1
    return count


@compiled
def _best(sides, count, label):
    """Return a triangle whose sides have equal annotations if there is one, else the first."""
    for triangle in range(count):
        if label[sides[0, triangle]] == label[sides[1, triangle]]:
            return triangle
    return 0


@compiled
def _mark(edge, row, label, of_rows, following):
    """Give an edge the annotation of a row."""
    label[edge] = row
    following[edge] = of_rows[HEAD, row]
    of_rows[HEAD, row] = edge


@compiled
def _release(edge, label, following):
    """Remove the annotation of this edge and of those that follow it in its row."""
    while edge >= 0:
        label[edge] = 0
        edge = following[edge]


@compiled
def reduce_edges(ends, n, block, halt):
    """Find pairs in dimensions 0 and 1 of edges in their order; return what :func:`result` does.

    Ends have 32 bits each.
    """
    low, high = _unpack(ends)
    begins, entries = _adjacency(low, high, n)
    longest = 0
    for vertex in range(n):
        longest = max(longest, begins[vertex + 1] - begins[vertex])
    sides, parent = np.empty((2, longest), np.int64), np.arange(n)
    label, following = np.zeros(low.size, np.int32), np.empty(low.size, np.int32)
    counts, of_rows, of_slots, table, boundary, pairs = empty_table(low.size, block)
    merges, merged = np.empty((2, n), np.int64), 0
    unfilled, never = np.empty(low.size, np.int64), 0

    for edge in range(low.size):
        if halted(halt):
            break
        u, v = low[edge], high[edge]
        count = _triangles(edge, u, v, begins, entries, sides)
        if count == 0:
            younger = join(parent, u, v)
            if younger >= 0:
                merges[0, merged], merges[1, merged] = edge, younger
                merged += 1
            elif _triangles(low.size, u, v, begins, entries, sides) == 0:
                unfilled[never] = edge  # in no triangle, so that its annotation is never needed
                never += 1
            else:
                slot = give_birth(edge, counts, of_slots)
                row, table = add_row(0, 0, slot, counts, of_rows, table, block)
                _mark(edge, row, label, of_rows, following)
            continue
        best = _best(sides, count, label)
        first, second = np.int64(label[sides[0, best]]), np.int64(label[sides[1, best]])
        if first != second:
            row = first | second  # one of them if the other is zero
            if first and second:
                row, table = add_row(first, second, -1, counts, of_rows, table, block)
            if row:
                _mark(edge, row, label, of_rows, following)
        for triangle in range(count):
            base = label[edge]
            left, right = label[sides[0, triangle]], label[sides[1, triangle]]
            if cancel(base, left, right):
                continue
            if not bounds(base, left, right, counts, table, boundary):
                continue
            changed = kill(edge, counts, of_rows, of_slots, table, boundary, pairs)
            for row in of_rows[CHANGED, :changed]:
                if of_rows[FILLED, row] == 0:
                    _release(of_rows[HEAD, row], label, following)
                    drop_row(row, counts, of_rows)

    sort_births(pairs[0], pairs[1], counts[DIED])
    for slot in range(counts[SLOTS]):
        if of_slots[BORN, slot] >= 0:
            unfilled[never] = of_slots[BORN, slot]
            never += 1
    return ends, merges[:, :merged], pairs[:, : counts[DIED]], unfilled[:never], parent


@compiled
def join_edges(ends, n, block, halt):
    """Find pairs in dimension 0; return what ``reduce_edges`` returns, empty in dimension 1."""
    parent, merges, merged = np.arange(n), reserve(block, 2 * n, np.int64).reshape(2, n), 0
    for edge in range(ends.size):
        if halted(halt):
            break
        younger = join(parent, *ends_of(ends[edge], HALF))
        if younger >= 0:
            merges[0, merged], merges[1, merged] = edge, younger
            merged += 1
    nothing = np.empty((2, 0), np.int64)
    return ends, merges[:, :merged], nothing, nothing[0], parent
