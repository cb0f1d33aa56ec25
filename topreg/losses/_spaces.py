"""What the losses across two spaces of different widths share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, cloud_of, join, numbers, starts
from topreg._levels import within_levels
from topreg._pairs import PersistencePairs
from topreg._room import bytes_of_matrices, check_room
from topreg.filtrations import RipsFiltration
from topreg.metrics import (
    Metric,
    at_least_single,
    by_callable,
    check_metric,
    edge_lengths,
    estimated_weights,
    prepared,
)
from topreg.persistence import checked_weights, pairs_of_points, uses_tiles

PRECOMPUTED = RipsFiltration(metric="precomputed")


class Space:
    """A cloud, or a batch of clouds, and the lengths of edges in it.

    Distance matrices are made, and values looked at, when they are first asked for. Points without
    gradient are then measured by looking there.

    Args:
        name: What messages call it.
        rows: The points (N, d) of all clouds.
        sizes: How many points each cloud has.
        metric: The metric.
        normalize: Whether lengths are divided by the largest of their cloud.
    """

    def __init__(
        self, name: str, rows: Tensor, sizes: tuple[int, ...], metric: Metric, normalize: bool
    ) -> None:
        self.name = name
        self.rows = rows
        self.sizes = sizes
        self.metric = metric
        self.normalize = normalize
        self._distances: list[Tensor] | None = None  # a cached_property takes a lock, which
        self._scale: Tensor | None = None  # torch.compile does not trace

    def distances(self) -> list[Tensor]:
        """Distance matrix of each cloud, not divided, without gradient."""
        if self._distances is None:
            self._check()
            self.check_room(1)
            with torch.no_grad():
                entries = self._entries(self.rows.detach())
            matrices = entries.split([n * n for n in self.sizes])
            self._distances = [m.view(n, n) for m, n in zip(matrices, self.sizes, strict=True)]
        return self._distances

    def check_room(self, matrices: int) -> None:
        """Raise if some matrices for each cloud do not fit into memory."""
        if self.rows.device.type == "cpu":
            needed = bytes_of_matrices(self.sizes, self.rows.dtype, matrices)
            check_room(needed, self.sizes, self.name)

    def _check(self) -> None:
        """Raise if there is no distance between some rows."""
        _checks.are_finite(self.name, self.rows)
        if self.metric == "cosine":
            _checks.have_direction(self.name, self.rows)

    def _entries(self, rows: Tensor) -> Tensor:
        """Distances (sum of n_i^2,) within all clouds, checked if they are a user's metric's."""
        if not callable(self.metric):
            return estimated_weights(prepared(rows, self.metric), self.sizes, self.metric)[0]
        name = f"metric({self.name}, {self.name})"
        clouds = rows.split(list(self.sizes))
        matrices = [by_callable(self.metric, cloud, cloud).flatten() for cloud in clouds]
        entries = torch.cat(matrices) if matrices else rows.flatten()
        return checked_weights(entries, self.sizes, name=name, check_values=True, of_metric=True)

    def scale(self) -> Tensor:
        """Largest distance (b,) of each cloud, with gradient; 1 where all are 0."""
        if self._scale is None:
            lengths = self.rows.new_zeros(len(self.sizes))
            if len(self.rows):
                first = starts(self.sizes)[:-1]
                ends = [_farthest(d) + f for d, f in zip(self.distances(), first, strict=True)]
                edges = torch.stack(ends).clamp(max=len(self.rows) - 1)  # of an empty last cloud
                lengths = self._measured(edges)
            several = numbers(self.sizes, lengths) > 1
            self._scale = torch.where(several & (lengths != 0), lengths, 1.0)
        return self._scale

    def pairs(self, dimensions: Sequence[int]) -> list[PersistencePairs]:
        """Pairs in some dimensions; dividing lengths does not change them."""
        if callable(self.metric):
            return pairs_of(self.distances(), dimensions, self.rows)
        self._check()
        if not uses_tiles(self.sizes, dimensions, "auto"):
            self.check_room(1)
        with torch.no_grad():
            return pairs_of_points(self.rows, self.sizes, self.metric, math.inf, dimensions)

    def weights(self) -> list[Tensor]:
        """Distance matrices, divided if they shall be, without gradient."""
        if not self.normalize:
            return self.distances()
        scales = self.scale().detach()
        return [matrix / scale for matrix, scale in zip(self.distances(), scales, strict=True)]

    def lengths(self, edges: Tensor) -> Tensor:
        """Length (m,) of each edge, divided if it shall be."""
        if not self.normalize:
            return self._measured(edges)
        scale = self.scale()  # first: it makes the matrix off which lengths may be read
        return self._measured(edges) / scale.index_select(0, cloud_of(edges[:, 0], self.sizes))

    def _measured(self, edges: Tensor) -> Tensor:
        """Lengths that are not divided: computed, or read off a matrix that is there."""
        moves = callable(self.metric) or _moves(self.rows)
        if self._distances is None or len(self.sizes) != 1 or moves:
            return edge_lengths(self.rows, edges, self.metric)
        return self._distances[0][edges[:, 0], edges[:, 1]]


def two_spaces(
    source: Clouds, target: Clouds, metric: Metric, normalize: bool
) -> tuple[Space, Space]:
    """Two clouds or batches on the same vertices, in at least single precision."""
    check_metric(metric)
    x, sizes = join(source, "source")
    y, others = join(target, "target")
    _checks.of_same_clouds(sizes, others)
    _checks.alike("source", x, "target", y)
    x, y = at_least_single(x), at_least_single(y)
    return (
        Space("source", x, sizes, metric, normalize),
        Space("target", y, sizes, metric, normalize),
    )


def pairs_of(
    distances: Sequence[Tensor], dimensions: Sequence[int], like: Tensor
) -> list[PersistencePairs]:
    """Pairs of clouds whose distance matrices are known to be right, found in one pass."""
    clouds: Clouds = like.new_zeros(0, 0, 0)
    if len(distances):
        clouds = distances[0] if len(distances) == 1 else list(distances)
    if len(dimensions) == 1:
        return [PRECOMPUTED.pairs(clouds, dimensions[0], check_values=False)]
    every = PRECOMPUTED.all_pairs(clouds, max(dimensions), check_values=False)
    return [every[dimension] for dimension in dimensions]


def _farthest(matrix: Tensor) -> Tensor:
    """End points (2,) of the longest edge; (0, 0) in an empty cloud."""
    if not matrix.numel():
        return torch.zeros(2, dtype=torch.int64, device=matrix.device)
    row = matrix.amax(1).argmax()  # many times faster than the argmax of all entries
    return torch.stack([row, matrix.index_select(0, row[None])[0].argmax()])


def _moves(rows: Tensor) -> bool:
    """Whether something may be differentiated in rows."""
    return rows.requires_grad or within_levels()
