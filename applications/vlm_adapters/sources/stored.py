"""Tasks drawn from a feature store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..data.few_shot import FewShot, few_shot_split, indices_hash
from ..data.index_lists import write_index_list
from ..features.store import FeatureStore, Recipe
from ..features.texts import ClassTexts
from ..features.texts_file import load_texts
from ..features.training_images import CachedViews, TrainingImages
from ..tasks import Task

__all__ = ["Part", "StoredSource"]


@dataclass(frozen=True)
class Part:
    """Features of some images of a subset.

    Attributes:
        store: The store.
        recipe: What they depend on.
        entry: Folder of the entry that holds them.
        rows: Rows of the subset, ascending, in the order of the recipe.
    """

    store: FeatureStore
    recipe: Recipe
    entry: Path
    rows: tuple[int, ...]

    def read(self, rows: list[int] | None = None) -> tuple[Tensor, Tensor]:
        """Features (n, v, d), not normalised, and labels (n,) of rows of the subset."""
        features, labels = _read_once(self)
        if rows is None:
            return features, labels
        place = {row: position for position, row in enumerate(self.rows)}
        if any(row not in place for row in rows):
            raise ValueError(
                "`shots` and `seed` should be one of the draws that features were extracted for. "
                "Got an image that was not. Name the draw when you make the source."
            )
        places = torch.tensor([place[row] for row in rows])
        return features[places], labels[places]


_read: dict[tuple[Path, str], tuple[Tensor, Tensor]] = {}


def _read_once(part: Part) -> tuple[Tensor, Tensor]:
    """Features and labels, read once a process: sweeps draw many tasks from one entry."""
    key = part.entry, part.recipe.fingerprint()
    if key not in _read:
        _read[key] = part.store.read(part.recipe, part.entry), torch.tensor(part.recipe.labels)
    return _read[key]


@dataclass(frozen=True)
class StoredSource:
    """What few-shot tasks of one data set are drawn from; it can be sent to other processes.

    Attributes:
        dataset: Name of the data set.
        backbone: Name of the backbone.
        logit_scale: The backbone's.
        class_names: By label.
        split: Hash of the split.
        train_labels: Class of each training image of the whole split.
        val_labels: Class of each validation image of the whole split.
        val_from_train: Whether validation images are drawn from the training images.
        train: Views of the training images that tasks draw; None where they are read online.
        val: Validation images.
        test: Test images.
        texts: File of the class texts.
        texts_kept: The same with underscores kept.
    """

    dataset: str
    backbone: str
    logit_scale: float
    class_names: tuple[str, ...]
    split: str
    train_labels: tuple[int, ...]
    val_labels: tuple[int, ...]
    val_from_train: bool
    train: Part | None
    val: Part
    test: Part
    texts: Path
    texts_kept: Path
    data: str = "cached"

    def draw(self, shots: int, seed: int) -> FewShot:
        """CoOp's few-shot sample."""
        return few_shot_split(
            self.train_labels, self.val_labels, shots, seed, val_from_train=self.val_from_train
        )

    def write_index_lists(self, folder: Path, draws: Sequence[tuple[int, int]]) -> None:
        """Write the rows that some tasks draw, with their hashes.

        Args:
            folder: Where to; a file for each task.
            draws: Shots and seed of each task.
        """
        for shots, seed in draws:
            write_index_list(
                folder / f"{self.dataset}-{shots}shot-seed{seed}.json", self.draw(shots, seed),
                dataset=self.dataset, shots=shots, seed=seed, split_sha256=self.split,
            )  # fmt: skip

    def identity(self) -> dict[str, Any]:
        """Everything that its features depend on but the images drawn, whose hashes a run has."""
        train = None if self.train is None else self.train.recipe.base()
        return {
            "train": train,
            "test": self.test.recipe.base(),
            "split": self.split,
            "texts": [self.texts.name, self.texts_kept.name],
            "logit_scale": self.logit_scale,
        }

    def task(self, shots: int, seed: int) -> Task:
        """A few-shot task on cached views.

        Args:
            shots: Training images a class.
            seed: Seed of the draw.

        Returns:
            The task, with the hashes of its index lists.

        Raises:
            ValueError: If its images were not extracted.
        """
        return self.task_on(self._cached, shots, seed)

    def task_on(self, images: Callable[[list[int]], TrainingImages], shots: int, seed: int) -> Task:
        """A few-shot task whose training images come from elsewhere.

        Args:
            images: Training images of some rows of the split.
            shots: Training images a class.
            seed: Seed of the draw.

        Returns:
            The task.
        """
        drawn = self.draw(shots, seed)
        val, val_labels = self.val.read(drawn.val)
        all_val, all_val_labels = self.val.read()
        test, test_labels = self.test.read()
        train_labels = torch.tensor([self.train_labels[row] for row in drawn.train])
        return Task(
            shots=shots,
            seed=seed,
            train=images(drawn.train),
            train_labels=train_labels,
            val_features=_unit(val),
            val_labels=val_labels,
            test_features=_unit(test),
            test_labels=test_labels,
            texts=_texts(self.texts),
            texts_kept=_texts(self.texts_kept),
            logit_scale=self.logit_scale,
            hashes={
                "split": self.split,
                "train": indices_hash(drawn.train),
                "val": indices_hash(drawn.val),
            },
            all_val=None if self.val_from_train else (_unit(all_val), all_val_labels),
        )

    def _cached(self, rows: list[int]) -> TrainingImages:
        """The training images of some rows of the split."""
        if self.train is None:
            raise ValueError("`train` should hold cached views. Got none: they are read online.")
        return CachedViews(self.train.read(rows)[0])


@lru_cache(maxsize=8)
def _texts(file: Path) -> ClassTexts:
    return load_texts(file)


def _unit(features: Tensor) -> Tensor:
    """The one view of each image, of unit length."""
    return normalize(features[:, 0], dim=1)
