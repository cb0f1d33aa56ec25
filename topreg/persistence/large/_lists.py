"""Lists of nearest neighbours, updated by one tile of distances after the other.

Imported on first use, since numba is heavy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topreg._compiled import over_rows
from topreg.persistence._bits import KINDS
from topreg.persistence.large import _neighbour_kernels as kernels


class Raw(NamedTuple):
    """One unsorted list per row: bits of distances, and vertices; -1 is an empty place."""

    keys: NDArray[Any]
    near: NDArray[Any]


def no_lists(rows: int, width: int, dtype: torch.dtype) -> Raw:
    """Return empty lists."""
    integer = KINDS[dtype][1]
    keys = np.full((rows, width), np.iinfo(integer).max, integer)
    return Raw(keys, np.full((rows, width), -1, np.int32))


class CompiledLists:
    """Lists on the CPU, updated by compiled loops on torch's number of threads."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._state = (*raw, raw.keys.argmax(1), raw.keys.max(1))

    def offer_rows(
        self, tile: Tensor, rows: Tensor, places: Tensor, columns: slice, label: Tensor
    ) -> None:
        """Offer the distances from each vertex of ``rows`` to the list at its place.

        Vertices with the same label as the row are left out.
        """
        bits, labels = self._bits(tile), label.numpy()
        vertices, lists = rows.numpy(), places.numpy()
        over_rows(
            len(vertices),
            lambda i, j, _: kernels.offer_rows(
                bits[i:j], vertices[i:j], lists[i:j], columns.start, labels, *self._state
            ),
        )

    def offer_columns(self, tile: Tensor, rows: slice, columns: slice) -> None:
        """Offer the distances from each vertex of ``columns`` to the list of that vertex."""
        bits, first = self._bits(tile), (rows.start, columns.start)
        over_rows(
            tile.shape[1], lambda i, j, _: kernels.offer_columns(bits, *first, i, j, *self._state)
        )

    def offer_lists(self, other: Raw) -> None:
        """Offer the entries of other lists of the same vertices."""
        over_rows(len(other.near), lambda i, j, _: kernels.offer_lists(*other, i, j, *self._state))

    def raw(self) -> Raw:
        """Return the lists."""
        return self._raw

    def _bits(self, tile: Tensor) -> NDArray[Any]:
        """Return the bits of distances, which the loops read."""
        return tile.numpy().view(self._raw.keys.dtype)


class TorchLists:
    """Lists on the device of the points, updated by torch operations.

    NaN marks an empty place: it sorts behind every distance.
    """

    def __init__(self, rows: int, width: int, points: Tensor) -> None:
        self._distances = points.new_full((rows, width), torch.nan)
        self._near = torch.full((rows, width), -1, device=points.device)

    def offer_rows(
        self, tile: Tensor, rows: Tensor, places: Tensor, columns: slice, label: Tensor
    ) -> None:
        """Offer the distances from each vertex of ``rows`` to the list at its place."""
        own = label[rows][:, None] == label[columns]
        self._offer(tile.masked_fill(own, torch.nan), places, columns.start)

    def offer_columns(self, tile: Tensor, rows: slice, columns: slice) -> None:
        """Offer the distances from each vertex of ``columns`` to the list of that vertex."""
        places = torch.arange(columns.start, columns.stop, device=tile.device)
        self._offer(tile.T, places, rows.start)

    def raw(self) -> Raw:
        """Return the lists."""
        near = self._near.int().cpu().numpy()
        empty = no_lists(len(near), near.shape[1], self._distances.dtype)
        distances = self._distances.cpu().numpy()
        return Raw(np.where(near < 0, empty.keys, distances.view(empty.keys.dtype)), near)

    def _offer(self, tile: Tensor, places: Tensor, first: int) -> None:
        """Merge each row of the tile into the list at its place; keep the smallest distances."""
        width = self._near.shape[1]
        some = tile.topk(min(width, tile.shape[1]), largest=False, sorted=False)
        vertices = (some.indices + first).masked_fill(some.values.isnan(), -1)
        distances = torch.cat([self._distances[places], some.values], dim=1)
        kept = distances.topk(width, largest=False, sorted=False)
        near = torch.cat([self._near[places], vertices], dim=1).gather(1, kept.indices)
        self._distances[places], self._near[places] = kept.values, near
