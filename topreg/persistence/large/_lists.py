"""Lists of nearest neighbours that are kept while tiles of distances go by.

Imported on first use, since numba is heavy.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topreg._compiled import over_rows
from topreg.persistence._bits import kinds_of
from topreg.persistence.large import _neighbour_kernels as kernels


class Raw(NamedTuple):
    """Distances through their bits, and vertices: a list a row, in no order; -1 is no vertex."""

    keys: NDArray[Any]
    near: NDArray[Any]


class Keeper(Protocol):
    """What keeps lists: a row of a tile is offered to one list, a column to another."""

    def offer_rows(
        self, tile: Tensor, rows: Tensor, places: Tensor, columns: slice, label: Tensor
    ) -> None:
        """Offer the distances from each of the ``rows`` to the list at its place.

        Vertices of the row's own label are left out.
        """

    def offer_columns(self, tile: Tensor, rows: slice, columns: slice) -> None:
        """Offer the distances from each of the columns to the list of that vertex."""

    def raw(self) -> Raw:
        """The lists."""


def no_lists(rows: int, width: int, dtype: torch.dtype) -> Raw:
    """Lists without an entry."""
    _, integer = kinds_of(dtype)
    keys = np.full((rows, width), np.iinfo(integer).max, integer)
    return Raw(keys, np.full((rows, width), -1, np.int32))


class CompiledLists:
    """Lists kept by compiled loops, on torch's number of threads."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._state = (*raw, raw.keys.argmax(1), raw.keys.max(1))

    def offer_rows(
        self, tile: Tensor, rows: Tensor, places: Tensor, columns: slice, label: Tensor
    ) -> None:
        """As in :class:`Keeper`."""
        bits, labels = self._bits(tile), label.numpy()
        vertices, lists = rows.numpy(), places.numpy()
        over_rows(
            len(vertices),
            lambda i, j, _: kernels.offer_rows(
                bits[i:j], vertices[i:j], lists[i:j], columns.start, labels, *self._state
            ),
        )

    def offer_columns(self, tile: Tensor, rows: slice, columns: slice) -> None:
        """As in :class:`Keeper`."""
        bits, first = self._bits(tile), (rows.start, columns.start)
        over_rows(
            tile.shape[1], lambda i, j, _: kernels.offer_columns(bits, *first, i, j, *self._state)
        )

    def offer_lists(self, other: Raw) -> None:
        """Offer what other lists hold of the same vertices."""
        over_rows(len(other.near), lambda i, j, _: kernels.offer_lists(*other, i, j, *self._state))

    def raw(self) -> Raw:
        """As in :class:`Keeper`."""
        return self._raw

    def _bits(self, tile: Tensor) -> NDArray[Any]:
        """Distances as the loops read them."""
        return tile.numpy().view(self._raw.keys.dtype)


class TorchLists:
    """The same in torch operations, on the device of the points.

    NaN stands for no neighbour: it sorts behind every distance.
    """

    def __init__(self, rows: int, width: int, points: Tensor) -> None:
        self._distances = points.new_full((rows, width), torch.nan)
        self._near = torch.full((rows, width), -1, device=points.device)

    def offer_rows(
        self, tile: Tensor, rows: Tensor, places: Tensor, columns: slice, label: Tensor
    ) -> None:
        """As in :class:`Keeper`."""
        own = label[rows][:, None] == label[columns]
        self._offer(tile.masked_fill(own, torch.nan), places, columns.start)

    def offer_columns(self, tile: Tensor, rows: slice, columns: slice) -> None:
        """As in :class:`Keeper`."""
        places = torch.arange(columns.start, columns.stop, device=tile.device)
        self._offer(tile.T, places, rows.start)

    def raw(self) -> Raw:
        """As in :class:`Keeper`."""
        near = self._near.int().cpu().numpy()
        empty = no_lists(len(near), near.shape[1], self._distances.dtype)
        distances = self._distances.cpu().numpy()
        return Raw(np.where(near < 0, empty.keys, distances.view(empty.keys.dtype)), near)

    def _offer(self, tile: Tensor, places: Tensor, first: int) -> None:
        """Keep the smallest of each row of the tile and the list at its place."""
        width = self._near.shape[1]
        some = tile.topk(min(width, tile.shape[1]), largest=False, sorted=False)
        vertices = (some.indices + first).masked_fill(some.values.isnan(), -1)
        distances = torch.cat([self._distances[places], some.values], dim=1)
        kept = distances.topk(width, largest=False, sorted=False)
        near = torch.cat([self._near[places], vertices], dim=1).gather(1, kept.indices)
        self._distances[places], self._near[places] = kept.values, near
