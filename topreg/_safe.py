"""Safe arithmetic: finite derivatives at zero, squares in range, tensors that autograd may keep."""

import torch
from torch import Tensor

from topreg._operators import is_plain

ROOM = 1e37  # a sum of four vectors with smaller squares has a square below 2^128
SINGLE_ONLY = {"mps"}  # types of device that have no double precision
EXPONENTS = {torch.float32: (torch.int32, 0xFF << 23), torch.float64: (torch.int64, 0x7FF << 52)}


def widest_dtype(device: torch.device) -> torch.dtype:
    """Return double precision if the device has it, else single."""
    return torch.float32 if device.type in SINGLE_ONLY else torch.float64


def widened(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return two views in the widest precision, in which squares do not overflow."""
    dtype = widest_dtype(source.device)
    return source.to(dtype), target.to(dtype)


def in_range(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return two views, widened if squares of offsets may overflow.

    To look would wait for devices other than the CPU: there they are always widened, as in compiled
    programs.
    """
    if source.device.type == "cpu" and is_plain(source):
        x, y = source.detach().flatten(), target.detach().flatten()
        if float(x.dot(x)) < ROOM and float(y.dot(y)) < ROOM:
            return source, target
    return widened(source, target)


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


def plain_tensor(tensor: Tensor) -> Tensor:
    """Return the tensor, or if it was made in inference mode a copy that autograd may keep.

    Compiled programs cannot leave inference mode: there the tensor stays as it is.
    """
    if torch.compiler.is_compiling() or not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()
