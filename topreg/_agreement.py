"""Checks that all ranks make together before they exchange rows, so that all fail if one does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from topreg._exchange import Group, every_tensor, is_grouped, talking_device
from topreg.metrics import METRICS
from topreg.persistence import MEMORY

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def first_error(*checks: Callable[[], object]) -> Exception | None:
    """Return the error of the first check that fails, to be raised once all ranks know of it."""
    try:
        for check in checks:
            check()
    except (TypeError, ValueError, OverflowError) as error:
        return error
    return None


class _Statement(NamedTuple):
    """Facts about a rank's argument, sent as one tensor before anything else."""

    fits: float
    rows: float = 0.0
    width: float = 0.0
    dtype: float = 0.0
    on_cpu: float = 0.0
    wants_gradient: float = 0.0
    metric: float = 0.0
    longest: float = 0.0
    memory: float = 0.0


def _describe(x: Tensor, metric: str, longest: float, memory: int) -> _Statement:
    """Return the statement of a rank whose argument is valid."""
    wanted = x.requires_grad and torch.is_grad_enabled()
    return _Statement(
        1.0,
        len(x),
        x.shape[1],
        DTYPES.index(x.dtype),
        x.device.type == "cpu",
        wanted,
        METRICS.index(metric),
        longest,
        memory,
    )


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
    own = _Statement(0.0) if problem else _describe(x, metric, longest, memory)
    message = torch.tensor(own, dtype=torch.float64, device=talking_device(group))
    answers = every_tensor(message, group)
    if problem is not None:
        raise problem
    said = [_Statement(*answer.tolist()) for answer in answers]
    for rank, statement in enumerate(said):
        if not statement.fits:
            raise ValueError(
                f"`{name}` should be valid on every rank. Got an invalid value on rank {rank}. "
                "See the error of that rank."
            )
    for what, values in (
        (f"`{name}` should have the same number of coordinates", [int(s.width) for s in said]),
        (f"`{name}` should have one dtype", [DTYPES[int(s.dtype)] for s in said]),
        (f"`{name}` should be on one type of device", [_place(s.on_cpu) for s in said]),
        (f"`{name}` should require a gradient, or none,", [bool(s.wants_gradient) for s in said]),
        ("`metric` should be the same", [METRICS[int(s.metric)] for s in said]),
        ("`max_edge_length` should be the same", [s.longest for s in said]),
    ):
        _are_equal(what, values)
    return [int(s.rows) for s in said], int(min(s.memory for s in said))


def _place(on_cpu: float) -> str:
    """Return the type of device, as messages call it."""
    return "the CPU" if on_cpu else "an accelerator"


def _are_equal(what: str, values: Sequence[object]) -> None:
    """Raise on all ranks if their values differ."""
    for rank, value in enumerate(values):
        if value != values[0]:
            raise ValueError(
                f"{what} on every rank. Got {values[0]} on rank 0 and {value} on rank {rank}."
            )
