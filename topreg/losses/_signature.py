"""Signature loss of small clouds in dimension 0: one compiled call for search, value, gradient."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.function import FunctionCtx

from topreg._clouds import cloud_of
from topreg._safe import plain_tensor
from topreg.filtrations._rips import Space
from topreg.metrics._edges import flags_of, lengths_by_operations
from topreg.metrics._metric import rows_of
from topreg.persistence import are_few, limits_of


def signature_of_few(
    spaces: tuple[Space, Space], symmetric: bool, normalize: float | None, scalar: bool
) -> Tensor | None:
    """Return the loss of each cloud (b,), or of an only one () if ``scalar``, with gradient.

    Return None if another way is needed, for example because a point is not finite.
    """
    sizes, filtrations = spaces[0].sizes, [space.filtration for space in spaces]
    if min(sizes, default=0) == 0 or normalize not in (None, 1):
        return None
    if forward_ad._current_level >= 0:  # forward mode needs torch's operations
        return None
    for space, chosen in zip(spaces, filtrations, strict=True):
        if not are_few(space.values, sizes, chosen.metric, chosen.engine):
            return None
    from topreg._compiled import over_clouds
    from topreg.losses._signature_kernels import signatures

    metrics = [str(chosen.metric) for chosen in filtrations]
    rows = [rows_of(s.values, metric) for s, metric in zip(spaces, metrics, strict=True)]
    graph = torch.is_grad_enabled()
    x, z = arrays = [points.detach().contiguous().numpy() for points in rows]
    pulls = [
        np.zeros_like(array if graph and points.requires_grad else array[:0])
        for points, array in zip(rows, arrays, strict=True)
    ]
    limits = [limits_of(chosen.max_edge_length, rows[0].dtype) for chosen in filtrations]
    edges, longest = np.zeros((2 * len(x), 2), np.int64), np.zeros((2, len(sizes), 2), np.int64)
    values, clouds = np.empty(len(sizes), x.dtype), np.array(sizes, np.int64)
    task = x, z, *map(flags_of, metrics), *limits, symmetric, normalize == 1, clouds
    results = values, edges, longest, *pulls

    def compare(first: int, last: int, halt: Any) -> None:
        signatures(*task, first, last, *results, halt)

    over_clouds(compare, list(sizes), x.shape[1] + z.shape[1])
    if (values < 0).any():
        return None
    loss = torch.from_numpy(values.reshape(()) if scalar and len(sizes) == 1 else values)
    if not any(map(len, pulls)):
        return loss
    units = None if normalize is None else torch.from_numpy(longest)
    again = partial(
        _by_operations, metrics, sizes, torch.from_numpy(edges), units, tuple(loss.shape)
    )
    gradients = list(map(torch.from_numpy, pulls))
    return cast(Tensor, _Known.apply(*rows, [loss], gradients, sizes, again))


class _Known(torch.autograd.Function):
    """A loss whose gradients are already known."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        x: Tensor,
        z: Tensor,
        loss: list[Tensor],
        pulls: list[Tensor],
        sizes: Sequence[int],
        again: Callable[[Tensor, Tensor], Tensor],
    ) -> Tensor:
        ctx.save_for_backward(plain_tensor(x), plain_tensor(z))
        ctx.pulls, ctx.sizes, ctx.again = pulls, sizes, again  # type: ignore[attr-defined]
        return loss[0]

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        pulls: list[Tensor] = ctx.pulls  # type: ignore[attr-defined]
        if torch.is_grad_enabled():  # the gradient will be differentiated: torch's operations
            rows = ctx.saved_tensors  # type: ignore[attr-defined]
            formula = ctx.again(*rows)  # type: ignore[attr-defined]
            wanted = [x for x, pull in zip(rows, pulls, strict=True) if len(pull)]
            slopes = iter(torch.autograd.grad(formula, wanted, grads[0], create_graph=True))
            found = [next(slopes) if len(pull) else None for pull in pulls]
        else:
            weights, sizes = grads[0], ctx.sizes  # type: ignore[attr-defined]
            if len(sizes) > 1:
                weights = weights.repeat_interleave(torch.tensor(sizes))[:, None]
            found = [pull * weights if len(pull) else None for pull in pulls]
        return *found, None, None, None, None


def _by_operations(
    metrics: Sequence[str],
    sizes: Sequence[int],
    edges: Tensor,
    longest: Tensor | None,
    shape: Sequence[int],
    *rows: Tensor,
) -> Tensor:
    """Return the loss by torch operations, for derivatives of any order."""
    cloud = cloud_of(edges[:, 0], sizes)
    lengths = []
    for space, (x, metric) in enumerate(zip(rows, metrics, strict=True)):
        measured = lengths_by_operations(x, edges, metric)
        if longest is not None:
            units = lengths_by_operations(x, longest[space], metric)
            measured = measured / torch.where(units == 0, 1.0, units)[cloud]
        lengths.append(measured)
    squares = (lengths[0] - lengths[1]).square() / 2
    return squares.new_zeros(len(sizes)).index_add(0, cloud, squares).view(shape)
