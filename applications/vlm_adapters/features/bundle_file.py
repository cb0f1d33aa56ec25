"""Feature bundles as safetensors files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from .._files import file_sha256, read_tensors, write_tensors
from .bundle import FeatureBundle

__all__ = ["bundle_sha256", "load_bundle", "save_bundle"]

SCHEMA_VERSION = 1
METADATA_KEY = "vlm_adapters.feature_bundle"
TENSORS = ("features", "labels", "subsets", "text_raw", "text_normalized")


def save_bundle(bundle: FeatureBundle, path: str | os.PathLike[str]) -> None:
    """Write a bundle, its image features in half precision.

    The file appears under its name only once it is complete.

    Args:
        bundle: The bundle.
        path: File to write; its folder is made if need be.

    Raises:
        ValueError: If a feature is too large for half precision.
    """
    half = bundle.features.half()
    if not half.isfinite().all():
        raise ValueError(
            "`features` should not exceed 65504, to be stored in half precision. "
            f"Got {float(bundle.features.abs().max()):.4g}. Divide the features by a constant."
        )
    tensors = {name: getattr(bundle, name) for name in TENSORS} | {"features": half}
    metadata = {METADATA_KEY: json.dumps(_document(bundle), sort_keys=True)}
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(file, tensors, metadata)


def load_bundle(path: str | os.PathLike[str]) -> FeatureBundle:
    """Read a bundle and check it.

    Args:
        path: File written by :func:`save_bundle`.

    Returns:
        The bundle, image features in single precision.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, or no feature bundle, or a newer one.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"`path` should be a feature bundle. Got {str(file)!r}, which is no file. "
            "Build one with `vlm-adapters bundle`."
        )
    metadata, tensors = read_tensors(file)
    document = _checked_document(metadata, file.name)
    missing = [name for name in TENSORS if name not in tensors]
    if missing:
        raise ValueError(
            f"`{file.name}` should hold the tensors {', '.join(TENSORS)}. "
            f"Got no `{missing[0]}`. Build the bundle again."
        )
    if tensors["features"].dtype == torch.float16:
        tensors["features"] = tensors["features"].float()
    fields: dict[str, Any] = {name: tensors[name] for name in TENSORS} | document
    try:
        return FeatureBundle(**fields)
    except ValueError as error:
        raise ValueError(f"In `{file.name}`: {error}") from error


def bundle_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a bundle's file, in hexadecimal digits."""
    return file_sha256(Path(path))


def _document(bundle: FeatureBundle) -> dict[str, Any]:
    """What a bundle holds besides tensors."""
    return {
        "schema_version": SCHEMA_VERSION,
        "class_names": list(bundle.class_names),
        "logit_scale": bundle.logit_scale,
        "provenance": bundle.provenance,
    }


def _checked_document(metadata: dict[str, str], file: str) -> dict[str, Any]:
    """The fields of a bundle that are not tensors."""
    if METADATA_KEY not in metadata:
        raise ValueError(
            f"`{file}` should be a feature bundle. Got a safetensors file without the metadata "
            f"`{METADATA_KEY}`. Build one with `vlm-adapters bundle`."
        )
    try:
        document = json.loads(metadata[METADATA_KEY])
        version = document["schema_version"]
        # Another version may have other fields.
        fields = _fields(document) if version == SCHEMA_VERSION else {}
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"`{file}` should have complete metadata. Got {type(error).__name__}: {error}. "
            "Build the bundle again."
        ) from error
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"`{file}` should have schema version {SCHEMA_VERSION}. Got {version!r}. "
            "Upgrade topreg, or build the bundle again."
        )
    return fields


def _fields(document: dict[str, Any]) -> dict[str, Any]:
    """The inverse of :func:`_document`."""
    names, provenance = document["class_names"], document["provenance"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TypeError("`class_names` that are no list of texts")
    if not isinstance(provenance, dict):
        raise TypeError("a `provenance` that is no table")
    return {
        "class_names": tuple(names),
        "logit_scale": float(document["logit_scale"]),
        "provenance": provenance,
    }
