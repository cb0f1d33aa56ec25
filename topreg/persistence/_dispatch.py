"""Chooses the engine for a dimension, a device and a size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from topreg._pairs import PersistencePairs
from topreg.persistence._prim import prim

ENGINES = ("auto", "prim")


def pairs_of_dimension_0(
    weights: Tensor, sizes: Sequence[int], longest: float, *, connected: bool
) -> PersistencePairs:
    """Persistence pairs in dimension 0 of complete weighted graphs.

    A weight that is infinite or exceeds ``longest`` is no edge; ``connected`` promises that there
    is none. Tensors on other devices pass through the CPU.
    """
    deaths, births, elders = prim(weights, list(sizes), longest, connected)
    return PersistencePairs(
        dimension=0,
        birth_edges=_loops(births),
        death_edges=deaths,
        essential_edges=_loops(elders),
        cloud_sizes=tuple(sizes),
    )


def _loops(vertices: Tensor) -> Tensor:
    """The degenerate edges (v, v)."""
    return torch.stack([vertices, vertices], dim=1)
