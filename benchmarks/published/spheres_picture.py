"""Draw ``docs/results/spheres.png``: the codes of the test points of Spheres, first seed.

Run ``python benchmarks/published/spheres_picture.py`` after ``spheres.py``. It trains one model per
method again and keeps the codes in ``benchmarks/results/published/spheres_codes.json``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import spheres
import torch
from _kept import Kept
from matplotlib.figure import Figure

PICTURE = Path(__file__).parents[2] / "docs" / "results" / "spheres.png"
SEED = spheres.framework_seed(spheres.SEEDS[0])
SURROUNDING = 10  # the label of the large sphere


def codes(recipe: spheres.Recipe, term: spheres.Term | None) -> list[list[float]]:
    """Train on the first seed; return the codes of the test points."""
    training, test, _ = spheres.data()
    points = torch.from_numpy(training)
    model, *_ = spheres.train(points, recipe, term, SEED, spheres.EPOCHS)
    with torch.no_grad():
        found = model.encoder(torch.from_numpy(test)).double()
    return [[round(value, 3) for value in row] for row in found.tolist()]


def drawn(kept: Kept) -> Figure:
    """One panel per method: the large sphere in grey, the ten in it in colours."""
    _, _, labels = spheres.data()
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    axes = figure.subplots(1, len(kept.values))
    for ax, (method, part) in zip(axes, kept.values.items(), strict=True):
        points = np.array(part["value"])
        for label in (SURROUNDING, *range(SURROUNDING)):
            some = points[labels == label]
            colour = "#c4c4c4" if label == SURROUNDING else f"C{label}"
            ax.scatter(*some.T, s=7, linewidths=0, color=colour)
        ax.set(title=method, xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    return figure


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    kept = Kept("spheres_codes")
    weight = spheres.best_factor(Kept("spheres")) * spheres.TOPOLOGICAL.weight
    recipes = {**spheres.RECIPES, "plain matching": spheres.TOPOLOGICAL._replace(weight=weight)}
    for method, recipe in recipes.items():
        kept.compute(method, lambda r=recipe, m=method: codes(r, spheres.TERMS.get(m)))
    drawn(kept).savefig(PICTURE, dpi=130)


if __name__ == "__main__":
    main()
