"""Lengths of selected edges, with gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from topreg._operators import operator, row_by_row
from topreg._safe import safe_root, widest_dtype
from topreg.metrics._metric import Metric, at_least_single, by_callable, unit_rows

BLOCK = 32  # edges given to a callable metric at a time: it computes BLOCK^2 entries for BLOCK


def edge_lengths(points: Tensor, edges: Tensor, metric: Metric) -> Tensor:
    """Length of each edge, differentiable in the points; 0 with gradient 0 for an edge (v, v).

    By a named metric the value is the weight by which the search orders edges, to the last bit: a
    formula in torch operations gives the gradient, and its value is corrected.

    Shape:
        - points: (N, d); edges: (m, 2) int64.
        - Output: (m,), in at least single precision.
    """
    points = at_least_single(points)
    first, second = points.index_select(0, edges[:, 0]), points.index_select(0, edges[:, 1])
    if callable(metric):
        return _by_callable(first, second, edges, metric)
    if metric == "cosine":
        first, second = unit_rows(first), unit_rows(second)
    lengths = _formula(first, second, metric)
    return lengths + length_corrections(first.detach(), second.detach(), lengths.detach(), metric)


def _formula(first: Tensor, second: Tensor, metric: str) -> Tensor:
    """Distance between each row of one matrix and the same row of another.

    In the widest dtype of the device, in which squares of single precision stay in range.
    """
    gaps = second.to(widest_dtype(first.device)) - first
    if metric == "manhattan":
        lengths = gaps.abs().sum(1)
    elif metric == "cosine":
        lengths = gaps.square().sum(1) * 0.5
    else:
        lengths = safe_root(gaps.square().sum(1))
    return lengths.to(first.dtype)


@operator(lambda first, second, lengths, metric: torch.empty_like(lengths), row_by_row)
def length_corrections(first: Tensor, second: Tensor, lengths: Tensor, metric: str) -> Tensor:
    """What is added to lengths by the formula to make them the weights of the edges.

    The two differ by little, so that difference and sum are exact. Lengths that overflow stay. On
    other devices than the CPU the formula is the weight.
    """
    if first.device.type == "cpu":
        from topreg.metrics._kernels import edge_weights

        x, y, weights = first.contiguous(), second.contiguous(), torch.empty_like(lengths)
        arrays = weights.numpy(), x.numpy(), y.numpy()
        edge_weights(*arrays, metric == "manhattan", metric == "cosine")
    else:
        weights = _formula(first, second, metric)
    return torch.where(lengths.isfinite(), weights - lengths, 0.0)


def _by_callable(
    first: Tensor, second: Tensor, edges: Tensor, metric: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Mean of both directions of a callable metric, a block of edges at a time."""
    lengths = [first.new_zeros(0)]
    for x, y in zip(first.split(BLOCK), second.split(BLOCK), strict=True):
        there, back = by_callable(metric, x, y), by_callable(metric, y, x)
        both = at_least_single(there.diagonal()) / 2 + at_least_single(back.diagonal()) / 2
        lengths.append(both)
    joined = torch.cat(lengths)
    degenerate = (edges[:, 0] == edges[:, 1]) | (joined < 0)  # below zero by rounding
    return torch.where(degenerate, 0.0, joined)
