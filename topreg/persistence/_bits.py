"""Weights through their bits: those of non-negative floats, as integers, keep the floats' order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def kinds_of(dtype: torch.dtype) -> tuple[type[np.floating[Any]], type[np.signedinteger[Any]]]:
    """NumPy's type of the weights, and that of their bits."""
    import numpy as np

    return (np.float32, np.int32) if dtype == torch.float32 else (np.float64, np.int64)


def as_integers(weights: Tensor) -> tuple[NDArray[Any], np.integer[Any]]:
    """The bits of the weights on the CPU, and all bits but the sign."""
    import numpy as np

    on_cpu = weights.detach().cpu().contiguous()
    _, integer = kinds_of(on_cpu.dtype)
    return on_cpu.numpy().view(integer), integer(np.iinfo(integer).max)


def limit_in_bits(longest: float, dtype: torch.dtype, connected: bool) -> Any:
    """The largest weight of an edge, through its bits: at most ``longest`` and finite.

    Where every edge is promised to exist, a distance that overflowed is one too.
    """
    import numpy as np

    scalar, integer = kinds_of(dtype)
    if connected:
        return integer(np.iinfo(integer).max - 1)
    with np.errstate(over="ignore"):  # abs: the bits of -0.0 are negative
        return np.minimum(scalar(abs(longest)), np.finfo(scalar).max).view(integer)
