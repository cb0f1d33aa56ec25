"""What the losses across two spaces of different widths share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, join, starts
from topreg._pairs import PersistencePairs
from topreg.filtrations import RipsFiltration
from topreg.metrics import METRICS, Metric, at_least_single, edge_lengths, pairwise_distances

Views = tuple[Tensor, Tensor, tuple[int, ...]]


def two_spaces(source: Clouds, target: Clouds) -> Views:
    """Rows of two clouds or batches on the same vertices, in at least single precision."""
    x, sizes = join(source, "source")
    y, others = join(target, "target")
    if sizes != others:
        raise ValueError(
            "`source` and `target` should have one row per vertex, in the same order. "
            f"Got clouds of {_listed(sizes)} and {_listed(others)} rows."
        )
    _checks.alike("source", x, "target", y)
    return at_least_single(x), at_least_single(y), sizes


def check_metric(metric: Metric) -> None:
    """Refuse a metric that does not measure points."""
    if not callable(metric):
        _checks.is_option("metric", metric, METRICS)


@torch.no_grad()
def matrices(rows: Tensor, sizes: Sequence[int], metric: Metric) -> list[Tensor]:
    """Distance matrix of each cloud, without gradient."""
    return [pairwise_distances(cloud, metric=metric) for cloud in rows.split(list(sizes))]


def diameters(rows: Tensor, distances: Sequence[Tensor], metric: Metric) -> Tensor:
    """Largest distance of each cloud, differentiable through its edge; 1 where all are 0.

    Shape:
        - rows: (N, d); distances: (n_i, n_i) each. Output: (b,).
    """
    first = starts([len(matrix) for matrix in distances])
    edges = [_farthest(matrix) + start for matrix, start in zip(distances, first, strict=False)]
    none = torch.empty((0, 2), dtype=torch.int64, device=rows.device)
    sizes = torch.tensor([len(m) for m in distances], dtype=torch.int64, device=rows.device)
    lengths = rows.new_zeros(len(distances))
    if len(rows):
        some = torch.stack(edges) if edges else none
        lengths = edge_lengths(rows, some.clamp(max=len(rows) - 1), metric)
    return torch.where((sizes > 1) & (lengths > 0), lengths, 1.0)


def compared(
    x: Tensor, y: Tensor, sizes: Sequence[int], metric: Metric, normalize: bool
) -> tuple[tuple[list[Tensor], list[Tensor]], tuple[Tensor, Tensor]]:
    """Distance matrices of two spaces, and the scales by which they are divided.

    The scales (b,), 1 unless ``normalize``, are differentiable; the matrices are constant.
    """
    one, other = matrices(x, sizes, metric), matrices(y, sizes, metric)
    if not normalize:
        return (one, other), (x.new_ones(len(sizes)), y.new_ones(len(sizes)))
    scales = diameters(x, one, metric), diameters(y, other, metric)
    divided = [
        [matrix / scale for matrix, scale in zip(some, of.detach(), strict=True)]
        for some, of in zip((one, other), scales, strict=True)
    ]
    return (divided[0], divided[1]), scales


def pairs_of(distances: list[Tensor], dimension: int) -> PersistencePairs:
    """Pairs of clouds whose distance matrices are known to be right."""
    rips = RipsFiltration(metric="precomputed")
    clouds = distances if distances else torch.zeros(0, 0, 0)
    return rips.pairs(clouds, dimension, check_values=False)


def _farthest(matrix: Tensor) -> Tensor:
    """End points (2,) of the longest edge; (0, 0) in an empty cloud."""
    if not matrix.numel():
        return torch.zeros(2, dtype=torch.int64, device=matrix.device)
    place = matrix.argmax()
    return torch.stack([place // len(matrix), place % len(matrix)])


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes)) or "no"
