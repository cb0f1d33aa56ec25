"""Topological autoencoders on Spheres: ours and the rows of Moor et al., ICML 2020, table 1.

Run ``python benchmarks/published/spheres.py``. Each run of a method with a seed is kept in
``benchmarks/results/published/spheres.json`` as soon as it ends; a second call takes up where the
first one stopped. ``--epochs`` shortens the training; the page says how many were run. Calls with
other ``--methods`` may run at the same time. ``--authors FOLDER`` also trains with the authors' own
code; FOLDER is a checkout of their repository.

Three autoencoders differ in one term: none, the signature loss, and the plain matching of all
distances in a batch, which compares the same two normalised matrices without any topology. Other
seeds of the signature loss show how much five runs can differ from another five.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from _kept import Kept, markdown
from _measures import SCALES, Array, measures
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from topreg import RipsFiltration, signature_loss

sys.path.insert(0, str(Path(__file__).parents[1]))
from _timing import turns

SEEDS = (249040430, 621965744, 771860110, 775293950, 700134501)
OTHER_SEEDS = tuple(range(1, 11))
EPOCHS, PATIENCE, WEIGHT_DECAY = 100, 10, 1e-5
VALIDATION = 0.15
TUNING_SEED = 0
FACTORS = (0.3, 1.0, 3.0, 10.0, 30.0)  # of TopoAE's weight, tried for plain matching


def framework_seed(seed: int) -> int:
    """Return the seed that the authors' framework, sacred 0.7.4, draws from a configuration's.

    Their code draws initial parameters and validation points with it. Two facts confirm it: PCA of
    the other training points has the published measures, and with the first seed it gives the codes
    that their repository keeps.
    """
    outer = np.random.RandomState(seed)
    fourth = [outer.randint(1, 10**9) for _ in range(4)][-1]
    return int(np.random.RandomState(fourth).randint(1, 10**9))


class Recipe(NamedTuple):
    """How a method is trained."""

    batch: int
    rate: float
    weight: float = 0.0


TOPOLOGICAL = Recipe(28, 0.000272683866289072, 0.43357738971723536)
TRAINING, TEST = 9000, 1000  # points
BY_AUTHORS = " by the authors' code"  # after the name of a method
METHODS = ("AE", "TopoAE", "plain matching", "other seeds")
RECIPES = {"AE": Recipe(84, 0.000640628075404713), "TopoAE": TOPOLOGICAL}
# KL and MRRE: smaller is better; continuity and trustworthiness: larger is better
AS_PUBLISHED = "data MSE as published"  # last epoch, whole batches only; see ``mse``
COLUMNS = (*SCALES, "MRRE", "continuity", "trustworthiness", "RMSE", AS_PUBLISHED)
PUBLISHED = {
    "PCA": (0.332, 0.651, 0.01530, 0.294, 0.747, 0.626, 11.8, 0.9610),
    "AE": (0.566, 0.746, 0.01664, 0.349, 0.607, 0.588, 13.3, 0.8155),
    "TopoAE": (0.085, 0.326, 0.00694, 0.272, 0.822, 0.658, 13.5, 0.8681),
}
DIGITS = (3, 3, 5, 3, 3, 3, 2, 4)  # of ours
PUBLISHED_DIGITS = (3, 3, 5, 3, 3, 3, 1, 4)


def spheres(seed: int = 42) -> tuple[Array, Array]:
    """Ten small spheres of 500 points in one of 5,000; points (10000, 101) and labels (10000,)."""
    generator = np.random.RandomState(seed)
    dimension, small, radius = 100, 500, 5
    shifts = generator.normal(0, 10 / np.sqrt(dimension), (11, dimension + 1))

    def sphere(count: int, radius: float) -> Array:
        points = generator.randn(count, dimension + 1)
        return radius * points / np.sqrt((points**2).sum(1))[:, None]

    parts = [sphere(small, radius) + shift for shift in shifts[:-1]]
    parts.append(sphere(10 * small, 5 * radius))
    labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return np.concatenate(parts), labels


def data() -> tuple[Array, Array, Array]:
    """Standardised training points (9000, 101), test points (1000, 101) and the labels of these."""
    points, labels = spheres()
    order = np.random.RandomState(42)
    training, test, _, known = train_test_split(
        points.astype(np.float32), labels, test_size=0.1, random_state=order
    )
    mean, spread = training.mean(0, keepdims=True), training.std(0, keepdims=True)
    return (training - mean) / spread, (test - mean) / spread, known


class Autoencoder(nn.Module):
    """Perceptrons 101-32-32-2 and 2-32-32-101, and the constant that scales latent distances."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = self._half(101, 2), self._half(2, 101)
        self.norm = nn.Parameter(torch.ones(1))

    @staticmethod
    def _half(ins: int, outs: int) -> nn.Sequential:
        def hidden(width: int) -> tuple[nn.Module, ...]:
            return nn.Linear(width, 32), nn.BatchNorm1d(32), nn.ReLU()

        return nn.Sequential(*hidden(ins), *hidden(32), nn.Linear(32, outs))


Term = Callable[[Tensor, Tensor], Tensor]


def topological(x: Tensor, z: Tensor) -> Tensor:
    """Signature loss per batch (b,), as the authors' code counts it: twice, per point."""
    return 2 * signature_loss(x, z, filtration=RIPS, reduction="none") / x.shape[1]


def plain(x: Tensor, z: Tensor) -> Tensor:
    """Mean square of the differences of all distances, (b,), with as large a factor."""
    above = torch.triu_indices(x.shape[1], x.shape[1], 1)
    one, other = (torch.cdist(y, y)[:, above[0], above[1]] for y in (x, z))
    return 2 * (one - other).square().mean(1)


RIPS = RipsFiltration(check_values=False)
TERMS: dict[str, Term] = {"TopoAE": topological, "plain matching": plain}


def losses(model: Autoencoder, batches: Tensor, weight: float, term: Term | None) -> Tensor:
    """Reconstruction error plus the weighted term of each batch: (b, n, 101) to (b,)."""
    rows = batches.flatten(0, 1)
    latent = model.encoder(rows)
    errors = (model.decoder(latent) - rows).square().view(len(batches), -1).mean(1)
    if term is None:
        return errors
    largest = torch.cdist(batches, batches).amax((1, 2))[:, None, None]
    z = latent.view(*batches.shape[:2], -1)
    return errors + weight * term(batches / largest, z / model.norm)


def adam(model: Autoencoder, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the published optimiser."""
    return torch.optim.Adam(
        model.parameters(), lr=recipe.rate, weight_decay=WEIGHT_DECAY, fused=True
    )


def whole_batches(points: Tensor, size: int) -> Tensor:
    """Cut rows into batches (b, size, d); the rest is left out."""
    return points[: len(points) // size * size].view(-1, size, points.shape[1])


def split(points: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return the points without those for validation, and the points for validation."""
    order = np.random.RandomState(seed).permutation(len(points))
    return points[order].tensor_split([int((1 - VALIDATION) * len(points))])


def train(
    points: Tensor, recipe: Recipe, term: Term | None, seed: int, epochs: int
) -> tuple[Autoencoder, Autoencoder, int, Tensor]:
    """Train; return the best epoch's model, the last one's, the epochs and the validation points.

    As in the authors' code, the validation points, whose loss ends training, are also trained on.
    """
    torch.manual_seed(seed)
    _, held_out = split(points, seed)
    validation = whole_batches(held_out, recipe.batch)
    model = Autoencoder()
    optimizer = adam(model, recipe)
    best, kept, waited, ran = np.inf, model.state_dict(), 0, 0
    while ran < epochs and waited < PATIENCE:
        ran += 1
        model.train()
        for batch in whole_batches(points[torch.randperm(len(points))], recipe.batch).split(1):
            optimizer.zero_grad()
            losses(model, batch, recipe.weight, term).sum().backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            loss = float(losses(model, validation, recipe.weight, term).mean())
        waited += 1
        if loss < best:
            best, waited = loss, 0
            kept = {name: value.clone() for name, value in model.state_dict().items()}
    last = copy.deepcopy(model)
    model.load_state_dict(kept)
    return model.eval(), last.eval(), ran, held_out


@torch.no_grad()
def mse(model: Autoencoder, points: Tensor, batch: int = 1) -> float:
    """Return the mean square error of reconstruction; rows beyond whole batches count as 0.

    The authors' code leaves these rows out, but divides by the number of all rows.
    """
    rows = points[: len(points) // batch * batch]
    return float((model.decoder(model.encoder(rows)) - rows).square().sum() / points.numel())


def of_pca(seed: int) -> dict[str, float]:
    """Return the measures of two principal components, fitted without the validation points."""
    training, test, _ = data()
    pca = PCA(2).fit(split(torch.from_numpy(training), seed)[0].numpy())
    codes = pca.transform(test)
    error = float(((pca.inverse_transform(codes) - test) ** 2).mean())
    return {**measures(test, codes), "data MSE": error, AS_PUBLISHED: error}


def of_training(
    recipe: Recipe, term: Term | None, seed: int, epochs: int, *, on_test: bool = True
) -> dict[str, float]:
    """Train and measure on test points, or on validation points."""
    training, test, _ = data()
    start = time.perf_counter()
    model, last, ran, held_out = train(torch.from_numpy(training), recipe, term, seed, epochs)
    seconds = time.perf_counter() - start
    points = torch.from_numpy(test) if on_test else held_out
    with torch.no_grad():
        found = measures(points.numpy(), model.encoder(points).numpy())
    return {
        **found,
        "data MSE": mse(model, points),
        AS_PUBLISHED: mse(last, points, recipe.batch),
        "epochs": ran,
        "training seconds": seconds,
    }


def step_costs(seconds: float = 10.0) -> dict[str, float]:
    """Median milliseconds of a training step of each method in TopoAE's batches, taking turns."""
    points = torch.from_numpy(data()[0])

    def step(term: Term | None) -> Callable[[], None]:
        model = Autoencoder()
        optimizer = adam(model, TOPOLOGICAL)
        batch = points[: TOPOLOGICAL.batch][None]

        def once() -> None:
            optimizer.zero_grad()
            losses(model, batch, TOPOLOGICAL.weight, term).sum().backward()
            optimizer.step()

        return once

    terms: dict[str, Term | None] = {"AE": None, **TERMS}
    times = turns([step(term) for term in terms.values()], seconds)
    return {name: statistics.median(kept) for name, kept in zip(terms, times, strict=True)}


def run(epochs: int, methods: Sequence[str]) -> Kept:
    """Compute what is missing of some methods."""
    kept = Kept("spheres")
    kept.compute("milliseconds per step", step_costs)
    for seed in SEEDS:
        kept.compute(f"PCA {seed}", lambda s=seed: of_pca(framework_seed(s)))
        for name in [name for name in RECIPES if name in methods]:
            recipe, term = RECIPES[name], TERMS.get(name)
            kept.compute(
                f"{name} {seed}",
                lambda r=recipe, t=term, s=seed: of_training(r, t, framework_seed(s), epochs),
            )
    for seed in OTHER_SEEDS if "other seeds" in methods else ():
        kept.compute(
            f"other seeds {seed}",
            lambda s=seed: of_training(TOPOLOGICAL, topological, s, epochs),
        )
    if "plain matching" not in methods:
        return kept
    for factor in FACTORS:
        tried = TOPOLOGICAL._replace(weight=factor * TOPOLOGICAL.weight)
        kept.compute(
            f"tuning plain matching {factor:g}",
            lambda r=tried: of_training(r, plain, TUNING_SEED, epochs, on_test=False),
        )
    best = best_factor(kept)
    recipe = TOPOLOGICAL._replace(weight=best * TOPOLOGICAL.weight)
    for seed in SEEDS:
        kept.compute(
            f"plain matching {seed}",
            lambda s=seed: of_training(recipe, plain, framework_seed(s), epochs),
        )
    return kept


def best_factor(kept: Kept) -> float:
    """Return the factor with the smallest KL at 0.1 on validation points, as the authors chose."""
    return min(
        FACTORS, key=lambda f: kept.values[f"tuning plain matching {f:g}"]["value"]["KL 0.1"]
    )


def by_seed(kept: Kept, method: str) -> dict[int, dict[str, float]]:
    """Return the measures of a method by seed, as far as they are known."""
    names = {seed: f"{method} {seed}" for seed in (*SEEDS, *OTHER_SEEDS)}
    return {s: kept.values[name]["value"] for s, name in names.items() if name in kept.values}


def table(kept: Kept) -> str:
    """Published rows and ours, means and standard deviations over seeds."""
    rows = []
    for method in ("PCA", "AE", "plain matching", "TopoAE"):
        if method in PUBLISHED:
            values = zip(PUBLISHED[method], PUBLISHED_DIGITS, strict=True)
            rows.append([f"{method}, published", *(f"{v:.{d}f}" for v, d in values)])
        for name, row in ((f"{method}{BY_AUTHORS}", "authors' code here"), (method, "here")):
            if runs := [*by_seed(kept, name).values()]:
                cells = []
                for column, digits in zip(COLUMNS, DIGITS, strict=True):
                    values = [found[column] for found in runs]
                    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
                    cells.append(f"{statistics.mean(values):.{digits}f}{spread}")
                rows.append([f"{method}, {row}", *cells])
    return markdown(["row", *COLUMNS], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="at most, per run")
    parser.add_argument("--methods", nargs="*", default=METHODS, choices=METHODS)
    parser.add_argument("--authors", type=Path, help="checkout of the authors' repository")
    torch.set_num_threads(1)  # such small networks gain nothing from more
    torch.set_flush_denormal(True)
    given = parser.parse_args()
    kept = run(given.epochs, given.methods)
    if given.authors:
        from spheres_authors import compute

        compute(kept, given.authors, given.epochs)
    print(table(kept))


if __name__ == "__main__":
    main()
