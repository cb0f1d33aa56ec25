"""RTD and RTD-Lite on the data of their authors, next to the values that the authors publish.

Run ``python benchmarks/published/divergences.py``; it takes one to three minutes, keeps each value
in ``benchmarks/results/published/divergences.json`` as soon as it is known, and prints the table.
A second run takes up where the first one stopped; ``--restart`` computes every value again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
import torch
from _kept import Kept, markdown
from numpy.typing import NDArray
from scipy.stats import kendalltau
from torch import Tensor

from topreg import pairwise_distances, rtd, rtd_lite

QUANTILE = 0.9  # of all distances of a cloud, by which the authors divide them
TRIALS, BATCH = 10, 500
RINGS, RING_POINTS = 5, 100
GROUPS, GROUP_POINTS, RADIUS = 60, 5, 10
CLUSTERS = (2, 3, 4, 5, 6, 10, 12)

Points = NDArray[np.float64]
Divergence = Callable[[Tensor, Tensor], Tensor]


def readme_pair() -> tuple[Points, Points]:
    """Two unrelated clouds of 1,000 uniform points of the square, as in RTD's README.

    NumPy's global generator is left where the authors' code shuffles with it.
    """
    np.random.seed(7)  # noqa: NPY002 the published value depends on this generator
    return np.random.rand(1000, 2), np.random.rand(1000, 2)  # noqa: NPY002


def readme_value(trials: int = TRIALS) -> float:
    """Return the mean RTD of random batches of the pair, drawn as the authors draw them."""
    one, other = (torch.from_numpy(points) for points in readme_pair())
    values = []
    for _ in range(trials):
        order = list(range(len(one)))
        np.random.shuffle(order)  # noqa: NPY002
        some = order[:BATCH]
        values.append(float(rtd(one[some], other[some], normalize=QUANTILE)))
    return float(np.mean(values))


def rings(large: int) -> Points:
    """Five rings of 100 points; so many have radius 1, the others alternate around it."""
    angles = 2 * np.pi * np.arange(RING_POINTS) / RING_POINTS
    circle = np.stack([np.cos(angles), np.sin(angles)], 1)
    radii = [1.0] * large
    for i in range(RINGS - large):
        radii.append(1 - 0.25 * (i + 1) / 2 if i % 2 else 1 + 0.25 * (i + 2) / 2)
    return np.concatenate([radius * circle for radius in radii])


def groups() -> list[Points]:
    """Sixty groups of five normal points."""
    np.random.seed(7)  # noqa: NPY002
    normal = np.random.multivariate_normal
    return [normal(np.zeros(2), np.eye(2), GROUP_POINTS) for _ in range(GROUPS)]


def clusters(count: int) -> Points:
    """The same groups, moved in turn to so many centres on a circle; one centre moves none."""
    angles = 2 * np.pi * np.arange(GROUPS) / count
    centres = RADIUS * np.stack([np.cos(angles), np.sin(angles)], 1) if count > 1 else [0] * GROUPS
    return np.concatenate([part + move for part, move in zip(groups(), centres, strict=True)])


def plain(one: Tensor, other: Tensor) -> Tensor:
    """Root mean square of the differences of all distances, without any topology."""
    matrices = [pairwise_distances(points) for points in (one, other)]
    a, b = (matrix / matrix.flatten().quantile(QUANTILE) for matrix in matrices)
    return (a - b).square().mean().sqrt()


def cka(one: Tensor, other: Tensor) -> Tensor:
    """Linear centred kernel alignment, the authors' first comparison."""
    x, y = (points - points.mean(0) for points in (one, other))
    return (x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())


MEASURES: dict[str, Divergence] = {
    "RTD": lambda one, other: rtd(one, other, normalize=QUANTILE),
    "RTD-Lite": lambda one, other: rtd_lite(one, other, normalize=QUANTILE),
    "CKA": cka,
    "plain matching of distances": plain,
}
PUBLISHED = {
    ("Rings", "RTD"): 0.8,
    ("Rings", "RTD-Lite"): 0.8,
    ("Rings", "CKA"): -0.2,
    ("Clusters", "RTD"): 1.0,
    ("Clusters", "RTD-Lite"): -1.0,
    ("Clusters", "CKA"): 0.238,
}
README = 35.55234398557805


def kendall(experiment: str, measure: str) -> float:
    """Kendall's tau of a measure with the number of rings of one size, or of clusters."""
    if experiment == "Rings":
        steps, made = tuple(range(1, RINGS + 1)), rings
    else:
        steps, made = CLUSTERS, clusters
    base = torch.from_numpy(made(1))
    values = [float(MEASURES[measure](base, torch.from_numpy(made(step)))) for step in steps]
    return float(kendalltau(values, steps).statistic)


def parts() -> Iterator[tuple[str, float | None, Callable[[], float]]]:
    """Name, published value and computation of each row."""
    yield "README pair: RTD", README, readme_value
    for experiment in ("Rings", "Clusters"):
        for measure in MEASURES:
            published = PUBLISHED.get((experiment, measure))
            yield (
                f"{experiment}: Kendall's tau of {measure}",
                published,
                lambda experiment=experiment, measure=measure: kendall(experiment, measure),
            )


def table(kept: Kept) -> str:
    """Return a table of the values that are known and the published ones."""
    rows = []
    for name, published, _ in parts():
        if name in kept.values:
            ours, digits = kept.values[name]["value"], 10 if published == README else 3
            said = "not published" if published is None else f"{published:.{digits}f}"
            seconds = kept.values[name]["seconds"]
            rows.append([name, said, f"{ours:.{digits}f}", f"{seconds:.1f}"])
    return markdown(["value", "published", "topreg", "seconds"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--restart", action="store_true", help="compute every value again")
    kept = Kept("divergences")
    if parser.parse_args().restart:
        kept.forget(kept.values)
    for name, published, compute in parts():
        kept.compute(name, compute, published=published)
    print(table(kept))


if __name__ == "__main__":
    main()
