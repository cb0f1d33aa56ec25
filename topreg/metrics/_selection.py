"""Distances without gradient, as the filtration orders edges by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from topreg._clouds import starts
from topreg._operators import operator
from topreg._room import bytes_of_matrices, room_for
from topreg.metrics._metric import at_least_single, unit_rows
from topreg.metrics._on_device import direct_distances, distances_within
from topreg.metrics._products import full_precision_mm, rounding_bound, upper_products

if TYPE_CHECKING:
    from topreg._compiled import Halt

FEW_COORDINATES = 8  # up to here differences are as fast as the Gram matrix of large clouds


def selection_weights(points: Tensor, sizes: Sequence[int], metric: str) -> Tensor:
    """Distances within each cloud.

    Shape:
        - points: (N, d), the rows of all clouds.
        - Output: (sum of n_i^2,), the matrices one after the other, on the device of the points.
    """
    weights: Tensor = dense_distances(prepared(points, metric), list(sizes), metric == "manhattan")
    return _finished(weights, metric)


def cross_weights(x: Tensor, y: Tensor, metric: str) -> Tensor:
    """Distances between two clouds, (n, d) and (m, d) -> (n, m)."""
    weights: Tensor = cross_distances(
        prepared(x, metric), prepared(y, metric), metric == "manhattan"
    )
    return _finished(weights, metric)


def prepared(points: Tensor, metric: str) -> Tensor:
    """Rows between which the compiled loops measure: normalised ones for the cosine."""
    points = at_least_single(points.detach())
    return unit_rows(points) if metric == "cosine" else points


def _finished(distances: Tensor, metric: str) -> Tensor:
    """For unit vectors 1 - cos is half the squared distance, without its cancellation."""
    return distances.square_().mul_(0.5) if metric == "cosine" else distances


@operator(lambda points, sizes, manhattan: points.new_empty(sum(n * n for n in sizes)))
def dense_distances(points: Tensor, sizes: list[int], manhattan: bool) -> Tensor:
    """Euclidean or Manhattan distances within each cloud."""
    if points.device.type != "cpu":
        return distances_within(points, sizes, manhattan)
    from topreg._compiled import over_clouds
    from topreg.metrics import _kernels

    rows = points.contiguous()
    with room_for(bytes_of_matrices(sizes, rows.dtype), sizes):
        weights = rows.new_empty(sum(n * n for n in sizes))
    x, out, first = rows.numpy(), weights.numpy(), starts(sizes)
    corner = starts([n * n for n in sizes])
    by_products = rows.shape[1] > FEW_COORDINATES and not manhattan
    centred = rows.clone() if by_products else rows
    separated, floor = rounding_bound(rows.shape[1], rows.dtype)

    def before(start: int, stop: int, _: Halt) -> None:
        for c in range(start, stop):
            _kernels.centre(centred.numpy(), first[c], first[c + 1])

    def after(start: int, stop: int, halt: Halt) -> None:
        for c in range(start, stop):
            cloud = x[first[c] : first[c + 1]]
            matrix = out[corner[c] : corner[c + 1]].reshape(len(cloud), len(cloud))
            if by_products:
                _kernels.euclidean_upper(matrix, cloud, separated, floor, halt)
            elif manhattan:
                _kernels.manhattan_upper(matrix, cloud, halt)
            else:
                _kernels.euclidean_direct_upper(matrix, cloud, halt)

    if by_products:
        over_clouds(before, sizes)
        for c, n in enumerate(sizes):
            matrix = weights[corner[c] : corner[c + 1]].view(n, n)
            upper_products(centred[first[c] : first[c + 1]], matrix)
    over_clouds(after, sizes, _cost(rows.shape[1], by_products))
    return weights


@operator(lambda x, y, manhattan: x.new_empty(len(x), len(y)))
def cross_distances(x: Tensor, y: Tensor, manhattan: bool) -> Tensor:
    """Euclidean or Manhattan distances between two clouds."""
    if x.device.type != "cpu":
        return direct_distances(x, y, manhattan)
    from topreg._compiled import stoppable
    from topreg.metrics import _kernels

    a, b = x.contiguous(), y.contiguous()
    out = a.new_empty(len(a), len(b))
    by_products = x.shape[1] > FEW_COORDINATES and not manhattan
    operations = out.numel() * _cost(x.shape[1], by_products)
    if not by_products:
        direct = _kernels.manhattan if manhattan else _kernels.euclidean_direct
        stoppable(lambda halt: direct(out.numpy(), a.numpy(), b.numpy(), halt), operations)
        return out
    centred = torch.cat([a, b])
    _kernels.centre(centred.numpy(), 0, len(centred))
    squares = centred.square().sum(1).numpy()
    full_precision_mm(centred[: len(a)], centred[len(a) :].T, out)
    bounds = rounding_bound(x.shape[1], x.dtype)
    stoppable(
        lambda halt: _kernels.euclidean_rectangle(
            out.numpy(), a.numpy(), squares[: len(a)], b.numpy(), squares[len(a) :], *bounds, halt
        ),
        operations,
    )
    return out


def _cost(coordinates: int, by_products: bool) -> int:
    """Operations of a compiled loop for one distance; of products it measures few again."""
    return 1 + coordinates // 32 if by_products else coordinates
