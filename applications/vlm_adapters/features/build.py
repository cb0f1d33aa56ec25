"""The feature bundle of Caltech-101."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..backbones.base import Backbone
from ..backbones.devise import ProjectedBackbone
from ..data.datasets import DATASETS
from ..data.splits import SUBSETS, Split, read_split
from ..prompts import normalized_mean, raw_mean
from ._provenance import describe, zero_shot
from .bundle import FeatureBundle
from .calibration import fit_logit_scale
from .extract import Progress, extract_features

__all__ = ["build_bundle", "split_file"]

DATASET = "caltech101"


def build_bundle(
    backbone: Backbone,
    data_root: str | os.PathLike[str],
    *,
    coordinates: int | None = 512,
    fit_scale: bool = True,
    batch_size: int = 64,
    num_workers: int = 2,
    progress: Progress | None = None,
) -> FeatureBundle:
    """Encode every image of Caltech-101, one centre-cropped view each, and its class names.

    Args:
        backbone: Frozen encoder.
        data_root: Folder that holds ``caltech-101/101_ObjectCategories`` and
            ``caltech-101/split_zhou_Caltech101.json``, as CoOp lays them out.
        coordinates: Keep only so many principal directions of the backbone, which makes the
            bundle smaller; None keeps the space as it is.
        fit_scale: Fit the logit scale to the zero-shot cross-entropy of the validation images;
            otherwise keep the backbone's.
        batch_size: Images per call of the encoder.
        num_workers: Threads that read images.
        progress: Called after every batch with the images done and the images in all.

    Returns:
        The bundle, its image features rounded to half precision as its file holds them. The
        provenance says what it was made from and its zero-shot accuracy, with and without the
        projection.

    Raises:
        FileNotFoundError: If the split file or an image is missing.
        ValueError: If a file is damaged, or ``coordinates`` is given for a backbone without
            ``principal_directions``.
    """
    # What may fail comes first, because the images take minutes.
    split = read_split(split_file(data_root))
    projected = None if coordinates is None else _project(backbone, coordinates)
    features = extract_features(
        backbone,
        DATASETS[DATASET].locate(data_root)[1],
        [sample.path for subset in SUBSETS for sample in split.subset(subset)],
        batch_size=batch_size,
        num_workers=num_workers,
        progress=progress,
    )
    bundle = _assemble(backbone, features, split, fit_scale)
    if projected is None:
        return bundle
    unprojected = {"zero_shot_unprojected": zero_shot(bundle)}
    bundle = _assemble(projected, features @ projected.directions, split, fit_scale)
    return replace(bundle, provenance={**bundle.provenance, **unprojected})


def split_file(data_root: str | os.PathLike[str]) -> Path:
    """Where CoOp's layout has the split of Caltech-101.

    Args:
        data_root: Folder that holds ``caltech-101``.

    Returns:
        Path of the split file.
    """
    return DATASETS[DATASET].locate(data_root)[2]


def _project(backbone: Backbone, coordinates: int) -> ProjectedBackbone:
    """The backbone with only so many of its principal directions."""
    principal_directions = getattr(backbone, "principal_directions", None)
    if principal_directions is None:
        raise ValueError(
            "`coordinates` should be None for a backbone without `principal_directions`. "
            f"Got {coordinates} for `{backbone.name}`. Pass `coordinates=None`."
        )
    return ProjectedBackbone(backbone, principal_directions(coordinates))


def _assemble(backbone: Backbone, features: Tensor, split: Split, fit_scale: bool) -> FeatureBundle:
    """Add labels, texts, logit scale and provenance to image features."""
    subsets = [split.subset(name) for name in SUBSETS]
    texts = (split.class_names, DATASETS[DATASET].templates, backbone.encode_text)
    bundle = FeatureBundle(
        # Rounded now, so that accuracies measured here are those measured on the file.
        features=features.half().float(),
        labels=torch.tensor([sample.label for subset in subsets for sample in subset]),
        subsets=torch.tensor([i for i, subset in enumerate(subsets) for _ in subset]),
        text_raw=raw_mean(*texts).cpu(),
        text_normalized=normalized_mean(*texts).cpu(),
        class_names=split.class_names,
        logit_scale=backbone.logit_scale,
        provenance={},
    )
    if fit_scale:
        scale = fit_logit_scale(*bundle.subset("val"), bundle.text_normalized)
        bundle = replace(bundle, logit_scale=scale)
    return replace(bundle, provenance=describe(bundle, backbone, split, fit_scale))
