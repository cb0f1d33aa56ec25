"""Compile everything once, so that no later call waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch

from topreg.filtrations import CubicalFiltration, FlagFiltration, RipsFiltration
from topreg.losses.betti_matching_loss import betti_matching_loss
from topreg.losses.rtd_lite import rtd_lite
from topreg.losses.signature_loss import signature_loss
from topreg.losses.wasserstein_distance import wasserstein_distance
from topreg.metrics import pairwise_distances

METRICS = ("euclidean", "cosine", "manhattan")


def warm_up(report: Callable[[str, float], object] | None = None) -> None:
    """Compile all loops of the library, once per machine.

    Compiled code is kept on disk, next to the library or, if that is read-only, in the user's cache
    directory. The environment variable ``NUMBA_CACHE_DIR`` moves it. Without this call the first
    search of each kind for :term:`persistence pairs <persistence pair>` compiles what it needs,
    which takes some seconds. Call it when you build a container image, or before you start
    processes that would all compile.

    Args:
        report: Called as ``report(step, seconds)`` after each step.

    Raises:
        Exception: If ``report`` raises it; this ends the work.

    Note:
        Takes about two minutes on one core the first time, and a second or two afterwards.

    Source:
        Numba's cache of compiled functions.

    Example:
        >>> from topreg import warm_up
        >>> warm_up()
    """
    for name, step in _steps():
        start = time.perf_counter()
        step()
        if report is not None:
            report(name, time.perf_counter() - start)


def _steps() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield steps, by name, that together run every compiled loop."""
    for dtype in (torch.float32, torch.float64):
        kind = str(dtype).removeprefix("torch.")
        for metric in METRICS:
            yield f"distances, {metric}, {kind}", partial(_distances, metric, dtype)
        for engine in ("prim", "tiled", "annotations"):
            yield f"{engine}, {kind}", partial(_searches, engine, dtype)
        yield f"matrices, {kind}", partial(_matrices, dtype)
        yield f"images, {kind}", partial(_images, dtype)
    yield "graphs", _graphs
    yield "matchings", _matchings


def _clouds(dtype: torch.dtype, width: int) -> torch.Tensor:
    """Return two small clouds with coincident points."""
    generator = torch.Generator().manual_seed(0)
    clouds = torch.randn(2, 12, width, generator=generator, dtype=dtype)
    clouds[:, 1] = clouds[:, 0]
    return clouds


def _distances(metric: str, dtype: torch.dtype) -> None:
    """Measure distances within a cloud and between two, with few and with many coordinates."""
    for width in (3, 12):
        x, y = _clouds(dtype, width)
        pairwise_distances(x, metric=metric)
        pairwise_distances(x, y, metric=metric)
        pairwise_distances(x[:2], y, metric=metric)
        rips = RipsFiltration(metric=metric)
        rips(x.requires_grad_()).sum().backward()
        rtd_lite(x, y, filtration=rips)
        signature_loss(x, y, filtration=rips)


def _searches(engine: str, dtype: torch.dtype) -> None:
    """Search in points, in one cloud and in two."""
    rips = RipsFiltration(engine=engine)
    for width in (3, 12):
        clouds = _clouds(dtype, width)
        for data in (clouds, clouds[0]):
            rips(data)
            if engine == "annotations":
                rips(data, 1)


def _matrices(dtype: torch.dtype) -> None:
    """Search in distance matrices."""
    matrix = pairwise_distances(_clouds(dtype, 3)[0])
    for longest in (torch.inf, 1.0):
        rips = RipsFiltration(metric="precomputed", max_edge_length=longest)
        leaf = matrix.clone().requires_grad_()
        for pairs in rips.all_pairs(leaf, 1):
            rips.diagram(pairs, leaf).sum().backward()
        rips.pairs(matrix)


def _images(dtype: torch.dtype) -> None:
    """Search in images and volumes, and match two images."""
    image = torch.eye(4, dtype=dtype)
    CubicalFiltration().all_pairs(image, 1)
    CubicalFiltration(ndim=3).pairs(image[None])
    betti_matching_loss(image, image)


def _graphs() -> None:
    """Search in a small graph, and in one with so few edges that neighbours are kept in lists."""
    square = torch.tensor([[0, 1, 2, 0, 0], [1, 2, 3, 3, 2]])
    for vertices in (4, 1 << 16):
        graph = FlagFiltration(square, vertices)
        graph.pairs(torch.ones(5))
        graph.pairs(torch.ones(5), 1)


def _matchings() -> None:
    """Match diagrams that need rounded and exact arithmetic."""
    one = torch.tensor([[3.0, 6.0], [0.0, 11.0], [0.0, 3.0]])
    wasserstein_distance(one, torch.tensor([[5.0, 8.0], [0.0, 11.0]]), order=50.0)
