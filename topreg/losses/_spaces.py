"""What the losses across two spaces of different widths share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, cloud_of, join, starts
from topreg._pairs import PersistencePairs
from topreg.filtrations import RipsFiltration
from topreg.metrics import METRICS, Metric, at_least_single, edge_lengths, pairwise_distances

PRECOMPUTED = RipsFiltration(metric="precomputed")


class Space:
    """A cloud, or a batch of clouds, and the lengths of edges in it.

    Distance matrices are made when they are first asked for. Points without gradient are then
    measured by looking there.

    Args:
        rows: The points (N, d) of all clouds.
        sizes: How many points each cloud has.
        metric: The metric.
        normalize: Whether lengths are divided by the largest of their cloud.
    """

    def __init__(
        self, rows: Tensor, sizes: tuple[int, ...], metric: Metric, normalize: bool
    ) -> None:
        self.rows = rows
        self.sizes = sizes
        self.metric = metric
        self.normalize = normalize

    @cached_property
    def distances(self) -> list[Tensor]:
        """Distance matrix of each cloud, not divided, without gradient."""
        with torch.no_grad():
            clouds = self.rows.split(list(self.sizes))
            return [pairwise_distances(cloud, metric=self.metric) for cloud in clouds]

    @cached_property
    def scale(self) -> Tensor:
        """Largest distance (b,) of each cloud, with gradient; 1 where all are 0."""
        lengths = self.rows.new_zeros(len(self.sizes))
        if len(self.rows):
            first = starts(self.sizes)
            ends = [_farthest(d) + start for d, start in zip(self.distances, first, strict=False)]
            edges = torch.stack(ends).clamp(max=len(self.rows) - 1)  # an empty cloud may be last
            lengths = self._measured(edges)
        several = torch.tensor([n > 1 for n in self.sizes], device=lengths.device).bool()
        return torch.where(several & (lengths > 0), lengths, 1.0)

    def weights(self) -> list[Tensor]:
        """Distance matrices, divided if they shall be, without gradient."""
        if not self.normalize:
            return self.distances
        scales = self.scale.detach()
        return [matrix / scale for matrix, scale in zip(self.distances, scales, strict=True)]

    def pairs(self, dimensions: Sequence[int]) -> list[PersistencePairs]:
        """Pairs of each dimension."""
        return pairs_of(self.distances, dimensions)

    def lengths(self, edges: Tensor) -> Tensor:
        """Length (m,) of each edge, divided if it shall be."""
        lengths = self._measured(edges)
        if not self.normalize:
            return lengths
        return lengths / self.scale.index_select(0, cloud_of(edges[:, 0], self.sizes))

    def _measured(self, edges: Tensor) -> Tensor:
        if "distances" not in vars(self) or len(self.sizes) != 1 or self.rows.requires_grad:
            return edge_lengths(self.rows, edges, self.metric)
        return self.distances[0][edges[:, 0], edges[:, 1]]


def two_spaces(
    source: Clouds, target: Clouds, metric: Metric, normalize: bool = False
) -> tuple[Space, Space]:
    """Two clouds or batches on the same vertices, in at least single precision."""
    if not callable(metric):
        _checks.is_option("metric", metric, METRICS)
    x, sizes = join(source, "source")
    y, others = join(target, "target")
    if sizes != others:
        raise ValueError(
            "`source` and `target` should have one row per vertex, in the same order. "
            f"Got clouds of {_listed(sizes)} and {_listed(others)} rows."
        )
    _checks.alike("source", x, "target", y)
    x, y = at_least_single(x), at_least_single(y)
    return Space(x, sizes, metric, normalize), Space(y, sizes, metric, normalize)


def check_metric(metric: Metric) -> None:
    """Refuse a metric that does not measure points."""
    if not callable(metric):
        _checks.is_option("metric", metric, METRICS)


def pairs_of(distances: Sequence[Tensor], dimensions: Sequence[int]) -> list[PersistencePairs]:
    """Pairs of clouds whose distance matrices are known to be right, found in one pass."""
    clouds = torch.zeros(0, 0, 0)
    if len(distances):
        clouds = distances[0] if len(distances) == 1 else list(distances)  # type: ignore[assignment]
    if len(dimensions) == 1:
        return [PRECOMPUTED.pairs(clouds, dimensions[0], check_values=False)]
    every = PRECOMPUTED.all_pairs(clouds, max(dimensions), check_values=False)
    return [every[dimension] for dimension in dimensions]


def _farthest(matrix: Tensor) -> Tensor:
    """End points (2,) of the longest edge; (0, 0) in an empty cloud."""
    if not matrix.numel():
        return torch.zeros(2, dtype=torch.int64, device=matrix.device)
    place = matrix.argmax()
    return torch.stack([place // len(matrix), place % len(matrix)])


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes)) or "no"
