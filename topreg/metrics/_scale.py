"""Powers of two: dividing by one rounds nothing, and keeps squares in range."""

from __future__ import annotations

import torch
from torch import Tensor


def power_of_two(x: Tensor) -> Tensor:
    """Return a power of two near the largest coordinate of each cloud; 1 if that is 0.

    Shape:
        - x: (..., n, d). Output: (..., 1, 1).
    """
    zero = x.new_zeros((*x.shape[:-2], 1))
    largest = torch.cat([x.flatten(-2), zero], dim=-1).abs().amax(-1)[..., None, None]
    scale = largest / (2 * torch.frexp(largest).mantissa)  # exact; ldexp was not in torch 2.7
    return torch.where(largest > 0, scale, 1.0)
