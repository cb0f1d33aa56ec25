"""Roots, powers and quotients with finite derivatives at zero, and the most precise dtype."""

from __future__ import annotations

import torch
from torch import Tensor

SINGLE_ONLY = {"mps"}  # types of device that have no double precision


def widest_dtype(device: torch.device) -> torch.dtype:
    """Return double precision if the device has it, else single."""
    return torch.float32 if device.type in SINGLE_ONLY else torch.float64


def safe_root(squares: Tensor) -> Tensor:
    """Return square roots; 0, with zero derivatives of every order, unless squares are positive."""
    zero = squares <= 0  # not `> 0`, which would hide NaN
    return torch.where(zero, 0.0, torch.where(zero, 1.0, squares).sqrt())


def safe_norm(vectors: Tensor) -> Tensor:
    """Return the length of each row; derivatives of every order are 0 at a zero row."""
    return safe_root(vectors.square().sum(1))


def safe_power(values: Tensor, exponent: float) -> Tensor:
    """Return powers of non-negative numbers; 0, with zero derivatives, where they are 0."""
    if exponent == 1:
        return values
    zero = values == 0  # not `> 0`, which would hide NaN
    return torch.where(zero, 0.0, torch.where(zero, 1.0, values).pow(exponent))


def safe_cosines(dots: Tensor, squares_a: Tensor, squares_b: Tensor, directed: Tensor) -> Tensor:
    """Return ``dots / (|a| |b|)`` where ``directed``, else 0 with zero derivatives."""
    length_a = torch.where(directed, squares_a, 1.0).sqrt()
    length_b = torch.where(directed, squares_b, 1.0).sqrt()
    return torch.where(directed, dots, 0.0) / (length_a * length_b)
