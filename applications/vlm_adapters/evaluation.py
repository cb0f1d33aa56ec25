"""Accuracy, and the search over sharpness and cache weight on validation data."""

from __future__ import annotations

import torch
from torch import Tensor

from .adapters import Adapter, TipAdapter
from .adapters.tip_adapter import PUBLISHED_SCALE
from .tasks import Task


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
    return 100 * float((adapter(features).argmax(dim=1) == labels).double().mean())


@torch.no_grad()
def search(adapter: TipAdapter, features: Tensor, labels: Tensor) -> tuple[float, float]:
    """The sharpness and cache weight with the best accuracy; the first of equals.

    Args:
        adapter: Cache model; it is not changed.
        features: Validation features (v, d) of unit length.
        labels: Their classes (v,).

    Returns:
        Sharpness and cache weight.

    Source:
        The official ``search_hp``, which recomputes the affinity for each pair of values; here it
        is computed once for each sharpness.
    """
    grid = adapter.search_grid()
    zero_shot = adapter.logit_scale * features @ adapter.text.T
    distances, values = 1 - features @ adapter.keys.T, adapter.values(features.dtype)
    weights = torch.tensor(grid.cache_weight) * adapter.logit_scale / PUBLISHED_SCALE
    best, chosen = -1.0, (adapter.sharpness, adapter.cache_weight)
    for sharpness in grid.sharpness:
        cache = torch.exp(-sharpness * distances) @ values
        predictions = (zero_shot + weights[:, None, None] * cache).argmax(dim=2)
        correct = (predictions == labels).double().mean(dim=1)
        if float(correct.max()) > best:
            best = float(correct.max())
            chosen = sharpness, grid.cache_weight[int(correct.argmax())]
    return chosen


def evaluate(adapter: Adapter, task: Task) -> dict[str, float]:
    """Test accuracy under each protocol that selects nothing on test data.

    Args:
        adapter: Trained adapter; a cache model is left at the searched values.
        task: Its task.

    Returns:
        ``last``, and for cache models ``last+val_search``, in per cent.
    """
    protocols = {"last": accuracy(adapter, task.test_features, task.test_labels)}
    if isinstance(adapter, TipAdapter):
        adapter.sharpness, adapter.cache_weight = search(
            adapter, task.val_features, task.val_labels
        )
        protocols["last+val_search"] = accuracy(adapter, task.test_features, task.test_labels)
    return protocols
