"""Weights as bits: read as integers, the bits of non-negative floats keep the floats' order."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

KINDS: dict[torch.dtype, tuple[Any, Any]] = {  # NumPy's types of weights and of their bits
    torch.float32: (np.float32, np.int32),
    torch.float64: (np.float64, np.int64),
}
TOP: dict[torch.dtype, np.integer[Any]] = {  # all bits but the sign
    torch.float32: np.int32(2**31 - 1),
    torch.float64: np.int64(2**63 - 1),
}

INFINITY: dict[torch.dtype, np.integer[Any]] = {
    torch.float32: np.float32(np.inf).view(np.int32),
    torch.float64: np.float64(np.inf).view(np.int64),
}


def as_integers(weights: Tensor) -> tuple[NDArray[Any], np.integer[Any]]:
    """Return the bits of the weights on the CPU, and all bits but the sign."""
    on_cpu = weights if weights.device.type == "cpu" else weights.cpu()
    array = on_cpu.contiguous().numpy(force=True)
    return array.view(KINDS[weights.dtype][1]), TOP[weights.dtype]


@functools.lru_cache(maxsize=64)
def limit_in_bits(longest: float, dtype: torch.dtype, connected: bool) -> Any:
    """Return the bits of the largest weight of an edge: at most ``longest``, and finite.

    With ``connected``, every edge exists, even if its distance overflowed.
    """
    scalar, integer = KINDS[dtype]
    if connected:
        return TOP[dtype] - integer(1)
    with np.errstate(over="ignore"):  # abs: the bits of -0.0 are negative
        return np.minimum(scalar(abs(longest)), np.finfo(scalar).max).view(integer)
