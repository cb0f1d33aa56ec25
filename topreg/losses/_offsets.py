"""Offsets of equation 6: how far the samples of a class lie from a common counterpart."""

import math

import torch
from torch import Tensor

from topreg._safe import safe_cosines, safe_norm

# measured: one coordinate of a listed pair takes as long as LISTED_COST multiplications in a matrix
# product; the other work per entry of the product takes as long as NARROW multiplications
LISTED_COST, NARROW = 100, 1000
ROUNDING = 4  # a square below so many machine epsilons of its terms is only rounding
LOST = 3  # a square below so many roots of machine epsilon of its terms has lost half its digits


def sums_of_cosines(source: Tensor, target: Tensor, related: Tensor, *, eps: float) -> Tensor:
    """Sum, over the relatives k of i, the cosine between both offsets from ``target_i``.

    If there are few relatives, their pairs are listed; otherwise matrix products are cheaper.
    Counting relatives, or finding lost digits, would wait for a device other than the CPU. Such a
    device, and a compiled program, always multiply; their rows are in double precision.
    """
    width = source.shape[1]
    may_look = source.device.type == "cpu" and not torch.compiler.is_compiling()
    listed = LISTED_COST * width * int(related.sum()) if may_look else math.inf
    if listed <= (width + NARROW) * related.numel():
        i, k = related.nonzero().unbind(1)
        cosines = _listed_cosines(source, target, i, k, eps)
        return cosines.new_zeros(len(source)).index_add(0, i, cosines)
    if not may_look:
        digits = ROUNDING * torch.finfo(source.dtype).eps
        cosines, _ = _dense_cosines(source, target, related, eps, digits)
        return torch.where(related, cosines, 0.0).sum(1)
    digits = LOST * math.sqrt(torch.finfo(source.dtype).eps)
    cosines, lost = _dense_cosines(source, target, related, eps, digits)
    if bool(lost.any()):
        i, k = lost.nonzero().unbind(1)
        cosines = cosines.index_put((i, k), _listed_cosines(source, target, i, k, eps))
    return torch.where(related, cosines, 0.0).sum(1)


def _listed_cosines(source: Tensor, target: Tensor, i: Tensor, k: Tensor, eps: float) -> Tensor:
    """Return the cosine of ``source_i - target_i`` and ``source_k - target_i`` for each pair."""
    centres = target.index_select(0, i)
    own, other = source.index_select(0, i) - centres, source.index_select(0, k) - centres
    squares, others = own.square().sum(1), other.square().sum(1)
    return _cosines((own * other).sum(1), squares, others, eps * eps, eps * eps)


def _dense_cosines(
    source: Tensor, target: Tensor, related: Tensor, eps: float, digits: float
) -> tuple[Tensor, Tensor]:
    """Return the cosine of ``source_i - target_i`` and ``source_k - target_i``, k a relative of i.

    Return also which cosines were lost in rounding, and are 0: the square of the second vector is
    below ``digits`` times the size of its terms.

    With the offsets ``a_k = source_k - target_k`` the second vector is ``a_k + target_k -
    target_i``, so that inner products and squares follow from three products of matrices. Only
    differences between targets of relatives occur. Subtracting from each target that of its first
    relative avoids cancellation where relatives share a target.
    """
    offsets = source - target
    rows = torch.arange(len(target), device=target.device)
    first = torch.minimum(rows, torch.where(related, rows, len(rows)).amin(1))
    centres = target - target.detach().index_select(0, first)
    with torch.autocast(source.device.type, enabled=False):
        inner, cross, outer = offsets @ offsets.T, offsets @ centres.T, centres @ centres.T
    squares, shifts, lengths = inner.diagonal(), cross.diagonal(), outer.diagonal()
    dots = inner + cross - shifts[:, None]
    moved = lengths[None, :] + lengths[:, None] - 2 * outer
    others = squares[None, :] + 2 * (shifts[None, :] - cross.T) + moved
    with torch.no_grad():
        least = digits * (squares + lengths + lengths[:, None])
        lost = related & (others <= least) & (least > eps * eps)
    return _cosines(dots, squares[:, None], others, eps * eps, least.clamp(min=eps * eps)), lost


def _cosines(
    dots: Tensor,
    squares: Tensor,
    others: Tensor,
    least: Tensor | float,
    least_others: Tensor | float,
) -> Tensor:
    """Return the cosine where both squares exceed their least values, else 0."""
    directed = ~((squares <= least) | (others <= least_others))  # NaN stays NaN
    return safe_cosines(dots, squares, others, directed)


def with_norms_of(source: Tensor, target: Tensor, eps: float) -> Tensor:
    """Return the source rows, rescaled to the lengths of the target rows."""
    squares = source.square().sum(1, keepdim=True)
    directed = squares > eps * eps
    length = safe_norm(target)[:, None]
    return torch.where(
        directed, source * length / torch.where(directed, squares, 1.0).sqrt(), source
    )
