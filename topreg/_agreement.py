"""Checks that all ranks make together before they exchange rows, so that all fail if one does."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from topreg._exchange import Group, is_grouped
from topreg.metrics import METRICS
from topreg.persistence import MEMORY


def first_error(*checks: Callable[[], object]) -> Exception | None:
    """Return the error of the first check that fails, to be raised once all ranks know of it."""
    try:
        for check in checks:
            check()
    except (TypeError, ValueError, OverflowError) as error:
        return error
    return None


class _Statement(NamedTuple):
    """Facts about a rank's argument, sent before anything else; the middle ones must agree."""

    rows: int
    width: int
    dtype: torch.dtype
    device: str
    wants_gradient: bool
    metric: str
    longest: float
    memory: int


def agree(
    name: str,
    x: Tensor,
    group: Group,
    problem: Exception | None,
    metric: str = METRICS[0],
    longest: float = math.inf,
    memory: int = MEMORY,
) -> tuple[list[int], int]:
    """Return the numbers of rows of all ranks, and the smallest memory budget.

    Raise on all ranks if one has a problem or differs from the others.
    """
    if not is_grouped():
        if problem is not None:
            raise problem
        return [len(x)], memory
    own = None
    if problem is None:
        device = "the CPU" if x.device.type == "cpu" else "an accelerator"
        wanted = x.requires_grad and torch.is_grad_enabled()
        own = _Statement(len(x), x.shape[1], x.dtype, device, wanted, metric, longest, memory)
    said: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(said, own, group=group)
    if problem is not None:
        raise problem
    if None in said:
        raise ValueError(
            f"`{name}` should be valid on every rank. Got an invalid value on rank "
            f"{said.index(None)}. See the error of that rank."
        )
    rows, *facts, memories = zip(*said, strict=True)
    requirements = (
        f"`{name}` should have the same number of coordinates",
        f"`{name}` should have one dtype",
        f"`{name}` should be on one type of device",
        f"`{name}` should require a gradient, or none,",
        "`metric` should be the same",
        "`max_edge_length` should be the same",
    )
    for requirement, values in zip(requirements, facts, strict=True):
        for rank, value in enumerate(values):
            if value != values[0]:
                raise ValueError(
                    f"{requirement} on every rank. "
                    f"Got {values[0]} on rank 0 and {value} on rank {rank}."
                )
    return list(rows), min(memories)
