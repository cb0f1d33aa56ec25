"""The constraint's gradient at a fixed ratio to that of cross-entropy, through one linear map."""

from __future__ import annotations

import torch
from torch import Tensor

from .adapters import LinearMap

ROUNDING = 4  # machine epsilons of its factors' norms below which a product is rounding


def add_balanced_gradient(
    main: Tensor, regularizer: Tensor, linear: LinearMap, *, weight: float, norm: str
) -> None:
    r"""Add to the matrix of a linear map what :func:`topreg.balanced_backward` adds.

    With outputs :math:`Y = X W^\top`, :math:`G = \partial L_{main} / \partial Y` and :math:`H`
    likewise,

    .. math::

        \nabla_W \mathrel{+}= \Bigl(G + \omega H \operatorname{diag}
        \tfrac{|X^\top G_k|_2}{|X^\top H_k|_2}\Bigr)^\top X,
        \qquad |X^\top G_k|_2 = |R\, G_k|_2,\; X^\top = Q R

    so that the norms need the triangle R of the n inputs, and only one product has the size of W.

    Args:
        main: The loss that sets the scale.
        regularizer: The loss whose gradient is rescaled. A gradient of zero, or so small that it is
            rounding, adds nothing.
        linear: Inputs, matrix and outputs; both losses are computed from the outputs.
        weight: :math:`\omega`, the ratio of the norms.
        norm: ``"rowwise"`` takes norms over each row of W; any other over the whole.

    Source:
        Zhang et al., NeurIPS 2024, section 3.3. The factorisation is ours.
    """
    inputs, parameter, outputs = linear
    g = torch.autograd.grad(main, outputs, retain_graph=True)[0].T
    h = torch.autograd.grad(regularizer, outputs)[0].T
    with torch.no_grad():
        triangle = torch.linalg.qr(inputs.T, mode="r").R
        g_size, h_size = (_sizes(part @ triangle.T, norm) for part in (g, h))
        least = ROUNDING * torch.finfo(h.dtype).eps * triangle.norm() * _sizes(h, norm)
        counted = ~(h_size <= least)  # NaN stays NaN
        whole = h / torch.where(counted, h_size, 1.0).to(h.dtype)  # first: |g| / |h| may overflow
        whole *= (weight * torch.where(counted, g_size, 0.0)).to(h.dtype)
        whole += g
        gradient = whole @ inputs
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _sizes(rows: Tensor, norm: str) -> Tensor:
    """Norm of each row, or of all.

    In double precision, which holds the squares of every float32, where the device surely has it.
    """
    dtype = torch.float64 if rows.device.type in ("cpu", "cuda") else rows.dtype
    axis, keep = (1, True) if norm == "rowwise" else (None, False)
    sizes: Tensor = torch.linalg.vector_norm(rows, dim=axis, keepdim=keep, dtype=dtype)
    return sizes
