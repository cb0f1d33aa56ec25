"""Classes of image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.functional import normalize

from .backbones.base import Backbone, check_weights, weight_hashes
from .data.folders import IMAGE_ENDINGS
from .features.extract import extract_features, read_image
from .runs import SavedRun


class Prediction(NamedTuple):
    """The most likely classes of an image, with their probabilities, or why there are none."""

    path: Path
    classes: list[tuple[str, float]]
    error: str = ""

    def as_record(self) -> dict[str, Any]:
        """As JSON takes it; two classes of ImageNet may share a name."""
        classes = [{"class": name, "probability": share} for name, share in self.classes]
        record = {"path": str(self.path), "classes": classes}
        return record | {"error": self.error} if self.error else record


def image_files(named: Sequence[Path]) -> list[Path]:
    """Return image files and the images below folders, in order.

    Args:
        named: Files and folders. Of a folder the images at any depth count, by their endings.

    Returns:
        Files.

    Raises:
        FileNotFoundError: If something is missing, or a folder has no image.
    """
    files: list[Path] = []
    for path in named:
        found = [path] if path.is_file() else sorted(filter(_is_image, path.rglob("*")))
        if not found:
            raise FileNotFoundError(
                f"`IMAGES` should be image files or folders of them. Got '{path}', which is "
                f"{'a folder without images' if path.is_dir() else 'neither'}."
            )
        files += found
    return files


def _is_image(path: Path) -> bool:
    """Whether a path ends as an image does, and is a file that is not hidden."""
    return path.name[0] != "." and path.name.lower().endswith(IMAGE_ENDINGS) and path.is_file()


def predict(
    saved: SavedRun, backbone: Backbone, images: Sequence[Path], top: int
) -> list[Prediction]:
    """Classify image files.

    Args:
        saved: A run with its adapter.
        backbone: That of the run.
        images: Files.
        top: How many classes of each.

    Returns:
        A prediction for each file, classes by falling probability; for a file that cannot be read
        as an image, the error instead.

    Raises:
        ValueError: If the backbone has other weights than those that the adapter was trained on.
    """
    check_weights(backbone.name, weight_hashes(backbone.fingerprint()), saved.run.weights)
    errors = {path: _error(path) for path in images}
    good = [path for path in images if not errors[path]]
    features = extract_features(backbone, Path(), [str(path) for path in good])
    with torch.no_grad():
        shares = saved.adapter(normalize(features, dim=1)).softmax(dim=1)
    values, places = shares.topk(min(top, shares.shape[1]), dim=1)
    found = {
        path: [(saved.class_names[place], value) for place, value in zip(p, v, strict=True)]
        for path, p, v in zip(good, places.tolist(), values.tolist(), strict=True)
    }
    return [Prediction(path, found.get(path, []), errors[path]) for path in images]


def _error(path: Path) -> str:
    """Why a file cannot be read as an image; empty if it can."""
    try:
        read_image(Path(), str(path))
    except (OSError, ValueError) as error:
        return str(error)
    return ""
