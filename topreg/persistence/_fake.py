"""Empty results of the engines, for torch.compile, export and fake tensors."""

from __future__ import annotations

import torch
from torch import Tensor


def fake_forests(
    weights: Tensor, sizes: list[int], longest: float, connected: bool, *_: object
) -> tuple[Tensor, Tensor, Tensor]:
    """Return empty birth, death and essential edges in dimension 0."""
    if connected:
        components: int | torch.SymInt = sum(n > 0 for n in sizes)
        edges: int | torch.SymInt = sum(sizes) - components
    else:
        edges, components = _numbers(weights, 2)
    indices = weights.new_empty(0, dtype=torch.int64)
    births, deaths = indices.new_empty((edges, 2)), indices.new_empty((edges, 2))
    return births, deaths, indices.new_empty((components, 2))


def fake_homology(
    weights: Tensor, sizes: list[int], longest: float, top: int, *_: bool
) -> list[Tensor]:
    """Return empty birth, death and essential edges in the dimensions up to ``top``."""
    indices = weights.new_empty(0, dtype=torch.int64)
    found = []
    for _dimension in range(top + 1):
        m, e = _numbers(weights, 2)
        found += [indices.new_empty((rows, 2)) for rows in (m, m, e)]
    return found


def fake_annotations(like: Tensor, *_: object) -> list[Tensor]:
    """Return empty birth, death and essential edges in the dimensions 0 and 1."""
    return fake_homology(like, [], 0.0, 1)


def _numbers(like: Tensor, count: int) -> list[int | torch.SymInt]:
    """Return new sizes that depend on values; 0 if the compiler knows that there is no entry."""
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    if like.ndim == 1 and statically_known_true(like.shape[0] == 0):
        return [0] * count
    return [torch.library.get_ctx().new_dynamic_size() for _ in range(count)]
