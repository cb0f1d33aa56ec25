"""Domain generalisation: a trained adapter on the test images of another data set."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .backbones.base import check_weights, weight_hashes
from .evaluation import accuracy
from .runs import Run, SavedRun
from .sources import Extraction


class Target:
    """The test images of a data set, for adapters on one backbone.

    Args:
        extraction: Data set and backbone.
    """

    def __init__(self, extraction: Extraction) -> None:
        self.backbone = extraction.backbone
        self.dataset = extraction.dataset
        self.part = extraction.part(self.dataset.split.test)

    @cached_property
    def images(self) -> tuple[Tensor, Tensor]:
        """Features (n, d) of unit length, and labels (n,)."""
        features, labels = self.part.read()
        return normalize(features[:, 0], dim=1), labels

    def key(self, run: Run) -> dict[str, str]:
        """What the accuracy of a run on these images belongs to."""
        return {"run": run.identity, "features": self.part.identity()}


def accuracy_on(saved: SavedRun, target: Target) -> dict[str, Any]:
    """Test accuracy on a target domain; nothing is tuned on it.

    Args:
        saved: A run with its adapter.
        target: The target's images, by the backbone of the run.

    Returns:
        Accuracy in per cent and what it belongs to, as JSON takes it.

    Raises:
        ValueError: If the target's classes are not among the run's, or the backbone has other
            weights than those that the adapter was trained on.

    Source:
        ImageNet-A and -R have 200 of ImageNet's classes, taken by WordNet number: names occur
        twice. As in CLAP, a cache keeps all its keys and the columns of these classes.
    """
    check_weights(
        target.backbone.name, weight_hashes(target.backbone.fingerprint()), saved.run.weights
    )
    dataset = target.dataset
    theirs = dataset.split.class_names
    classes = dataset.classes or _by_name(saved.class_names, theirs)
    _check_names(saved.class_names, classes, theirs)
    features, labels = target.images
    adapter = saved.adapter.restrict(torch.tensor(classes))
    run = saved.run
    return {
        **target.key(run),
        "method": run.method,
        "preset": run.preset,
        "source": run.dataset,
        "target": dataset.name,
        "backbone": run.backbone,
        "shots": run.shots,
        "seed": run.seed,
        "images": len(labels),
        "accuracy": accuracy(adapter, features, labels),
    }


def _check_names(ours: Sequence[str], classes: Sequence[int], theirs: Sequence[str]) -> None:
    """Refuse a run whose labels are not those of ImageNet, of which a target has some."""
    names = [ours[label] if label < len(ours) else None for label in classes]
    other = next((k for k, name in enumerate(names) if name != theirs[k]), None)
    if other is not None:
        raise ValueError(
            f"The run's class {classes[other]} should be {theirs[other]!r}. Got {names[other]!r}. "
            "Is the run one on ImageNet, with the same `classnames.txt`?"
        )


def _by_name(ours: tuple[str, ...], theirs: tuple[str, ...]) -> Sequence[int]:
    """Our label of each of their classes."""
    if len(set(ours)) < len(ours) and ours != theirs:
        raise ValueError(
            "The run's classes should have distinct names to be found on another data set. "
            "Got a name twice."
        )
    missing = [name for name in theirs if name not in ours]
    if missing:
        raise ValueError(
            f"The data set's classes should be among the run's {len(ours)}. Got {missing[0]!r}."
        )
    return list(range(len(ours))) if ours == theirs else [ours.index(name) for name in theirs]
