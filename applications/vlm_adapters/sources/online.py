"""Tasks whose training images are read, augmented and encoded at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..backbones import load_backbone
from ..backbones.base import Backbone
from ..features.training_images import OnlineViews, TrainingImages
from ..features.views import Augmentation
from ..tasks import Task
from .stored import StoredSource

__all__ = ["OnlineSource"]


@dataclass(frozen=True)
class OnlineSource:
    """Validation and test features from a store, training images from their files.

    Attributes:
        stored: Everything but the features of the training images.
        root: Image folder.
        backbone_spec: As :func:`vlm_adapters.backbones.load_backbone` takes it.
        device: Where the backbone runs.
        augmentation: Scale and seed; ``views`` passes make Tip-Adapter's keys.
        batch_size: Views per call of the encoder.
        num_workers: Threads that read images.
        data: What a step sees of the training images.
    """

    stored: StoredSource
    root: Path
    backbone_spec: str
    augmentation: Augmentation
    device: str = "cpu"
    batch_size: int = 64
    num_workers: int = 2
    data: str = "online"

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.stored.dataset

    @property
    def backbone(self) -> str:
        """Name of the backbone."""
        return self.stored.backbone

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.stored.class_names

    def write_index_lists(self, folder: Path, draws: Sequence[tuple[int, int]]) -> None:
        """Write the rows that some tasks draw; arguments as in :class:`StoredSource`."""
        self.stored.write_index_lists(folder, draws)

    @property
    def weights(self) -> dict[str, str]:
        """Hashes of the backbone's weights."""
        return self.stored.weights

    def identity(self, shots: int, seed: int) -> dict[str, Any]:
        """Everything that the features of a task depend on."""
        stored = self.stored.identity(shots, seed)
        return {**stored, "online": self.augmentation.describe()}

    def task(self, shots: int, seed: int) -> Task:
        """A few-shot task; arguments as in :meth:`StoredSource.task`."""
        return self.stored.task_on(self._online, shots, seed)

    def _online(self, rows: list[int]) -> TrainingImages:
        """The training images of some rows of the split."""
        return OnlineViews(
            _backbone(self.backbone_spec, self.device),
            self.root,
            self.stored.train.paths(rows),
            self.augmentation,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
        )


@lru_cache(maxsize=1)
def _backbone(spec: str, device: str) -> Backbone:
    return load_backbone(spec, device=device)
