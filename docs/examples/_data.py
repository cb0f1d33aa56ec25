"""scikit-learn's digits, and how the examples print what they found."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence

import torch
from sklearn.datasets import load_digits
from torch import Tensor


def digits() -> tuple[Tensor, Tensor]:
    """1,797 images of 8 x 8 pixels in [0, 1], flattened, and their digits."""
    data = load_digits()
    return torch.from_numpy(data.data / 16).float(), torch.from_numpy(data.target)


def split(count: int, sizes: Iterable[int], seed: int) -> list[Tensor]:
    """Disjoint random indices of the sizes asked for, and those that are left."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    sizes = list(sizes)
    return list(order.split([*sizes, count - sum(sizes)]))


def mean_and_spread(values: list[float], digits: int = 3) -> str:
    """Mean and standard deviation over seeds."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"


def difference(with_term: list[float], without: list[float], digits: int = 3) -> str:
    """Mean and standard deviation of the paired differences, and how many are positive."""
    gaps = [a - b for a, b in zip(with_term, without, strict=True)]
    spread = statistics.stdev(gaps) if len(gaps) > 1 else 0.0
    positive = sum(gap > 0 for gap in gaps)
    return (
        f"{statistics.mean(gaps):+.{digits}f} ± {spread:.{digits}f} ({positive} of {len(gaps)} up)"
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def chosen_and_compared(
    score: Callable[[float, int, bool], float], weights: Sequence[float], seeds: int, choosing: int,
    head: list[str],
) -> str:  # fmt: skip
    """The weight that is best on validation data, then with and without the term on test data.

    ``score(weight, seed, on_test)`` is a percentage. The weight is chosen on other seeds than those
    of the table.
    """
    validation = {
        weight: statistics.mean(score(weight, 100 + seed, False) for seed in range(choosing))
        for weight in weights
    }
    best = max(weights, key=lambda weight: validation[weight])
    listed = ", ".join(f"{weight:g}: {value:.1f}" for weight, value in validation.items())
    compared = (0.0, best or weights[1])
    plain, term = ([score(weight, seed, True) for seed in range(seeds)] for weight in compared)
    rows = [
        [f"weight {weight:g}", mean_and_spread(found, 2)]
        for weight, found in zip(compared, (plain, term), strict=True)
    ]
    rows.append(["difference by seed", difference(term, plain, 2)])
    return f"On validation data, by weight: {listed}. Chosen: {best:g}.\n\n{table(head, rows)}"
