"""Lengths of selected edges, with gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from topreg._clouds import cloud_of, numbers, starts
from topreg._operators import is_plain, operator, row_by_row
from topreg._safe import safe_root, widest_dtype
from topreg.metrics._metric import Metric, at_least_single, by_callable, rows_of

BLOCK = 32  # edges per call of a callable metric, which computes BLOCK^2 entries for them


def edge_lengths(points: Tensor, edges: Tensor, metric: Metric) -> Tensor:
    """Return the length of each edge, with gradient; 0 with gradient 0 for an edge (v, v).

    By a named metric it equals the weight by which the search orders edges, to the last bit.

    Shape:
        - points: (N, d); edges: (m, 2) int64.
        - Output: (m,), in at least single precision.
    """
    return edge_diagram(points, None, edges, metric)[:, 1]


def edge_diagram(points: Tensor, births: Tensor | None, deaths: Tensor, metric: Metric) -> Tensor:
    """Return the lengths of birth edges and of death edges as two columns, with gradient.

    ``births=None`` means that all birth edges are (v, v).

    Shape:
        - births, deaths: (m, 2). Output: (m, 2).
    """
    if callable(metric):
        return _by_operations(at_least_single(points), births, deaths, metric)
    points = rows_of(points, metric)
    if not is_plain(points.detach()) or points.device.type != "cpu" or forward_mode():
        return _by_operations(points, births, deaths, metric)
    if points.requires_grad:
        return cast(Tensor, _Diagram.apply(points, births, deaths, metric))
    return _measure(points, births, deaths, metric)


def entries_diagram(
    entries: Tensor, sizes: Sequence[int], births: Tensor | None, deaths: Tensor
) -> Tensor:
    """Return what :func:`edge_diagram` returns, for given distances (sum of n_i^2,)."""
    entries = at_least_single(entries)
    if is_plain(entries.detach()) and entries.device.type == "cpu" and not forward_mode():
        return cast(Tensor, _Given.apply(entries, sizes, births, deaths))
    return _given_by_operations(entries, sizes, births, deaths)


def _given_by_operations(
    entries: Tensor, sizes: Sequence[int], births: Tensor | None, deaths: Tensor
) -> Tensor:
    """Return what :func:`entries_diagram` returns, by torch operations."""
    lengths = entries_at(entries, sizes, deaths)
    born = torch.zeros_like(lengths) if births is None else entries_at(entries, sizes, births)
    return torch.stack([born, lengths], dim=1)


def entries_at(entries: Tensor, sizes: Sequence[int], edges: Tensor) -> Tensor:
    """Return the mean of D[i, j] and D[j, i] for each edge, at least 0; 0 for an edge (v, v)."""
    cloud = cloud_of(edges[:, 0], sizes)
    size, first, corner = (
        numbers(values, edges)[cloud]
        for values in (sizes, starts(sizes)[:-1], starts([n * n for n in sizes])[:-1])
    )
    local = edges - first[:, None]
    above = entries[corner + local[:, 0] * size + local[:, 1]]
    below = entries[corner + local[:, 1] * size + local[:, 0]]
    lengths = above / 2 + below / 2  # halved first: the sum may overflow
    zero = (local[:, 0] == local[:, 1]) | (lengths < 0)  # negative by rounding
    return torch.where(zero, 0.0, lengths)


def forward_mode() -> bool:
    """Return whether derivatives are computed in forward mode, which needs torch operations."""
    return torch.autograd.forward_ad._current_level >= 0


class _Diagram(torch.autograd.Function):
    """Lengths of edges in one compiled call, and their gradient in another."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, points: Tensor, births: Tensor | None, deaths: Tensor, metric: str
    ) -> Tensor:
        lengths = _measure(points, births, deaths, metric)
        ctx.metric = metric  # type: ignore[attr-defined]
        ctx.save_for_backward(points, births, deaths, lengths)  # type: ignore[arg-type]
        return lengths

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        from topreg.metrics._kernels import pull_edges

        points, births, deaths, lengths = ctx.saved_tensors  # type: ignore[attr-defined]
        metric: str = ctx.metric  # type: ignore[attr-defined]
        if torch.is_grad_enabled():  # the gradient will be differentiated: torch's operations
            formula = _by_operations(points, births, deaths, metric)
            (slopes,) = torch.autograd.grad(formula, points, grads[0], create_graph=True)
            return slopes, None, None, None
        slopes = torch.zeros_like(points, memory_format=torch.contiguous_format)
        values = slopes.numpy(), grads[0].contiguous().numpy(), lengths.numpy()
        pull_edges(*values, *_arrays(points, births, deaths), *flags_of(metric))
        return slopes, None, None, None


class _Given(torch.autograd.Function):
    """Lengths of edges read from given distances in one compiled call, gradient in another."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        entries: Tensor,
        sizes: Sequence[int],
        births: Tensor | None,
        deaths: Tensor,
    ) -> Tensor:
        from topreg.metrics._kernels import read_entries

        lengths = torch.empty(deaths.shape, dtype=entries.dtype)
        values, *ends = _arrays(entries, births, deaths)
        if not read_entries(lengths.numpy(), values, np.array(sizes, np.int64), *ends):
            for edges in (deaths, deaths if births is None else births):
                torch.arange(sum(sizes)).index_select(0, edges.flatten())  # raises
        ctx.sizes = sizes  # type: ignore[attr-defined]
        ctx.save_for_backward(entries, births, deaths)  # type: ignore[arg-type]
        return lengths

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        from topreg.metrics._kernels import pull_entries

        entries, births, deaths = ctx.saved_tensors  # type: ignore[attr-defined]
        sizes: Sequence[int] = ctx.sizes  # type: ignore[attr-defined]
        if torch.is_grad_enabled():
            formula = _given_by_operations(entries, sizes, births, deaths)
            (slopes,) = torch.autograd.grad(formula, entries, grads[0], create_graph=True)
            return slopes, None, None, None
        slopes = torch.zeros_like(entries, memory_format=torch.contiguous_format)
        values, *ends = _arrays(entries, births, deaths)
        arrays = slopes.numpy(), grads[0].contiguous().numpy(), values
        pull_entries(*arrays, np.array(sizes, np.int64), *ends)
        return slopes, None, None, None


def _measure(points: Tensor, births: Tensor | None, deaths: Tensor, metric: str) -> Tensor:
    """Measure lengths without gradient by a compiled loop."""
    from topreg.metrics._kernels import measure_edges

    lengths = torch.empty(deaths.shape, dtype=points.dtype)
    arrays = _arrays(points, births, deaths)
    if not measure_edges(lengths.numpy(), *arrays, *flags_of(metric)):
        for edges in (deaths, deaths if births is None else births):
            points.index_select(0, edges.flatten())  # raises for a vertex that does not exist
    return lengths


def _arrays(points: Tensor, births: Tensor | None, deaths: Tensor) -> tuple[Any, Any, Any]:
    """Return points and edges as arrays; ``births=None`` becomes an array without rows."""
    ends = deaths.contiguous().numpy()
    starts = ends[:0] if births is None else births.contiguous().numpy()
    return points.detach().contiguous().numpy(), starts, ends


def flags_of(metric: str) -> tuple[bool, bool]:
    """Return the metric as compiled loops take it: whether Manhattan, whether cosine."""
    return metric == "manhattan", metric == "cosine"


def _by_operations(points: Tensor, births: Tensor | None, deaths: Tensor, metric: Metric) -> Tensor:
    """Compute lengths by torch operations, for compilers and derivatives of any order."""
    lengths = lengths_by_operations(points, deaths, metric)
    born = torch.zeros_like(lengths)
    if births is not None:
        born = lengths_by_operations(points, births, metric)
    return torch.stack([born, lengths], dim=1)


def lengths_by_operations(points: Tensor, edges: Tensor, metric: Metric) -> Tensor:
    """Return lengths of edges; a formula gives the gradient, a correction the exact value."""
    first, second = points.index_select(0, edges[:, 0]), points.index_select(0, edges[:, 1])
    if callable(metric):
        return _by_callable(first, second, edges, metric)
    lengths = _formula(first, second, metric)
    if first.device.type != "cpu":
        return lengths
    return lengths + length_corrections(first.detach(), second.detach(), lengths.detach(), metric)


def _formula(
    first: Tensor, second: Tensor, metric: str, root: Callable[[Tensor], Tensor] = safe_root
) -> Tensor:
    """Return the distance between each row of one matrix and the same row of another.

    It is computed in the widest dtype of the device, which keeps squares of single in range.
    """
    gaps = second.to(widest_dtype(first.device)) - first
    if metric == "manhattan":
        lengths = gaps.abs().sum(1)
    elif metric == "cosine":
        lengths = gaps.square().sum(1) * 0.5
    else:
        lengths = root(gaps.square().sum(1))
    return lengths.to(first.dtype)


def weights_on_device(rows: Tensor, edges: Tensor, metric: str) -> Tensor:
    """Return :func:`edge_lengths` of prepared rows on a device: without gradient, in fewer steps.

    Shape:
        - rows: (N, d); edges: (m, 2) int64. Output: (m,).
    """
    ends = rows.index_select(0, edges.flatten()).view(-1, 2, rows.shape[1])
    return _formula(ends[:, 0], ends[:, 1], metric, torch.sqrt)


@operator(lambda first, second, lengths, metric: torch.empty_like(lengths), row_by_row)
def length_corrections(first: Tensor, second: Tensor, lengths: Tensor, metric: str) -> Tensor:
    """Return the difference between edge weights and their lengths by the formula.

    The two differ by little, so that difference and sum are exact. Lengths that overflow stay. On
    other devices than the CPU the formula is the weight, and this is not called.
    """
    from topreg.metrics._kernels import edge_weights

    x, y, weights = first.contiguous(), second.contiguous(), torch.empty_like(lengths)
    edge_weights(weights.numpy(), x.numpy(), y.numpy(), metric == "manhattan", metric == "cosine")
    return torch.where(lengths.isfinite(), weights - lengths, 0.0)


def _by_callable(
    first: Tensor, second: Tensor, edges: Tensor, metric: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """Return the mean of both directions of a callable metric, one block of edges at a time."""
    lengths = [first.new_zeros(0)]
    for x, y in zip(first.split(BLOCK), second.split(BLOCK), strict=True):
        there, back = by_callable(metric, x, y), by_callable(metric, y, x)
        both = at_least_single(there.diagonal()) / 2 + at_least_single(back.diagonal()) / 2
        lengths.append(both)
    joined = torch.cat(lengths)
    degenerate = (edges[:, 0] == edges[:, 1]) | (joined < 0)  # negative by rounding
    return torch.where(degenerate, 0.0, joined)
