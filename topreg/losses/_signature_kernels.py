"""Signature loss of small clouds in dimension 0, compiled. Imported on first use (numba)."""

from __future__ import annotations

import numpy as np

from topreg._compiled import compiled
from topreg.metrics._kernels import pull_edge
from topreg.persistence.dense._prim_kernels import distances_of_rows, is_measurable, tree


@compiled
def _longest(matrix):
    """Return the ends of the longest edge; the first of equals."""
    row, column = 0, 0
    for i in range(len(matrix)):
        for j in range(len(matrix)):
            if matrix[i, j] > matrix[row, column]:
                row, column = i, j
    return row, column


@compiled
def _unit(matrix, normalized, first, longest):
    """Return the unit of length: that of the longest edge, which is written, or 1."""
    if not normalized:
        return 1.0
    i, j = _longest(matrix)
    longest[0], longest[1] = first + i, first + j
    return np.float64(matrix[i, j]) if matrix[i, j] != 0 else 1.0


@compiled
def signatures(
    x,
    z,
    metric_x,
    metric_z,
    limits_x,
    limits_z,
    symmetric,
    normalized,
    sizes,
    first,
    last,
    values,
    edges,
    longest,
    pull_x,
    pull_z,
    halt,
):
    """Write the loss of each cloud, the edges that it compares, and its gradients.

    A metric is whether it is Manhattan, and whether it is that of the cosine. Limits are those of
    ``forests_of_rows``. A gradient without rows is not wanted.

    A cloud of n vertices has 2 n rows of ``edges``; those without an edge keep their (0, 0).
    ``longest[:, cloud]`` holds the longest edges of both spaces, if they are the units. A
    cloud that is not measurable has the value -1.
    """
    start = 0
    for cloud in range(first):
        start += sizes[cloud]
    for cloud in range(first, last):
        n = sizes[cloud]
        a, b, row = x[start : start + n], z[start : start + n], 2 * start
        if not (is_measurable(a, metric_x[1]) and is_measurable(b, metric_z[1])):
            values[cloud] = -1
            break
        bits_a, in_x = distances_of_rows(a, *metric_x, limits_x, halt)
        bits_b, in_z = distances_of_rows(b, *metric_z, limits_z, halt)
        unit_x = _unit(in_x, normalized, start, longest[0, cloud])
        unit_z = _unit(in_z, normalized, start, longest[1, cloud])
        low, high, weights = np.empty(n, np.int64), np.empty(n, np.int64), np.empty_like(bits_a[0])
        total, slope_x, slope_z = 0.0, 0.0, 0.0
        for space in range(2 if symmetric else 1):
            bits, limits = (bits_b, limits_z) if space else (bits_a, limits_x)
            for edge in range(tree(bits, limits[0], limits[1], low, high, weights, halt)):
                i, j = low[edge], high[edge]
                edges[row, 0], edges[row, 1] = start + i, start + j
                row += 1
                of_x, of_z = in_x[i, j] / unit_x, in_z[i, j] / unit_z
                gap = of_x - of_z
                total += gap * gap
                slope_x -= gap * of_x / unit_x
                slope_z += gap * of_z / unit_z
                if len(pull_x):
                    pull_edge(pull_x, x, start + i, start + j, gap / unit_x, in_x[i, j], *metric_x)
                if len(pull_z):
                    pull_edge(pull_z, z, start + i, start + j, -gap / unit_z, in_z[i, j], *metric_z)
        if normalized and len(pull_x):
            i, j = longest[0, cloud]
            pull_edge(pull_x, x, i, j, slope_x, unit_x, *metric_x)
        if normalized and len(pull_z):
            i, j = longest[1, cloud]
            pull_edge(pull_z, z, i, j, slope_z, unit_z, *metric_z)
        values[cloud] = total / 2
        start += n
