"""How an image becomes a tensor: one centre view for evaluation, augmented views for training."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._optional import require
from ..backbones.base import Backbone, Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CENTRE", "Augmentation", "Centre", "View"]

RATIO = (3 / 4, 4 / 3)
ATTEMPTS = 10


@dataclass(frozen=True)
class Centre:
    """The backbone's own preprocessing, one view per image.

    Attributes:
        views: 1.
        published: As :func:`.extract.read_image` takes it.
    """

    views: int = 1
    published: bool = False

    def describe(self) -> dict[str, Any]:
        """What the features depend on, as JSON takes it."""
        return {"kind": "centre", "published": self.published}

    def __call__(self, image: Image, backbone: Backbone, path: str) -> Tensor:
        """Views (1, 3, h, w) of one image."""
        return backbone.preprocess(image)[None]


@dataclass(frozen=True)
class Augmentation:
    """Random resized crops, half of them mirrored.

    Every view has a stream of its own, seeded by seed, path and number, so that it does not depend
    on what else is extracted, in which order, or by how many threads.

    Attributes:
        views: Views of each image.
        scale: Least and greatest share of the image's area; Tip-Adapter takes (0.5, 1), TaskRes
            (0.08, 1).
        seed: Seed of all streams.
        first: Number of the first view.
        published: As :func:`.extract.read_image` takes it.
    """

    views: int = 10
    scale: tuple[float, float] = (0.5, 1.0)
    seed: int = 1
    first: int = 0
    published: bool = False

    def __post_init__(self) -> None:
        """Refuse shares of the area that are none, and no view."""
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(
                f"`scale` should be two shares of the area, 0 < low <= high <= 1. Got {self.scale}."
            )
        if self.views < 1:
            raise ValueError(f"`views` should be 1 or more. Got {self.views}.")

    def describe(self) -> dict[str, Any]:
        """What the features depend on, as JSON takes it."""
        return {"kind": "augmented", **asdict(self), "scale": list(self.scale)}

    def __call__(self, image: Image, backbone: Backbone, path: str) -> Tensor:
        """Views (v, 3, h, w) of one image."""
        streams = [
            random.Random(f"{self.seed}/{path}/{self.first + view}") for view in range(self.views)
        ]
        return torch.stack([_augmented(image, backbone.pixels, stream, self.scale)
                            for stream in streams])  # fmt: skip


View = Centre | Augmentation
CENTRE = Centre()


def _augmented(
    image: Image, pixels: Pixels, stream: random.Random, scale: tuple[float, float]
) -> Tensor:
    """One crop in the size that the backbone takes.

    torchvision draws from torch's global generator, which threads share; only the draws are ours.
    """
    transforms = require("torchvision.transforms", extra="vlm")
    functional = transforms.functional
    box = crop_box(*image.size, stream, scale)
    mode = transforms.InterpolationMode(pixels.interpolation)
    crop = functional.resized_crop(image, *box, [pixels.size, pixels.size], mode)
    if stream.random() < 0.5:
        crop = functional.hflip(crop)
    tensor: Tensor = functional.to_tensor(crop)
    normalized: Tensor = functional.normalize(tensor, list(pixels.mean), list(pixels.std))
    return normalized


def crop_box(
    width: int, height: int, stream: random.Random, scale: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random crop.

    Args:
        width: Of the image.
        height: Of the image.
        stream: Source of the draws.
        scale: Least and greatest share of the area.

    Returns:
        The crop; after ten draws that do not fit, the greatest centre crop of a permitted shape.

    Source:
        The distribution of ``torchvision.transforms.RandomResizedCrop``: the area uniform, the
        logarithm of the aspect ratio uniform from 3/4 to 4/3.
    """
    low, high = (math.log(ratio) for ratio in RATIO)
    for _ in range(ATTEMPTS):
        area = width * height * stream.uniform(*scale)
        ratio = math.exp(stream.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return stream.randint(0, height - h), stream.randint(0, width - w), h, w
    ratio = min(max(width / height, RATIO[0]), RATIO[1])
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    return (height - h) // 2, (width - w) // 2, h, w
