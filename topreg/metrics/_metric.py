"""Metrics: one of three names, a function of the user, or ``"precomputed"``."""

from collections.abc import Callable

import torch
from torch import Tensor

from topreg import _checks
from topreg._operators import operator, row_by_row
from topreg._safe import power_of_two
from topreg.metrics._products import full_precision

Metric = str | Callable[[Tensor, Tensor], Tensor]
METRICS = ("euclidean", "cosine", "manhattan")


def check_metric(metric: Metric) -> None:
    """Raise if a metric is neither a known name nor a function."""
    if not callable(metric):
        _checks.is_option("metric", metric, (*METRICS, "precomputed"))


def at_least_single(x: Tensor) -> Tensor:
    """Return half precision as single, because too many distances coincide in half."""
    return x if x.dtype == torch.float64 else x.float()


def unit_rows(x: Tensor) -> Tensor:
    """Return rows divided by their length, in at least single precision; zero rows stay.

    Each row is divided by a power of two first, which rounds nothing, so that its square neither
    overflows nor vanishes. On the CPU the values are those of :func:`unit_vectors`.

    Shape:
        - x, output: (n, d).
    """
    x = at_least_single(x)
    scale = power_of_two(x.detach()[:, None]).squeeze(1)
    rows = torch.nn.functional.normalize(x / scale, dim=1)
    return rows if x.device.type != "cpu" else rows + (unit_vectors(x.detach()) - rows.detach())


def rows_of(points: Tensor, metric: str) -> Tensor:
    """Return the rows between which a named metric measures: normalised for the cosine."""
    points = at_least_single(points)
    return unit_rows(points) if metric == "cosine" else points


@operator(torch.empty_like, row_by_row)
def unit_vectors(x: Tensor) -> Tensor:
    """Return the values of :func:`unit_rows`, which depend only on their row, to the last bit."""
    if x.device.type != "cpu":
        return unit_rows(x)
    from topreg._compiled import over_rows
    from topreg.metrics import _kernels

    rows = x.contiguous()
    out = torch.empty_like(rows)
    points, vectors = rows.numpy(), out.numpy()
    over_rows(
        len(points),
        lambda i, j, halt: _kernels.unit_rows(vectors, points, i, j, halt),
        rows.numel(),
    )
    return out


def by_callable(metric: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Return the user's metric, computed in full precision; raise if its shape is wrong."""
    with torch.autocast(x.device.type, enabled=False), full_precision():
        matrix = metric(x, y)
    if not isinstance(matrix, Tensor) or matrix.shape != (len(x), len(y)):
        got = tuple(matrix.shape) if isinstance(matrix, Tensor) else type(matrix).__name__
        raise ValueError(
            f"`metric(x, y)` should have shape (len(x), len(y)) = ({len(x)}, {len(y)}). Got {got}."
        )
    _checks.is_floating("metric(x, y)", matrix, of_distances=True)
    return matrix
