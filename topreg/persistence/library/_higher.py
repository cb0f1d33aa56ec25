"""Any dimension through the ``tda`` extra: GUDHI, or giotto-ph if it is installed.

Both libraries filter by the *rank* of an edge in the total order instead of its weight. All ranks
differ, so that ties are broken as in the other engines, and a birth or death identifies its edge.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topreg._operators import operator
from topreg._room import room_for
from topreg.persistence._bits import as_integers, limit_in_bits
from topreg.persistence._fake import fake_homology

MOST_RANKS = 1 << 24  # giotto-ph computes in float32, in which larger ranks are not exact


def available(library: str) -> bool:
    """Return whether a library of the ``tda`` extra is installed."""
    return importlib.util.find_spec(library) is not None


@operator(fake_homology)
def homology_by_library(
    weights: Tensor,
    sizes: list[int],
    longest: float,
    dimension: int,
    connected: bool,
    gudhi_only: bool,
) -> list[Tensor]:
    """Return birth, death and essential edges of all clouds, in the dimensions 0 to ``dimension``.

    One dimension comes after the other. In dimension 0 births are (v, v).
    """
    bits, top = as_integers(weights)
    limit = limit_in_bits(longest, weights.dtype, connected)
    found, entry, vertex = [], 0, 0
    for n in sizes:
        matrix = bits[entry : entry + n * n].reshape(n, n)
        with room_for(3 * 8 * n * n // 2, [n]):
            edges = _edges_in_order(matrix, limit, top)
        by_gudhi = gudhi_only or len(edges) >= MOST_RANKS or not available("gph")
        highest = min(dimension, n // 2)  # a class in dimension p needs 2p + 2 vertices
        diagrams = _diagrams(edges, n, highest, by_gudhi) if n else []
        found.append([vertex + part for part in _as_edges(diagrams, edges, n, dimension)])
        entry, vertex = entry + n * n, vertex + n
    if not found:  # a batch of no cloud
        found = [[np.empty((0, 2), np.int64)] * (3 * dimension + 3)]
    return [
        torch.from_numpy(np.concatenate(parts)).to(weights.device)
        for parts in zip(*found, strict=True)
    ]


def _edges_in_order(matrix: NDArray[Any], limit: Any, top: Any) -> NDArray[np.int64]:
    """Return the edges (m, 2) that homology depends on, in the total order."""
    from topreg._compiled import stoppable
    from topreg._scratch_kernels import with_scratch
    from topreg.persistence.annotations._edge_kernels import edges_in_order

    task, operations = (matrix, limit, top), 10 * matrix.size
    return with_scratch(
        lambda block: stoppable(lambda halt: edges_in_order(*task, block, halt), operations)
    )


def _diagrams(
    edges: NDArray[np.int64], n: int, dimension: int, by_gudhi: bool
) -> list[NDArray[np.float64]]:
    """Return diagrams whose values are ranks; ranks start at 1."""
    from topreg._compiled import stoppable

    operations = len(edges) * n**dimension
    if not by_gudhi:
        return _giotto(edges, n, dimension, operations)
    with warnings.catch_warnings():  # filters are global: change them in the main thread only
        # GUDHI looks for array-API packages at import and may meet their deprecation warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import gudhi  # noqa: F401
    # after a signal GUDHI goes on in the background
    return stoppable(lambda _: _gudhi(edges, n, dimension), operations)


def _gudhi(edges: NDArray[np.int64], n: int, dimension: int) -> list[NDArray[np.float64]]:
    """Return diagrams by GUDHI; collapsing edges first does not change them."""
    import gudhi

    tree = gudhi.SimplexTree()
    tree.insert_batch(np.arange(n)[None], np.zeros(n))
    tree.insert_batch(np.ascontiguousarray(edges.T), 1.0 + np.arange(len(edges)))
    tree.collapse_edges()
    tree.expansion(dimension + 1)
    tree.compute_persistence(homology_coeff_field=2, min_persistence=0, persistence_dim_max=True)
    return [
        np.asarray(tree.persistence_intervals_in_dimension(p)).reshape(-1, 2)
        for p in range(dimension + 1)
    ]


def _giotto(
    edges: NDArray[np.int64], n: int, dimension: int, operations: int
) -> list[NDArray[np.float64]]:
    """Return diagrams by giotto-ph."""
    from topreg.persistence.library._giotto import giotto

    ranks = np.full((n, n), np.inf, np.float32)
    low, high = edges.T
    ranks[low, high] = ranks[high, low] = 1 + np.arange(len(edges))
    np.fill_diagonal(ranks, 0)
    diagrams = giotto(ranks, dimension, operations)
    return [np.asarray(diagram, np.float64).reshape(-1, 2) for diagram in diagrams]


def _as_edges(
    diagrams: list[NDArray[np.float64]], edges: NDArray[np.int64], n: int, dimension: int
) -> list[NDArray[np.int64]]:
    """Return birth, death and essential edges of each dimension, one dimension after the other."""
    found: list[Any] = []
    for p in range(dimension + 1):
        ranks = diagrams[p] if p < len(diagrams) else np.empty((0, 2))
        ranks = ranks[np.lexsort((ranks[:, 0], ranks[:, 1]))]
        dies = np.isfinite(ranks[:, 1])
        deaths = edges[ranks[dies, 1].astype(np.int64) - 1]
        if p == 0:
            births, stay = _elders(deaths, n)
            found += [births, deaths, stay]
        else:
            first = ranks[:, 0].astype(np.int64) - 1
            found += [edges[first[dies]], deaths, edges[np.sort(first[~dies])]]
    return found


def _elders(deaths: NDArray[np.int64], n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return births (v, v) by the elder rule, then those of the essential classes."""
    from topreg.persistence._component_kernels import elder_rule

    parent, births = np.arange(n), np.empty(len(deaths), np.int64)
    low, high = np.ascontiguousarray(deaths.T)
    elder_rule(low, high, parent, births)
    stay = np.flatnonzero(parent == np.arange(n))
    return np.repeat(births[:, None], 2, 1), np.repeat(stay[:, None], 2, 1)
