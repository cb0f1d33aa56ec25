"""Inner products in full precision, and which distances they can give."""

from __future__ import annotations

import torch
from torch import Tensor


def block_of(n: int) -> int:
    """Rows of one matrix product; only columns right of a block's first are computed."""
    return max(64, min(256, n // 8))


def upper_products(x: Tensor, out: Tensor) -> None:
    """Inner products on and above the diagonal blocks; the rest of ``out`` is not written."""
    block = block_of(len(x))
    for start in range(0, len(x), block):
        full_precision_mm(x[start : start + block], x[start:].T, out[start : start + block, start:])


def full_precision_mm(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Matrix product that no global precision setting rounds to bfloat16 or TF32."""
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # settings of torch 2.9, one for each backend, are in use
        settings = [torch.backends.mkldnn.matmul, torch.backends.cuda.matmul]  # type: ignore[attr-defined]
        before = [setting.fp32_precision for setting in settings]
        try:
            for setting in settings:
                setting.fp32_precision = "ieee"
            torch.mm(a, b, out=out)
        finally:
            for setting, value in zip(settings, before, strict=True):
                setting.fp32_precision = value
        return
    if precision == "highest":
        torch.mm(a, b, out=out)
        return
    try:
        torch.set_float32_matmul_precision("highest")
        torch.mm(a, b, out=out)
    finally:
        torch.set_float32_matmul_precision(precision)


def rounding_bound(coordinates: int, dtype: torch.dtype) -> tuple[object, object]:
    """Which squared distances the Gram matrix gives, as fractions of ``|x|^2 + |y|^2``.

    The product of two rows was wrong by at most ``1.5 sqrt(d)`` units of rounding of half that
    sum, and by no more than 64, on random, one-signed, constant and heavy-tailed rows. A
    distance is trusted where that leaves a relative error below 1e-5 (float32) or 1e-12
    (float64); below ``floor`` squares lose digits to underflow.
    """
    import numpy as np

    single = dtype == torch.float32
    scalar = np.float32 if single else np.float64
    unit = 2.0**-24 if single else 2.0**-53
    separated = min(1.5 * coordinates**0.5, 64.0) * unit / (1e-5 if single else 1e-12)
    return scalar(separated), scalar(1e-30 if single else 1e-290)


def slack_of(coordinates: int) -> tuple[float, float]:
    """Which squared distances the Gram matrix in double precision gives, and how well.

    The first number is a fraction of ``|x|^2 + |y|^2``, as in :func:`rounding_bound`; the second
    bounds the relative error of distances above it. It is so small against the spacing of single
    precision that few values lie between two of its numbers in doubt.
    """
    slack = 2.0**-38
    return (min(1.5 * coordinates**0.5, 64.0) + 8) * 2.0**-53 / slack, slack
