"""The ranks of a process group, which share one search. Imported on first use."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from topreg.persistence._lists import CompiledLists, Raw


class GroupRanks:
    """Processes that exchange their lists; ``device`` is used where the backend needs one."""

    def __init__(self, group: Any, device: torch.device) -> None:
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._group = group
        self._device = device if dist.get_backend(group) == "nccl" else torch.device("cpu")

    def merged(self, raw: Raw, rows: slice) -> Raw:
        """The nearest of all ranks' lists of some rows."""
        lists = CompiledLists(raw)
        for source in range(self.size):
            # the others read none of the rows in which these lists have changed by then
            other = Raw(*(self._broadcast(array, source) for array in raw))
            if source != self.rank:
                lists.offer_lists(other, rows)
        return Raw(*(array[rows] for array in raw))

    def joined(self, *arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """The rows of all ranks, one rank after the other."""
        own = torch.tensor([len(arrays[0])], device=self._device)
        sizes = [int(size) for size in self._all(own)]
        return tuple(self._joined(array, sizes) for array in arrays)

    def _joined(self, array: NDArray[Any], sizes: list[int]) -> NDArray[Any]:
        padded = np.zeros((max(sizes), *array.shape[1:]), array.dtype)
        padded[: len(array)] = array
        parts = self._all(torch.from_numpy(padded).to(self._device))
        return np.concatenate(
            [part[:n].cpu().numpy() for part, n in zip(parts, sizes, strict=True)]
        )

    def _all(self, tensor: Tensor) -> list[Tensor]:
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor, group=self._group)
        return parts

    def _broadcast(self, array: NDArray[Any], source: int) -> NDArray[Any]:
        tensor = torch.from_numpy(array if source == self.rank else np.empty_like(array))
        tensor = tensor.to(self._device)
        first = source if self._group is None else dist.get_global_rank(self._group, source)
        dist.broadcast(tensor, first, group=self._group)
        received: NDArray[Any] = tensor.cpu().numpy()
        return received
