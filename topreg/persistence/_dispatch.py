"""Choice of the engine for a dimension, a device and a size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from topreg import _checks
from topreg._clouds import have_one_size
from topreg._operators import is_plain
from topreg._pairs import PersistencePairs, found_pairs
from topreg._room import bytes_of_matrices, check_room
from topreg.metrics import (
    METRICS,
    Metric,
    estimated_weights,
    prepare,
    selection_weights,
    weights_on_device,
)
from topreg.persistence.annotations._annotations import (
    MOST_VERTICES,
    annotate,
    annotate_clean,
    annotate_edges,
)
from topreg.persistence.dense._boruvka import boruvka
from topreg.persistence.dense._device import trees_on_device
from topreg.persistence.dense._prim import prim, prim_of_clean, prim_of_rows
from topreg.persistence.large._tiled import MEMORY, Progress, forests_of_points, report_to, tiled
from topreg.persistence.library._higher import available, homology_by_library

ENGINES = ("auto", "prim", "boruvka", "tiled", "annotations", "gudhi")
HIGHEST = {"prim": 0, "boruvka": 0, "tiled": 0, "annotations": 1}  # dimensions; GUDHI has no limit
# Differences are faster than products for clouds of at most SOME_POINTS points that have at most so
# many coordinates in all, differences of coordinates in all, or coordinates per point.
SOME_POINTS, SOME_COORDINATES, SOME_DIFFERENCES, FEW_COORDINATES = 1024, 1 << 13, 1 << 19, 16
FEW = 8192  # vertices of all clouds whose matrices fit everywhere: at most half a gigabyte
LARGE = 16_384  # vertices above which "auto" keeps no matrix: in float32 it would take 1 GiB
# If the largest cloud has at most so many vertices, it is copied from a device of that type to the
# CPU, which waits for the device. 0 until measured with `python benchmarks/devices.py`.
OVER_THE_CPU = {"cuda": 0, "mps": 0, "xpu": 0}
EXTRA = 'Run `pip install "topreg[tda]"`.'


def check_dimension(dimension: object, engine: str, name: str = "dimension") -> int:
    """Return a dimension as int; raise if the engine or the installed libraries cannot find it."""
    dimension = _checks.is_natural(name, dimension)
    if dimension > HIGHEST.get(engine, dimension):
        reach = {0: "0", 1: "0 or 1"}[HIGHEST[engine]]
        raise ValueError(
            f'`{name}` should be {reach} with `engine="{engine}"`. Got {dimension}. '
            'Use `engine="auto"`.'
        )
    if 2 * dimension >= MOST_VERTICES:  # a class in dimension p needs 2p + 2 vertices
        raise ValueError(f"`{name}` should be below {MOST_VERTICES // 2:,}. Got {dimension}.")
    if (dimension < 2 and engine != "gudhi") or available("gudhi"):
        return dimension
    if engine == "gudhi":
        raise ValueError(f'`engine="gudhi"` needs the `tda` extra. {EXTRA}')
    raise ValueError(f"`{name}` should be 0 or 1 without the `tda` extra. Got {dimension}. {EXTRA}")


def find_pairs(
    weights: Tensor,
    sizes: Sequence[int],
    longest: float,
    dimensions: Sequence[int],
    *,
    engine: str = "auto",
    connected: bool = False,
) -> list[PersistencePairs]:
    """Find the persistence pairs of complete weighted graphs, one object per dimension.

    Weights that are infinite or exceed ``longest`` are not edges. ``connected=True`` promises that
    all edges exist. On devices other than the CPU, dimension 0 is found there; other dimensions
    pass through the CPU.

    Shape:
        - weights: (sum of n_i^2,), float32 or float64.
    """
    sizes, highest = list(sizes), max(dimensions)
    if _by_records(dimensions, engine):
        _check_vertices(sizes)
    low = {}
    if engine == "annotations" or (engine == "auto" and 1 in dimensions):
        low = _both(annotate(weights, sizes, longest, connected), sizes, dimensions)
    elif engine != "gudhi" and 0 in dimensions:
        trees = _trees(weights.device.type, sizes, engine)
        low = {0: _pairs(0, trees(weights, sizes, longest, connected), sizes)}
    if highest < 2 and engine != "gudhi":
        return [low[p] for p in dimensions]
    found = homology_by_library(weights, sizes, longest, highest, connected, engine == "gudhi")
    higher = {p: _pairs(p, found[3 * p : 3 * p + 3], sizes) for p in dimensions if p not in low}
    return [(low | higher)[p] for p in dimensions]


def pairs_of_clean(
    weights: Tensor, sizes: Sequence[int], longest: float, dimensions: Sequence[int], engine: str
) -> list[PersistencePairs] | None:
    """Check matrices and find their pairs in one call; in dimension 1 for one small matrix only.

    Return None if a matrix is not clean, or another engine is needed.
    """
    if max(dimensions) == 0 and engine in ("auto", "prim"):
        forests = prim_of_clean(weights, sizes, longest)
        return None if forests is None else [_pairs(0, forests, sizes)]
    if max(dimensions) > 1 or engine not in ("auto", "annotations"):
        return None
    found = annotate_clean(weights, sizes, longest)
    if found is None:
        return None
    pairs = _both(found, sizes, dimensions)
    return [pairs[p] for p in dimensions]


def are_few(points: Tensor, sizes: Sequence[int], metric: Metric, engine: str) -> bool:
    """Return whether dimension 0 is found by measuring differences, with the search in one call."""
    if metric not in METRICS or engine not in ("auto", "prim"):
        return False
    n, d, points = max(sizes, default=0), points.shape[1], points.detach()
    few = n * d <= SOME_COORDINATES or n * n * d <= SOME_DIFFERENCES or d <= FEW_COORDINATES
    return n <= SOME_POINTS and few and is_plain(points) and points.device.type == "cpu"


def pairs_of_few(
    points: Tensor,
    sizes: Sequence[int],
    metric: str,
    longest: float,
    dimensions: Sequence[int],
    engine: str,
    check: bool,
) -> list[PersistencePairs] | None:
    """Check and measure small clouds and find their pairs in dimension 0, all in one call.

    Return None if a point is not finite, or another engine is needed.
    """
    if max(dimensions) > 0 or not are_few(points, sizes, metric, engine):
        return None
    found = prim_of_rows(prepare(points, metric), sizes, metric, longest, check)
    return None if found is None else [_pairs(0, found, sizes)]


def check_sizes(
    sizes: Sequence[int],
    dimensions: Sequence[int],
    engine: str,
    like: Tensor,
    matrices: int,
    name: str = "points",
) -> None:
    """Raise if a search cannot work, before its distances, of the kind of ``like``, are computed.

    ``matrices`` distance matrices per cloud are yet to be allocated.
    """
    if sum(sizes) < FEW:
        return
    if _by_records(dimensions, engine):
        _check_vertices(sizes, name)
    if like.device.type == "cpu":
        check_room(bytes_of_matrices(sizes, like.dtype, matrices), sizes, name)


def _by_records(dimensions: Sequence[int], engine: str) -> bool:
    """Return whether edges are sorted as records."""
    return max(dimensions) > 0 or engine in ("annotations", "gudhi")


def _check_vertices(sizes: Sequence[int], name: str = "points") -> None:
    """Raise if the two ends of an edge do not fit into a record."""
    if max(sizes, default=0) >= MOST_VERTICES:
        raise ValueError(
            f"`{name}` should have fewer than {MOST_VERTICES:,} vertices in dimension 1 and above. "
            f"Got {max(sizes):,}. Choose landmarks with `farthest_point_sampling`, or filter a "
            "graph of nearest neighbours with `FlagFiltration`."
        )


def pairs_of_points(
    points: Tensor,
    sizes: Sequence[int],
    metric: str,
    longest: float,
    dimensions: Sequence[int],
    *,
    engine: str = "auto",
    memory: int = MEMORY,
    progress: Progress | bool | None = None,
    name: str = "points",
) -> list[PersistencePairs]:
    """Find the persistence pairs of point clouds by a named metric, one object per dimension.

    Edges are ordered by the distances that diagrams report; to the last bit if the search runs on
    the CPU.

    Shape:
        - points: (N, d), the rows of all clouds.
    """
    sizes, connected, rows = list(sizes), longest == math.inf, prepare(points, metric)
    by_records = _by_records(dimensions, engine)
    large = max(sizes, default=0) > LARGE and not by_records
    if engine == "tiled" or (engine == "auto" and large):
        task = rows, sizes, metric, longest, memory
        if not progress:
            return [_pairs(0, tiled(*task), sizes)]
        with report_to(progress) as function:
            return [_pairs(0, forests_of_points(*task, function), sizes)]
    check_sizes(sizes, dimensions, engine, rows, 1, name)
    trees = _trees(rows.device.type, sizes, engine)
    if not by_records and trees is not prim:
        weights = selection_weights(rows, sizes, metric, longest)
        found = _pairs(0, trees(weights, sizes, longest, connected), sizes)
        if rows.device.type != "cpu":
            found = _sort_by_deaths(found, rows, metric, connected)
        return [found]
    rows = rows.cpu()
    if not by_records:
        weights, errors = estimated_weights(rows, sizes, metric)
        hints = () if errors is None else (rows, errors, metric == "cosine")
        pairs = [_pairs(0, prim(weights, sizes, longest, connected, *hints), sizes)]
    else:
        weights = selection_weights(rows, sizes, metric, longest)
        pairs = find_pairs(weights, sizes, longest, dimensions, engine=engine, connected=connected)
    if points.device.type == "cpu":
        return pairs
    return [part.to(points.device) for part in pairs]


def _sort_by_deaths(
    pairs: PersistencePairs, rows: Tensor, metric: str, connected: bool
) -> PersistencePairs:
    """Sort pairs by the deaths that diagrams report, which a device measures differently."""
    births, deaths, sizes = pairs.birth_edges, pairs.death_edges, pairs.cloud_sizes
    weights = weights_on_device(rows, deaths, metric)
    if connected and have_one_size(sizes) and sizes[0] > 1:
        shape = len(sizes), sizes[0] - 1
        order = weights.view(shape).argsort(dim=1, stable=True)[:, :, None].expand(*shape, 2)
        births, deaths = (
            edges.view(*shape, 2).gather(1, order).view(-1, 2) for edges in (births, deaths)
        )
    else:
        order = weights.argsort(stable=True)
        order = order[pairs.cloud()[order].argsort(stable=True)]
        births, deaths = births[order], deaths[order]
    return replace(pairs, birth_edges=births, death_edges=deaths)


def _trees(device: str, sizes: Sequence[int], engine: str) -> Callable[..., Any]:
    """Return the engine that finds dimension 0 from weights on a device; ``prim`` uses the CPU."""
    if engine == "boruvka":
        return boruvka
    there = engine == "auto" and device != "cpu"
    return (
        trees_on_device if there and max(sizes, default=0) > OVER_THE_CPU.get(device, 0) else prim
    )


def pairs_of_edges(
    edges: Tensor, num_vertices: int, dimensions: Sequence[int]
) -> list[PersistencePairs]:
    """Find pairs in dimensions 0 and 1 of a graph with sorted edges (E, 2), int64.

    At a merge the component whose smallest vertex is larger dies.
    """
    found = _both(annotate_edges(edges, num_vertices, 1 in dimensions), [num_vertices], dimensions)
    return [found[p] for p in dimensions]


def _both(
    found: Sequence[Tensor], sizes: Sequence[int], dimensions: Sequence[int]
) -> dict[int, PersistencePairs]:
    """Return the pairs of those of the dimensions 0 and 1 that are wanted, by dimension."""
    return {p: _pairs(p, found[3 * p : 3 * p + 3], sizes) for p in (0, 1) if p in dimensions}


def _pairs(p: int, edges: Sequence[Tensor], sizes: Sequence[int]) -> PersistencePairs:
    """Return pairs with the birth, death and essential edges that an engine found."""
    births, deaths, essential = edges
    return found_pairs(p, births, deaths, essential, tuple(sizes))
