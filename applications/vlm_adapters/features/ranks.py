"""Processes that ``torchrun`` started: which share is this one's, and ending together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch.distributed

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # of one that has done its share


def start() -> None:
    """Join the group of processes that ``torchrun`` started, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo", timeout=PATIENCE)


def share() -> tuple[int, int]:
    """Return rank and number of the processes; (0, 1) without a group."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def device(asked: str) -> str:
    """Return the device of this process: on one machine each rank takes its own accelerator."""
    local_rank = os.environ.get("LOCAL_RANK", "0")
    return f"{asked}:{local_rank}" if asked in ("cuda", "xpu") and share()[1] > 1 else asked


def of_first(value: T) -> T:
    """Return the value of rank 0."""
    values = [value]
    if share()[1] > 1:
        torch.distributed.broadcast_object_list(values, src=0)
    return values[0]


@contextmanager
def together() -> Iterator[None]:
    """Wait for the others at the end of a block; the error of one is an error of all."""
    failure = None
    try:
        yield
    except Exception as error:  # whatever it is, the others must hear of it
        failure = error
    ranks = share()[1]
    if ranks > 1:
        messages: list[str | None] = [None] * ranks
        told = None if failure is None else str(failure)
        torch.distributed.all_gather_object(messages, told)
        other = next((k for k, message in enumerate(messages) if message is not None), None)
        if failure is None and other is not None:
            raise RuntimeError(f"Rank {other} failed: {messages[other]}")
    if failure is not None:
        raise failure
