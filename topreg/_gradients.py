"""Adding a regulariser's gradient at the scale of the main loss's gradient."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from topreg import _checks

NORMS = ("global", "per_parameter", "rowwise")


def balanced_backward(
    main: Tensor,
    regularizer: Tensor,
    parameters: Iterable[Tensor],
    *,
    weight: float,
    norm: str = "global",
) -> None:
    r"""Backward pass of two losses whose gradients keep a constant ratio of norms.

    .. math::

        \nabla_\theta \mathrel{+}= g + \omega \frac{|g|_2}{|h|_2} h,
        \qquad g = \nabla_\theta L_{main},\; h = \nabla_\theta L_{reg}

    Args:
        main: The loss that sets the scale.
        regularizer: The loss whose gradient is rescaled; a zero gradient adds nothing.
        parameters: Leaves whose ``.grad`` is added to. Those that neither loss reaches are left
            alone.
        weight: :math:`\omega`, dimensionless.
        norm: ``"global"`` takes the norms over all parameters together, ``"per_parameter"`` over
            each one, ``"rowwise"`` over each row (last axis) of each one.

    Raises:
        TypeError: If a loss is not a tensor.
        ValueError: If a loss is not a scalar, ``norm`` is unknown, or there is no parameter.

    Shape:
        - main, regularizer: :math:`()`.

    Note:
        Two backward passes through what the losses share. ``main.backward()`` is not needed
        beside it.

    Source:
        Zhang et al., NeurIPS 2024, section 3.3 (global). The authors' code is ``"rowwise"``.

    Example:
        >>> import torch
        >>> from topreg import balanced_backward
        >>> x = torch.tensor([3.0, 4.0], requires_grad=True)
        >>> balanced_backward(x.square().sum() / 2, 100 * x[0], [x], weight=0.2)
        >>> x.grad
        tensor([4., 4.])
    """
    _checks.is_option("norm", norm, NORMS)
    for name, loss in (("main", main), ("regularizer", regularizer)):
        _checks.is_tensor(name, loss)
        _checks.has_rank(name, loss, "()")
    leaves = _leaves(parameters)
    g = _gradients(main, leaves, retain_graph=True)
    h = _gradients(regularizer, leaves, retain_graph=False)
    with torch.no_grad():
        for leaf, g_leaf, h_leaf, sizes in zip(
            leaves, g, h, _sizes(g, h, leaves, norm), strict=True
        ):
            added = None if h_leaf is None else _rescaled(h_leaf, weight, *sizes)
            for part in (g_leaf, added):
                if part is not None:
                    _add_to_gradient(leaf, part)


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
        TypeError: If a loss is not a tensor.
        ValueError: If a loss is not a scalar, there is none, there is no parameter, or the
            aggregator's result has another shape.

    Shape:
        - losses: :math:`()` each. J: (number of losses, number of parameters' entries).

    Note:
        One backward pass a loss through what they share. ``backward()`` is not needed beside it.
        torchjd's own ``backward`` is cheaper for many losses.

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
    losses = list(losses)
    if not losses:
        raise ValueError("`losses` should hold at least one loss. Got none.")
    for loss in losses:
        _checks.is_tensor("losses", loss)
        _checks.has_rank("losses", loss, "()")
    leaves = _leaves(parameters)
    rows = [
        _gradients(loss, leaves, retain_graph=k + 1 < len(losses)) for k, loss in enumerate(losses)
    ]
    reached = [any(part is not None for part in parts) for parts in zip(*rows, strict=True)]
    rows = [tuple(itertools.compress(row, reached)) for row in rows]
    leaves = list(itertools.compress(leaves, reached))
    with torch.no_grad():
        jacobian = torch.stack(
            [
                torch.cat(
                    [
                        (torch.zeros_like(leaf) if part is None else part).flatten()
                        for part, leaf in zip(row, leaves, strict=True)
                    ]
                )
                for row in rows
            ]
        )
        combined = aggregator(jacobian)
        if not isinstance(combined, Tensor) or combined.shape != jacobian.shape[1:]:
            got = tuple(combined.shape) if isinstance(combined, Tensor) else type(combined).__name__
            raise ValueError(
                f"`aggregator(jacobian)` should have shape {tuple(jacobian.shape[1:])}. Got {got}."
            )
        for leaf, part in zip(leaves, combined.split([p.numel() for p in leaves]), strict=True):
            _add_to_gradient(leaf, part.view_as(leaf).to(leaf.dtype))


def _leaves(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Those parameters that require a gradient."""
    leaves = [p for p in parameters if p.requires_grad]
    if not leaves:
        raise ValueError("`parameters` should hold a tensor that requires a gradient. Got none.")
    return leaves


def _add_to_gradient(leaf: Tensor, part: Tensor) -> None:
    leaf.grad = part.clone() if leaf.grad is None else leaf.grad + part


def _gradients(
    loss: Tensor, leaves: list[Tensor], *, retain_graph: bool
) -> tuple[Tensor | None, ...]:
    """Gradient in each leaf; ``None`` where the loss does not reach it."""
    if not loss.requires_grad:
        return (None,) * len(leaves)
    return torch.autograd.grad(loss, leaves, retain_graph=retain_graph, allow_unused=True)


def _sizes(
    g: tuple[Tensor | None, ...],
    h: tuple[Tensor | None, ...],
    leaves: list[Tensor],
    norm: str,
) -> list[tuple[Tensor, Tensor]]:
    """|g| and |h| for each leaf, in the scope of the norm."""
    axis = -1 if norm == "rowwise" else None
    sizes = [(_norm(a, p, axis), _norm(b, p, axis)) for a, b, p in zip(g, h, leaves, strict=True)]
    if norm == "global":
        totals = [torch.stack([size[k] for size in sizes]).norm() for k in (0, 1)]
        sizes = [(totals[0], totals[1])] * len(leaves)
    return sizes


def _rescaled(h: Tensor, weight: float, g_size: Tensor, h_size: Tensor) -> Tensor:
    """``weight |g| h / |h|``, and 0 where h is 0; h / |h| first, since |g| / |h| may overflow."""
    dtype = torch.promote_types(h.dtype, torch.float32)
    unit = h.to(dtype) / torch.where(h_size > 0, h_size, 1.0).to(dtype)
    return (unit * (weight * g_size).to(dtype)).to(h.dtype)


def _norm(gradient: Tensor | None, leaf: Tensor, axis: int | None) -> Tensor:
    """Norm in double precision, which holds every square of a float32; 0 without a gradient."""
    if gradient is None:
        shape = (*leaf.shape[:-1], 1) if axis is not None and leaf.ndim else ()
        return torch.zeros(shape, dtype=torch.float64, device=leaf.device)
    keep = axis is not None and leaf.ndim > 0
    norm: Tensor = torch.linalg.vector_norm(
        gradient, dim=axis if keep else None, keepdim=keep, dtype=torch.float64
    )
    return norm
