"""How well a code keeps its data: the measures of Moor et al., ICML 2020, table 1.

KL compares densities at a scale, MRRE, continuity and trustworthiness compare neighbours, RMSE
compares distances. Begin reading at ``measures``.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

NEIGHBOURS = range(10, 201, 10)
SCALES = {"KL 0.01": 0.01, "KL 0.1": 0.1, "KL 1": 1.0}

Array = NDArray[np.floating]


def ranks(distances: Array) -> NDArray[np.intp]:
    """Rank of each point among the neighbours of each other one; its own rank is 0."""
    return distances.argsort(1, kind="stable").argsort(1, kind="stable")


def trustworthiness(near: NDArray[np.intp], other: NDArray[np.intp], k: int) -> float:
    """One minus the normalised ranks, in the other space, of near points that are far there."""
    n = len(near)
    excess = np.where((near > 0) & (near <= k), other - k, 0).clip(min=0).sum()
    return float(1 - 2 / (n * k * (2 * n - 3 * k - 1)) * excess)


def rank_error(one: NDArray[np.intp], other: NDArray[np.intp], k: int) -> float:
    """Mean relative rank error of neighbours in the first space."""
    n, near = len(one), (one > 0) & (one <= k)
    most = n * sum(abs(2 * j - n - 1) / j for j in range(1, k + 1))
    return float((np.abs(one - other)[near] / one[near]).sum() / most)


def density(distances: Array, scale: float) -> Array:
    """Share of each point in the density of a cloud whose largest distance is 1."""
    kernel = np.exp(-((distances / distances.max()) ** 2) / scale).sum(1)
    return kernel / kernel.sum()


def measures(x: Array, z: Array, neighbours: Sequence[int] = NEIGHBOURS) -> dict[str, float]:
    """Return the measures of table 1; those that count neighbours are means over their number."""
    a, b = (cdist(y.astype(np.float64), y.astype(np.float64)) for y in (x, z))
    found = {}
    for name, scale in SCALES.items():
        p, q = density(a, scale), density(b, scale)
        found[name] = float((p * np.log(p / q)).sum())
    r, s = ranks(a), ranks(b)
    found["MRRE"] = statistics.mean(
        (rank_error(r, s, k) + rank_error(s, r, k)) / 2 for k in neighbours
    )
    found["continuity"] = statistics.mean(trustworthiness(r, s, k) for k in neighbours)
    found["trustworthiness"] = statistics.mean(trustworthiness(s, r, k) for k in neighbours)
    found["RMSE"] = float(np.sqrt(((a - b) ** 2).mean()))
    return found
