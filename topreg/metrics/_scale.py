"""Powers of two, by which rows are divided without rounding so that squares stay in range."""

from __future__ import annotations

import torch
from torch import Tensor

EXPONENTS = {torch.float32: (torch.int32, 0xFF << 23), torch.float64: (torch.int64, 0x7FF << 52)}


def power_of_two(x: Tensor) -> Tensor:
    """A power of two within a factor of 2 of the largest coordinate of each cloud; no gradient.

    The least power of which the dtype keeps all digits where coordinates are smaller.

    Shape:
        - x: (..., n, d). Output: (..., 1, 1).
    """
    integer, exponents = EXPONENTS[x.dtype]
    if 0 in x.shape[-2:]:
        return x.new_ones((*x.shape[:-2], 1, 1))
    largest = torch.linalg.vector_norm(x.detach(), torch.inf, dim=(-2, -1), keepdim=True)
    bits: Tensor = largest.clamp(min=torch.finfo(x.dtype).tiny).view(integer)
    return bits.bitwise_and(exponents).view(x.dtype)
