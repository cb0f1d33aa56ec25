"""Dimension 0 on the CPU: Prim's algorithm on dense matrices, in the total order on edges."""

from __future__ import annotations

import torch
from torch import Tensor

from topreg._operators import operator
from topreg.persistence._fake import fake_forests

# Floats between two weights of which an estimate of one, off by 1e-5 in single and 1e-12 in double
# precision, may look like the other: twice that and a margin.
WINDOW = {torch.float32: 512, torch.float64: 1 << 15}


@operator(fake_forests)
def prim(
    weights: Tensor,
    sizes: list[int],
    longest: float,
    connected: bool,
    points: Tensor | None = None,
    cosine: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimum spanning forests of complete weighted graphs, with the elder rule.

    Args:
        weights: Entries of the symmetric matrices, one matrix after the other.
        sizes: Vertices of each matrix.
        longest: Heavier edges do not exist.
        connected: Promise that no edge is missing; then the number of pairs is known beforehand.
        points: Rows whose distances the weights estimate; edges that the estimates do not tell
            apart are measured. Without them the weights are exact.
        cosine: Whether the distance is the cosine of unit vectors, not the Euclidean one.

    Returns:
        Death edges, birth vertices (both in the order (cloud, weight, i, j)) and the smallest
        vertex of each component.

    Shape:
        - weights: (sum of n_i^2,), float32 or float64. points: (N, d), on the CPU.
        - Output: (m, 2), (m,) and (e,), int64, on the device of the weights.
    """
    import numpy as np

    from topreg._compiled import over_clouds
    from topreg.persistence._bits import as_integers, limit_in_bits
    from topreg.persistence.dense._prim_kernels import compact, forests

    bits, top = as_integers(weights)
    rows = weights.new_empty((0, 0), device="cpu") if points is None else points.contiguous()
    window = type(top)(0 if points is None else WINDOW[weights.dtype])
    limit = limit_in_bits(longest, weights.dtype, connected)
    n, clouds = sum(sizes), np.asarray(sizes, dtype=np.int64)
    deaths = np.empty((n, 2), dtype=np.int64)
    births = np.empty(n, dtype=np.int64)
    elders = np.empty(n, dtype=np.bool_)
    counts = np.zeros(len(sizes), dtype=np.int64)
    arrays = bits, rows.numpy(), cosine, window, clouds
    found = limit, top, deaths, births, elders, counts
    over_clouds(lambda first, last, halt: forests(*arrays, first, last, *found, halt), sizes)
    pairs = compact(deaths, births, clouds, counts)
    edges, vertices = torch.from_numpy(deaths[:pairs]), torch.from_numpy(births[:pairs])
    roots, device = torch.from_numpy(elders.nonzero()[0]), weights.device
    if device.type == "cpu":
        return edges, vertices, roots
    return edges.to(device), vertices.to(device), roots.to(device)
