"""Checks of distance matrices that a user or a user's metric gives."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import starts
from topreg._operators import is_plain, operator
from topreg.metrics import at_least_single
from topreg.persistence._bits import INFINITY, as_integers

LARGE = 1536  # with so many vertices or more, several threads check one matrix faster than one


def check_weights(
    entries: Tensor, sizes: Sequence[int], *, name: str, check_values: bool, of_metric: bool = False
) -> Tensor:
    """Return entries of matrices in the selection dtype, as the engines read them.

    With ``check_values`` each matrix must be free of NaN, symmetric, non-negative and zero on its
    diagonal, up to ``min(16 sqrt(eps), 1/4) max|D|``. Within that tolerance it is replaced by its
    mean with the transpose. Without ``check_values`` the values are read as they are. A matrix
    ``of_metric`` need only have its least entries on the diagonal, as ``sqrt(square + eps)`` has;
    they count as zero.

    Shape:
        - entries, output: (sum of n_i^2,).
    """
    entries = entries.detach()
    if not check_values:
        return at_least_single(entries).contiguous()
    if is_plain(entries):
        return _check(entries, sizes, name, of_metric)
    weights: Tensor = weights_in_graph(entries, list(sizes), name, of_metric)
    return weights


@operator(lambda entries, *_: at_least_single(torch.empty_like(entries)))
def weights_in_graph(entries: Tensor, sizes: list[int], name: str, of_metric: bool) -> Tensor:
    """Check entries in a compiled program, or wherever Python does not see values."""
    weights = _check(entries, sizes, name, of_metric)
    return weights.clone() if weights is entries else weights


def check_rows(points: Tensor, name: str, metric: str) -> Tensor:
    """Return points (N, d); raise if some are not finite or, for the cosine, zero."""
    if torch.compiler.is_compiling():
        points = rows_in_graph(points, name, metric)
        return points
    _checks.are_finite(name, points)
    if metric == "cosine":
        _checks.have_direction(name, points)
    return points


@operator(lambda points, *_: torch.empty_like(points))
def rows_in_graph(points: Tensor, name: str, metric: str) -> Tensor:
    """Check points in a compiled program, where Python does not see values."""
    return check_rows(points, name, metric).clone()


def _check(entries: Tensor, sizes: Sequence[int], name: str, of_metric: bool) -> Tensor:
    """Return entries after checking them, symmetric and with a zero diagonal."""
    eps = torch.finfo(entries.dtype).eps
    weights = at_least_single(entries).contiguous()
    if _is_clean(weights, sizes):
        return weights
    corners = starts([n * n for n in sizes])
    matrices = [
        _mend(weights[corner : corner + n * n].view(n, n), eps, name, of_metric)
        for corner, n in zip(corners[:-1], sizes, strict=True)
    ]
    return torch.cat([matrix.reshape(-1) for matrix in matrices])


def _is_clean(weights: Tensor, sizes: Sequence[int]) -> bool:
    """Return whether all matrices are clean, so that the engines can read them as they are."""
    if weights.device.type != "cpu":
        return False  # torch operations check them on their device
    from topreg._compiled import in_threads, stoppable
    from topreg.persistence._check_kernels import are_clean, imbalance

    (bits, _), infinity = as_integers(weights), INFINITY[weights.dtype]
    if len(sizes) != 1 or sizes[0] < LARGE:
        each = np.asarray(sizes, dtype=np.int64)
        return bool(stoppable(lambda halt: are_clean(bits, each, infinity, halt), bits.size))
    matrix = bits.reshape(sizes[0], sizes[0])
    found = in_threads(lambda one, of, halt: imbalance(matrix, infinity, one, of, halt))
    sums = np.array([total for total, _ in found])  # which may wrap
    return not any(bad for _, bad in found) and int(sums.sum()) == 0


def _mend(matrix: Tensor, eps: float, name: str, of_metric: bool) -> Tensor:
    """Return one matrix after checking it, symmetric and with a zero diagonal."""
    _checks.have_no_nan(name, matrix)
    if not matrix.numel():
        return matrix
    largest = torch.where(matrix.isfinite(), matrix.abs(), 0.0).amax()
    allowed = min(16 * math.sqrt(eps), 0.25) * largest  # 1.4 in bfloat16
    _refuse(name, "non-negative", matrix, matrix < -allowed)
    own, wanted = matrix.diagonal(), "zero on the diagonal"
    bad = own.abs() > allowed
    if of_metric:
        bad, wanted = bad & ~(own - matrix.amin(1) <= 4 * eps * largest), "least on the diagonal"
    _refuse(name, wanted, matrix, bad.diag())
    gap = torch.where(matrix == matrix.T, 0.0, (matrix - matrix.T).abs())
    _refuse(name, "symmetric", matrix, gap > allowed)
    return (matrix / 2 + matrix.T / 2).clamp_(min=0).fill_diagonal_(0)


def _refuse(name: str, requirement: str, matrix: Tensor, bad: Tensor) -> None:
    """Raise with the first entry that breaks the requirement."""
    if not bool(bad.any()):
        return
    i, j = (int(index) for index in bad.nonzero()[0])
    found = f"{matrix[i, j]:.6g} at ({i}, {j})"
    if requirement == "symmetric":
        found += f" and {matrix[j, i]:.6g} at ({j}, {i})"
    raise ValueError(f"`{name}` should be {requirement}. Got {found}.{_cure(requirement, matrix)}")


def _cure(requirement: str, matrix: Tensor) -> str:
    """Return advice if the matrix seems to hold similarities, which are largest on the diagonal."""
    own = matrix.diagonal()
    similar = bool((own > 0).all() and own.isfinite().all() and (own >= matrix.amax(1)).all())
    if similar or requirement == "least on the diagonal":
        return " A similarity is not a distance; 1 minus it may be."
    return ""
