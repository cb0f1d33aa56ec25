"""Prim's algorithm in one launch, for Triton. Imported on first use: few builds of torch have it.

An edge is one integer, so that the total order (weight, i, j) is the order of integers. From the
top: the 31 bits of the weight, which as an integer keep the order of non-negative floats; ``i``;
``j``; and one bit that says whether the end outside the tree is ``j``.
"""

from __future__ import annotations

import triton
import triton.language as tl

VERTEX = tl.constexpr(0x3FF)  # ten bits
HIGH, LOW, WEIGHT = tl.constexpr(1), tl.constexpr(11), tl.constexpr(21)  # their places in an edge
DYING = tl.constexpr(10)  # bits that a pair has below its edge, for the vertex that dies
MISSING = tl.constexpr(0x7FFFFFFF)  # weight of an edge that does not exist: beyond infinity
NEVER = tl.constexpr(0x7FFFFFFF << 21 | 0x1FFFFF)  # comes after all edges


@triton.jit(do_not_specialize=["n", "limit"])
def spanning_forests(
    weights,  # bits of the matrices, int32, one matrix after the other
    table,  # first vertex, first entry and size of each cloud, or None if all have ``n`` vertices
    n,
    limit,  # the largest weight of an edge, through its bits
    births,  # (v, v) of each pair, int64; if not CONNECTED, then of each component
    deaths,  # (i, j) of each pair; if not CONNECTED, (-1, -1) of each component
    elders,  # (v, v) of each component; if not CONNECTED, not used
    CONNECTED: tl.constexpr,  # whether each cloud has one component
    LANES: tl.constexpr,  # a power of two, at least the size of every cloud
):
    """Write the pairs of one cloud per program; a lane of the program is a vertex of the cloud.

    A missing edge has the weight MISSING and is treated like all others: each cloud has a tree,
    whose missing edges come last. A vertex dies where it meets a smaller one: at the heaviest edge
    of the way between them. In the order in which Prim's algorithm reaches vertices, the heaviest
    edge of the way between two of them is the heaviest that was taken from one to the other.
    """
    cloud = tl.program_id(0).to(tl.int64)
    if table is None:
        first, corner = cloud * n, cloud * n * n
    else:
        first, corner = tl.load(table + 3 * cloud), tl.load(table + 3 * cloud + 1)
        n = tl.load(table + 3 * cloud + 2).to(tl.int32)
    lane = tl.arange(0, LANES)
    outside = (lane > 0) & (lane < n)
    nearest = tl.full((LANES,), NEVER, tl.int64)  # first edge from the tree to each vertex outside
    heaviest = tl.full((LANES,), -1, tl.int64)  # on the way from each vertex inside to the last one
    death = tl.full((LANES,), NEVER, tl.int64)
    vertex = tl.zeros((), tl.int32)
    for _ in range(1, n):
        weight = tl.load(weights + corner + vertex * n + lane, mask=outside, other=0)
        weight = weight & 0x7FFFFFFF  # -0.0 is 0.0
        weight = tl.where(weight <= limit, weight, MISSING).to(tl.int64)
        low, high = tl.minimum(vertex, lane), tl.maximum(vertex, lane)
        ends = low << LOW | high << HIGH | (vertex < lane).to(tl.int32)
        nearest = tl.where(outside, tl.minimum(nearest, weight << WEIGHT | ends), NEVER)
        edge = tl.min(nearest, 0)
        vertex = (edge >> tl.where(edge & 1 == 1, HIGH, LOW) & VERTEX).to(tl.int32)

        inside = (lane < n) & ~outside
        heaviest = tl.maximum(heaviest, edge)
        death = tl.where(inside & (vertex < lane), tl.minimum(death, heaviest), death)
        own = tl.min(tl.where(inside & (lane < vertex), heaviest, NEVER), 0)
        death = tl.where(lane == vertex, own, death)
        heaviest = tl.where(lane == vertex, -1, heaviest)
        outside = outside & (lane != vertex)

    stays = (lane < n) & (death >> WEIGHT == MISSING)
    death = tl.where(stays, NEVER >> WEIGHT << WEIGHT, death)  # these come last, by their vertices
    pair = tl.sort(death << DYING | lane)
    dying = first + (pair & VERTEX)
    low = first + (pair >> DYING + LOW & VERTEX)
    high = first + (pair >> DYING + HIGH & VERTEX)
    pairs = lane < n
    if CONNECTED:
        row = 2 * (cloud + lane - (n - 1))
        tl.store(elders + row, dying, mask=lane == n - 1)
        tl.store(elders + row + 1, dying, mask=lane == n - 1)
        pairs = lane < n - 1
        first -= cloud
    else:
        stays = pair >> DYING + WEIGHT == MISSING
        low, high = tl.where(stays, -1, low), tl.where(stays, -1, high)
    row = 2 * (first + lane)
    tl.store(births + row, dying, mask=pairs)
    tl.store(births + row + 1, dying, mask=pairs)
    tl.store(deaths + row, low, mask=pairs)
    tl.store(deaths + row + 1, high, mask=pairs)
