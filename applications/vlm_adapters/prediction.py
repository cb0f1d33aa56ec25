"""Classes of image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.functional import normalize

from .backbones.base import Backbone, check_weights, weight_hashes
from .features.extract import extract_features
from .run_files import SavedRun


class Prediction(NamedTuple):
    """The most likely classes of an image, with their probabilities."""

    path: Path
    classes: list[tuple[str, float]]

    def as_record(self) -> dict[str, Any]:
        """As JSON takes it; two classes of ImageNet may share a name."""
        classes = [{"class": name, "probability": share} for name, share in self.classes]
        return {"path": str(self.path), "classes": classes}


def are_files(images: Sequence[Path]) -> None:
    """Refuse images that are not there.

    Args:
        images: Files.

    Raises:
        FileNotFoundError: If a file is missing.
    """
    for path in images:
        if not path.is_file():
            raise FileNotFoundError(f"`IMAGES` should be image files. Got '{path}', which is none.")


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
        A prediction for each file, classes by falling probability.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is no readable image, or the backbone has other weights than those
            that the adapter was trained on.
    """
    are_files(images)
    check_weights(backbone.name, weight_hashes(backbone.fingerprint()), saved.run.weights)
    features = extract_features(backbone, Path(), [str(path) for path in images])
    with torch.no_grad():
        shares = saved.adapter(normalize(features, dim=1)).softmax(dim=1)
    values, places = shares.topk(min(top, shares.shape[1]), dim=1)
    return [
        Prediction(
            path, [(saved.class_names[place], value) for place, value in zip(p, v, strict=True)]
        )
        for path, p, v in zip(images, places.tolist(), values.tolist(), strict=True)
    ]
