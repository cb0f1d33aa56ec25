"""scikit-learn's digits, and how the examples print what they found."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

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
