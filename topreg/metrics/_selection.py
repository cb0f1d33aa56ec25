"""Distances without gradient, by which the filtration orders edges.

The weight of an edge is the distance between its two points, measured by differences in double
precision and rounded once. It is the same alone, in a batch, in a tile and in a diagram, so that
the order of edges never contradicts the values that diagrams report.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from topreg._clouds import have_one_size, starts
from topreg._operators import operator, with_batch
from topreg._room import bytes_of_matrices, room_for
from topreg._safe import power_of_two
from topreg.metrics._metric import rows_of
from topreg.metrics._products import (
    block_of,
    products_within,
    rounding_bound,
    rounding_errors,
    slack_of,
)

if TYPE_CHECKING:
    from topreg._compiled import Halt
    from topreg._scratch_kernels import Block

SMALL = 1 << 12  # fewer vertices than this need no check of memory
FEW_COORDINATES = 8  # with at most so many, differences are as fast as the Gram matrix


def prepare(points: Tensor, metric: str) -> Tensor:
    """Return the rows between which a named metric measures, without gradient."""
    return rows_of(points.detach(), metric)


def selection_weights(
    points: Tensor, sizes: Sequence[int], metric: str, longest: float = math.inf
) -> Tensor:
    """Return the weights of the edges within each cloud.

    In single precision every entry is the weight of its edge. In double precision an entry may have
    a relative error below 1e-12, unless another entry or ``longest`` is that near. So the order is
    exact, also with respect to ``longest``.

    Shape:
        - points: (N, d), the prepared rows of all clouds.
        - Output: (sum of n_i^2,), the matrices one after the other, on the device of the points.
    """
    weights: Tensor = dense_distances(points, list(sizes), metric, longest)
    return weights


def estimated_weights(
    points: Tensor, sizes: Sequence[int], metric: str
) -> tuple[Tensor, Tensor | None]:
    """Estimate the weights of :func:`selection_weights`; return also the errors of their squares.

    Relative errors of weights are below 1e-5 in single precision and 1e-12 in double. The errors
    (), in units of rounding, bound ``|x - y|^2`` times its relative error; None if all are exact.
    """
    direct = metric == "manhattan" or points.shape[1] <= FEW_COORDINATES
    if points.device.type != "cpu" or direct:
        weights: Tensor = dense_distances(points, list(sizes), metric, math.inf)
        return weights, None
    return estimated_distances(points, list(sizes), metric)


def _fake(points: Tensor, sizes: list[int], metric: str, longest: float = math.inf) -> Tensor:
    """Return an empty tensor of the right shape."""
    return points.new_empty(sum(n * n for n in sizes))


def _more_clouds(
    call: Callable[..., Tensor],
    info: Any,
    in_dims: Sequence[Any],
    points: Tensor,
    sizes: list[int],
    *options: Any,
) -> tuple[Tensor, int]:
    """Batch an operator on clouds: pass the clouds of all members in one call."""
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
    """Batch an operator on two clouds: call it for each member."""
    batches = (with_batch(z, dim, info.batch_size) for z, dim in zip((x, y), in_dims, strict=False))
    return torch.stack([call(a, b, metric) for a, b in zip(*batches, strict=True)]), 0


@operator(_fake, _more_clouds)
def dense_distances(points: Tensor, sizes: list[int], metric: str, longest: float) -> Tensor:
    """Compute the weights of :func:`selection_weights`."""
    if points.device.type != "cpu":
        return distances_within(points, sizes, metric)
    from topreg._compiled import over_clouds, stoppable
    from topreg._scratch_kernels import with_scratch

    direct = metric == "manhattan" or points.shape[1] <= FEW_COORDINATES
    rows = points.contiguous()
    if direct or points.dtype != torch.float64:
        weights, measure = _empty(rows, sizes), _measure_directly
    else:
        weights, measure = _estimates(rows, sizes, metric)[0], _measure_near
    cost = rows.shape[1] if direct else 1 + rows.shape[1] // 32  # per entry
    x, out = rows.numpy(), weights.numpy()
    first, corner = starts(sizes), starts([n * n for n in sizes])
    clouds = [
        (out[corner[c] : corner[c + 1]].reshape(n, n), x[first[c] : first[c + 1]])
        for c, n in enumerate(sizes)
    ]

    def work(start: int, stop: int, halt: Halt) -> None:
        for matrix, cloud in clouds[start:stop]:
            measure(matrix, cloud, metric, longest, halt)

    if direct or points.dtype == torch.float64:
        over_clouds(work, sizes, cost)
    else:  # in a new thread, products would have to start threads again
        task = clouds, metric
        stoppable(lambda halt: with_scratch(partial(_measure_products, *task, halt)), 0)
    return weights


def _empty(points: Tensor, sizes: Sequence[int]) -> Tensor:
    """Allocate the weights."""
    if len(sizes) == 1 and sizes[0] < SMALL:
        return points.new_empty(sizes[0] * sizes[0])
    with room_for(bytes_of_matrices(sizes, points.dtype), sizes):
        return points.new_empty(sum(n * n for n in sizes))


@operator(
    lambda points, sizes, _: (_fake(points, sizes, ""), points.new_empty((), dtype=torch.float64))
)
def estimated_distances(points: Tensor, sizes: list[int], metric: str) -> tuple[Tensor, Tensor]:
    """Compute the weights and the errors of :func:`estimated_weights` from inner products."""
    return _estimates(points, sizes, metric, together=True)


def _estimates(
    points: Tensor, sizes: Sequence[int], metric: str, *, together: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute weights from the Gram matrix; measure those that it does not separate from zero.

    Return also the errors (). ``together`` computes the products of all clouds in one call, which
    rounds differently.
    """
    import numpy as np

    from topreg._compiled import over_clouds
    from topreg.metrics import _kernels

    rows = points.contiguous()
    weights = _empty(rows, sizes)
    x, out, first = rows.numpy(), weights.numpy(), starts(sizes)
    corner = starts([n * n for n in sizes])
    shifted = torch.empty_like(rows)
    bounds, squares = rounding_bound(rows.shape[1], rows.dtype), np.zeros(len(sizes))

    def before(start: int, stop: int, _: Halt) -> None:
        for c in range(start, stop):
            cloud = slice(first[c], first[c + 1])
            _kernels.shift_rows(shifted.numpy()[cloud], x[cloud])

    def after(start: int, stop: int, halt: Halt) -> None:
        for c in range(start, stop):
            n = sizes[c]
            matrix = out[corner[c] : corner[c + 1]].reshape(n, n)
            cloud = x[first[c] : first[c + 1]]
            squares[c] = _kernels.estimate_upper(matrix, cloud, *bounds, metric == "cosine", halt)

    over_clouds(before, list(sizes))
    products_within(shifted, sizes, weights, together=together)
    over_clouds(after, list(sizes), 1 + rows.shape[1] // 32)
    errors = 2 * squares.max(initial=0) * rounding_errors(rows.shape[1])
    return weights, torch.tensor(errors, dtype=torch.float64, device="cpu")


def _measure_directly(out: Any, x: Any, metric: str, longest: float, halt: Halt) -> None:
    """Measure the weights of one cloud by differences; arrays are NumPy's."""
    from topreg.metrics._kernels import measure_upper

    measure_upper(out, x, metric == "manhattan", metric == "cosine", halt)


def _measure_products(
    clouds: Sequence[tuple[Any, Any]], metric: str, halt: Halt, block: Block
) -> None:
    """Compute weights of clouds in single precision from inner products in double."""
    import numpy as np

    from topreg._scratch_kernels import reserve
    from topreg.metrics import _kernels

    most, d = max([len(x) for _, x in clouds], default=0), clouds[0][1].shape[1] if clouds else 0
    slack, cosine = slack_of(d), metric == "cosine"
    wide, squares = reserve(block, most * d, np.float64), reserve(block, most, np.float64)
    room, tensor = reserve(block, most * block_of(most), np.float64), torch.from_numpy
    for out, x in clouds:
        n, step = len(x), block_of(len(x))
        rows = wide[: n * d].reshape(n, d)
        _kernels.shift_rows(rows, x)
        for top in reversed(range(0, n, step)):  # the last first: its squares are needed before
            these, others = rows[top : top + step], rows[top:].T
            products = room[: len(these) * (n - top)].reshape(len(these), n - top)
            torch.mm(tensor(these), tensor(others), out=tensor(products))
            _kernels.round_upper(out, products, x, squares, *slack, cosine, top, halt)
        _kernels.mirror(out, halt)


def _measure_near(out: Any, x: Any, metric: str, longest: float, halt: Halt) -> None:
    """Measure the estimates of one cloud that are too near to others, or to ``longest``."""
    import numpy as np

    from topreg.metrics import _kernels

    entries = np.append(_kernels.upper_entries(out), longest)
    listed = _kernels.close_entries(np.sort(entries), 8e-12)
    if len(listed):
        _kernels.measure_listed(out, x, listed, metric == "cosine", halt)
        _kernels.mirror(out, halt)


@operator(lambda x, y, metric: x.new_empty(len(x), len(y)), _cloud_by_cloud)
def cross_distances(x: Tensor, y: Tensor, metric: str) -> Tensor:
    """Return the distances between two prepared clouds, (n, d) and (m, d) -> (n, m)."""
    if x.device.type != "cpu":
        return direct_distances(x, y, metric)
    from topreg._compiled import stoppable
    from topreg.metrics import _kernels

    a, b, cosine = x.contiguous(), y.contiguous(), metric == "cosine"
    out = a.new_empty(len(a), len(b))
    if metric == "manhattan" or x.shape[1] <= FEW_COORDINATES:
        task = out.numpy(), a.numpy(), b.numpy(), metric == "manhattan", cosine
        stoppable(partial(_kernels.measure_between, *task), out.numel() * x.shape[1])
        return out
    shifted = x.new_empty(len(a) + len(b), x.shape[1], dtype=torch.float64)
    _kernels.shift_rows(shifted.numpy(), torch.cat([a, b]).numpy())
    squares = shifted.square().sum(1)
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

    stoppable(finish, out.numel() * (1 + x.shape[1] // 32))
    return out


def distances_within(points: Tensor, sizes: Sequence[int], metric: str) -> Tensor:
    """Return the distances within each cloud, without reading values back from the device.

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
    """Return distances by differences: 0 for equal rows, equal numbers for equal differences.

    Squares stay in range because the rows of each cloud are divided by a power of two first. In
    single precision a distance below about 1e-19 times the largest coordinate counts as 0.

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
