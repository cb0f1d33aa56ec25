"""Distance matrices that a user or a user's metric gives: checked, symmetric, zero diagonal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import starts
from topreg.metrics import at_least_single

LARGE = 1536  # vertices from which on several threads check one matrix faster than one


def checked_weights(
    entries: Tensor, sizes: Sequence[int], *, name: str, check_values: bool, of_metric: bool = False
) -> Tensor:
    """Entries of matrices in the selection dtype, as the engines read them.

    With ``check_values`` each matrix must be free of NaN, symmetric, non-negative and zero on its
    diagonal, up to ``min(16 sqrt(eps), 1/4) max|D|``; within that the mean with the transpose is
    taken. Without, the values are read as they are. What a metric gives need only be least on the
    diagonal, as the root of a square and a small number is; it counts as zero.

    Shape:
        - entries, output: (sum of n_i^2,).
    """
    entries = entries.detach()
    eps = torch.finfo(entries.dtype).eps
    weights = at_least_single(entries).contiguous()
    if not check_values or _is_clean(weights, sizes):
        return weights
    corners = starts([n * n for n in sizes])
    matrices = [
        _mended(weights[corner : corner + n * n].view(n, n), eps, name, of_metric)
        for corner, n in zip(corners[:-1], sizes, strict=True)
    ]
    return torch.cat([matrix.reshape(-1) for matrix in matrices])


def _is_clean(weights: Tensor, sizes: Sequence[int]) -> bool:
    """Whether every matrix already is what the engines read, bit for bit."""
    if weights.device.type != "cpu" or torch.compiler.is_compiling():
        return False  # they are looked at where they are, or in the graph
    import numpy as np

    from topreg._compiled import in_threads, stoppable
    from topreg.persistence._bits import kinds_of
    from topreg.persistence._check_kernels import clean, clean_bands

    scalar, integer = kinds_of(weights.dtype)
    bits, infinity = weights.numpy().view(integer), scalar(np.inf).view(integer)
    if len(sizes) != 1 or sizes[0] < LARGE:
        each = np.asarray(sizes, dtype=np.int64)
        return bool(stoppable(lambda halt: clean(bits, each, infinity, halt), bits.size))
    matrix = bits.reshape(sizes[0], sizes[0])
    return all(in_threads(lambda one, of, halt: clean_bands(matrix, infinity, one, of, halt)))


def _mended(matrix: Tensor, eps: float, name: str, of_metric: bool) -> Tensor:
    """One matrix after the checks, symmetric and with a zero diagonal."""
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
    if torch.compiler.is_compiling():
        torch._assert_async(~bad.any(), f"`{name}` should be {requirement}.")
        return
    if not bool(bad.any()):
        return
    i, j = (int(index) for index in bad.nonzero()[0])
    found = f"{matrix[i, j]:.6g} at ({i}, {j})"
    if requirement == "symmetric":
        found += f" and {matrix[j, i]:.6g} at ({j}, {i})"
    raise ValueError(f"`{name}` should be {requirement}. Got {found}.{_cure(requirement, matrix)}")


def _cure(requirement: str, matrix: Tensor) -> str:
    """What to do with similarities: they are largest on the diagonal, or a metric of a user's."""
    own = matrix.diagonal()
    similar = bool((own > 0).all() and own.isfinite().all() and (own >= matrix.amax(1)).all())
    if similar or requirement == "least on the diagonal":
        return " A similarity is not a distance; 1 minus it may be."
    return ""
