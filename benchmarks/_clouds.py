"""The point clouds of the benchmarks, each fixed by its kind and size."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

WIDTH = 512

KINDS = {
    "clusters": f"n/16 unit centres in {WIDTH} dimensions, 16 points each, noise of norm 0.7, "
    "normalised",
    "circle": "unit circle in the plane, Gaussian noise of 0.1 in each coordinate",
    "sphere": f"normalised Gaussians in {WIDTH} dimensions",
}


def cloud(kind: str, n: int, seed: int = 0) -> Tensor:
    """``n`` points in single precision."""
    generator = torch.Generator().manual_seed(n + 7919 * seed)
    if kind == "circle":
        angles = 2 * math.pi * torch.rand(n, generator=generator)
        circle = torch.stack([angles.cos(), angles.sin()], dim=1)
        return circle + 0.1 * torch.randn(n, 2, generator=generator)
    noise = torch.randn(n, WIDTH, generator=generator)
    if kind == "sphere":
        return normalize(noise, dim=1)
    centres = normalize(torch.randn(math.ceil(n / 16), WIDTH, generator=generator), dim=1)
    own = centres.repeat_interleave(16, dim=0)[:n]
    return normalize(own + 0.7 * noise / math.sqrt(WIDTH), dim=1)
