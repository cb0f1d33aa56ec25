"""Lengths of selected edges, with gradient."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import FunctionCtx

from topreg._clouds import cloud_of, numbers, starts
from topreg._operators import is_plain, operator, row_by_row
from topreg._safe import safe_root, widest_dtype
from topreg.metrics._metric import Metric, at_least_single, by_callable, rows_of

Ruler = Metric | tuple[int, ...]  # between points, or the sizes of given distance matrices
BLOCK = 32  # edges per call of a callable metric, which computes BLOCK^2 entries for them


def edge_lengths(values: Tensor, edges: Tensor, ruler: Ruler) -> Tensor:
    """Return the length (m,) of each edge, the second column of :func:`edge_diagram`."""
    return edge_diagram(values, None, edges, ruler)[:, 1]


def edge_diagram(values: Tensor, births: Tensor | None, deaths: Tensor, ruler: Ruler) -> Tensor:
    """Return the lengths of birth edges and of death edges as two columns, with gradient.

    An edge (v, v) has length 0, with gradient 0. By a named metric a length equals the weight by
    which the search orders edges, to the last bit. ``births=None`` means that all are (v, v).

    Shape:
        - values: (N, d) points, or (sum of n_i^2,) given distances.
        - births, deaths: (m, 2). Output: (m, 2), in at least single precision.
    """
    if callable(ruler):
        return _by_operations(at_least_single(values), births, deaths, ruler)
    values = rows_of(values, ruler) if isinstance(ruler, str) else at_least_single(values)
    plain = is_plain(values.detach()) and values.device.type == "cpu"
    if not plain or forward_ad._current_level >= 0:  # forward mode needs torch's operations
        return _by_operations(values, births, deaths, ruler)
    if values.requires_grad:
        return cast(Tensor, _Diagram.apply(values, births, deaths, ruler))
    return _measure(values, births, deaths, ruler)


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


class _Diagram(torch.autograd.Function):
    """Lengths of edges in one compiled call, and their gradient in another."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, values: Tensor, births: Tensor | None, deaths: Tensor, ruler: Any
    ) -> Tensor:
        lengths = _measure(values, births, deaths, ruler)
        ctx.ruler = ruler  # type: ignore[attr-defined]
        ctx.save_for_backward(values, births, deaths, lengths)  # type: ignore[arg-type]
        return lengths

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        values, births, deaths, lengths = ctx.saved_tensors  # type: ignore[attr-defined]
        ruler = ctx.ruler  # type: ignore[attr-defined]
        again = torch.is_grad_enabled()  # the gradient will be differentiated
        if again or torch._C._functorch.is_legacy_batchedtensor(grads[0]):  # by torch's operations
            with torch.enable_grad():
                leaf = values if again else values.detach().requires_grad_()
                formula = _by_operations(leaf, births, deaths, ruler)
            (slopes,) = torch.autograd.grad(formula, leaf, grads[0], create_graph=again)
            return slopes, None, None, None
        slopes = torch.zeros_like(values, memory_format=torch.contiguous_format)
        pulled = slopes.numpy(), grads[0].contiguous().numpy()
        array, *ends = _arrays(values, births, deaths)
        if isinstance(ruler, str):
            from topreg.metrics._kernels import pull_edges

            pull_edges(*pulled, lengths.numpy(), array, *ends, *flags_of(ruler))
        else:
            from topreg.metrics._kernels import pull_entries

            pull_entries(*pulled, array, np.array(ruler, np.int64), *ends)
        return slopes, None, None, None


def _measure(
    values: Tensor, births: Tensor | None, deaths: Tensor, ruler: str | tuple[int, ...]
) -> Tensor:
    """Measure lengths without gradient by a compiled loop."""
    lengths = values.new_empty(deaths.shape)
    array, *ends = _arrays(values, births, deaths)
    if isinstance(ruler, str):
        from topreg.metrics._kernels import measure_edges

        exist = measure_edges(lengths.numpy(), array, *ends, *flags_of(ruler))
    else:
        from topreg.metrics._kernels import read_entries

        exist = read_entries(lengths.numpy(), array, np.array(ruler, np.int64), *ends)
    if not exist:
        vertices = len(values) if isinstance(ruler, str) else sum(ruler)
        for edges in (deaths, deaths if births is None else births):
            deaths.new_zeros(vertices).index_select(0, edges.flatten())  # raises
    return lengths


def _arrays(values: Tensor, births: Tensor | None, deaths: Tensor) -> tuple[Any, Any, Any]:
    """Return values and edges as arrays; ``births=None`` becomes an array without rows."""
    ends = deaths.contiguous().numpy()
    starts = ends[:0] if births is None else births.contiguous().numpy()
    return values.detach().contiguous().numpy(), starts, ends


def flags_of(metric: str) -> tuple[bool, bool]:
    """Return the metric as compiled loops take it: whether Manhattan, whether cosine."""
    return metric == "manhattan", metric == "cosine"


def _by_operations(values: Tensor, births: Tensor | None, deaths: Tensor, ruler: Ruler) -> Tensor:
    """Compute lengths by torch operations, for compilers and derivatives of any order."""
    lengths = lengths_by_operations(values, deaths, ruler)
    born = torch.zeros_like(lengths)
    if births is not None:
        born = lengths_by_operations(values, births, ruler)
    return torch.stack([born, lengths], dim=1)


def lengths_by_operations(values: Tensor, edges: Tensor, ruler: Ruler) -> Tensor:
    """Return lengths of edges; a formula gives the gradient, a correction the exact value."""
    if isinstance(ruler, tuple):
        return entries_at(values, ruler, edges)
    first, second = values.index_select(0, edges[:, 0]), values.index_select(0, edges[:, 1])
    if callable(ruler):
        return _by_callable(first, second, edges, ruler)
    lengths = _formula(first, second, ruler)
    if first.device.type != "cpu":
        return lengths
    return lengths + length_corrections(first.detach(), second.detach(), lengths.detach(), ruler)


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
