"""Distances of one cloud, one tile at a time, for clouds whose matrix is too large.

Imported on first use, since numba is heavy.
"""

import math

import torch
from torch import Tensor

from topreg._compiled import NEVER, over_rows
from topreg._safe import widest_dtype
from topreg.metrics import _kernels
from topreg.metrics._products import full_precision, rounding_bound
from topreg.metrics._selection import direct_distances

SOME = 1024  # rows among which the shift is chosen
LEAST = 64  # rows and columns of the smallest tile
FEW_UNDECIDED = 16  # measure the whole tile by differences if one entry in so many is undecided


class Tiles:
    """Distances between rows of one cloud, estimated as in ``estimated_weights``.

    On the CPU compiled loops work in one buffer, which the next tile overwrites. On other devices
    torch needs about nine buffers. ``side`` rows and columns fit into ``memory`` bytes.

    Shape:
        - points: (n, d), float32 or float64; normalised for the cosine.
    """

    def __init__(self, points: Tensor, *, manhattan: bool, memory: int) -> None:
        self.points = points
        self.manhattan = manhattan
        self.on_cpu = points.device.type == "cpu"
        self.side = _side(points, memory, buffers=1 if self.on_cpu else 9)
        self.shift = None if manhattan else _shift(points)
        self._buffer = points.new_empty(min(self.side, len(points)) ** 2 if self.on_cpu else 0)

    def between(self, rows: Tensor | slice, columns: slice) -> Tensor:
        """Return the distances from some rows to consecutive others, Euclidean or Manhattan."""
        x, y = self.points[rows], self.points[columns]
        if not self.on_cpu:
            return direct_distances(x, y, "manhattan") if self.manhattan else self._by_torch(x, y)
        out = self._buffer[: len(x) * len(y)].view(len(x), len(y))
        tile, a, b = out.numpy(), x.numpy(), y.numpy()
        if not self.manhattan:
            first, second = (squares.numpy() for squares in self._products(x, y, out))
            bounds = rounding_bound(x.shape[1], x.dtype)
            over_rows(
                len(x),
                lambda i, j, halt: _kernels.estimate_rectangle(
                    tile[i:j], a[i:j], first[i:j], b, second, *bounds, False, halt
                ),
            )
        elif len(x) < _kernels.FEW_ROWS:
            _kernels.measure_between(tile, a, b, True, False, NEVER)
        else:
            across = b.T.astype("float64", order="C")  # as large as two blocks of shifted points
            over_rows(
                len(x),
                lambda i, j, halt: _kernels.measure_rows(
                    tile[i:j], a[i:j], across, True, False, halt
                ),
            )
        return out

    def _by_torch(self, x: Tensor, y: Tensor) -> Tensor:
        """Compute inner products, and turn them into distances by torch operations."""
        squares = x.new_empty(len(x), len(y))
        squares_x, squares_y = self._products(x, y, squares)
        separated, floor = map(float, rounding_bound(x.shape[1], x.dtype))  # type: ignore[arg-type]
        total = squares_x[:, None] + squares_y
        squares.mul_(-2).add_(total)
        undecided = ~((squares > separated * total) & (total > floor))
        i, j = undecided.nonzero().unbind(1)
        if FEW_UNDECIDED * len(i) > undecided.numel():
            return direct_distances(x, y, "euclidean")
        distances = squares.clamp_(min=0).sqrt_()
        some = max(1, undecided.numel() // x.shape[1])
        for a, b in zip(i.split(some), j.split(some), strict=True):
            gaps = x[a].to(widest_dtype(x.device)) - y[b]
            distances[a, b] = gaps.square().sum(1).sqrt().to(x.dtype)
        return distances

    def _products(self, x: Tensor, y: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
        """Write inner products of the shifted rows into ``out``; return the squares of the rows."""
        if self.shift is not None:
            x, y = x - self.shift, y - self.shift
        with full_precision():
            torch.mm(x, y.T, out=out)
        return x.square().sum(1), y.square().sum(1)


def _side(points: Tensor, memory: int, buffers: int) -> int:
    """Return the side of the largest tile that fits with two blocks of shifted points."""
    width, size = points.shape[1], points.element_size()
    entries = memory / size
    return max(LEAST, int((math.sqrt(width**2 + buffers * entries) - width) / buffers))


def _shift(points: Tensor) -> Tensor | None:
    """Return a row near the middle to subtract before products; None if 0 is as good.

    The choice, among some rows, only affects rounding; see ``_kernels.centre``.
    """
    some = points[:: max(1, -(-len(points) // SOME))]
    if len(some) == 0:
        return None
    wide = some.to(widest_dtype(some.device))
    mean = wide.mean(0)
    squares = (wide - mean).square().sum(1)
    return some[squares.argmin()] if bool(squares.min() < mean.square().sum()) else None
