"""Distances without gradient, as the filtration orders edges by them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from topreg._clouds import starts
from topreg._operators import operator
from topreg.metrics._on_device import direct_distances, distances_within

Metric = str | Callable[[Tensor, Tensor], Tensor]
METRICS = ("euclidean", "cosine", "manhattan")
FEW_COORDINATES = 8  # up to here differences are as fast as the Gram matrix
BLOCK = 256  # rows of one matrix product; only columns right of a block's first are computed


def at_least_single(x: Tensor) -> Tensor:
    """Half precision in single precision: too many distances coincide in it."""
    return x if x.dtype == torch.float64 else x.float()


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
    return torch.nn.functional.normalize(points, dim=1) if metric == "cosine" else points


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
    weights = rows.new_empty(sum(n * n for n in sizes))
    x, out, first = rows.numpy(), weights.numpy(), starts(sizes)
    corner = starts([n * n for n in sizes])
    by_products = rows.shape[1] > FEW_COORDINATES and not manhattan
    centred = rows.clone() if by_products else rows
    separated, floor = rounding_bound(rows.shape[1], rows.dtype)

    def before(start: int, stop: int) -> None:
        for c in range(start, stop):
            _kernels.centre(centred.numpy(), first[c], first[c + 1])

    def after(start: int, stop: int) -> None:
        for c in range(start, stop):
            cloud = x[first[c] : first[c + 1]]
            matrix = out[corner[c] : corner[c + 1]].reshape(len(cloud), len(cloud))
            if by_products:
                _kernels.euclidean_upper(matrix, cloud, separated, floor)
            elif manhattan:
                _kernels.manhattan(matrix, cloud, cloud)
            else:
                _kernels.euclidean_direct(matrix, cloud, cloud)

    if by_products:
        over_clouds(before, sizes)
        for c, n in enumerate(sizes):
            matrix = weights[corner[c] : corner[c + 1]].view(n, n)
            _upper_products(centred[first[c] : first[c + 1]], matrix)
    over_clouds(after, sizes)
    return weights


@operator(lambda x, y, manhattan: x.new_empty(len(x), len(y)))
def cross_distances(x: Tensor, y: Tensor, manhattan: bool) -> Tensor:
    """Euclidean or Manhattan distances between two clouds."""
    if x.device.type != "cpu":
        return direct_distances(x, y, manhattan)
    from topreg.metrics import _kernels

    a, b = x.contiguous(), y.contiguous()
    out = a.new_empty(len(a), len(b))
    if manhattan or x.shape[1] <= FEW_COORDINATES:
        direct = _kernels.manhattan if manhattan else _kernels.euclidean_direct
        direct(out.numpy(), a.numpy(), b.numpy())
        return out
    centred = torch.cat([a, b])
    _kernels.centre(centred.numpy(), 0, len(centred))
    squares = centred.square().sum(1).numpy()
    full_precision_mm(centred[: len(a)], centred[len(a) :].T, out)
    _kernels.euclidean_rectangle(
        out.numpy(), a.numpy(), squares[: len(a)], b.numpy(), squares[len(a) :],
        *rounding_bound(x.shape[1], x.dtype),
    )  # fmt: skip
    return out


def _upper_products(x: Tensor, out: Tensor) -> None:
    """Inner products on and above the diagonal blocks; the rest of ``out`` is not written."""
    for start in range(0, len(x), BLOCK):
        full_precision_mm(x[start : start + BLOCK], x[start:].T, out[start : start + BLOCK, start:])


def full_precision_mm(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Matrix product that no global precision setting rounds to bfloat16 or TF32."""
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # settings of torch 2.9, one for each backend, are in use
        settings = [torch.backends.mkldnn.matmul, torch.backends.cuda.matmul]  # type: ignore[attr-defined]
        before = [setting.fp32_precision for setting in settings]
        try:
            for setting in settings:
                setting.fp32_precision = "ieee"
            torch.mm(a, b, out=out)
        finally:
            for setting, value in zip(settings, before, strict=True):
                setting.fp32_precision = value
        return
    if precision == "highest":
        torch.mm(a, b, out=out)
        return
    try:
        torch.set_float32_matmul_precision("highest")
        torch.mm(a, b, out=out)
    finally:
        torch.set_float32_matmul_precision(precision)


def by_callable(metric: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """What a metric of the user's gives, with autocast off; its shape is checked."""
    with torch.autocast(x.device.type, enabled=False):
        matrix = metric(x, y)
    if not isinstance(matrix, Tensor) or matrix.shape != (len(x), len(y)):
        got = tuple(matrix.shape) if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ValueError(
            f"`metric(x, y)` should have shape (len(x), len(y)) = ({len(x)}, {len(y)}). Got {got}."
        )
    return matrix


def rounding_bound(coordinates: int, dtype: torch.dtype) -> tuple[object, object]:
    """Which squared distances the Gram matrix gives, as fractions of ``|x|^2 + |y|^2``.

    The product of two rows was wrong by at most ``1.5 sqrt(d)`` units of rounding of half that
    sum, and by no more than 64, on random, one-signed, constant and heavy-tailed rows. A
    distance is trusted where that leaves a relative error below 1e-5 (float32) or 1e-12
    (float64); below ``floor`` squares lose digits to underflow.
    """
    import numpy as np

    single = dtype == torch.float32
    scalar = np.float32 if single else np.float64
    unit = 2.0**-24 if single else 2.0**-53
    separated = min(1.5 * coordinates**0.5, 64.0) * unit / (1e-5 if single else 1e-12)
    return scalar(separated), scalar(1e-30 if single else 1e-290)
