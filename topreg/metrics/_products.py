"""Inner products in full precision, and bounds for the distances computed from them."""

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from topreg._clouds import have_one_size


def block_of(n: int) -> int:
    """Return the number of rows of one block; its product starts at the block's first column."""
    return 40 if n <= 128 else max(64, min(256, n // 8))  # measured


def products_within(x: Tensor, sizes: Sequence[int], out: Tensor, *, together: bool) -> None:
    """Write inner products within each cloud, at least on and above the diagonal."""
    with full_precision():
        if together and len(sizes) > 1 and have_one_size(sizes):  # one call uses all threads
            clouds = x.view(len(sizes), sizes[0], x.shape[1])
            torch.bmm(clouds, clouds.mT, out=out.view(len(sizes), sizes[0], sizes[0]))
            return
        matrices = out.split([n * n for n in sizes])
        for cloud, matrix in zip(x.split(list(sizes)), matrices, strict=True):
            n = len(cloud)
            for start in range(0, n, block_of(n)):
                rows = slice(start, start + block_of(n))
                torch.mm(cloud[rows], cloud[start:].T, out=matrix.view(n, n)[rows, start:])


def full_precision() -> AbstractContextManager[None]:
    """Run matrix products in full single precision, whatever the global settings say.

    A compiled program cannot switch the settings while it runs, and keeps them.
    """
    return nullcontext() if torch.compiler.is_compiling() else _SWITCH


class _Switch(AbstractContextManager[None]):
    """Change the settings when the first user enters; restore them when the last one leaves.

    The settings belong to the process. If each thread restored them by itself, a thread that ends
    would change the products of another that still runs.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0  # calls inside the block now, including nested ones and other threads
        self.switch_back: Callable[[], None] | None = None

    def __enter__(self) -> None:
        with self.lock:
            if self.users == 0:
                self.switch_back = _switch_to_full_precision()
            self.users += 1

    def __exit__(self, *_: object) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0 and self.switch_back is not None:
                self.switch_back()


_SWITCH = _Switch()


def _switch_to_full_precision() -> Callable[[], None] | None:
    """Turn off rounding of matrix products; return what restores the settings if they changed."""
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # the user has set precision per backend, as torch 2.9 allows
        precision = None
    if precision == "highest":
        return None
    settings = _settings_per_backend()
    before = [setting.fp32_precision for setting in settings]
    if precision is None:
        for setting in settings:
            setting.fp32_precision = "ieee"
    else:
        torch.set_float32_matmul_precision("highest")

    def switch_back() -> None:
        if precision is not None:
            torch.set_float32_matmul_precision(precision)
        for setting, value in zip(settings, before, strict=True):
            if setting.fp32_precision != value:
                setting.fp32_precision = "none"  # inherit the global setting
            if setting.fp32_precision != value:
                setting.fp32_precision = value

    return switch_back


def _settings_per_backend() -> list[Any]:
    """Return the precision settings of matrix products per backend; none before torch 2.9."""
    if not hasattr(torch.backends, "fp32_precision"):
        return []
    return [torch.backends.mkldnn.matmul, torch.backends.cuda.matmul]  # type: ignore[attr-defined]


def rounding_bound(coordinates: int, dtype: torch.dtype) -> tuple[object, object]:
    """Return the least squared distances that the Gram matrix gives: ``separated`` and ``floor``.

    ``separated`` is a fraction of ``|x|^2 + |y|^2``. On random, one-signed, constant and
    heavy-tailed rows the error of a product was at most ``1.5 sqrt(d)`` units of rounding of half
    that sum, and at most 64. A distance is trusted if that leaves a relative error below 1e-5
    (float32) or 1e-12 (float64). Below ``floor`` squares lose digits to underflow.
    """
    import numpy as np

    single = dtype == torch.float32
    scalar = np.float32 if single else np.float64
    unit = 2.0**-24 if single else 2.0**-53
    separated = rounding_errors(coordinates) * unit / (1e-5 if single else 1e-12)
    return scalar(separated), scalar(1e-30 if single else 1e-290)


def rounding_errors(coordinates: int) -> float:
    """Return the error of ``|x - y|^2`` by products, in units of rounding of ``|x|^2 + |y|^2``."""
    return min(1.5 * math.sqrt(coordinates), 64.0)


def slack_of(coordinates: int) -> tuple[float, float]:
    """Return the least squared distance that a Gram matrix in double gives, and its error.

    The first number is a fraction of ``|x|^2 + |y|^2``, as in :func:`rounding_bound`. The second
    bounds the relative error of distances above it. It is so small that few distances are in doubt
    between two numbers of single precision.
    """
    slack = 2.0**-38
    return (rounding_errors(coordinates) + 8) * 2.0**-53 / slack, slack
