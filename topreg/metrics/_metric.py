"""What a metric is: one of three names, or a function of the user's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from topreg import _checks
from topreg.metrics._products import full_precision
from topreg.metrics._scale import power_of_two

Metric = str | Callable[[Tensor, Tensor], Tensor]
METRICS = ("euclidean", "cosine", "manhattan")


def check_metric(metric: Metric) -> None:
    """Refuse a metric that does not measure points."""
    if not callable(metric):
        _checks.is_option("metric", metric, METRICS)


def at_least_single(x: Tensor) -> Tensor:
    """Half precision in single precision: too many distances coincide in it."""
    return x if x.dtype == torch.float64 else x.float()


def unit_rows(x: Tensor) -> Tensor:
    """Rows of length one, in at least single precision; zero rows stay.

    Each row is divided by a power of two first, which rounds nothing, so that its square neither
    overflows nor vanishes.

    Shape:
        - x, output: (n, d).
    """
    x = at_least_single(x)
    scale = power_of_two(x.detach()[:, None]).squeeze(1)
    return torch.nn.functional.normalize(x / scale, dim=1)


def by_callable(metric: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return what a metric of the user's gives, computed in full precision; check its shape."""
    with torch.autocast(x.device.type, enabled=False), full_precision():
        matrix = metric(x, y)
    if not isinstance(matrix, Tensor) or matrix.shape != (len(x), len(y)):
        got = tuple(matrix.shape) if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ValueError(
            f"`metric(x, y)` should have shape (len(x), len(y)) = ({len(x)}, {len(y)}). Got {got}."
        )
    if not matrix.is_floating_point():
        raise TypeError(f"`metric(x, y)` should be floating point. Got {matrix.dtype}.")
    return matrix
