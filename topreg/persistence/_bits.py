"""Weights through their bits: those of non-negative floats, as integers, keep the floats' order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def as_integers(weights: Tensor) -> tuple[NDArray[Any], np.integer[Any]]:
    """The bits of the weights on the CPU, and all bits but the sign."""
    import numpy as np

    on_cpu = weights.detach().cpu().contiguous()
    integer = np.int32 if on_cpu.dtype == torch.float32 else np.int64
    return on_cpu.numpy().view(integer), integer(np.iinfo(integer).max)


def limit_in_bits(longest: float, dtype: torch.dtype, connected: bool) -> Any:
    """The largest weight of an edge, through its bits: at most ``longest`` and finite.

    Where every edge is promised to exist, a distance that overflowed is one too.
    """
    import numpy as np

    scalar, integer = (np.float32, np.int32) if dtype == torch.float32 else (np.float64, np.int64)
    if connected:
        return integer(np.iinfo(integer).max - 1)
    with np.errstate(over="ignore"):  # abs: the bits of -0.0 are negative
        return np.minimum(scalar(abs(longest)), np.finfo(scalar).max).view(integer)
