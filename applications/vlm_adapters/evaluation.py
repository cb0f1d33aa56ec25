"""Accuracy, the search over sharpness and cache weight, and the protocols of selection."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .adapters import Adapter
from .tasks import Task
from .training_state import Trained

ROWS = 4096  # images evaluated at a time
ORACLE = "oracle:"  # how the names of protocols that read test labels begin


@torch.no_grad()
def accuracy(adapter: Adapter, features: Tensor, labels: Tensor) -> float:
    """Share of images classified correctly, in per cent.

    Args:
        adapter: Classifier.
        features: Image features (n, d) of unit length.
        labels: Their classes (n,).

    Returns:
        Accuracy in [0, 100].
    """
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
    """The adapter that a protocol evaluates.

    Args:
        trained: A training.
        protocol: ``"best_val"`` takes the best epoch, any other the last.
        factors: What a search chose, such as sharpness and cache weight.

    Returns:
        The adapter.
    """
    if protocol == "best_val" and trained.best_val is not None:
        return trained.adapter.at(trained.best_val.tensors)
    if factors is not None:
        return trained.adapter.with_factors(*factors)
    return trained.adapter


class Evaluation(NamedTuple):
    """Test accuracy under each protocol, and the factors that searches chose.

    Attributes:
        accuracies: In per cent, by protocol.
        factors: Sharpness and cache weight, by protocol.
    """

    accuracies: dict[str, float]
    factors: dict[str, tuple[float, ...]]


def evaluate(trained: Trained, task: Task, *, every: bool = False) -> Evaluation:
    """Test accuracy under each protocol.

    Args:
        trained: A training on the task.
        task: Its task.
        every: Also the search on the whole validation split, and, their names marked, the protocols
            that select on test images, as far as the training followed these.

    Returns:
        ``last``; ``best_val`` where there was training; for cache models ``last+val_search``.
    """
    test = task.test_features, task.test_labels
    last = trained.adapter
    found = Evaluation({"last": accuracy(last, *test)}, {})
    if trained.best_val is not None:
        found.accuracies["best_val"] = accuracy(adapter_under(trained, "best_val"), *test)
    searched = {"last+val_search": (task.val_features, task.val_labels)}
    if every and task.all_val is not None:
        searched["last+all_val_search"] = task.all_val
    for protocol, images in searched.items():
        _add_search(found, protocol, last, images, test)
    if every and trained.best_test is not None:
        found.accuracies[f"{ORACLE}best_test"] = trained.best_test.accuracy
        best = last.at(trained.best_test.tensors)
        _add_search(found, f"{ORACLE}best_test+test_search", best, test, test)
    return found


def _add_search(
    found: Evaluation,
    protocol: str,
    adapter: Adapter,
    images: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
) -> None:
    """Let an adapter that has a search choose on some images; accuracy on the test images."""
    factors = adapter.search(*images)
    if factors is not None:
        found.factors[protocol] = factors
        found.accuracies[protocol] = accuracy(adapter.with_factors(*factors), *test)
