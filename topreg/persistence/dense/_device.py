"""Dimension 0 on a device: Prim's algorithm in one launch where Triton compiles, else Boruvka's."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from topreg._clouds import have_one_size, numbers
from topreg._operators import operator
from topreg.persistence._bits import limit_in_bits
from topreg.persistence._fake import fake_forests
from topreg.persistence.dense._boruvka import boruvka

MOST_LANES = 1024  # vertices of a cloud that one program works on; an edge has ten bits for each


@operator(fake_forests)
def trees_on_device(
    weights: Tensor, sizes: list[int], longest: float, connected: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimum spanning forests with the elder rule; arguments and results are those of ``prim``."""
    small = max(sizes, default=0) <= MOST_LANES and weights.dtype == torch.float32
    if small and compiles(weights.device):
        return in_one_launch(weights, sizes, longest, connected)
    found: tuple[Tensor, Tensor, Tensor] = boruvka(weights, sizes, longest, connected)
    return found


@functools.cache
def compiles(device: torch.device) -> bool:
    """Whether Triton, a C compiler and the driver work together here."""
    if device.type not in ("cuda", "xpu"):
        return False
    try:
        in_one_launch(torch.zeros(5, device=device), [1, 2], math.inf, True)
    except Exception:  # of the compiler, the linker or the driver: all say that it does not
        return False
    return True


def in_one_launch(
    weights: Tensor,
    sizes: Sequence[int],
    longest: float,
    connected: bool,
    num_warps: int | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Forests of at most 1,024 vertices each, in single precision, one program per cloud.

    ``num_warps`` is for measurements.
    """
    from topreg.persistence.dense._triton_kernels import spanning_forests

    several = [n for n in sizes if n]
    components = len(several) if connected else 0
    pairs = sum(several) - components
    births, deaths, elders = (
        torch.empty((rows, 2), dtype=torch.int64, device=weights.device)
        for rows in (pairs, pairs, components)
    )
    if not several:
        return births, deaths, elders
    one_size = have_one_size(several)
    width = lanes(max(several))
    with _current(weights.device):
        spanning_forests[len(several),](
            weights.contiguous().view(torch.int32),
            None if one_size else _table(several, weights),
            several[0],
            int(limit_in_bits(longest, weights.dtype, connected)),
            births,
            deaths,
            elders,
            CONNECTED=connected,
            LANES=width,
            num_warps=num_warps or warps(width),
        )
    if connected:
        return births, deaths, elders
    ends = deaths[:, 0] >= 0
    return births[ends], deaths[ends], births[~ends]


def lanes(n: int) -> int:
    """Return the number of lanes of a program for clouds of at most n vertices."""
    return max(16, 1 << (n - 1).bit_length())


def warps(lanes: int) -> int:
    """Return the number of warps of a program: each of their threads has four lanes."""
    return max(1, lanes // 128)


def _table(sizes: Sequence[int], like: Tensor) -> Tensor:
    """First vertex, first entry and size of each cloud, written on the device."""
    size = numbers(sizes, like)
    return torch.stack(
        [size.cumsum(0) - size, size.square().cumsum(0) - size.square(), size], dim=1
    )


def _current(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Make a device the one that Triton launches on; its interpreter runs on the CPU."""
    if device.type == "cpu":
        return contextlib.nullcontext()
    guard: contextlib.AbstractContextManager[object]
    guard = torch.get_device_module(device).device(device)
    return guard
