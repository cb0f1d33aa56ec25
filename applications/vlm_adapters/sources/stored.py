"""Tasks drawn from a feature store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .._files import json_hash
from ..backbones.base import weight_hashes
from ..data.few_shot import FewShot, indices_hash, write_index_lists
from ..features.recipe import Recipe
from ..features.store import FeatureStore
from ..features.texts import ClassTexts
from ..features.texts_file import load_texts
from ..features.training_images import CachedViews, TrainingImages
from ..tasks import Task

__all__ = ["Part", "StoredSource"]


@dataclass(frozen=True)
class Part:
    """Some images of a subset, and where their features are.

    Attributes:
        store: The store.
        recipe: What the features depend on.
        entry: Folder of the entry that holds them; None where images are encoded as they are read.
        rows: Rows of the subset, ascending, in the order of the recipe.
    """

    store: FeatureStore
    recipe: Recipe
    entry: Path | None
    rows: tuple[int, ...]

    def read(self, rows: list[int] | None = None) -> tuple[Tensor, Tensor]:
        """Features (n, v, d), not normalised, and labels (n,) of rows of the subset."""
        if self.entry is None:
            raise ValueError("`train` should hold cached views. Got none: they are read online.")
        rows = list(self.rows) if rows is None else rows
        features = self.store.read(self.recipe, self.entry, self._places(rows))
        return features, self.labels(rows)

    def labels(self, rows: Sequence[int]) -> Tensor:
        """Classes (n,) of rows of the subset."""
        return torch.tensor([self.recipe.labels[place] for place in self._places(rows)])

    def paths(self, rows: Sequence[int]) -> list[str]:
        """Paths of rows of the subset, below the image folder."""
        return [self.recipe.paths[place] for place in self._places(rows)]

    def identity(self, rows: Sequence[int] | None = None) -> str:
        """Hash of all that the features of rows of the subset depend on."""
        if rows is None:
            return self.recipe.fingerprint()
        recipe, places = self.recipe, self._places(rows)
        images = [(recipe.paths[place], recipe.contents[place]) for place in places]
        return json_hash([recipe.base(), images])

    def _places(self, rows: Sequence[int]) -> list[int]:
        """Places of rows of the subset in the recipe."""
        place = {row: position for position, row in enumerate(self.rows)}
        return [place[row] for row in rows]


@dataclass(frozen=True)
class StoredSource:
    """What few-shot tasks of one data set are drawn from; it can be sent to other processes.

    Attributes:
        dataset: Name of the data set.
        backbone: Name of the backbone.
        logit_scale: The backbone's.
        class_names: By label.
        split: Hash of the split.
        draws: Rows of the split that each task draws, by shots and seed.
        val_from_train: Whether validation images are drawn from the training images.
        train: Training images that tasks draw.
        val: Validation images.
        test: Test images.
        texts: File of the class texts.
        texts_kept: The same with underscores kept.
        data: What a step sees of the training images.
    """

    dataset: str
    backbone: str
    logit_scale: float
    class_names: tuple[str, ...]
    split: str
    draws: Mapping[tuple[int, int], FewShot]
    val_from_train: bool
    train: Part
    val: Part
    test: Part
    texts: Path
    texts_kept: Path
    data: str = "cached"

    def draw(self, shots: int, seed: int) -> FewShot:
        """CoOp's few-shot sample, if it is one of those that features were extracted for."""
        if (shots, seed) not in self.draws:
            raise ValueError(
                "`shots` and `seed` should be one of the draws that features were extracted for. "
                f"Got {shots} shots, seed {seed}. Name the draw when you make the source."
            )
        return self.draws[shots, seed]

    def write_index_lists(self, folder: Path, draws: Sequence[tuple[int, int]]) -> None:
        """Write the rows that some tasks draw, with their hashes.

        Args:
            folder: Where to; a file for each task.
            draws: Shots and seed of each task.
        """
        write_index_lists(folder, draws, self.draw, dataset=self.dataset, split_sha256=self.split)

    @property
    def weights(self) -> dict[str, str]:
        """Hashes of the backbone's weights."""
        return weight_hashes(self.test.recipe.backbone)

    def identity(self, shots: int, seed: int) -> dict[str, Any]:
        """Everything that the features of a task depend on, other draws not among it."""
        drawn = self.draw(shots, seed)
        return {
            "train": self.train.identity(drawn.train),
            "val": self.val.identity(drawn.val if self.val_from_train else None),
            "test": self.test.identity(),
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
        test_features, test_labels = _units(self.test)
        return Task(
            shots=shots,
            seed=seed,
            train=images(drawn.train),
            train_labels=self.train.labels(drawn.train),
            val_features=_unit(val),
            val_labels=val_labels,
            test_features=test_features,
            test_labels=test_labels,
            texts=_texts(self.texts),
            texts_kept=_texts(self.texts_kept),
            logit_scale=self.logit_scale,
            hashes={
                "split": self.split,
                "train": indices_hash(drawn.train),
                "val": indices_hash(drawn.val),
            },
            all_val=None if self.val_from_train else _units(self.val),
        )

    def _cached(self, rows: list[int]) -> TrainingImages:
        """The training images of some rows of the split."""
        return CachedViews(self.train.read(rows)[0])


_read: dict[tuple[Path | None, str], tuple[Tensor, Tensor]] = {}


def _units(part: Part) -> tuple[Tensor, Tensor]:
    """Unit features (n, d) and labels of a subset, read once for all tasks of a process.

    Those of one validation and one test split are kept: ImageNet's take 200 MB.
    """
    key = part.entry, part.recipe.fingerprint()
    if key not in _read:
        features, labels = part.read()
        while len(_read) > 1:
            del _read[next(iter(_read))]
        _read[key] = _unit(features), labels
    return _read[key]


@lru_cache(maxsize=8)
def _texts(file: Path) -> ClassTexts:
    return load_texts(file)


def _unit(features: Tensor) -> Tensor:
    """The one view of each image, of unit length."""
    return normalize(features[:, 0], dim=1)
