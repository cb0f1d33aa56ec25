"""Adding a regulariser's gradient at the scale of the main loss's gradient."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from topreg import _checks
from topreg._safe import widest_dtype

NORMS = ("global", "per_parameter", "rowwise")
ROUNDING = 4  # machine epsilons of its factors' norms below which a product is rounding


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
        weight: :math:`\omega` of the :term:`adaptive factor`, dimensionless.
        norm: ``"global"`` takes the norms over all parameters together, ``"per_parameter"`` over
            each one, ``"rowwise"`` over each row (last axis) of each one.

    Raises:
        TypeError: If a loss is not a tensor, or ``parameters`` are no tensors or a bare one.
        ValueError: If a loss is not a scalar, ``norm`` is unknown, ``weight`` is not finite, or
            there is no parameter, or one that is no leaf with gradient.

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
    _checks.is_finite("weight", weight)
    _are_scalars(main=main, regularizer=regularizer)
    leaves = leaves_among(parameters)
    g = gradients_of(main, leaves, retain_graph=True)
    h = gradients_of(regularizer, leaves, retain_graph=False)
    with torch.no_grad():
        for leaf, g_leaf, h_leaf, sizes in zip(
            leaves, g, h, _sizes(g, h, leaves, norm), strict=True
        ):
            added = None if h_leaf is None else _rescaled(h_leaf, weight, *sizes)
            for part in (g_leaf, added):
                if part is not None:
                    add_to_gradient(leaf, part)


def balanced_linear_backward(
    main: Tensor,
    regularizer: Tensor,
    inputs: Tensor,
    parameter: Tensor,
    outputs: Tensor,
    *,
    weight: float,
    norm: str = "global",
) -> None:
    r"""What :func:`balanced_backward` adds to the matrix of a linear map, by one large product.

    Where both losses reach the matrix W only through the outputs :math:`Y = X W^\top` of one batch,
    with :math:`G = \partial L_{main} / \partial Y` and :math:`H` likewise,

    .. math::

        \nabla_W \mathrel{+}= \Bigl(G + \omega H \operatorname{diag}
        \tfrac{|X^\top G_k|_2}{|X^\top H_k|_2}\Bigr)^\top X,
        \qquad |X^\top G_k|_2 = |R\, G_k|_2,\; X^\top = Q R

    so that the norms need the triangle R of the inputs, of at most n rows, and no gradient of W.

    Args:
        main: The loss that sets the scale.
        regularizer: The loss whose gradient is rescaled; a zero gradient adds nothing.
        inputs: Rows X of the batch, taken as constant.
        parameter: The matrix W, a leaf whose ``.grad`` is added to.
        outputs: Their images Y, from which both losses were computed.
        weight: :math:`\omega` of the :term:`adaptive factor`, dimensionless.
        norm: ``"rowwise"`` takes the norms over each row of W, ``"global"`` and ``"per_parameter"``
            over the whole.

    Raises:
        TypeError: If something is not a tensor.
        ValueError: If a loss is not a scalar, ``norm`` is unknown, ``weight`` is not finite, the
            shapes are not those of a linear map, ``parameter`` is no leaf with gradient, or neither
            loss reaches ``outputs``.

    Shape:
        - main, regularizer: :math:`()`.
        - inputs: :math:`(n, d)`; parameter: :math:`(k, d)`; outputs: :math:`(n, k)`.

    Note:
        Time :math:`O(n k (d + \min(n, d)))` in place of :math:`O(2 n k d)`, and no second gradient
        of the size of W. Other parameters get nothing. A regulariser's gradient below a few machine
        epsilons of its factors' norms is rounding and adds nothing.

    Source:
        As :func:`balanced_backward`; the factorisation is ours.

    Example:
        >>> import torch
        >>> from topreg import balanced_linear_backward
        >>> keys, images = torch.zeros(2, 2, requires_grad=True), torch.tensor([[3.0, 4.0]])
        >>> y = images @ keys.T
        >>> main, regularizer = y[0, 0], 100 * y.sum()
        >>> balanced_linear_backward(
        ...     main, regularizer, images, keys, y, weight=0.5, norm="rowwise"
        ... )
        >>> keys.grad
        tensor([[4.5000, 6.0000],
                [0.0000, 0.0000]])
    """
    _checks.is_option("norm", norm, NORMS)
    _checks.is_finite("weight", weight)
    _are_scalars(main=main, regularizer=regularizer)
    _is_linear(inputs, parameter, outputs)
    inputs = inputs.detach().to(parameter.dtype)  # autocast may have rounded them and the outputs
    g, h = (
        None if part is None else part.T.to(parameter.dtype)
        for loss, retain in ((main, True), (regularizer, False))
        for part in gradients_of(loss, [outputs], retain_graph=retain)
    )
    with torch.no_grad(), torch.autocast(inputs.device.type, enabled=False):
        if h is not None:
            added = _balanced(g, h, parameter, inputs, weight, norm)
            g = added if g is None else g + added
        if g is None:
            raise ValueError("`main` should be computed from `outputs`. Got a loss that is not.")
        _add_product(parameter, g, inputs)


def _are_scalars(**losses: Tensor) -> None:
    """Refuse losses that are no scalars."""
    for name, loss in losses.items():
        _checks.is_tensor(name, loss)
        _checks.has_rank(name, loss, "()")


def _is_linear(inputs: Tensor, parameter: Tensor, outputs: Tensor) -> None:
    """Refuse what cannot be a linear map with its inputs and outputs, or has no gradient."""
    given = {"inputs": inputs, "parameter": parameter, "outputs": outputs}
    for (name, tensor), letters in zip(given.items(), ("(n, d)", "(k, d)", "(n, k)"), strict=True):
        _checks.is_tensor(name, tensor)
        _checks.has_rank(name, tensor, letters)
        _checks.is_floating(name, tensor)
    for name, tensor in given.items():
        _checks.on_one_device("parameter", parameter, name, tensor.device)
    expected = len(inputs), len(parameter)
    if outputs.shape != expected or inputs.shape[1] != parameter.shape[1]:
        raise ValueError(
            "`outputs` should be `inputs @ parameter.T`. Got shapes "
            f"{_checks.shape(outputs)}, {_checks.shape(inputs)} and {_checks.shape(parameter)}."
        )
    if not (parameter.requires_grad and parameter.is_leaf):
        raise ValueError("`parameter` should be a leaf that requires a gradient.")
    if not outputs.requires_grad:
        raise ValueError("`outputs` should have a graph. Were they computed under `no_grad`?")


def _balanced(
    g: Tensor | None, h: Tensor, parameter: Tensor, inputs: Tensor, weight: float, norm: str
) -> Tensor:
    """``h`` (k, n) rescaled so that ``h @ inputs`` has the norm of ``g @ inputs``."""
    axis = -1 if norm == "rowwise" else None
    dtype = torch.promote_types(inputs.dtype, torch.float32)
    triangle = torch.linalg.qr(inputs.T.to(dtype), mode="r").R

    def size(rows: Tensor | None) -> Tensor:
        return _norm(None if rows is None else rows.to(dtype) @ triangle.T, parameter, axis)

    least = ROUNDING * torch.finfo(dtype).eps * triangle.norm() * _norm(h, parameter, axis)
    h_size = size(h)
    return _rescaled(h, weight, torch.where(h_size <= least, 0.0, size(g)), h_size)


def _add_product(parameter: Tensor, a: Tensor, b: Tensor) -> None:
    """Add ``a @ b`` to a gradient, in place where there is one."""
    if parameter.grad is None:
        parameter.grad = a @ b
    else:
        parameter.grad.addmm_(a, b)


def leaves_among(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Those parameters that require a gradient; refuse what keeps none."""
    if isinstance(parameters, Tensor):
        raise TypeError("`parameters` should be an iterable of tensors. Got one. Put it in a list.")
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


def add_to_gradient(leaf: Tensor, part: Tensor) -> None:
    """Add to a gradient, which may be none yet."""
    leaf.grad = part.clone() if leaf.grad is None else leaf.grad + part


def gradients_of(
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
    """Norm in double precision, which holds every square of a float32; 0 without a gradient.

    A device without double precision takes single.
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
