"""Few-shot tasks: the features that an adapter may see, and where they come from."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ._files import json_hash
from .backbones import Backbone, load_backbone, weight_hashes
from .data.splits import FewShot, ImageDataset, Sample, indices_hash, write_index_list
from .features.store import SCHEMA, FeatureTable, ImageKey, Place, content_hashes, encoder_versions
from .features.texts import ClassTexts, encode_classes, load_texts, save_texts
from .features.views import (
    CachedViews,
    Centre,
    OnlineViews,
    Progress,
    TrainingImages,
    View,
    extract_views,
)

if TYPE_CHECKING:
    from .cli.inputs import Inputs

BLOCK = 256  # views in a file of features: a minute of a slow machine
SHOWN = 3
log = logging.getLogger(__name__)


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


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """What few-shot tasks of one data set are drawn from; it can be sent to other processes."""

    dataset: str
    backbone: str
    weights: dict[str, str]  # hashes of the backbone's, as far as they are known
    class_names: tuple[str, ...]  # by label
    split: str  # its hash
    data: str = "cached"  # or "online": which views of the training images a step sees
    # What must agree for runs to be compared, in words; a hash where there are too many.
    features: dict[str, str] = field(default_factory=dict)

    @abstractmethod
    def draw(self, shots: int, seed: int) -> FewShot:
        """Return the rows of a task."""

    @abstractmethod
    def identity(self, shots: int, seed: int) -> dict[str, Any]:
        """Return everything that the features of a task depend on, as JSON takes it."""

    @abstractmethod
    def images(self, drawn: FewShot) -> dict[str, Any]:
        """Return the fields of a task that hold features and labels."""

    def task(self, shots: int, seed: int) -> Task:
        """Return a few-shot task, with the hashes of its index lists."""
        drawn = self.draw(shots, seed)
        lists = {"train": indices_hash(drawn.train), "val": indices_hash(drawn.val)}
        hashes = {"split": self.split, **lists}
        return Task(shots=shots, seed=seed, hashes=hashes, **self.images(drawn))

    def write_index_lists(self, folder: Path, draws: Sequence[tuple[int, int]]) -> None:
        """Write the rows that some tasks draw, with their hashes."""
        for draw in draws:
            write_index_list(folder, self.draw(*draw), *draw, self.dataset, self.split)


class Image(NamedTuple):
    """An image of a data set, and the place of its row if its features are stored."""

    key: ImageKey
    label: int
    place: Place | None = None


@dataclass(frozen=True)
class Part:
    """Some images of a subset, by their row in it, and the table of their features."""

    table: FeatureTable
    images: Mapping[int, Image]

    def __hash__(self) -> int:
        return hash((self.table.folder, *self.images.values()))

    def select(self, rows: Sequence[int]) -> Part:
        """Return rows of the subset alone, in this order."""
        return Part(self.table, dict(enumerate(self.images[row] for row in rows)))

    def features(self) -> Tensor:
        """Read the features (n, v, d), not normalised."""
        return self.table.read([image.place for image in self.images.values() if image.place])

    @property
    def labels(self) -> Tensor:
        """Class of each image (n,)."""
        labels = [image.label for image in self.images.values()]
        return torch.tensor(labels, dtype=torch.int64)

    def identity(self) -> str:
        """Return a hash of all that features and labels depend on."""
        return json_hash([self.table.recipe, [image[:2] for image in self.images.values()]])


@dataclass(frozen=True, kw_only=True)
class StoredSource(Source):
    """Tasks drawn from a feature store, or from images that are encoded at every step."""

    inputs: Inputs
    root: Path  # image folder
    logit_scale: float
    draws: Mapping[tuple[int, int], FewShot]  # rows of the split, by shots and seed
    train: Part  # what the tasks draw
    val: Part
    test: Part
    texts: Path
    texts_kept: Path  # with underscores

    def draw(self, shots: int, seed: int) -> FewShot:
        """Return the rows of a task."""
        return self.draws[shots, seed]

    def identity(self, shots: int, seed: int) -> dict[str, Any]:
        """Return everything that the features of a task depend on, other draws not among it."""
        drawn = self.draws[shots, seed]
        val = self.val.select(drawn.val) if drawn.val_from_train else self.val
        return {
            "data": self.data,
            "train": self.train.select(drawn.train).identity(),
            "val": val.identity(),
            "test": self.test.identity(),
            "texts": [self.texts.name, self.texts_kept.name],
            "logit_scale": self.logit_scale,
        }

    def images(self, drawn: FewShot) -> dict[str, Any]:
        """Return the fields of a task that hold features and labels."""
        train, val = self.train.select(drawn.train), self.val.select(drawn.val)
        test_features, test_labels = unit_features(self.test)
        return {
            "train": self._online(train) if self.inputs.online else CachedViews(train.features()),
            "train_labels": train.labels,
            "val_features": normalize(val.features()[:, 0], dim=1),
            "val_labels": val.labels,
            "test_features": test_features,
            "test_labels": test_labels,
            "texts": _texts(self.texts),
            "texts_kept": _texts(self.texts_kept),
            "logit_scale": self.logit_scale,
            "all_val": None if drawn.val_from_train else unit_features(self.val),
        }

    def _online(self, train: Part) -> OnlineViews:
        inputs, paths = self.inputs, [image.key[0] for image in train.images.values()]
        backbone = _backbone(inputs.backbone, device=inputs.device)
        options = inputs.extract_options
        return OnlineViews(backbone, self.root, paths, inputs.augmentation, options)


@lru_cache(maxsize=2)  # one validation and one test split: ImageNet's take 200 MB
def unit_features(part: Part) -> tuple[Tensor, Tensor]:
    """Return unit features (n, d) and labels, read once for all tasks of a process."""
    return normalize(part.features()[:, 0], dim=1), part.labels


_texts = lru_cache(maxsize=8)(load_texts)
_backbone = lru_cache(maxsize=1)(load_backbone)


@dataclass(frozen=True)
class Extraction:
    """Features of an open data set by a backbone, as some inputs say; progress is told by table."""

    inputs: Inputs
    dataset: ImageDataset
    backbone: Backbone
    progress: Progress = lambda done, total: None

    def source(self, draws: Sequence[tuple[int, int]], *, trained: bool = True) -> StoredSource:
        """Extract what the tasks of some shots and seeds need, and return their source.

        If nothing is ``trained`` on them, tasks without images for it will do.
        """
        dataset, split = self.dataset, self.dataset.split
        drawn = {draw: dataset.few_shot(*draw, needed=trained) for draw in draws}
        train, val = (
            sorted({row for task in drawn.values() for row in getattr(task, name)})
            for name in ("train", "val")
        )
        from_train = (split.train, val) if dataset.val_from_train else (split.val,)
        # Every image is looked for before the first is encoded.
        found = {"train": self._find(split.train, train), "val": self._find(*from_train)}
        found["test"] = self._find(split.test)
        _warn_of_equal_images(found, split.class_names)
        texts, texts_kept = (self._texts(replace_underscores=flag) for flag in (True, False))
        inputs, augmentation = self.inputs, self.inputs.augmentation
        return StoredSource(
            inputs=inputs,
            dataset=dataset.name,
            backbone=inputs.backbone,
            weights=weight_hashes(self.backbone.fingerprint()),
            data="online" if inputs.online else "cached",
            features={
                "views": str(inputs.views),
                "scale": "{:g},{:g}".format(*augmentation.scale),
                "pixels": "published" if inputs.published_pixels else "corrected",
                "templates": json_hash([dataset.templates, dataset.taskres_templates])[:16],
                "test images": json_hash([image[:2] for image in found["test"].values()])[:16],
            },
            root=dataset.images,
            logit_scale=self.backbone.logit_scale,
            class_names=split.class_names,
            split=split.sha256,
            draws=drawn,
            train=Part(self._table(augmentation), found["train"])
            if inputs.online
            else self._extract(found["train"], augmentation),
            val=self._extract(found["val"], self._centre),
            test=self._extract(found["test"], self._centre),
            texts=texts,
            texts_kept=texts_kept,
        )

    def part(self, samples: Sequence[Sample]) -> Part:
        """Extract the centre views of all images of a subset."""
        return self._extract(self._find(samples), self._centre)

    @property
    def _centre(self) -> Centre:
        return Centre(published=self.inputs.published_pixels)

    def _find(
        self, samples: Sequence[Sample], rows: Sequence[int] | None = None
    ) -> dict[int, Image]:
        """Return some images of a subset once it is known that they are there."""
        rows = range(len(samples)) if rows is None else rows
        root, paths = self.dataset.images, [samples[row].path for row in rows]
        try:
            contents = content_hashes(self.inputs.store, root, paths)
        except OSError as error:
            raise FileNotFoundError(
                f"`{root}` should hold every image of the split. Got {error.strerror} for "
                f"{error.filename}. Run `vlm-adapters data check` to see all that is missing."
            ) from None
        return {
            row: Image((path, content), samples[row].label)
            for row, path, content in zip(rows, paths, contents, strict=True)
        }

    def _extract(self, images: Mapping[int, Image], view: View) -> Part:
        """Return images with the rows of their features, extracted if need be."""
        root, options = self.dataset.images, self.inputs.extract_options

        def encode(paths: list[str], progress: Progress) -> Tensor:
            return extract_views(self.backbone, root, paths, view, **options, progress=progress)

        table, keys = self._table(view), [image.key for image in images.values()]
        block = max(1, BLOCK // view.views)
        places = table.extract(keys, encode, block=block, progress=self.progress)
        found = {row: image._replace(place=places[image.key]) for row, image in images.items()}
        return Part(table, found)

    def _table(self, view: View) -> FeatureTable:
        recipe = {"view": view.describe(), "backbone": self.backbone.fingerprint()}
        return FeatureTable(self.inputs.store, self.dataset.name, recipe, encoder_versions())

    def _texts(self, *, replace_underscores: bool) -> Path:
        """Return the file of the class texts, which are encoded if it is not there."""
        dataset = self.dataset
        prompts = (dataset.split.class_names, dataset.templates, dataset.taskres_templates)
        recipe = {
            "backbone": self.backbone.fingerprint(),
            "prompts": prompts,
            "replace_underscores": replace_underscores,
        }
        name = f"{dataset.name}-texts-{json_hash([SCHEMA, recipe])[:16]}.safetensors"
        file = self.inputs.store / name
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            texts = encode_classes(self.backbone, dataset, replace_underscores=replace_underscores)
            save_texts(texts, file, recipe)
        return file


def _warn_of_equal_images(found: Mapping[str, Mapping[int, Image]], names: Sequence[str]) -> None:
    """Warn of files with equal bytes in two classes, or in two subsets."""
    seen: dict[str, tuple[str, str, int]] = {}
    pairs: list[str] = []
    for subset, images in found.items():
        for (path, content), label, _ in images.values():
            other, where, theirs = seen.setdefault(content, (path, subset, label))
            if theirs != label:
                pairs.append(f"{other} of {names[theirs]} is {path} of {names[label]}")
            elif where != subset and (other != path or subset == "test"):
                # A path in train and val may be drawn for one seed as the one, then as the other.
                pairs.append(f"{other} of {where} is {path} of {subset}")
    if pairs:
        shown = "; ".join(pairs[:SHOWN] + ["..."] * (len(pairs) > SHOWN))
        text = "%d images have the same content as another of another class or subset: %s."
        log.warning(text, len(pairs), shown)
