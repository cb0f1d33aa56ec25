"""Add a regulariser's gradient at the scale of the main loss's gradient."""

from collections.abc import Iterable

import torch
from torch import Tensor

from topreg import _checks
from topreg._safe import widest_dtype

NORMS = ("global", "per_parameter", "rowwise")


def balanced_backward(
    main: Tensor,
    regularizer: Tensor,
    parameters: Iterable[Tensor],
    *,
    weight: float,
    norm: str = "global",
) -> None:
    r"""Run the backward pass of two losses with a constant ratio of their gradients' norms.

    .. math::

        \nabla_\theta \mathrel{+}= g + \omega \frac{|g|_2}{|h|_2} h,
        \qquad g = \nabla_\theta L_{main},\; h = \nabla_\theta L_{reg}

    Args:
        main: The loss that sets the scale.
        regularizer: The loss whose gradient is rescaled; a zero gradient adds nothing.
        parameters: Leaf tensors to whose ``.grad`` the result is added. Those on which neither loss
            depends, and those that do not require a gradient, are left unchanged.
        weight: :math:`\omega` of the :term:`adaptive factor`, dimensionless.
        norm: ``"global"`` takes the norms over all parameters together, ``"per_parameter"`` over
            each one, ``"rowwise"`` over each row (last axis) of each one.

    Raises:
        TypeError: If a loss is not a tensor, or ``parameters`` is a bare tensor or holds something
            other than tensors.
        ValueError: If a loss is not a scalar, ``norm`` is unknown, ``weight`` is not finite, or
            a parameter is computed from others, or none requires a gradient.

    Shape:
        - main, regularizer: :math:`()`.

    Note:
        The part that both losses share takes two backward passes. Do not call ``main.backward()``
        as well.

    Source:
        Zhang et al., NeurIPS 2024, section 3.3 (global). The authors' code uses ``"rowwise"``.

    Example:
        >>> import torch
        >>> from topreg import balanced_backward
        >>> x = torch.tensor([3.0, 4.0], requires_grad=True)
        >>> balanced_backward(x.square().sum() / 2, 100 * x[0], [x], weight=0.2)
        >>> x.grad
        tensor([4., 4.])
    """
    _checks.is_option("norm", norm, NORMS)
    weight = _checks.is_number("weight", weight, "finite")
    for name, loss in (("main", main), ("regularizer", regularizer)):
        _checks.is_tensor(name, loss)
        _checks.has_rank(name, loss, "()")
    leaves = _leaves_among(parameters)
    g = _gradients_of(main, leaves, retain_graph=True)
    h = _gradients_of(regularizer, leaves, retain_graph=False)
    with torch.no_grad():
        sizes = _sizes(g, h, leaves, norm)
        for leaf, g_leaf, h_leaf, norms in zip(leaves, g, h, sizes, strict=True):
            added = None if h_leaf is None else _rescale(h_leaf, weight, *norms)
            for part in (g_leaf, added):
                if part is not None:
                    leaf.grad = part.clone() if leaf.grad is None else leaf.grad + part


def _leaves_among(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return the parameters that require a gradient; raise if one of them is not a leaf."""
    if isinstance(parameters, Tensor):
        raise TypeError("`parameters` should be an iterable of tensors. Got one. Put it in a list.")
    if not isinstance(parameters, Iterable):
        got = type(parameters).__name__
        raise TypeError(f"`parameters` should be an iterable of tensors. Got {got}.")
    given = list(parameters)
    for parameter in given:
        _checks.is_tensor("parameters", parameter)
    leaves = [p for p in given if p.requires_grad]
    if not all(p.is_leaf for p in leaves):
        raise ValueError(
            "`parameters` should be leaves, which keep a gradient. "
            "Got a tensor computed from others."
        )
    if not leaves:
        raise ValueError("`parameters` should hold a tensor that requires a gradient. Got none.")
    return leaves


def _gradients_of(
    loss: Tensor, leaves: list[Tensor], *, retain_graph: bool
) -> tuple[Tensor | None, ...]:
    """Return the gradient in each leaf; ``None`` where the loss does not depend on it."""
    if not loss.requires_grad:
        return (None,) * len(leaves)
    return torch.autograd.grad(loss, leaves, retain_graph=retain_graph, allow_unused=True)


def _sizes(
    g: tuple[Tensor | None, ...],
    h: tuple[Tensor | None, ...],
    leaves: list[Tensor],
    norm: str,
) -> list[tuple[Tensor, Tensor]]:
    """Return |g| and |h| for each leaf, in the scope of the norm."""
    axis = -1 if norm == "rowwise" else None
    sizes = [(_norm(a, p, axis), _norm(b, p, axis)) for a, b, p in zip(g, h, leaves, strict=True)]
    if norm == "global":
        totals = [torch.stack([size[k] for size in sizes]).norm() for k in (0, 1)]
        sizes = [(totals[0], totals[1])] * len(leaves)
    return sizes


def _rescale(h: Tensor, weight: float, g_size: Tensor, h_size: Tensor) -> Tensor:
    """Return ``weight |g| h / |h|``, and 0 where h is 0.

    Dividing h by |h| comes first, since |g| / |h| may overflow.
    """
    dtype = torch.promote_types(h.dtype, torch.float32)
    unit = h.to(dtype) / torch.where(h_size > 0, h_size, 1.0).to(dtype)
    return (unit * (weight * g_size).to(dtype)).to(h.dtype)


def _norm(gradient: Tensor | None, leaf: Tensor, axis: int | None) -> Tensor:
    """Return the norm of a gradient, 0 for ``None``.

    Double precision holds every square of a float32. A device without it computes in single.
    """
    dtype = widest_dtype(leaf.device)
    if gradient is None:
        shape = (*leaf.shape[:-1], 1) if axis is not None and leaf.ndim else ()
        return torch.zeros(shape, dtype=dtype, device=leaf.device)
    keep = axis is not None and leaf.ndim > 0
    norm: Tensor = torch.linalg.vector_norm(
        gradient, dim=axis if keep else None, keepdim=keep, dtype=dtype
    )
    return norm
