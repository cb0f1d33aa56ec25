"""Distances without gradient, as the filtration orders edges by them.

The weight of an edge is the distance between its two points, measured by differences in double
precision and rounded once. The same number comes out alone, in a batch, in a tile and in a diagram,
so that the order of edges and the values that diagrams report never contradict each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from topreg._clouds import starts
from topreg._operators import operator, with_batch
from topreg._room import bytes_of_matrices, room_for
from topreg.metrics._metric import at_least_single, unit_rows
from topreg.metrics._on_device import direct_distances, distances_within
from topreg.metrics._products import (
    block_of,
    products_within,
    rounding_bound,
    slack_of,
)

if TYPE_CHECKING:
    from topreg._compiled import Halt

SMALL = 1 << 12  # vertices whose matrix surely fits
FEW_COORDINATES = 8  # up to here differences are as fast as the Gram matrix of large clouds


def prepared(points: Tensor, metric: str) -> Tensor:
    """Rows between which the compiled loops measure: normalised ones for the cosine."""
    points = at_least_single(points.detach())
    return unit_rows(points) if metric == "cosine" else points


def selection_weights(
    points: Tensor, sizes: Sequence[int], metric: str, longest: float = math.inf
) -> Tensor:
    """Weights of the edges within each cloud.

    In single precision every entry is the weight of its edge. In double precision entries keep a
    relative error below 1e-12 where no other entry, nor ``longest``, is as near as that: their
    order is right, and they stay on their side of ``longest``.

    Shape:
        - points: (N, d), the prepared rows of all clouds.
        - Output: (sum of n_i^2,), the matrices one after the other, on the device of the points.
    """
    weights: Tensor = dense_distances(points, list(sizes), metric, longest)
    return weights


def estimated_weights(points: Tensor, sizes: Sequence[int], metric: str) -> tuple[Tensor, bool]:
    """Weights whose relative error is below 1e-5 (double precision: 1e-12); whether they have one.

    Shape:
        - As in :func:`selection_weights`.
    """
    exact = points.device.type != "cpu" or _by_differences(points, metric)
    if exact:
        weights: Tensor = dense_distances(points, list(sizes), metric, math.inf)
    else:
        weights = estimated_distances(points, list(sizes), metric)
    return weights, not exact


def _by_differences(points: Tensor, metric: str) -> bool:
    """Whether distances are measured by differences from the start."""
    return metric == "manhattan" or points.shape[1] <= FEW_COORDINATES


def _fake(points: Tensor, sizes: list[int], metric: str, longest: float = math.inf) -> Tensor:
    """Shape alone."""
    return points.new_empty(sum(n * n for n in sizes))


def _more_clouds(
    call: Callable[..., Tensor],
    info: Any,
    in_dims: Sequence[Any],
    points: Tensor,
    sizes: list[int],
    *options: Any,
) -> tuple[Tensor, int]:
    """Batching rule: clouds of a batch are more clouds."""
    rows = points.movedim(in_dims[0], 0).flatten(0, 1)
    weights = call(rows, sizes * info.batch_size, *options)
    return weights.view(info.batch_size, sum(n * n for n in sizes)), 0


def _cloud_by_cloud(
    call: Callable[..., Tensor],
    info: Any,
    in_dims: Sequence[Any],
    x: Tensor,
    y: Tensor,
    metric: str,
) -> tuple[Tensor, int]:
    """Batching rule: one pair of clouds after the other; either may be the same in all pairs."""
    batches = (with_batch(z, dim, info.batch_size) for z, dim in zip((x, y), in_dims, strict=False))
    return torch.stack([call(a, b, metric) for a, b in zip(*batches, strict=True)]), 0


@operator(_fake, _more_clouds)
def dense_distances(points: Tensor, sizes: list[int], metric: str, longest: float) -> Tensor:
    """The weights of :func:`selection_weights`."""
    if points.device.type != "cpu":
        return distances_within(points, sizes, metric)
    from topreg._compiled import over_clouds, stoppable

    direct = metric == "manhattan" or points.shape[1] <= FEW_COORDINATES
    if points.dtype == torch.float64 and not direct:
        weights, measure = _estimates(points, sizes, metric), _measure_near
    else:
        weights, measure = _empty(points, sizes), _measure_products
    if direct:
        measure = _measure_directly
    rows = points.contiguous()
    if len(sizes) == 1 and measure is not _measure_products:
        matrix = weights.view(sizes[0], sizes[0])
        cost = weights.numel() * (rows.shape[1] if direct else 1 + rows.shape[1] // 32)
        stoppable(partial(measure, matrix, rows, metric, longest), cost)
        return weights
    first, corner = starts(sizes), starts([n * n for n in sizes])

    def work(start: int, stop: int, halt: Halt) -> None:
        for c in range(start, stop):
            matrix = weights[corner[c] : corner[c + 1]].view(sizes[c], sizes[c])
            measure(matrix, rows[first[c] : first[c + 1]], metric, longest, halt)

    if measure is _measure_products:  # products in new threads wait for those to start others
        stoppable(partial(work, 0, len(sizes)), 0)
    else:
        over_clouds(work, sizes, _cost(rows.shape[1], not direct))
    return weights


def _empty(points: Tensor, sizes: Sequence[int]) -> Tensor:
    """Room for the weights."""
    if len(sizes) == 1 and sizes[0] < SMALL:
        return points.new_empty(sizes[0] * sizes[0])
    with room_for(bytes_of_matrices(sizes, points.dtype), sizes):
        return points.new_empty(sum(n * n for n in sizes))


def _cost(coordinates: int, by_products: bool) -> int:
    """Operations of a compiled loop for one distance; of products it measures few again."""
    return 1 + coordinates // 32 if by_products else coordinates


@operator(_fake, _more_clouds)
def estimated_distances(points: Tensor, sizes: list[int], metric: str) -> Tensor:
    """The weights of :func:`estimated_weights`, where they are estimated from inner products."""
    return _estimates(points, sizes, metric, together=True)


def _estimates(
    points: Tensor, sizes: Sequence[int], metric: str, *, together: bool = False
) -> Tensor:
    """Weights from the Gram matrix, measured where it does not separate them from zero.

    Products taken ``together`` round differently from those of one cloud.
    """
    from topreg._compiled import over_clouds
    from topreg.metrics import _kernels

    rows = points.contiguous()
    with room_for(bytes_of_matrices(sizes, rows.dtype), sizes):
        weights = _empty(rows, sizes)
    x, out, first = rows.numpy(), weights.numpy(), starts(sizes)
    corner = starts([n * n for n in sizes])
    shifted = torch.empty_like(rows)
    bounds = rounding_bound(rows.shape[1], rows.dtype)

    def before(start: int, stop: int, _: Halt) -> None:
        for c in range(start, stop):
            cloud = slice(first[c], first[c + 1])
            _kernels.shift_rows(shifted.numpy()[cloud], x[cloud])

    def after(start: int, stop: int, halt: Halt) -> None:
        for c in range(start, stop):
            n = sizes[c]
            matrix = out[corner[c] : corner[c + 1]].reshape(n, n)
            cloud = x[first[c] : first[c + 1]]
            _kernels.estimate_upper(matrix, cloud, *bounds, metric == "cosine", halt)

    over_clouds(before, list(sizes))
    products_within(shifted, sizes, weights, together=together)
    over_clouds(after, list(sizes), _cost(rows.shape[1], by_products=True))
    return weights


def _measure_directly(
    matrix: Tensor, points: Tensor, metric: str, longest: float, halt: Halt
) -> None:
    """Weights of one cloud by differences alone."""
    from topreg.metrics._kernels import direct_upper, manhattan_upper

    if metric == "manhattan":
        manhattan_upper(matrix.numpy(), points.numpy(), halt)
    else:
        direct_upper(matrix.numpy(), points.numpy(), metric == "cosine", halt)


def _measure_products(
    matrix: Tensor, points: Tensor, metric: str, longest: float, halt: Halt
) -> None:
    """Weights of one cloud in single precision, from inner products in double precision."""
    from topreg.metrics import _kernels

    x, out, n = points.numpy(), matrix.numpy(), len(points)
    shifted, squares = _shifted(points)
    slack, rows = slack_of(points.shape[1]), block_of(n)
    for top in range(0, n, rows):
        if halt[0]:
            break
        products = shifted.new_empty(min(rows, n - top), n - top)
        torch.mm(shifted[top : top + rows], shifted[top:].T, out=products)
        block = products.numpy(), x, squares.numpy(), *slack, metric == "cosine", top
        _kernels.round_upper(out, *block, top, top + len(products), halt)
    _kernels.mirror(out, halt)


def _shifted(points: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in double precision nearer to the origin, and their squares."""
    from topreg.metrics import _kernels

    rows = torch.empty(points.shape, dtype=torch.float64)
    _kernels.shift_rows(rows.numpy(), points.contiguous().numpy())
    return rows, rows.square().sum(1)


def _measure_near(matrix: Tensor, points: Tensor, metric: str, longest: float, halt: Halt) -> None:
    """Measure those estimates of one cloud whose order, or side of ``longest``, is in doubt."""
    import numpy as np

    from topreg.metrics import _kernels

    out = matrix.numpy()
    entries = np.append(_kernels.upper_entries(out), longest)
    listed = _kernels.crowded(np.sort(entries), 8e-12)
    if len(listed):
        _kernels.measure_crowded(out, points.numpy(), listed, metric == "cosine", halt)
        _kernels.mirror(out, halt)


def cross_weights(x: Tensor, y: Tensor, metric: str) -> Tensor:
    """Distances between two prepared clouds, (n, d) and (m, d) -> (n, m)."""
    weights: Tensor = cross_distances(x, y, metric)
    return weights


@operator(lambda x, y, metric: x.new_empty(len(x), len(y)), _cloud_by_cloud)
def cross_distances(x: Tensor, y: Tensor, metric: str) -> Tensor:
    """Distances between two clouds by a named metric."""
    if x.device.type != "cpu":
        return direct_distances(x, y, metric)
    from topreg._compiled import stoppable
    from topreg.metrics import _kernels

    a, b, cosine = x.contiguous(), y.contiguous(), metric == "cosine"
    out = a.new_empty(len(a), len(b))
    if _by_differences(x, metric):
        operations = out.numel() * x.shape[1]
        if metric == "manhattan":
            arrays = out.numpy(), a.numpy(), b.numpy()
            stoppable(lambda halt: _kernels.manhattan(*arrays, halt), operations)
        else:
            stoppable(
                lambda halt: _kernels.direct(out.numpy(), a.numpy(), b.numpy(), cosine, halt),
                operations,
            )
        return out
    shifted, squares = _shifted(torch.cat([a, b]))
    squares_a, squares_b = squares[: len(a)].numpy(), squares[len(a) :].numpy()
    in_double = x.dtype == torch.float64
    products = out if in_double else torch.empty_like(out, dtype=torch.float64)
    torch.mm(shifted[: len(a)], shifted[len(a) :].T, out=products)
    rows = a.numpy(), squares_a, b.numpy(), squares_b

    def finish(halt: Halt) -> None:
        if in_double:
            bounds = rounding_bound(x.shape[1], x.dtype)
            _kernels.estimate_rectangle(out.numpy(), *rows, *bounds, cosine, halt)
        else:
            slack = slack_of(x.shape[1])
            every = *rows, *slack, cosine, 0, len(a)
            _kernels.round_rows(out.numpy(), products.numpy(), *every, halt)

    stoppable(finish, out.numel() * _cost(x.shape[1], by_products=True))
    return out
