"""From an image file to the features of its views, and what a training step sees of them."""

from __future__ import annotations

import copy
import ctypes
import functools
import math
import os
import random
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..backbones import Backbone, Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

RATIO = (3 / 4, 4 / 3)
ATTEMPTS = 10
LARGEST_DRAW = 2**62
MALLOC_OPTIONS = ((-4, 0), (-1, 2**31 - 1), (-2, 2**26))
"""M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of glibc: no mapping per tensor, no trimming."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of images done and the number of all images."""


def read_image(root: Path, path: str, *, published: bool = False, small: bool = False) -> Image:
    """Read one image in RGB as a viewer would show it.

    The orientation in its EXIF data is applied, transparent pixels are white, and 16-bit grey
    values are scaled to 8 bits. With ``published`` it is read as the published codes do: they
    ignore orientation and transparency, and 16-bit values from 256 on become white. ``small``
    decodes a JPEG at an eighth of its size, which is enough to learn whether it can be read.
    """
    import PIL.Image

    file = root / path
    if not file.is_file():
        raise FileNotFoundError(
            f"`{root}` should hold every image of the split. Got no file {path!r}. "
            "Is this the image folder, and is the archive unpacked in full?"
        )
    try:
        with PIL.Image.open(file) as image:
            if small:
                image.draft("RGB", (1, 1))
            return image.convert("RGB") if published else _as_shown(image)
    except Exception as error:  # decoders raise what they like
        raise ValueError(
            f"`{path}` should be a readable image. Got: {error}. Copy the file again. "
            "Commands that extract features leave it out with `--skip-damaged`."
        ) from error


def _as_shown(image: Image) -> Image:
    import numpy as np
    import PIL.Image
    import PIL.ImageOps

    image = PIL.ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float64)
        largest = 1.0 if image.mode == "F" else 65535.0
        if not (values.min() >= 0 and values.max() <= largest):
            raise OSError(f"grey values from {values.min():g} to {values.max():g}, of {largest:g}")
        image = PIL.Image.fromarray(np.rint(values * (255 / largest)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = PIL.Image.alpha_composite(PIL.Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


@dataclass(frozen=True)
class Centre:
    """The encoder's own preprocessing, for evaluation: one view of each image."""

    views: int = 1
    published: bool = False

    def describe(self) -> dict[str, Any]:
        """Return what the features depend on, as JSON takes it."""
        return {"kind": "centre", "published": self.published}

    def __call__(self, image: Image, backbone: Backbone, path: str) -> Tensor:
        """Return the one view (1, 3, h, w) of an image."""
        return backbone.preprocess(image)[None]


@dataclass(frozen=True)
class Augmentation:
    """Random resized crops, half of them mirrored.

    Each view has its own random stream, seeded by seed, path and number. It does not depend on
    what else is extracted, in which order, or by how many threads.
    """

    views: int = 10
    scale: tuple[float, float] = (0.5, 1.0)  # shares of the area; TaskRes takes (0.08, 1)
    seed: int = 1
    first: int = 0  # number of the first view
    published: bool = False  # as `read_image` takes it

    def __post_init__(self) -> None:
        """Check the shares."""
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(
                f"`scale` should be two shares of the area, 0 < low <= high <= 1. Got {self.scale}."
            )

    def describe(self) -> dict[str, Any]:
        """Return what the features depend on, as JSON takes it."""
        return {"kind": "augmented", **asdict(self), "scale": list(self.scale)}

    def __call__(self, image: Image, backbone: Backbone, path: str) -> Tensor:
        """Return the views (v, 3, h, w) of an image."""
        numbers = range(self.first, self.first + self.views)
        streams = [random.Random(f"{self.seed}/{path}/{number}") for number in numbers]
        return torch.stack([_crop(image, backbone.pixels, s, self.scale) for s in streams])


View: TypeAlias = Centre | Augmentation


def _crop(
    image: Image, pixels: Pixels, stream: random.Random, scale: tuple[float, float]
) -> Tensor:
    """Return one crop in the size that the encoder takes.

    torchvision draws from torch's global generator, which threads share; only the draws are ours.
    """
    from torchvision.transforms import InterpolationMode, functional

    box = crop_box(*image.size, stream, scale)
    mode = InterpolationMode(pixels.interpolation)
    crop = functional.resized_crop(image, *box, [pixels.size, pixels.size], mode)
    if stream.random() < 0.5:
        crop = functional.hflip(crop)
    tensor: Tensor = functional.to_tensor(crop)
    normalized: Tensor = functional.normalize(tensor, list(pixels.mean), list(pixels.std))
    return normalized


def crop_box(
    width: int, height: int, stream: random.Random, scale: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Draw top, left, height and width of a crop as torchvision's ``RandomResizedCrop`` does.

    The area is uniform in ``scale``, the logarithm of the aspect ratio uniform from 3/4 to 4/3.
    After ten draws that do not fit, it is the greatest centre crop of a permitted shape.
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


def extract_views(
    backbone: Backbone,
    root: str | os.PathLike[str],
    paths: Sequence[str],
    view: View,
    *,
    batch_size: int = 64,
    num_workers: int = 2,
    progress: Progress = lambda done, total: None,
) -> Tensor:
    """Encode views of image files: features (n, v, d), not normalised, float32, on the CPU.

    The encoder is called with ``batch_size`` views, all views of an image together, and progress
    is told after every call. Meanwhile ``num_workers`` threads read and preprocess the next batch.
    """
    keep_freed_memory()
    features = torch.empty(len(paths), view.views, backbone.dimension)
    size = max(1, batch_size // view.views)

    def load(path: str) -> Tensor:
        return view(read_image(Path(root), path, published=view.published), backbone, path)

    with ThreadPoolExecutor(num_workers) as pool:
        ahead = pool.map(load, paths[:size])
        for start in range(0, len(paths), size):
            # While a batch is encoded, the threads read the next, and not further.
            current, ahead = ahead, pool.map(load, paths[start + size : start + 2 * size])
            images = torch.stack(list(current))
            with torch.inference_mode():
                encoded = backbone.encode_image(images.flatten(0, 1))
            end = start + len(images)
            features[start:end] = encoded.unflatten(0, images.shape[:2])
            progress(end, len(paths))
    return features


def extract_features(
    backbone: Backbone,
    root: str | os.PathLike[str],
    paths: Sequence[str],
    *,
    published: bool = False,
    **options: Any,
) -> Tensor:
    """Encode the centre view of image files; arguments as in :func:`extract_views`."""
    return extract_views(backbone, root, paths, Centre(published=published), **options)[:, 0]


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next batch; elsewhere nothing happens.

    By default it returns each large tensor to the system when it is freed, and the system fills
    the next one with zeros page by page: half the time of an extraction.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in MALLOC_OPTIONS:
            mallopt(option, value)


# What a training step sees of the images


class CachedViews:
    """Views (n, v, d), encoded once; a step draws one of each image.

    The given features are normalised in place: those of ImageNet at 16 shots take 655 MB.
    """

    def __init__(self, features: Tensor) -> None:
        self._keys = normalize(features.mean(1), dim=1)
        self.units = normalize(features, dim=2, out=features)

    def to(self, device: torch.device | str) -> CachedViews:
        """Return the views on a device."""
        moved = copy.copy(self)
        moved.units, moved._keys = self.units.to(device), self._keys.to(device)
        return moved

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return features (m, d) of unit length of one view of each of m images."""
        if self.units.shape[1] == 1:
            return self.units[rows, 0]
        return self.units[rows, torch.randint(self.units.shape[1], rows.shape, generator=generator)]

    def keys(self) -> Tensor:
        """Return Tip-Adapter's cache keys (n, d): means of the raw views, then unit length."""
        return self._keys


@dataclass
class OnlineViews:
    """Images read, augmented and encoded at every step; methods as in :class:`CachedViews`."""

    backbone: Backbone
    root: Path
    paths: Sequence[str]
    augmentation: Augmentation
    options: dict[str, Any]  # of `extract_views`
    device: torch.device | str = "cpu"
    _keys: Tensor | None = None

    def to(self, device: torch.device | str) -> OnlineViews:
        """Return images whose features are moved to a device."""
        return replace(self, device=device)

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return features (m, d) of unit length of a new view of each of m images."""
        first = int(torch.randint(LARGEST_DRAW, (), generator=generator))
        fresh = replace(self.augmentation, views=1, first=self.augmentation.views + first)
        return normalize(self._encode([self.paths[row] for row in rows.tolist()], fresh)[:, 0])

    def keys(self) -> Tensor:
        """Return Tip-Adapter's cache keys (n, d), computed once."""
        if self._keys is None:
            self._keys = normalize(self._encode(self.paths, self.augmentation).mean(1), dim=1)
        return self._keys

    def _encode(self, paths: Sequence[str], augmentation: Augmentation) -> Tensor:
        views = extract_views(self.backbone, self.root, paths, augmentation, **self.options)
        return views.to(self.device)


TrainingImages: TypeAlias = CachedViews | OnlineViews
