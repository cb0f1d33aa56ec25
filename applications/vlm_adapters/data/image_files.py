"""Image files that are missing or damaged."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

__all__ = ["Progress", "image_kinds", "missing_images", "unreadable_images"]

CHUNK = 1024

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of images done and the number of all images."""


def missing_images(images: str | os.PathLike[str], paths: Sequence[str]) -> list[str]:
    """The images that are not there. Each folder is listed once, which beats asking for each file.

    Args:
        images: Image folder.
        paths: Files below it, with slashes.

    Returns:
        The paths of those that are no files.
    """
    present: dict[str, set[str]] = {}
    missing: list[str] = []
    for path in paths:
        parent, name = posixpath.split(path)
        if parent not in present:
            present[parent] = _files(Path(images) / parent)
        if name not in present[parent]:
            missing.append(path)
    return missing


def unreadable_images(
    images: str | os.PathLike[str], paths: Sequence[str], progress: Progress | None = None
) -> list[str]:
    """The images that cannot be decoded to their end.

    Args:
        images: Image folder.
        paths: Files below it.
        progress: Called with the images decoded and the images in all.

    Returns:
        The paths of those that are damaged.
    """
    damaged: list[str] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), CHUNK):
            chunk = paths[start : start + CHUNK]
            readable = pool.map(_decodes, [Path(images) / path for path in chunk])
            damaged += [path for path, good in zip(chunk, readable, strict=True) if not good]
            if progress is not None:
                progress(start + len(chunk), len(paths))
    return damaged


def image_kinds(images: str | os.PathLike[str], paths: Sequence[str]) -> Counter[str]:
    """Count modes and orientations by the headers of the images.

    Args:
        images: Image folder.
        paths: Files below it.

    Returns:
        How many images have each mode, such as ``"RGB"``; those that EXIF data turn are called
        ``"turned"`` besides, and those with transparent pixels ``"transparent"``.
    """
    kinds: Counter[str] = Counter()
    with ThreadPoolExecutor() as pool:
        for found in pool.map(_kinds, [Path(images) / path for path in paths]):
            kinds.update(found)
    return kinds


def _kinds(file: Path) -> list[str]:
    """Mode and orientation of one image; nothing if it cannot be read."""
    from PIL import ExifTags, Image

    try:
        with Image.open(file) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
            extra = ["turned"] * turned + ["transparent"] * image.has_transparency_data
            return [image.mode, *extra]
    except Exception:  # decoders raise what they like
        return []


def _files(folder: Path) -> set[str]:
    """Names of the files in a folder; none if there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()


def _decodes(file: Path) -> bool:
    """Whether an image can be decoded to its end. PIL's ``verify`` misses JPEGs cut short."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.draft("RGB", (1, 1))  # JPEG: an eighth of the size, which is faster
            image.load()
    except Exception:  # decoders raise what they like
        return False
    return True
