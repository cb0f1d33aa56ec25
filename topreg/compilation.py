"""Compiling everything once, so that no later call waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch

from topreg.filtrations import CubicalFiltration, FlagFiltration, RipsFiltration
from topreg.losses.betti_matching_loss import betti_matching_loss
from topreg.losses.rtd_lite import rtd_lite
from topreg.losses.wasserstein_distance import wasserstein_distance
from topreg.metrics import pairwise_distances

METRICS = ("euclidean", "cosine", "manhattan")


def warm_up(report: Callable[[str, float], object] | None = None) -> None:
    """Compile all loops of the library, once per machine.

    Compiled code is kept on disk: next to the library, or in the user's cache directory where that
    is read-only; the environment variable ``NUMBA_CACHE_DIR`` moves it. Without this call the first
    search of each kind for :term:`persistence pairs <persistence pair>` compiles what it needs,
    which takes some seconds. Call it when an image of a container is built, or before processes are
    started that would all compile.

    Args:
        report: Called as ``report(step, seconds)`` after each step.

    Raises:
        Exception: What ``report`` raises; it ends the work.

    Note:
        About a minute on one core the first time, a second or two afterwards.

    Source:
        Ours.

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
    """Searches that use every compiled loop, by name."""
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
    """Two small clouds, coincident points among them."""
    generator = torch.Generator().manual_seed(0)
    clouds = torch.randn(2, 12, width, generator=generator, dtype=dtype)
    clouds[:, 1] = clouds[:, 0]
    return clouds


def _distances(metric: str, dtype: torch.dtype) -> None:
    """Distances within a cloud and between two, of few and of many coordinates."""
    for width in (3, 12):
        x, y = _clouds(dtype, width)
        pairwise_distances(x, metric=metric)
        pairwise_distances(x, y, metric=metric)
        pairwise_distances(x[:2], y, metric=metric)
        rips = RipsFiltration(metric=metric)
        rips(x.requires_grad_()).sum().backward()
        rtd_lite(x, y, filtration=rips)


def _searches(engine: str, dtype: torch.dtype) -> None:
    """Searches in points, one cloud and two."""
    rips = RipsFiltration(engine=engine)
    for width in (3, 12):
        clouds = _clouds(dtype, width)
        for data in (clouds, clouds[0]):
            rips(data)
            if engine == "annotations":
                rips(data, 1)


def _matrices(dtype: torch.dtype) -> None:
    """Searches in distance matrices."""
    matrix = pairwise_distances(_clouds(dtype, 3)[0])
    for longest in (torch.inf, 1.0):
        rips = RipsFiltration(metric="precomputed", max_edge_length=longest)
        leaf = matrix.clone().requires_grad_()
        for pairs in rips.all_pairs(leaf, 1):
            rips.diagram(pairs, leaf).sum().backward()
        rips.pairs(matrix)


def _images(dtype: torch.dtype) -> None:
    """Searches in images and volumes, and a matching of two images."""
    image = torch.eye(4, dtype=dtype)
    CubicalFiltration().all_pairs(image, 1)
    CubicalFiltration(ndim=3).pairs(image[None])
    betti_matching_loss(image, image)


def _graphs() -> None:
    """A small graph, and one with so few edges that lists of neighbours are used."""
    square = torch.tensor([[0, 1, 2, 0, 0], [1, 2, 3, 3, 2]])
    for vertices in (4, 1 << 16):
        graph = FlagFiltration(square, vertices)
        graph.pairs(torch.ones(5))
        graph.pairs(torch.ones(5), 1)


def _matchings() -> None:
    """Matchings of diagrams, one of which needs exact arithmetic."""
    one = torch.tensor([[3.0, 6.0], [0.0, 11.0], [0.0, 3.0]])
    wasserstein_distance(one, torch.tensor([[5.0, 8.0], [0.0, 11.0]]), order=50.0)
