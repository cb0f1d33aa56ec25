"""The product of affinities with one-hot labels, without the zeros."""

from __future__ import annotations

import torch
from torch import Tensor


class ClassSums:
    """Sums columns by their label: ``values @ one_hot(labels)``.

    Where every class has one run of equal length, as few-shot caches do, the sum is one reduction;
    the dense product costs as many multiplications as the affinities themselves.

    Args:
        labels: Label of each column (c,); -1 is left out.
        classes: Number of classes k.
    """

    def __init__(self, labels: Tensor, classes: int) -> None:
        self.labels = labels
        self.classes = classes
        self.counts = torch.bincount(labels[labels >= 0], minlength=classes)
        self.run, self.order = _equal_runs(labels, classes)

    def __call__(self, values: Tensor) -> Tensor:
        """Sums (n, k) of values (n, c)."""
        if self.run:
            sums: Tensor = values.unflatten(1, (self.classes, self.run)).sum(2)
            return sums if self.order is None else sums.index_select(1, self.order)
        sums = values.new_zeros(len(values), self.classes + 1)  # the last column takes -1
        places = torch.where(self.labels < 0, self.classes, self.labels)
        return sums.index_add(1, places, values)[:, : self.classes]


def _equal_runs(labels: Tensor, classes: int) -> tuple[int, Tensor | None]:
    """Length of the runs, 0 if they differ, and the run of each class, None if in order."""
    length, rest = divmod(len(labels), max(classes, 1))
    if rest or not length:
        return 0, None
    runs = labels.view(classes, length)
    heads = runs[:, 0]
    in_order = torch.arange(classes, device=labels.device)
    if not bool((runs == heads[:, None]).all()) or not torch.equal(heads.sort().values, in_order):
        return 0, None
    return length, None if torch.equal(heads, in_order) else heads.argsort()
