"""Class texts as a safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .._files import read_tensors, write_tensors
from ..backbones.base import TextProjection
from .texts import ClassTexts, HiddenTexts

__all__ = ["load_texts", "save_texts"]

KEY = "vlm_adapters.class_texts"


def save_texts(texts: ClassTexts, file: Path, recipe: Mapping[str, Any]) -> None:
    """Write class texts.

    Args:
        texts: The texts.
        file: Where to write.
        recipe: What they depend on.
    """
    tensors = {"raw": texts.raw, "normalized": texts.normalized}
    templates = 0
    if texts.hidden is not None:
        templates = texts.hidden.templates
        projection = texts.hidden.projection
        tensors |= {
            "hidden": texts.hidden.features,
            "weight": projection.weight,
            "bias": projection.bias,
        }
    content = {"recipe": recipe, "templates": templates}
    write_tensors(file, tensors, {KEY: json.dumps(content, sort_keys=True)})


def load_texts(file: Path) -> ClassTexts:
    """Read class texts.

    Args:
        file: What :func:`save_texts` wrote.

    Returns:
        The texts.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or holds something else.
    """
    metadata, tensors = read_tensors(file)
    try:
        templates = int(json.loads(metadata[KEY])["templates"])
        hidden = None
        if templates:
            projection = TextProjection(tensors["weight"], tensors["bias"])
            hidden = HiddenTexts(tensors["hidden"], projection, templates)
        texts = ClassTexts(tensors["raw"], tensors["normalized"], hidden)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"`{file}` should hold class texts. Got no {error}. Remove it to have it made anew."
        ) from None
    if not _fit(texts):
        raise ValueError(
            f"`{file}` should hold class texts. Got shapes or dtypes that do not fit each other. "
            "Remove it to have it made anew."
        )
    return texts


def _fit(texts: ClassTexts) -> bool:
    """Whether shapes and dtypes are those of one backbone's texts."""
    tensors = [texts.raw, texts.normalized]
    if texts.raw.ndim != 2 or texts.raw.shape != texts.normalized.shape:
        return False
    if texts.hidden is not None:
        features, projection = texts.hidden.features, texts.hidden.projection
        tensors += [features, projection.weight, projection.bias]
        classes, width = texts.raw.shape
        if features.ndim != 3 or not 0 < texts.hidden.templates <= len(features):
            return False
        if features.shape[1] != classes or projection.bias.shape != (width,):
            return False
        if projection.weight.shape != (features.shape[2], width):
            return False
    return all(tensor.dtype == torch.float32 for tensor in tensors)
