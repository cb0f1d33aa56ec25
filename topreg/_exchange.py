"""Exchange of tensors between ranks."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

Group = Any  # some builds of torch lack the type of process groups


def is_grouped() -> bool:
    """Return whether the program has a process group."""
    return dist.is_available() and dist.is_initialized()


def talking_device(group: Group) -> torch.device:
    """Return the device on which the backend can send tensors."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or "cpu" in dist.get_backend_config(group):
        return torch.device("cpu")
    return torch.device(accelerator.type)


def every_tensor(tensor: Tensor, group: Group) -> list[Tensor]:
    """Return the tensors of all ranks, which have one shape."""
    parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size(group))]
    dist.all_gather(parts, tensor, group=group)
    return parts


def every_row(x: Tensor, sizes: list[int], group: Group) -> Tensor:
    """Return the rows of all ranks, one rank after the other; they are padded to be sent."""
    padded = x.new_zeros(max(sizes), *x.shape[1:])
    padded[: len(x)] = x
    parts = every_tensor(padded, group)
    return torch.cat([part[:n] for part, n in zip(parts, sizes, strict=True)])
