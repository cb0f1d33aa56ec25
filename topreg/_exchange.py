"""What ranks send each other."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

Group = Any  # torch's type of process groups is not there on every build


def is_grouped() -> bool:
    """Whether there are other processes to talk to."""
    return dist.is_available() and dist.is_initialized()


def talking_device(group: Group) -> torch.device:
    """Where tensors must be that the backend shall send."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or "cpu" in dist.get_backend_config(group):
        return torch.device("cpu")
    return torch.device(accelerator.type)


def every_tensor(tensor: Tensor, group: Group) -> list[Tensor]:
    """The tensors of all ranks, which are of one shape."""
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, tensor, group=group)
    return parts


def every_row(x: Tensor, sizes: list[int], group: Group) -> Tensor:
    """The rows of all ranks, one rank after the other; they travel filled up to one length."""
    padded = x.new_zeros(max(sizes), *x.shape[1:])
    padded[: len(x)] = x
    parts = every_tensor(padded, group)
    return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)])
