"""Combining the gradients of several losses by an aggregator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from topreg import _checks
from topreg._gradients import add_to_gradient, gradients_of, leaves_among


def aggregated_backward(
    losses: Sequence[Tensor],
    parameters: Iterable[Tensor],
    aggregator: Callable[[Tensor], Tensor],
) -> None:
    r"""Backward pass of several losses whose gradients an aggregator combines.

    .. math::

        \nabla_\theta \mathrel{+}= \mathcal{A}(J), \qquad
        J_k = \nabla_\theta L_k

    Args:
        losses: The losses :math:`L_k`; one that does not reach a parameter has a zero there.
        parameters: Leaves whose ``.grad`` is added to; together they are :math:`\theta`. Those that
            no loss reaches are left alone.
        aggregator: :math:`\mathcal{A}`: from the matrix of gradients, a row a loss, to one vector.
            torchjd's aggregators are such, for instance ``torchjd.aggregation.MGDA()``.

    Raises:
        TypeError: If a loss is not a tensor, ``losses`` or ``parameters`` are a bare one, or a
            parameter is none.
        ValueError: If a loss is not a scalar, there is none, there is no parameter, or one that is
            no leaf with gradient, or the aggregator's result has another shape.

    Shape:
        - losses: :math:`()` each. J: (number of losses, number of parameters' entries).

    Note:
        One backward pass a loss through what they share. ``backward()`` is not needed beside it.
        torchjd's own ``backward`` is cheaper for many losses. The aggregator
        ``lambda jacobian: weights @ jacobian`` gives each loss a :term:`constant factor`.

    Source:
        Quinton and Rey, Jacobian descent for multi-objective optimization, 2024 (torchjd).

    Example:
        >>> import torch
        >>> from topreg import aggregated_backward
        >>> x = torch.tensor([1.0, 1.0], requires_grad=True)
        >>> aggregated_backward([x[0] ** 2, 3 * x[1]], [x], lambda jacobian: jacobian.mean(0))
        >>> x.grad
        tensor([1.0000, 1.5000])
    """
    if isinstance(losses, Tensor):
        raise TypeError("`losses` should be a sequence of losses. Got a Tensor. Use `[loss]`.")
    losses = list(losses)
    if not losses:
        raise ValueError("`losses` should hold at least one loss. Got none.")
    for loss in losses:
        _checks.is_tensor("losses", loss)
        _checks.has_rank("losses", loss, "()")
    leaves = leaves_among(parameters)
    rows = [
        gradients_of(loss, leaves, retain_graph=k + 1 < len(losses))
        for k, loss in enumerate(losses)
    ]
    reached = [any(part is not None for part in parts) for parts in zip(*rows, strict=True)]
    rows = [tuple(itertools.compress(row, reached)) for row in rows]
    leaves = list(itertools.compress(leaves, reached))
    if not leaves:
        return
    with torch.no_grad():
        jacobian = torch.stack([_as_vector(row, leaves) for row in rows])
        combined = aggregator(jacobian)
        if not isinstance(combined, Tensor) or combined.shape != jacobian.shape[1:]:
            got = tuple(combined.shape) if isinstance(combined, Tensor) else type(combined).__name__
            raise ValueError(
                f"`aggregator(jacobian)` should have shape {tuple(jacobian.shape[1:])}. Got {got}."
            )
        for leaf, part in zip(leaves, combined.split([p.numel() for p in leaves]), strict=True):
            add_to_gradient(leaf, part.view_as(leaf).to(leaf.dtype))


def _as_vector(gradients: Sequence[Tensor | None], leaves: Sequence[Tensor]) -> Tensor:
    """The gradients in all leaves in one row; zeros where there is none."""
    parts = zip(gradients, leaves, strict=True)
    return torch.cat(
        [(torch.zeros_like(leaf) if part is None else part).flatten() for part, leaf in parts]
    )
