"""The first edges of vertices in the total order, and a bound on all their other edges.

Imported on first use, since numba is heavy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topreg._compiled import over_rows
from topreg.metrics._tiles import Tiles
from topreg.persistence.large import _neighbour_kernels as kernels
from topreg.persistence.large._certificate_kernels import count_certain
from topreg.persistence.large._lists import CompiledLists, Raw, TorchLists, no_lists
from topreg.persistence.large._ranks import Ranks, share
from topreg.persistence.large._tiled import Progress

WIDTH = 32  # neighbours listed per vertex
TOLERANCE = {"float32": 3e-5, "float64": 3e-12}  # three times the relative error of tiles


class Lists(NamedTuple):
    """Lists sorted by (weight, neighbour), of which the first entries are certain.

    All other edges, listed or not, weigh at least ``bound``.
    """

    weights: NDArray[Any]  # (n, k)
    near: NDArray[Any]  # (n, k), -1 where there is no neighbour
    certain: NDArray[Any]  # (n,)
    bound: NDArray[Any]  # (n,), infinite where all neighbours are listed


class Neighbours:
    """Find lists in tiles of distances, then measure their weights by differences.

    The weight of an edge depends only on its two points. So lists that were found in other tiles,
    or by another process, agree to the bit.

    Shape:
        - points: (n, d), float32 or float64; normalised for the cosine.
    """

    def __init__(
        self, points: Tensor, metric: str, *, memory: int, ranks: Ranks, width: int = WIDTH
    ) -> None:
        self._tiles = Tiles(points, manhattan=metric == "manhattan", memory=memory)
        self._points = points.cpu().numpy()
        self._metric = (metric == "manhattan", metric == "cosine", np.finfo(self._points.dtype).max)
        self._ranks = ranks
        self._width = width

    def of_all(self, progress: Progress) -> Lists:
        """Return the lists of all vertices, from one pass over half of the matrix."""
        n, ranks = len(self._points), self._ranks
        keeper, vertices = self._keeper(n), self._vertices(n)
        tiles = _upper_tiles(n, self._tiles.side)[ranks.rank :: ranks.size]
        for done, (rows, columns) in enumerate(tiles):
            tile = self._tiles.between(rows, columns)
            keeper.offer_rows(tile, vertices[rows], vertices[rows], columns, vertices)
            if rows != columns:
                keeper.offer_columns(tile, rows, columns)
            progress("neighbours", done + 1, len(tiles))
        mine = share(ranks.rank, ranks.size, n)
        raw = ranks.merge(keeper.raw(), mine)
        return Lists(*ranks.concatenate(*self._measure(raw, np.arange(mine.start, mine.stop))))

    def outside(self, rows: NDArray[Any], label: NDArray[Any]) -> Lists:
        """Return lists of some vertices, with neighbours of other labels only.

        Every list has a certain entry if there is a neighbour.
        """
        mine = rows[share(self._ranks.rank, self._ranks.size, len(rows))]
        lists = self._measure(self._raw_outside(mine, label), mine)
        ties = (lists.certain == 0) & (lists.bound < np.inf)
        if ties.any():  # more neighbours than a list holds are too near to the nearest one
            for kept, found in zip(lists, self._measure_everywhere(mine[ties], label), strict=True):
                kept[ties] = found
        return Lists(*self._ranks.concatenate(*lists))

    def _raw_outside(self, rows: NDArray[Any], label: NDArray[Any]) -> Raw:
        """Return the lists of some vertices, by the distances in tiles."""
        keeper, side = self._keeper(len(rows)), self._tiles.side
        device = self._tiles.points.device
        vertices, labels = (torch.from_numpy(a).to(device) for a in (rows, label))
        places = self._vertices(len(rows))
        for part, at in zip(vertices.split(side), places.split(side), strict=True):
            for columns in _blocks(len(label), side):
                tile = self._tiles.between(part, columns)
                keeper.offer_rows(tile, part, at, columns, labels)
        return keeper.raw()

    def _measure(self, raw: Raw, rows: NDArray[Any]) -> Lists:
        """Return lists of ``rows`` in the total order, with certain entries and bounds."""
        near, dtype = raw.near.copy(), self._points.dtype
        bound = self._lowest(raw.keys.view(dtype).max(1, initial=0))
        bound = np.where((near < 0).any(1), dtype.type(np.inf), bound)
        lists = Lists(np.empty(near.shape, dtype), near, np.empty(len(near), np.int32), bound)
        over_rows(
            len(rows),
            lambda i, j, halt: kernels.measure_lists(
                self._points, rows, near, lists.weights, i, j, *self._metric, halt
            ),
        )
        count_certain(*lists)
        return lists

    def _lowest(self, distances: NDArray[Any]) -> NDArray[Any]:
        """Return a lower bound on weights, given lower bounds on the distances in tiles.

        It is rounded and clipped in the same way as weights, which is monotone.
        """
        dtype, (_, cosine, largest) = self._points.dtype, self._metric
        with np.errstate(over="ignore", invalid="ignore"):  # NaN in lists that are not full
            low = (distances * (1 - TOLERANCE[dtype.name])).astype(dtype)
            weights: NDArray[Any] = low * low * dtype.type(0.5) if cosine else low
            bound: NDArray[Any] = np.minimum(weights, largest)
        return bound

    def _measure_everywhere(self, rows: NDArray[Any], label: NDArray[Any]) -> Lists:
        """Return exact lists of ``rows``, by measuring all vertices of other labels."""
        shape = len(rows), self._width
        weights, near = np.empty(shape, self._points.dtype), np.empty(shape, np.int32)
        over_rows(
            len(rows),
            lambda i, j, halt: kernels.measure_all(
                self._points, rows, label, weights, near, i, j, *self._metric, halt
            ),
        )
        certain = (near >= 0).sum(1, dtype=np.int32)
        return Lists(
            weights,
            near,
            certain,
            np.where(certain < self._width, weights.dtype.type(np.inf), weights[:, -1]),
        )

    def _keeper(self, rows: int) -> CompiledLists | TorchLists:
        """Return empty lists on the device of the tiles."""
        points = self._tiles.points
        if self._tiles.on_cpu:
            return CompiledLists(no_lists(rows, self._width, points.dtype))
        return TorchLists(rows, self._width, points)

    def _vertices(self, n: int) -> Tensor:
        """Return the numbers from 0 to n - 1, on the device of the tiles."""
        return torch.arange(n, device=self._tiles.points.device)


def _blocks(n: int, side: int) -> list[slice]:
    """Divide n rows into equal blocks of at most ``side`` consecutive rows."""
    count = -(-n // side)
    return [slice(n * i // count, n * (i + 1) // count) for i in range(count)]


def _upper_tiles(n: int, side: int) -> list[tuple[slice, slice]]:
    """Return the tiles on and above the diagonal."""
    blocks = _blocks(n, side)
    return [(rows, columns) for i, rows in enumerate(blocks) for columns in blocks[i:]]
