"""Accuracy, and the protocols of selection."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .adapters import Adapter
from .tasks import Task

if TYPE_CHECKING:
    from .training import Trained

ROWS = 4096  # images evaluated at a time
ORACLE = "oracle:"  # how the names of protocols that read test labels begin


@torch.no_grad()
def accuracy(adapter: Adapter, features: Tensor, labels: Tensor) -> float:
    """Return the share of images (n, d) that are classified correctly, in per cent."""
    parts = zip(features.split(ROWS), labels.split(ROWS), strict=True)
    correct = [(adapter(x).argmax(dim=1) == y).sum() for x, y in parts]
    return 100 * int(torch.stack(correct).sum()) / max(len(labels), 1)


@torch.no_grad()
def more_metrics(adapter: Adapter, features: Tensor, labels: Tensor) -> dict[str, float]:
    """Return top-5 accuracy, and the mean of the classes' accuracies, in per cent."""
    logits = torch.cat([adapter(part) for part in features.split(ROWS)])
    five = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    hits = (logits.argmax(dim=1) == labels).double()
    counts = labels.bincount()
    right = labels.bincount(weights=hits)[counts > 0] / counts[counts > 0]
    return {
        "top5": 100 * float(five.any(dim=1).double().mean()),
        "mean_per_class": 100 * float(right.mean()),
    }


def adapter_under(
    trained: Trained, protocol: str, factors: tuple[float, ...] | None = None
) -> Adapter:
    """Return the adapter that a protocol evaluates, at the factors that a search chose."""
    if protocol == "best_val" and trained.best_val is not None:
        return trained.adapter.at(trained.best_val.tensors)
    return trained.adapter if factors is None else trained.adapter.with_factors(*factors)


class Evaluation(NamedTuple):
    """Test accuracies in per cent, and the factors that searches chose, by protocol."""

    accuracies: dict[str, float]
    factors: dict[str, tuple[float, ...]]


def evaluate(trained: Trained, task: Task, *, every: bool = False) -> Evaluation:
    """Evaluate on the test images: ``last``, ``best_val``, and where there is a search, that too.

    ``every`` adds the search on the whole validation split, and, their names marked, the protocols
    that select on test images, as far as the training followed these.
    """
    test = task.test_features, task.test_labels
    last = trained.adapter
    found = Evaluation({"last": accuracy(last, *test)}, {})

    def add_search(protocol: str, adapter: Adapter, *images: Tensor) -> None:
        factors = adapter.search(*images)
        if factors is not None:
            found.factors[protocol] = factors
            found.accuracies[protocol] = accuracy(adapter.with_factors(*factors), *test)

    if trained.best_val is not None:
        found.accuracies["best_val"] = accuracy(adapter_under(trained, "best_val"), *test)
    add_search("last+val_search", last, task.val_features, task.val_labels)
    if every and task.all_val is not None:
        add_search("last+all_val_search", last, *task.all_val)
    if every and trained.best_test is not None:
        found.accuracies[f"{ORACLE}best_test"] = trained.best_test.accuracy
        best = last.at(trained.best_test.tensors)
        add_search(f"{ORACLE}best_test+test_search", best, *test)
    return found
