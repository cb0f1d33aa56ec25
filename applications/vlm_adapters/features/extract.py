"""Features of image files, one or more views of each."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from .._optional import require
from ..backbones.base import Backbone
from .views import CENTRE, View

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

__all__ = ["Progress", "extract_features", "extract_views", "read_image"]

MALLOC_OPTIONS = ((-4, 0), (-1, 2**31 - 1), (-2, 2**26))
"""M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of glibc: no mapping per tensor, no trimming."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of images done and the number of all images."""


def extract_features(
    backbone: Backbone,
    root: str | os.PathLike[str],
    paths: Sequence[str],
    *,
    batch_size: int = 64,
    num_workers: int = 2,
    progress: Progress | None = None,
) -> Tensor:
    """Encode one centre view of each image file.

    Args:
        backbone: Frozen encoder.
        root: Image folder.
        paths: Files below ``root``.
        batch_size: Images per call of the encoder.
        num_workers: Threads that read and preprocess the next batch meanwhile.
        progress: Called after every batch with the images done and the images in all.

    Returns:
        One row per path, not normalised, float32, on the CPU.

    Raises:
        FileNotFoundError: If an image is missing.
        ValueError: If an image cannot be read, or ``batch_size`` or ``num_workers`` is below 1.

    Shape:
        - Output: :math:`(n, d)`.
    """
    views = extract_views(
        backbone, root, paths, CENTRE,
        batch_size=batch_size, num_workers=num_workers, progress=progress,
    )  # fmt: skip
    return views[:, 0]


def extract_views(
    backbone: Backbone,
    root: str | os.PathLike[str],
    paths: Sequence[str],
    view: View,
    *,
    batch_size: int = 64,
    num_workers: int = 2,
    progress: Progress | None = None,
) -> Tensor:
    """Encode every view of each image file.

    Args:
        backbone: Frozen encoder.
        root: Image folder.
        paths: Files below ``root``.
        view: Which views.
        batch_size: Views per call of the encoder, all views of an image together.
        num_workers: Threads that read and preprocess the next batch meanwhile.
        progress: Called after every batch with the images done and the images in all.

    Returns:
        Features, not normalised, float32, on the CPU.

    Raises:
        FileNotFoundError: If an image is missing.
        ValueError: If an image cannot be read, or ``batch_size`` or ``num_workers`` is below 1.

    Shape:
        - Output: :math:`(n, v, d)` for v views.
    """
    for name, value in (("batch_size", batch_size), ("num_workers", num_workers)):
        if value < 1:
            raise ValueError(f"`{name}` should be 1 or more. Got {value}.")
    rearrange = require("einops", extra="vlm").rearrange
    keep_freed_memory()
    features = torch.empty(len(paths), view.views, backbone.dimension)
    size = max(1, batch_size // view.views)
    done = 0
    with ThreadPoolExecutor(num_workers) as pool:
        for images in _batches(pool, backbone, Path(root), paths, view, size):
            with torch.inference_mode():
                encoded = backbone.encode_image(rearrange(images, "n v c h w -> (n v) c h w"))
            features[done : done + len(images)] = rearrange(
                encoded, "(n v) d -> n v d", n=len(images)
            )
            done += len(images)
            if progress is not None:
                progress(done, len(paths))
    return features


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


def _batches(
    pool: ThreadPoolExecutor,
    backbone: Backbone,
    root: Path,
    paths: Sequence[str],
    view: View,
    size: int,
) -> Iterator[Tensor]:
    """Preprocessed batches; while one is in use the threads read the next, and no further."""

    def submit(start: int) -> list[Future[Tensor]]:
        batch = paths[start : start + size]
        return [pool.submit(_load, backbone, root, path, view) for path in batch]

    ahead = submit(0)
    for start in range(size, len(paths) + size, size):
        current, ahead = ahead, submit(start)
        yield torch.stack([future.result() for future in current])


def _load(backbone: Backbone, root: Path, path: str, view: View) -> Tensor:
    """Read one image and make its views (v, 3, h, w)."""
    return view(read_image(root, path, published=view.published), backbone, path)


def read_image(root: Path, path: str, *, published: bool = False) -> Image:
    """Read one image as a viewer would show it.

    The orientation in its EXIF data is applied, transparent pixels are white, and 16-bit grey
    values are scaled to 8 bits.

    Args:
        root: Image folder.
        path: File below it.
        published: Whether to do as the published codes instead: they ignore orientation and
            transparency, and 16-bit values from 256 on become white.

    Returns:
        The image in RGB.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it cannot be read.
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
            return image.convert("RGB") if published else _as_shown(image)
    except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(
            f"`{path}` should be a readable image. Got: {error}. Copy the file again. "
            "Commands that extract features leave it out with `--skip-damaged`."
        ) from error


def _as_shown(image: Image) -> Image:
    """The image in RGB, upright, on white, in 8 bits."""
    import PIL.Image
    import PIL.ImageOps

    image = PIL.ImageOps.exif_transpose(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = PIL.Image.fromarray(_eight_bits(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = PIL.Image.new("RGBA", image.size, "white")
        image = PIL.Image.alpha_composite(white, image)
    return image.convert("RGB")


def _eight_bits(image: Image) -> NDArray[np.uint8]:
    """Grey values of 16 bits, or floating-point ones in [0, 1], in 8 bits."""
    import numpy as np

    values = np.asarray(image).astype(np.float64)
    largest = 1.0 if image.mode == "F" else 65535.0
    if not (values.min() >= 0 and values.max() <= largest):
        raise OSError(f"grey values from {values.min():g} to {values.max():g}, of {largest:g}")
    return np.rint(values * (255 / largest)).astype(np.uint8)
