"""Processes that share the work of one search: this one alone, or the ranks of a group."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from topreg._exchange import Group, every_row, every_tensor
from topreg.persistence.large._lists import CompiledLists, Raw


class Ranks:
    """Processes that hold the same points and take the same steps. Here this one is alone."""

    rank, size = 0, 1

    def merge(self, raw: Raw, rows: slice) -> Raw:
        """Merge what all processes found about some rows into one list per row."""
        return Raw(*(array[rows] for array in raw))

    def concatenate(self, *arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Concatenate the rows of each array, one process after the other."""
        return arrays


class GroupRanks(Ranks):
    """The ranks of a process group, which exchange their lists."""

    def __init__(self, group: Group, device: torch.device) -> None:
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._group, self._device = group, device

    def merge(self, raw: Raw, rows: slice) -> Raw:
        """Send every rank the lists of its rows; keep the nearest neighbours in them."""
        own = super().merge(raw, rows)
        lists = CompiledLists(own)
        for owner in range(self.size):
            part = share(owner, self.size, len(raw.near))
            sent = [self._gather(array[part], owner) for array in raw]
            if owner == self.rank:
                for source, other in enumerate(zip(*sent, strict=True)):
                    if source != self.rank:
                        lists.offer_lists(Raw(*other))
        return own

    def concatenate(self, *arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Concatenate the rows of all ranks, one rank after the other."""
        own = torch.tensor([len(arrays[0])], device=self._device)
        sizes = [int(size) for size in every_tensor(own, self._group)]
        tensors = [torch.tensor(array, device=self._device) for array in arrays]
        return tuple(every_row(t, sizes, self._group).cpu().numpy() for t in tensors)

    def _gather(self, array: NDArray[Any], owner: int) -> list[NDArray[Any]]:
        """Return the arrays of all ranks on the rank ``owner``, and nothing on the others."""
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        first = owner if self._group is None else dist.get_global_rank(self._group, owner)
        mine = owner == self.rank
        dist.gather(tensor, parts if mine else None, dst=first, group=self._group)
        return [part.cpu().numpy() for part in parts] if mine else []


def share(rank: int, ranks: int, rows: int) -> slice:
    """Return the rows that one of the processes handles."""
    return slice(rows * rank // ranks, rows * (rank + 1) // ranks)
