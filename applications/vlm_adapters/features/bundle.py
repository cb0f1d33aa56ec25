"""Feature bundles: all features of a small data set and its classes' texts in one file; tasks."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from .._files import file_sha256, read_tensors, write_tensors
from ..backbones import weight_hashes
from ..data.splits import SUBSETS, FewShot, ImageDataset, draw_task, rows_by_class
from ..sources import Source
from .store import encoder_versions
from .texts import ClassTexts, class_means, prompts
from .views import CachedViews, Progress, extract_features

if TYPE_CHECKING:
    from ..backbones.devise import Devise

CALTECH101 = {
    "name": "caltech101",
    "source": "Li, Andreeto, Ranzato, Perona: Caltech 101 (1.0), CaltechDATA, 2022",
    "doi": "10.22002/D1.20086",
    "licence": "CC BY 4.0",
    "changes": "holds features computed from the images, and no image",
    "split": "split_zhou_Caltech101.json of CoOp (Zhou et al., 2022), MIT licence",
}
SCALE_RANGE = (1.0, 1000.0)
KEY, VERSION = "vlm_adapters.feature_bundle", "schema_version"
TENSORS = ("features", "labels", "subsets", "text_raw", "text_normalized")


@dataclass(frozen=True, eq=False)
class FeatureBundle:
    """Features of every image of a data set, and of its classes' texts.

    Within a subset the images keep the order of the split file, so that few-shot indices fit.
    """

    features: Tensor  # of images (n, d), float32, not normalised
    labels: Tensor  # class of each image (n,)
    subsets: Tensor  # 0 for training, 1 for validation, 2 for test images (n,)
    text_raw: Tensor  # class texts (k, d) as TaskRes averages them
    text_normalized: Tensor  # as Tip-Adapter averages them, of unit length
    class_names: tuple[str, ...]  # by label
    logit_scale: float  # factor that turns cosines into logits
    provenance: Mapping[str, Any]  # what the features were made from and with

    def __post_init__(self) -> None:
        """Check everything once, so that no later step has to."""
        rows = len(self.labels) if self.labels.ndim else 0
        width = self.features.shape[-1] if self.features.ndim else 0
        texts = (len(self.class_names), width)
        shapes = {"features": (rows, width), "text_raw": texts, "text_normalized": texts}
        for name, shape in shapes.items():
            _check_tensor(name, getattr(self, name), shape, torch.float32)
        for name, size in (("labels", texts[0]), ("subsets", len(SUBSETS))):
            numbers = getattr(self, name)
            _check_tensor(name, numbers, (rows,), torch.int64)
            for row in ((numbers < 0) | (numbers >= size)).nonzero().flatten().tolist():
                raise ValueError(
                    f"`{name}` should lie from 0 to {size - 1}. Got {numbers[row]} at row {row}."
                )
        for empty in (name for name in SUBSETS if not len(self.subset(name)[1])):
            raise ValueError(
                f"`subsets` should have images of each of {', '.join(SUBSETS)}. "
                f"Got none of {empty}."
            )
        if not (math.isfinite(self.logit_scale) and self.logit_scale > 0):
            raise ValueError(
                f"`logit_scale` should be positive and finite. Got {self.logit_scale}."
            )

    def subset(self, name: str) -> tuple[Tensor, Tensor]:
        """Return features and labels of ``"train"``, ``"val"`` or ``"test"``, in split order."""
        rows = self.subsets == SUBSETS.index(name)
        return self.features[rows], self.labels[rows]

    def about(self, part: str) -> Mapping[str, Any]:
        """Return what the provenance says of ``"data"`` or ``"backbone"``; it may say nothing."""
        said = self.provenance.get(part, {})
        return said if isinstance(said, Mapping) else {}


def _check_tensor(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"`{name}` should have shape {shape}. Got {tuple(tensor.shape)}.")
    if tensor.dtype != dtype:
        raise ValueError(f"`{name}` should be {dtype}. Got {tensor.dtype}.")
    if tensor.is_floating_point() and not tensor.isfinite().all():
        bad = (~tensor.isfinite()).any(dim=1).nonzero().flatten()
        raise ValueError(
            f"`{name}` should be finite. Got {len(bad)} rows with NaN or infinity, "
            f"first at row {int(bad[0])}. Extract the features again."
        )


class _Document(BaseModel):
    """What a file holds besides tensors."""

    model_config = ConfigDict(strict=True)

    schema_version: Literal[1]
    class_names: tuple[str, ...]
    logit_scale: float
    provenance: dict[str, Any]


def save_bundle(bundle: FeatureBundle, path: str | os.PathLike[str]) -> None:
    """Write a bundle, its image features in half precision."""
    tensors = {name: getattr(bundle, name) for name in TENSORS}
    tensors["features"] = bundle.features.half()
    document = {name: getattr(bundle, name) for name in _Document.model_fields if name != VERSION}
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(file, tensors, {KEY: json.dumps({VERSION: 1, **document}, sort_keys=True)})


def load_bundle(path: str | os.PathLike[str]) -> FeatureBundle:
    """Read a bundle, its image features in single precision, and check it."""
    file = Path(path)
    metadata, tensors = read_tensors(file)
    try:
        document = _Document.model_validate_json(metadata.get(KEY, ""))
    except ValidationError as error:
        [first, *_] = error.errors()
        where = ".".join(map(str, first["loc"])) or "the document"
        raise ValueError(
            f"`{file.name}` should have complete metadata of schema version 1. Got an error in "
            f"{where}: {first['msg']}. Upgrade topreg, or build the bundle again."
        ) from None
    for missing in (name for name in TENSORS if name not in tensors):
        raise ValueError(
            f"`{file.name}` should hold the tensors {', '.join(TENSORS)}. "
            f"Got no `{missing}`. Build the bundle again."
        )
    if tensors["features"].dtype == torch.float16:
        tensors["features"] = tensors["features"].float()
    fields: dict[str, Any] = {name: tensors[name] for name in TENSORS}
    try:
        return FeatureBundle(**fields, **document.model_dump(exclude={VERSION}))
    except ValueError as error:
        raise ValueError(f"In `{file.name}`: {error}") from error


_bundle = lru_cache(maxsize=4)(load_bundle)
_sha256 = lru_cache(maxsize=4)(file_sha256)


class BundleSource(Source):
    """Tasks drawn from the file of a feature bundle: one centre view of each image."""

    path: Path

    def __init__(self, path: Path) -> None:
        bundle, backbone = _bundle(path), _bundle(path).about("backbone")
        name, kept = str(backbone.get("name", "unknown")), backbone.get("coordinates")
        super().__init__(
            dataset=str(bundle.about("data").get("name", "unknown")),
            backbone=name if kept is None else f"{name}-{kept}",
            weights=weight_hashes(backbone),
            class_names=bundle.class_names,
            split=str(bundle.about("data").get("split_sha256", "unknown")),
            features={"bundle": _sha256(path)[:16]},
        )
        object.__setattr__(self, "path", path)

    @property
    def sha256(self) -> str:
        """Hash of the file."""
        return _sha256(self.path)

    def draw(self, shots: int, seed: int) -> FewShot:
        """Draw CoOp's few-shot sample."""
        bundle = _bundle(self.path)
        train, val = (rows_by_class(bundle.subset(name)[1].tolist()) for name in SUBSETS[:2])
        return draw_task(train, val, shots, seed)

    def identity(self, shots: int, seed: int) -> dict[str, Any]:
        """Return everything that the features of a task depend on."""
        return {"bundle": self.sha256}

    def images(self, drawn: FewShot) -> dict[str, Any]:
        """Return the fields of a task that hold features and labels."""
        bundle = _bundle(self.path)
        (train, train_labels), (val, val_labels), test = map(bundle.subset, SUBSETS)
        val = normalize(val, dim=1)
        return {
            "train": CachedViews(train[drawn.train][:, None]),
            "train_labels": train_labels[drawn.train],
            "val_features": val[drawn.val],
            "val_labels": val_labels[drawn.val],
            "test_features": normalize(test[0], dim=1),
            "test_labels": test[1],
            "texts": ClassTexts(bundle.text_raw, bundle.text_normalized),
            "logit_scale": bundle.logit_scale,
            "all_val": (val, val_labels),
        }


def build_bundle(
    backbone: Devise,
    dataset: ImageDataset,
    *,
    coordinates: int | None = 512,
    progress: Progress = lambda done, total: None,
) -> FeatureBundle:
    """Encode every image of Caltech-101, one centre view each, and its class names.

    Of the backbone so many principal directions, ``coordinates``, are kept; None keeps the space.
    The logit scale is fitted to the zero-shot cross-entropy of the validation images.
    """
    # The projection may fail: it comes before the images, which take minutes.
    kept = backbone if coordinates is None else backbone.projected(coordinates)
    split = dataset.split
    subsets = [split.subset(name) for name in SUBSETS]
    paths = [sample.path for subset in subsets for sample in subset]
    features = kept.project(extract_features(backbone, dataset.images, paths, progress=progress))
    lists = prompts(split.class_names, dataset.templates)
    texts = torch.stack([kept.encode_text(sentences) for sentences in lists])
    raw, normalized = class_means(texts, len(lists))
    bundle = FeatureBundle(
        # Rounded now, so that accuracies measured here are those measured on the file.
        features=features.half().float(),
        labels=torch.tensor([sample.label for subset in subsets for sample in subset]),
        subsets=torch.tensor([i for i, subset in enumerate(subsets) for _ in subset]),
        text_raw=raw.cpu(),
        text_normalized=normalized.cpu(),
        class_names=split.class_names,
        logit_scale=kept.logit_scale,
        provenance={},
    )
    units = bundle.text_normalized
    shares = {name: zero_shot_accuracy(*bundle.subset(name), units) for name in ("val", "test")}
    provenance = {
        "data": {**CALTECH101, "split_sha256": split.sha256},
        "view": "one per image, centre crop, no augmentation",
        "backbone": kept.fingerprint(),
        "libraries": encoder_versions(),
        "logit_scale": "least zero-shot cross-entropy on the validation images",
        "zero_shot": {
            "coordinates": units.shape[1],
            **{name: round(share, 2) for name, share in shares.items()},
        },
    }
    scale = fit_logit_scale(*bundle.subset("val"), units)
    return replace(bundle, logit_scale=scale, provenance=provenance)


def zero_shot_accuracy(image_features: Tensor, labels: Tensor, text_features: Tensor) -> float:
    """Return the share of images, in per cent, whose nearest text by cosine is their class's."""
    predictions = _cosines(image_features, text_features).argmax(dim=1)
    return 100 * float((predictions == labels).double().mean())


def fit_logit_scale(image_features: Tensor, labels: Tensor, text_features: Tensor) -> float:
    """Return the factor on the cosines, from 1 to 1000, that gives the least cross-entropy.

    Use validation images, so that test labels stay unseen. Cross-entropy is convex in the factor.
    """
    cosines = _cosines(image_features, text_features)
    found = minimize_scalar(
        lambda log_scale: float(cross_entropy(math.exp(log_scale) * cosines, labels)),
        bounds=[math.log(bound) for bound in SCALE_RANGE],
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(found.x)


def _cosines(image_features: Tensor, text_features: Tensor) -> Tensor:
    """Return the cosine of every image with every class, in float64."""
    return normalize(image_features.double(), dim=1) @ normalize(text_features.double(), dim=1).T
