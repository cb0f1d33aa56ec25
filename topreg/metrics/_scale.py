"""Powers of two: dividing by one rounds nothing, and keeps squares in range."""

from __future__ import annotations

import torch
from torch import Tensor

EXPONENTS = {torch.float32: (torch.int32, 0xFF << 23), torch.float64: (torch.int64, 0x7FF << 52)}


def power_of_two(x: Tensor) -> Tensor:
    """Return a power of two near the largest coordinate of each cloud, without gradient.

    It is within a factor of 2, and at least the smallest power that the dtype keeps in full.

    Shape:
        - x: (..., n, d). Output: (..., 1, 1).
    """
    integer, exponents = EXPONENTS[x.dtype]
    if 0 in x.shape[-2:]:
        return x.new_ones((*x.shape[:-2], 1, 1))
    largest = torch.linalg.vector_norm(x.detach(), torch.inf, dim=(-2, -1), keepdim=True)
    bits: Tensor = largest.clamp(min=torch.finfo(x.dtype).tiny).view(integer)
    return bits.bitwise_and(exponents).view(x.dtype)
