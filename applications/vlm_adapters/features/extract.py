"""Features of image files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from ..backbones.base import Backbone

__all__ = ["Progress", "extract_features"]

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
    """Encode image files.

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
    for name, value in (("batch_size", batch_size), ("num_workers", num_workers)):
        if value < 1:
            raise ValueError(f"`{name}` should be 1 or more. Got {value}.")
    features = torch.empty(len(paths), backbone.dimension)
    done = 0
    with ThreadPoolExecutor(num_workers) as pool:
        for images in _batches(pool, backbone, Path(root), paths, batch_size):
            with torch.inference_mode():
                encoded = backbone.encode_image(images)
            features[done : done + len(images)] = encoded
            done += len(images)
            if progress is not None:
                progress(done, len(paths))
    return features


def _batches(
    pool: ThreadPoolExecutor, backbone: Backbone, root: Path, paths: Sequence[str], size: int
) -> Iterator[Tensor]:
    """Preprocessed batches; while one is in use the threads read the next, and no further."""

    def submit(start: int) -> list[Future[Tensor]]:
        batch = paths[start : start + size]
        return [pool.submit(_load, backbone, root, path) for path in batch]

    ahead = submit(0)
    for start in range(size, len(paths) + size, size):
        current, ahead = ahead, submit(start)
        yield torch.stack([future.result() for future in current])


def _load(backbone: Backbone, root: Path, path: str) -> Tensor:
    """Read and preprocess one image."""
    from PIL import Image

    file = root / path
    if not file.is_file():
        raise FileNotFoundError(
            f"`paths` should name images below {str(root)!r}. Got {path!r}, which is no file. "
            "Is this the image folder, and is the archive unpacked in full?"
        )
    try:
        with Image.open(file) as image:
            rgb = image.convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"`paths` should name readable images. Got {path!r}: {error}. Copy the file again."
        ) from error
    return backbone.preprocess(rgb)
