"""Dimension 0 of clouds of points, without their distance matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from topreg._clouds import starts
from topreg._operators import operator
from topreg.persistence._fake import fake_forests
from topreg.persistence._progress import Progress

MEMORY = 1 << 25  # bytes for a tile


def _fake(
    points: Tensor, sizes: list[int], metric: str, longest: float, memory: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return empty edges; their number is known if none can be missing."""
    return fake_forests(points, sizes, longest, longest == math.inf)


@operator(_fake)
def tiled(
    points: Tensor, sizes: list[int], metric: str, longest: float, memory: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Find minimum spanning forests with the elder rule; return what ``prim`` returns.

    Shape:
        - points: (N, d), float32 or float64; normalised for the cosine.
    """
    return forests_of_points(points, sizes, metric, longest, memory, None)


def forests_of_points(
    points: Tensor,
    sizes: Sequence[int],
    metric: str,
    longest: float,
    memory: int,
    progress: Progress | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Do the operator's work, and report progress."""
    from topreg.persistence.large._certificates import forest_of_cloud

    none = torch.empty((0, 2), dtype=torch.int64, device="cpu")  # whatever the default device
    parts = [none, none[:, 0], none[:, 0]]
    found = [parts]
    for first, cloud in zip(starts(sizes)[:-1], points.split(list(sizes)), strict=True):
        arrays = forest_of_cloud(
            cloud.contiguous(), metric, longest, memory=memory, progress=progress
        )
        found.append([torch.from_numpy(array) + first for array in arrays])
    deaths, births, elders = (
        torch.cat(same).to(points.device) for same in zip(*found, strict=True)
    )
    return torch.stack([births, births], dim=1), deaths, torch.stack([elders, elders], dim=1)
