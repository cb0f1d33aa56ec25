"""Dimension 0 of clouds of points, without their distance matrix."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from topreg._clouds import starts
from topreg._operators import operator
from topreg.persistence._fake import fake_forests

MEMORY = 1 << 25  # bytes for a tile
Progress = Callable[[str, int, int], None]  # stage, done, total
PATIENCE = 1.0  # seconds after which a search is long enough for a bar
WIDTH = 40  # characters of a full bar


@operator(lambda x, sizes, _, longest, __: fake_forests(x, sizes, longest, longest == math.inf))
def tiled(
    points: Tensor, sizes: list[int], metric: str, longest: float, memory: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Find minimum spanning forests with the elder rule; return what ``prim`` returns.

    Shape:
        - points: (N, d), float32 or float64; normalised for the cosine.
    """
    return forests_of_points(points, sizes, metric, longest, memory, None)


def forests_of_points(
    points: Tensor,
    sizes: Sequence[int],
    metric: str,
    longest: float,
    memory: int,
    progress: Progress | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Do the operator's work, and report progress."""
    from topreg.persistence.large._certificates import forest_of_cloud

    none = torch.empty((0, 2), dtype=torch.int64, device="cpu")  # whatever the default device
    parts = [none, none[:, 0], none[:, 0]]
    found = [parts]
    for first, cloud in zip(starts(sizes)[:-1], points.split(list(sizes)), strict=True):
        arrays = forest_of_cloud(
            cloud.contiguous(), metric, longest, memory=memory, progress=progress
        )
        found.append([torch.from_numpy(array) + first for array in arrays])
    deaths, births, elders = (
        torch.cat(same).to(points.device) for same in zip(*found, strict=True)
    )
    return torch.stack([births, births], dim=1), deaths, torch.stack([elders, elders], dim=1)


@contextlib.contextmanager
def report_to(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """Yield the function that reports progress: the given one, a bar for ``True``, or None."""
    if progress is not True:
        yield None if progress is False else progress
        return
    start, line = time.monotonic(), ""

    def show(stage: str, done: int, total: int) -> None:
        """Overwrite a line on standard error, unless the search is short."""
        nonlocal line
        part, before = done / max(total, 1), line
        if time.monotonic() - start >= PATIENCE:
            line = f"{stage:<10} |{'#' * int(WIDTH * part):<{WIDTH}}| {part:4.0%}"
        if line != before:
            print(f"\r{line}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if line:
            print(file=sys.stderr)
