"""Prim's algorithm, compiled. Imported on first use, since numba is heavy.

Weights are read through their bits: as integers they keep the order of non-negative floats and let
the compiler use vector instructions for the minimum.
"""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled, halted
from topreg.metrics._kernels import edge_weight, measure_upper
from topreg.persistence._check_kernels import is_clean
from topreg.persistence._component_kernels import join

CHUNK = 256  # entries relaxed before the chunk is searched for its minimum


@compiled
def _relax(row, best, parent, vertex, top):
    """Offer the edges from ``vertex`` to every vertex outside the tree; return the lowest weight.

    Vertices of the tree have ``best = -1``, which nothing improves. Among edges of equal weight to
    one vertex ``j`` the total order (weight, i, j) prefers the smaller other end, whether that is
    smaller or larger than ``j``.
    """
    low = top
    for j in range(row.size):
        weight = row[j] & top  # clears the sign, so that -0.0 counts as 0.0
        known, known_parent = best[j], parent[j]
        better = (weight < known) or ((weight == known) and (vertex < known_parent))
        known = weight if better else known
        best[j] = known
        parent[j] = vertex if better else known_parent
        low = min(low, known if known >= 0 else top)
    return low


@compiled
def _find(best, weight):
    """Return how many entries of ``best`` equal a weight, and the place of the last one."""
    kind = best.dtype.type
    count, place = kind(0), kind(-1)
    for j in range(best.size):
        same = best[j] == weight
        count += kind(1) if same else kind(0)
        place = max(place, kind(j) if same else kind(-1))
    return count, place


@compiled
def tree(bits, limit, top, low_ends, high_ends, weights, halt):
    """Write the minimum spanning forest of one cloud in Prim's order; return how many edges."""
    n = bits.shape[0]
    best = np.full(n, top, bits.dtype)
    parent = np.full(n, n, bits.dtype)
    lows = np.empty((n + CHUNK - 1) // CHUNK, bits.dtype)
    vertex, edges, visited, unvisited = 0, 0, 1, 0
    while visited < n and not halted(halt):
        best[vertex] = -1
        lowest = top
        for chunk in range(lows.size):
            start, stop = chunk * CHUNK, min(n, (chunk + 1) * CHUNK)
            lows[chunk] = _relax(
                bits[vertex, start:stop],
                best[start:stop],
                parent[start:stop],
                bits.dtype.type(vertex),
                top,
            )
            lowest = min(lowest, lows[chunk])
        visited += 1
        if lowest == top or lowest > limit:  # the component is complete: start at the next one
            while best[unvisited] < 0:
                unvisited += 1
            vertex = unvisited
            continue
        ties = 0
        for chunk in range(lows.size):
            if lows[chunk] == lowest:
                start = chunk * CHUNK
                count, place = _find(best[start : min(n, start + CHUNK)], lowest)
                ties += count
                vertex = start + place
        if ties > 1:
            for j in range(n):
                if best[j] == lowest and _earlier(best, parent, j, vertex):
                    vertex = j
        low_ends[edges], high_ends[edges] = min(parent[vertex], vertex), max(parent[vertex], vertex)
        weights[edges] = lowest
        edges += 1
    return edges


@compiled
def _relax_estimates(row, best, parent, vertex, window, top):
    """Offer estimated edges from ``vertex``; return the lowest weight and the smallest difference.

    If the difference to the known weight is at most ``window``, the estimates do not decide, and
    the known edge stays.
    """
    low, closest = top, top
    for j in range(row.size):
        weight, known, near = row[j] & top, best[j], parent[j]
        gap = row.dtype.type(weight - known)  # integers of one width stay vectors
        better = gap < -window
        distance = max(gap, row.dtype.type(-gap))
        closest = min(closest, distance if known >= 0 else top)  # vertices of the tree are settled
        known = weight if better else known
        best[j] = known
        parent[j] = vertex if better else near
        low = min(low, known if known >= 0 else top)
    return low, closest


@compiled
def _measure(points, cosine, i, j, top, scratch, scratch_bits):
    """Measure an edge; return the bits of its weight, without the sign that NaN may have."""
    scratch[0] = edge_weight(points[i], points[j], False, cosine)
    return scratch_bits[0] & top


@compiled
def _tree_of_points(bits, points, cosine, window, limit, top, low_ends, high_ends, weights, halt):
    """Write the forest that :func:`tree` would, given estimates within ``window / 2`` of weights.

    It is exact: if two estimates are too close to decide, both edges are measured. ``measured[j]``
    is the vertex of the tree from which ``best[j]`` was measured.
    """
    n = bits.shape[0]
    best = np.full(n, top, bits.dtype)
    parent = np.full(n, n, bits.dtype)
    measured = np.full(n, -1, bits.dtype)
    scratch = np.empty(1, points.dtype)
    exact = scratch, scratch.view(bits.dtype)
    lows = np.empty((n + CHUNK - 1) // CHUNK, bits.dtype)
    vertex, edges, visited, unvisited = bits.dtype.type(0), 0, 1, 0
    while visited < n and not halted(halt):
        best[vertex] = -1
        lowest = top
        for chunk in range(lows.size):
            start, stop = chunk * CHUNK, min(n, (chunk + 1) * CHUNK)
            row = bits[vertex, start:stop]
            low, closest = _relax_estimates(
                row, best[start:stop], parent[start:stop], vertex, window, top
            )
            if closest <= window:
                for j in range(start, stop):
                    near = best[j] >= 0 and abs((row[j - start] & top) - best[j]) <= window
                    if not near or parent[j] == vertex or parent[j] == n:
                        continue
                    if measured[j] != parent[j]:
                        best[j] = _measure(points, cosine, parent[j], j, top, *exact)
                        measured[j] = parent[j]
                    weight = _measure(points, cosine, vertex, j, top, *exact)
                    if weight < best[j] or (weight == best[j] and vertex < parent[j]):
                        best[j], parent[j], measured[j] = weight, vertex, vertex
                low = _lowest(best[start:stop], top)
            lows[chunk] = low
            lowest = min(lowest, low)
        nearest, candidates = -1, 0
        for chunk in range(lows.size if lowest < top else 0):
            start, stop = chunk * CHUNK, min(n, (chunk + 1) * CHUNK)
            if lows[chunk] - window <= lowest:
                candidates += _count_up_to(best[start:stop], bits.dtype.type(lowest + window))
            if lows[chunk] == lowest and nearest < 0:
                nearest = start
                while best[nearest] != lowest:
                    nearest += 1
        if candidates > 1 or abs(lowest - limit) <= window:
            nearest = -1
            for chunk in range(lows.size):
                if lows[chunk] - window > lowest:
                    continue
                for j in range(chunk * CHUNK, min(n, (chunk + 1) * CHUNK)):
                    if best[j] < 0 or best[j] - window > lowest or parent[j] == n:
                        continue
                    if measured[j] != parent[j]:
                        best[j] = _measure(points, cosine, parent[j], j, top, *exact)
                        measured[j] = parent[j]
                    if nearest < 0 or _earlier(best, parent, j, nearest):
                        nearest = j
        visited += 1
        if nearest < 0 or best[nearest] > limit:  # the component is complete: go on at the next
            while best[unvisited] < 0:
                unvisited += 1
            vertex = bits.dtype.type(unvisited)
            continue
        low_ends[edges], high_ends[edges] = (
            min(parent[nearest], nearest),
            max(parent[nearest], nearest),
        )
        weights[edges] = best[nearest]
        edges += 1
        vertex = bits.dtype.type(nearest)
    return edges


@compiled
def _earlier(best, parent, j, other):
    """Return whether the known edge of one vertex comes before that of another."""
    if best[j] != best[other]:
        return best[j] < best[other]
    i, k = min(parent[j], j), min(parent[other], other)
    return i < k or (i == k and max(parent[j], j) < max(parent[other], other))


@compiled
def _settle(points, cosine, window, top, low_ends, high_ends, weights):
    """Sort edges by measured weights where the estimates, already sorted, do not decide."""
    scratch = np.empty(1, points.dtype)
    exact = scratch, scratch.view(weights.dtype)
    before = -window
    for edge in range(weights.size):
        own = weights[edge]  # an estimate; earlier ones may have been replaced
        follows = edge > 0 and own - before <= window
        if follows or (edge + 1 < weights.size and weights[edge + 1] - own <= window):
            weights[edge] = _measure(points, cosine, low_ends[edge], high_ends[edge], top, *exact)
        before = own
    for edge in range(1, weights.size):
        place, weight, i, j = edge, weights[edge], low_ends[edge], high_ends[edge]
        while place > 0 and (
            weights[place - 1] > weight
            or (
                weights[place - 1] == weight
                and (
                    low_ends[place - 1] > i
                    or (low_ends[place - 1] == i and high_ends[place - 1] > j)
                )
            )
        ):
            weights[place] = weights[place - 1]
            low_ends[place], high_ends[place] = low_ends[place - 1], high_ends[place - 1]
            place -= 1
        weights[place], low_ends[place], high_ends[place] = weight, i, j


@compiled
def _count_up_to(best, weight):
    """Count the vertices outside the tree whose known weight is at most ``weight``."""
    count = np.int32(0)
    for j in range(best.size):
        count += np.int32((best[j] >= 0) & (best[j] <= weight))
    return count


@compiled
def _lowest(best, top):
    """Return the lowest weight of the vertices outside the tree."""
    low = top
    for j in range(best.size):
        low = min(low, best[j] if best[j] >= 0 else top)
    return low


@compiled
def least_positive(bits, top):
    """Return the least weight that is not zero, or ``top``."""
    least = top
    for entry in bits:
        weight = entry & top
        least = min(least, weight if weight > 0 else top)
    return least


@compiled
def _order(low_ends, high_ends, weights):
    """Return the edges in the total order: a merge sort, since NumPy's take seconds to compile."""
    order, merged, width = np.arange(weights.size), np.arange(weights.size), 1
    while width < order.size:
        for start in range(0, order.size, 2 * width):
            middle, stop = min(start + width, order.size), min(start + 2 * width, order.size)
            left, right = start, middle
            for place in range(start, stop):
                first = left < middle
                if first and right < stop:
                    a, b = order[left], order[right]
                    equal = weights[a] == weights[b]
                    first = weights[a] < weights[b]
                    if equal:
                        same = low_ends[a] == low_ends[b]
                        first = high_ends[a] < high_ends[b] if same else low_ends[a] < low_ends[b]
                merged[place] = order[left] if first else order[right]
                left, right = left + first, right + (not first)
        order, merged, width = merged, order, 2 * width
    return order


@compiled
def _sort(low_ends, high_ends, weights, n):
    """Put edges into the total order."""
    if weights.itemsize == 4 and n <= 1 << 16:  # weight and ends fit into one integer
        keys = np.empty(weights.size, np.int64)
        for edge in range(keys.size):
            ends = low_ends[edge] << 16 | high_ends[edge]
            keys[edge] = np.int64(weights[edge]) << 32 | ends
        keys.sort()
        for edge in range(keys.size):
            key = keys[edge]
            weights[edge] = key >> 32
            low_ends[edge], high_ends[edge] = key >> 16 & 0xFFFF, key & 0xFFFF
        return
    order = _order(low_ends, high_ends, weights)
    old = low_ends.copy(), high_ends.copy(), weights.copy()
    for place in range(order.size):
        edge = order[place]
        low_ends[place], high_ends[place], weights[place] = old[0][edge], old[1][edge], old[2][edge]


@compiled
def _write(cloud, vertex, n, m, low_ends, high_ends, deaths, births, elders, counts):
    """Write the pairs of one cloud, given its sorted edges, starting at its first vertex's row."""
    parent = np.arange(n)
    for edge in range(m):
        i, j, row = low_ends[edge], high_ends[edge], vertex + edge
        deaths[row, 0], deaths[row, 1] = vertex + i, vertex + j
        births[row, 0] = births[row, 1] = vertex + join(parent, i, j)
    row = vertex
    for i in range(n):
        if parent[i] == i:
            elders[row, 0] = elders[row, 1] = vertex + i
            row += 1
    counts[cloud] = m


@compiled
def forests(
    bits,
    infinity,
    points,
    cosine,
    window,
    sizes,
    first,
    last,
    limit,
    top,
    deaths,
    births,
    elders,
    counts,
    halt,
):
    """Find the pairs of clouds ``first`` to ``last - 1``; ``bits`` holds all matrices in a row.

    If ``window`` is 0 these are weights, else estimates of the distances between ``points``. Unless
    ``infinity`` is 0 the matrices are checked.

    Each cloud writes its ``counts[cloud]`` death and birth edges, in the total order, and the
    smallest vertex of each component, starting at the row of its first vertex. The count of a
    matrix that is not clean is -1.
    """
    entry, vertex = 0, 0
    for cloud in range(first):
        entry += sizes[cloud] * sizes[cloud]
        vertex += sizes[cloud]
    for cloud in range(first, last):
        n = sizes[cloud]
        matrix = bits[entry : entry + n * n].reshape(n, n)
        if infinity != 0 and not is_clean(matrix, infinity, halt):
            counts[cloud] = -1
            break
        low_ends, high_ends = np.empty(n, np.int64), np.empty(n, np.int64)
        weights = np.empty(n, bits.dtype)
        ends = low_ends, high_ends, weights
        rows = points[vertex : vertex + n] if window else points
        if window:
            m = _tree_of_points(matrix, rows, cosine, window, limit, top, *ends, halt)
        else:
            m = tree(matrix, limit, top, *ends, halt)
        low_ends, high_ends, weights = low_ends[:m], high_ends[:m], weights[:m]
        _sort(low_ends, high_ends, weights, n)
        if window:
            _settle(rows, cosine, window, top, low_ends, high_ends, weights)
        _write(cloud, vertex, n, m, low_ends, high_ends, deaths, births, elders, counts)
        entry += n * n
        vertex += n


@compiled
def forest_of_clean(bits, infinity, limit, top, found, halt):
    """Check one matrix and write its pairs: births, deaths and elders. Return how many, or -1."""
    n = found.shape[1]
    matrix = bits.reshape(n, n)
    if not is_clean(matrix, infinity, halt):
        return -1
    low_ends, high_ends = np.empty(n, np.int64), np.empty(n, np.int64)
    weights, count = np.empty(n, bits.dtype), np.empty(1, np.int64)
    m = tree(matrix, limit, top, low_ends, high_ends, weights, halt)
    low_ends, high_ends, weights = low_ends[:m], high_ends[:m], weights[:m]
    _sort(low_ends, high_ends, weights, n)
    _write(0, 0, n, m, low_ends, high_ends, found[1], found[0], found[2], count)
    return m


@compiled
def is_measurable(points, cosine):
    """Return whether all coordinates are finite and, for the cosine, no row is zero."""
    bad = 0
    for i in range(len(points)):
        row, largest = points[i], points.dtype.type(0)
        for k in range(row.size):
            bad += 0 if abs(row[k]) < np.inf else 1
            largest = max(largest, abs(row[k]))
        bad += 1 if cosine and largest == 0 else 0
    return bad == 0


@compiled
def distances_of_rows(points, manhattan, cosine, limits, halt):
    """Return the distances within one cloud, measured by differences: as bits, and as numbers."""
    bits = np.empty((len(points), len(points)), limits.dtype)
    matrix = bits.view(points.dtype)
    measure_upper(matrix, points, manhattan, cosine, halt)
    return bits, matrix


@compiled
def forests_of_rows(
    points,
    check,
    manhattan,
    cosine,
    sizes,
    first,
    last,
    limits,
    deaths,
    births,
    elders,
    counts,
    halt,
):
    """Measure distances within clouds of points by differences, and write what ``forests`` does.

    ``limits`` holds the bits of the largest weight of an edge, and the largest integer. With
    ``check`` a cloud with a point that is not finite, or zero for the cosine, has the count -1.
    """
    vertex = 0
    for cloud in range(first):
        vertex += sizes[cloud]
    for cloud in range(first, last):
        n = sizes[cloud]
        rows = points[vertex : vertex + n]
        if check and not is_measurable(rows, cosine):
            counts[cloud] = -1
            break
        bits, _ = distances_of_rows(rows, manhattan, cosine, limits, halt)
        low_ends, high_ends = np.empty(n, np.int64), np.empty(n, np.int64)
        weights = np.empty(n, bits.dtype)
        m = tree(bits, limits[0], limits[1], low_ends, high_ends, weights, halt)
        low_ends, high_ends, weights = low_ends[:m], high_ends[:m], weights[:m]
        _sort(low_ends, high_ends, weights, n)
        _write(cloud, vertex, n, m, low_ends, high_ends, deaths, births, elders, counts)
        vertex += n


@compiled
def compact(deaths, births, elders, sizes, counts):
    """Move the rows of each cloud up to those of the cloud before; return how many pairs."""
    vertex, pairs, components = 0, 0, 0
    for cloud in range(sizes.size):
        m, n = counts[cloud], sizes[cloud]
        for edge in range(vertex, vertex + m):
            deaths[pairs, 0], deaths[pairs, 1] = deaths[edge, 0], deaths[edge, 1]
            births[pairs, 0], births[pairs, 1] = births[edge, 0], births[edge, 1]
            pairs += 1
        for component in range(vertex, vertex + n - m):
            elders[components, 0] = elders[components, 1] = elders[component, 0]
            components += 1
        vertex += n
    return pairs
