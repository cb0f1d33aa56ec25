"""Tasks drawn from a feature bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from torch.nn.functional import normalize

from ..backbones.base import weight_hashes
from ..data.few_shot import FewShot, few_shot_split, indices_hash, write_index_lists
from ..features.bundle import FeatureBundle
from ..features.bundle_file import bundle_sha256, load_bundle
from ..features.texts import ClassTexts
from ..features.training_images import CachedViews
from ..tasks import Task

__all__ = ["BundleSource", "few_shot_task"]


@dataclass(frozen=True)
class BundleSource:
    """Tasks drawn from a feature bundle's file: one centre view an image.

    Attributes:
        path: The file.
        data: What a step sees of the training images.
    """

    path: Path
    data: str = "cached"

    @property
    def bundle(self) -> FeatureBundle:
        """The bundle, read once a process."""
        return _load(self.path)

    @property
    def dataset(self) -> str:
        """Name of the data set, from the bundle's provenance."""
        return _of_data(self.bundle, "name")

    @property
    def backbone(self) -> str:
        """Specification of the backbone, from the bundle's provenance."""
        backbone = self.bundle.provenance.get("backbone", {})
        if not isinstance(backbone, Mapping):
            return "unknown"
        name, kept = str(backbone.get("name", "unknown")), backbone.get("coordinates")
        return name if kept is None else f"{name}-{kept}"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.bundle.class_names

    def write_index_lists(self, folder: Path, draws: Sequence[tuple[int, int]]) -> None:
        """Write the rows that some tasks draw; arguments as in :class:`StoredSource`."""
        write_index_lists(
            folder, draws, partial(_draw, self.bundle),
            dataset=self.dataset, split_sha256=_of_data(self.bundle, "split_sha256"),
        )  # fmt: skip

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return _sha256(self.path)

    @property
    def weights(self) -> dict[str, str]:
        """Hashes of the backbone's weights, from the bundle's provenance."""
        backbone = self.bundle.provenance.get("backbone", {})
        return weight_hashes(backbone) if isinstance(backbone, Mapping) else {}

    def identity(self, shots: int, seed: int) -> dict[str, Any]:
        """Everything that the features of a task depend on."""
        return {"bundle": self.sha256}

    def task(self, shots: int, seed: int) -> Task:
        """A few-shot task; arguments as in :func:`few_shot_task`."""
        return few_shot_task(self.bundle, shots, seed)


def _of_data(bundle: FeatureBundle, key: str) -> str:
    """What the bundle's provenance says of its data."""
    data = bundle.provenance.get("data", {})
    return str(data.get(key, "unknown")) if isinstance(data, Mapping) else "unknown"


def _draw(bundle: FeatureBundle, shots: int, seed: int) -> FewShot:
    """CoOp's few-shot sample."""
    train, val = (bundle.subset(name)[1].tolist() for name in ("train", "val"))
    return few_shot_split(train, val, shots, seed)


def few_shot_task(bundle: FeatureBundle, shots: int, seed: int) -> Task:
    """Draw CoOp's few-shot sample from a bundle.

    Args:
        bundle: Features of a data set.
        shots: Training images a class; validation takes at most 4.
        seed: Seed of the draw.

    Returns:
        The task, with the hashes of its index lists.
    """
    train, train_labels = bundle.subset("train")
    val, val_labels = bundle.subset("val")
    test, test_labels = bundle.subset("test")
    chosen = _draw(bundle, shots, seed)
    val = normalize(val, dim=1)
    return Task(
        shots=shots,
        seed=seed,
        train=CachedViews(train[chosen.train][:, None]),
        train_labels=train_labels[chosen.train],
        val_features=val[chosen.val],
        val_labels=val_labels[chosen.val],
        test_features=normalize(test, dim=1),
        test_labels=test_labels,
        texts=ClassTexts(bundle.text_raw, bundle.text_normalized),
        logit_scale=bundle.logit_scale,
        hashes={
            "split": _of_data(bundle, "split_sha256"),
            "train": indices_hash(chosen.train),
            "val": indices_hash(chosen.val),
        },
        all_val=(val, val_labels),
    )


@lru_cache(maxsize=4)
def _sha256(path: Path) -> str:
    return bundle_sha256(path)


@lru_cache(maxsize=4)
def _load(path: Path) -> FeatureBundle:
    return load_bundle(path)
