"""Compile everything once, so that no later call waits for it."""

import time
from collections.abc import Callable, Iterator

import torch

from topreg.filtrations import CubicalFiltration, FlagFiltration, RipsFiltration
from topreg.losses.betti_matching_loss import betti_matching_loss
from topreg.losses.rtd_lite import rtd_lite
from topreg.losses.signature_loss import signature_loss
from topreg.losses.wasserstein_distance import wasserstein_distance
from topreg.metrics import METRICS, pairwise_distances


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
    start = time.perf_counter()
    for step in _steps():
        if report is not None:
            report(step, time.perf_counter() - start)
        start = time.perf_counter()


def _steps() -> Iterator[str]:
    """Run every compiled loop; yield the name of each step after it."""
    for dtype in (torch.float32, torch.float64):
        kind = str(dtype).removeprefix("torch.")
        clouds = [_clouds(dtype, width) for width in (3, 12)]  # with few and with many coordinates
        for metric in METRICS:
            rips = RipsFiltration(metric=metric)
            for x, y in clouds:
                leaf = x.clone().requires_grad_()
                pairwise_distances(x, metric=metric)
                pairwise_distances(x, y, metric=metric)
                pairwise_distances(x[:2], y, metric=metric)
                rips(leaf).sum().backward()
                rtd_lite(leaf, y, filtration=rips)
                signature_loss(leaf, y, filtration=rips)
            yield f"distances, {metric}, {kind}"
        for engine in ("prim", "tiled", "annotations"):
            rips = RipsFiltration(engine=engine)
            for data in (*clouds, *(batch[0] for batch in clouds)):
                rips(data)
                if engine == "annotations":
                    rips(data, 1)
            yield f"{engine}, {kind}"
        matrix = pairwise_distances(clouds[0][0])
        for longest in (torch.inf, 1.0):
            rips = RipsFiltration(metric="precomputed", max_edge_length=longest)
            leaf = matrix.clone().requires_grad_()
            for pairs in rips.all_pairs(leaf, 1):
                rips.diagram(pairs, leaf).sum().backward()
            rips.pairs(matrix)
        yield f"matrices, {kind}"
        image = torch.eye(4, dtype=dtype)
        CubicalFiltration().all_pairs(image, 1)
        CubicalFiltration(ndim=3).pairs(image[None])
        betti_matching_loss(image, image)
        yield f"images, {kind}"
    square = torch.tensor([[0, 1, 2, 0, 0], [1, 2, 3, 3, 2]])
    for vertices in (4, 1 << 16):  # with so many, neighbours are kept in lists
        graph = FlagFiltration(square, vertices)
        graph.pairs(torch.ones(5))
        graph.pairs(torch.ones(5), 1)
    yield "graphs"
    one = torch.tensor([[3.0, 6.0], [0.0, 11.0], [0.0, 3.0]])
    wasserstein_distance(one, torch.tensor([[5.0, 8.0], [0.0, 11.0]]), order=50.0)
    yield "matchings"


def _clouds(dtype: torch.dtype, width: int) -> torch.Tensor:
    """Return two small clouds with coincident points."""
    generator = torch.Generator().manual_seed(0)
    clouds = torch.randn(2, 12, width, generator=generator, dtype=dtype)
    clouds[:, 1] = clouds[:, 0]
    return clouds
