"""Distances in torch operations, for tensors that are not on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from topreg._clouds import have_one_size
from topreg.metrics._scale import power_of_two


def distances_within(points: Tensor, sizes: Sequence[int], metric: str) -> Tensor:
    """Distances within each cloud; nothing is read back from the device.

    Shape:
        - points: (N, d), the rows of all clouds.
        - Output: (sum of n_i^2,), the matrices one after the other.
    """
    if have_one_size(sizes):
        clouds = points.reshape(len(sizes), sizes[0], points.shape[1])
        return direct_distances(clouds, clouds, metric).reshape(-1)
    parts = [direct_distances(x, x, metric).reshape(-1) for x in points.split(list(sizes))]
    return torch.cat([points.new_empty(0), *parts])


def direct_distances(x: Tensor, y: Tensor, metric: str) -> Tensor:
    """Distances by differences: exact zeros for equal rows, equal ones for equal differences.

    Squares stay in range because the rows of each cloud are divided by a power of two first; a
    distance below about 1e-19 times the largest coordinate counts as 0 in single precision.

    Shape:
        - x: (..., n, d); y: (..., m, d). Output: (..., n, m).
    """
    with torch.autocast(x.device.type, enabled=False):
        if metric == "manhattan":
            return torch.cdist(x, y, p=1.0)
        by_differences = "donot_use_mm_for_euclid_dist"  # the product cancels
        if metric == "cosine":  # of unit vectors
            return torch.cdist(x, y, compute_mode=by_differences).square_().mul_(0.5)
        scale = power_of_two(x) if x is y else torch.maximum(power_of_two(x), power_of_two(y))
        first = x / scale
        second = first if x is y else y / scale
        return torch.cdist(first, second, compute_mode=by_differences).mul_(scale)
