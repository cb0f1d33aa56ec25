"""Where few-shot tasks come from: a feature store, images at every step, or a feature bundle."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ._files import file_sha256, json_hash
from ._optional import encoder_versions
from .backbones import load_backbone
from .backbones.base import Backbone, weight_hashes
from .data.few_shot import FewShot, few_shot_split, indices_hash, write_index_lists
from .data.splits import ImageDataset, Sample
from .features.bundle import FeatureBundle, load_bundle
from .features.store import SCHEMA, FeatureTable, ImageKey, Place, content_hashes
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
from .tasks import Task

if TYPE_CHECKING:
    from .inputs import FeatureInputs

BLOCK = 256  # views in a file of features: a minute of a slow machine
SHOWN = 3
log = logging.getLogger(__name__)


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
        places = [image.place for image in self.images.values() if image.place is not None]
        if len(places) < len(self.images):
            raise ValueError("`train` should hold cached views. Got none: they are read online.")
        return self.table.read(places)

    @property
    def labels(self) -> Tensor:
        """Class of each image (n,)."""
        return torch.tensor([image.label for image in self.images.values()])

    def identity(self) -> str:
        """Return a hash of all that features and labels depend on."""
        return json_hash([self.table.recipe, [image[:2] for image in self.images.values()]])


@dataclass(frozen=True)
class StoredSource:
    """What few-shot tasks of one data set are drawn from; it can be sent to other processes."""

    inputs: FeatureInputs
    dataset: str
    root: Path  # image folder
    logit_scale: float
    class_names: tuple[str, ...]
    split: str  # its hash
    draws: Mapping[tuple[int, int], FewShot]  # rows of the split, by shots and seed
    val_from_train: bool
    train: Part  # what the tasks draw
    val: Part
    test: Part
    texts: Path
    texts_kept: Path  # with underscores

    @property
    def data(self) -> str:
        """What a step sees of the training images: ``"cached"`` or ``"online"`` views."""
        return "online" if self.inputs.online else "cached"

    @property
    def backbone(self) -> str:
        """Specification of the backbone."""
        return self.inputs.backbone

    def write_index_lists(self, folder: Path, draws: Sequence[tuple[int, int]]) -> None:
        """Write the rows that some tasks draw, with their hashes."""
        write_index_lists(
            folder,
            draws,
            lambda *draw: self.draws[draw],
            dataset=self.dataset,
            split_sha256=self.split,
        )

    @property
    def weights(self) -> dict[str, str]:
        """Hashes of the backbone's weights."""
        return weight_hashes(self.test.table.recipe["backbone"])

    def identity(self, shots: int, seed: int) -> dict[str, Any]:
        """Return everything that the features of a task depend on, other draws not among it."""
        drawn = self.draws[shots, seed]
        val = self.val.select(drawn.val) if self.val_from_train else self.val
        return {
            "data": self.data,
            "train": self.train.select(drawn.train).identity(),
            "val": val.identity(),
            "test": self.test.identity(),
            "texts": [self.texts.name, self.texts_kept.name],
            "logit_scale": self.logit_scale,
        }

    def task(self, shots: int, seed: int) -> Task:
        """Return a few-shot task, with the hashes of its index lists."""
        drawn = self.draws[shots, seed]
        train, val = self.train.select(drawn.train), self.val.select(drawn.val)
        test_features, test_labels = unit_features(self.test)
        return Task(
            shots=shots,
            seed=seed,
            train=self.training_images(train),
            train_labels=train.labels,
            val_features=normalize(val.features()[:, 0], dim=1),
            val_labels=val.labels,
            test_features=test_features,
            test_labels=test_labels,
            texts=_texts(self.texts),
            texts_kept=_texts(self.texts_kept),
            logit_scale=self.logit_scale,
            hashes=_hashes(self.split, drawn),
            all_val=None if self.val_from_train else unit_features(self.val),
        )

    def training_images(self, train: Part) -> TrainingImages:
        """Return what a step sees of the training images."""
        inputs = self.inputs
        if not inputs.online:
            return CachedViews(train.features())
        backbone = _backbone(inputs.backbone, inputs.device)
        paths = [image.key[0] for image in train.images.values()]
        options = inputs.extract_options
        return OnlineViews(backbone, self.root, paths, inputs.augmentation, **options)


@dataclass(frozen=True)
class BundleSource:
    """Tasks drawn from the file of a feature bundle: one centre view of each image."""

    path: Path
    data: ClassVar[str] = "cached"

    @property
    def bundle(self) -> FeatureBundle:
        """The bundle, read once in a process."""
        return _bundle(self.path)

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return _sha256(self.path)

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return str(self.bundle.about("data").get("name", "unknown"))

    @property
    def backbone(self) -> str:
        """Specification of the backbone."""
        backbone = self.bundle.about("backbone")
        name, kept = str(backbone.get("name", "unknown")), backbone.get("coordinates")
        return name if kept is None else f"{name}-{kept}"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Name of each class, by label."""
        return self.bundle.class_names

    @property
    def weights(self) -> dict[str, str]:
        """Hashes of the backbone's weights."""
        return weight_hashes(self.bundle.about("backbone"))

    def write_index_lists(self, folder: Path, draws: Sequence[tuple[int, int]]) -> None:
        """Write the rows that some tasks draw, with their hashes."""
        write_index_lists(
            folder,
            draws,
            lambda *draw: _draw(self.bundle, *draw),
            dataset=self.dataset,
            split_sha256=_split(self.bundle),
        )

    def identity(self, shots: int, seed: int) -> dict[str, Any]:
        """Return everything that the features of a task depend on."""
        return {"bundle": self.sha256}

    def task(self, shots: int, seed: int) -> Task:
        """Return a few-shot task, with the hashes of its index lists."""
        return few_shot_task(self.bundle, shots, seed)


def few_shot_task(bundle: FeatureBundle, shots: int, seed: int) -> Task:
    """Draw CoOp's few-shot sample from a bundle."""
    train, train_labels = bundle.subset("train")
    val, val_labels = bundle.subset("val")
    test, test_labels = bundle.subset("test")
    drawn = _draw(bundle, shots, seed)
    val = normalize(val, dim=1)
    return Task(
        shots=shots,
        seed=seed,
        train=CachedViews(train[drawn.train][:, None]),
        train_labels=train_labels[drawn.train],
        val_features=val[drawn.val],
        val_labels=val_labels[drawn.val],
        test_features=normalize(test, dim=1),
        test_labels=test_labels,
        texts=ClassTexts(bundle.text_raw, bundle.text_normalized),
        logit_scale=bundle.logit_scale,
        hashes=_hashes(_split(bundle), drawn),
        all_val=(val, val_labels),
    )


def _draw(bundle: FeatureBundle, shots: int, seed: int) -> FewShot:
    train, val = (bundle.subset(name)[1].tolist() for name in ("train", "val"))
    return few_shot_split(train, val, shots, seed)


def _split(bundle: FeatureBundle) -> str:
    return str(bundle.about("data").get("split_sha256", "unknown"))


def _hashes(split: str, drawn: FewShot) -> dict[str, str]:
    return {"split": split, "train": indices_hash(drawn.train), "val": indices_hash(drawn.val)}


@lru_cache(maxsize=2)  # one validation and one test split: ImageNet's take 200 MB
def unit_features(part: Part) -> tuple[Tensor, Tensor]:
    """Return unit features (n, d) and labels, read once for all tasks of a process."""
    return normalize(part.features()[:, 0], dim=1), part.labels


_texts = lru_cache(maxsize=8)(load_texts)
_bundle = lru_cache(maxsize=4)(load_bundle)
_sha256 = lru_cache(maxsize=4)(file_sha256)


@lru_cache(maxsize=1)
def _backbone(spec: str, device: str) -> Backbone:
    return load_backbone(spec, device=device)


@dataclass(frozen=True)
class Extraction:
    """Features of an open data set by a backbone, as some inputs say; progress is told by table."""

    inputs: FeatureInputs
    dataset: ImageDataset
    backbone: Backbone
    progress: Progress = lambda done, total: None

    def source(self, draws: Sequence[tuple[int, int]]) -> StoredSource:
        """Extract what the tasks of some shots and seeds need, and return their source."""
        dataset, split = self.dataset, self.dataset.split
        drawn = {draw: dataset.few_shot(*draw) for draw in draws}
        # Every image is looked for before the first is encoded.
        train = sorted({row for task in drawn.values() for row in task.train})
        found = {"train": self._find(split.train, train)}
        if dataset.val_from_train:
            val = sorted({row for task in drawn.values() for row in task.val})
            found["val"] = self._find(split.train, val)
        else:
            found["val"] = self._find(split.val)
        found["test"] = self._find(split.test)
        _warn_of_equal_images(found, split.class_names)
        texts = [self._texts(replace_underscores=replace) for replace in (True, False)]
        inputs, augmentation = self.inputs, self.inputs.augmentation
        return StoredSource(
            inputs=inputs,
            dataset=dataset.name,
            root=dataset.images,
            logit_scale=self.backbone.logit_scale,
            class_names=split.class_names,
            split=split.sha256,
            draws=drawn,
            val_from_train=dataset.val_from_train,
            train=Part(self._table(augmentation), found["train"])
            if inputs.online
            else self._extract(found["train"], augmentation),
            val=self._extract(found["val"], self._centre),
            test=self._extract(found["test"], self._centre),
            texts=texts[0],
            texts_kept=texts[1],
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
            texts = encode_classes(self.backbone, *prompts, replace_underscores=replace_underscores)
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
            elif where != subset and other != path:
                pairs.append(f"{other} of {where} is {path} of {subset}")
    if pairs:
        shown = "; ".join(pairs[:SHOWN] + ["..."] * (len(pairs) > SHOWN))
        text = "%d images have the same content as another of another class or subset: %s."
        log.warning(text, len(pairs), shown)
