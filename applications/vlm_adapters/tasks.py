"""A few-shot task: the features that an adapter may see, and those it is judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from .features.texts import ClassTexts
from .features.views import TrainingImages


@dataclass(frozen=True, eq=False)
class Task:
    """Features of one few-shot task; image features have unit length.

    Attributes:
        shots: Training images per class.
        seed: Seed of the draw, and of what training draws.
        train: Training images.
        train_labels: Their classes.
        val_features: The few-shot validation images, min(shots, 4) per class.
        val_labels: Their classes.
        test_features: Test images.
        test_labels: Their classes.
        texts: Class texts, underscores replaced by spaces.
        logit_scale: Factor that turns cosines into logits.
        hashes: Of the split and of both index lists.
        texts_kept: Class texts with underscores, as TaskRes's code has them.
        all_val: Features and labels of the whole validation split, for the protocol that searches
            on it; None where there is none apart from the training images.

    Shape:
        - val_features: (v, d), test_features: (t, d); labels int64.
    """

    shots: int
    seed: int
    train: TrainingImages
    train_labels: Tensor
    val_features: Tensor
    val_labels: Tensor
    test_features: Tensor
    test_labels: Tensor
    texts: ClassTexts
    logit_scale: float
    hashes: dict[str, str]
    texts_kept: ClassTexts | None = None
    all_val: tuple[Tensor, Tensor] | None = None

    def to(self, device: torch.device | str) -> Task:
        """Return the task with its tensors on a device, moved once."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {n: v.to(device) for n, v in values.items() if hasattr(v, "to")}
        if self.all_val is not None:
            moved["all_val"] = tuple(part.to(device) for part in self.all_val)
        return replace(self, **moved)

    def without_test(self) -> Task:
        """Return the task without its test images, so that no trial can read them."""
        none = self.test_features.new_empty(0, self.test_features.shape[1])  # a slice keeps all
        return replace(self, test_features=none, test_labels=self.test_labels.new_empty(0))


class TaskSource(Protocol):
    """What tasks of one data set are drawn from; it can be sent to other processes."""

    @property
    def dataset(self) -> str:
        """Name of the data set."""

    @property
    def backbone(self) -> str:
        """Name of the backbone."""

    @property
    def data(self) -> str:
        """What a step sees of the training images: ``"cached"`` or ``"online"`` views."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, by label."""

    @property
    def weights(self) -> dict[str, str]:
        """Hashes of the backbone's weights, as far as they are known."""

    def write_index_lists(self, folder: Path, draws: Sequence[tuple[int, int]]) -> None:
        """Write the rows that some tasks draw, with their hashes."""

    def identity(self, shots: int, seed: int) -> dict[str, Any]:
        """Return everything that the features of a task depend on, as JSON takes it."""

    def task(self, shots: int, seed: int) -> Task:
        """Return a few-shot task."""
