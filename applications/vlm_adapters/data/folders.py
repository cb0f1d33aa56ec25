"""Folders of images, listed quickly and in one order on every file system."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence

from .splits import Sample, Split

__all__ = [
    "IMAGE_ENDINGS",
    "class_folders",
    "class_samples",
    "image_names",
    "left_out",
    "listed_split",
]

IMAGE_ENDINGS = (
    ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif",
    ".tiff", ".webp",
)  # fmt: skip
"""How the name of an image file ends, in small or large letters."""


def class_folders(folder: str | os.PathLike[str]) -> list[str]:
    """Names of the folders in a folder, hidden ones left out.

    Args:
        folder: Where to look.

    Returns:
        Sorted names.
    """
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())


def image_names(folder: str | os.PathLike[str]) -> list[str]:
    """Names of the images in a folder, by their endings, hidden files left out.

    Args:
        folder: Where to look; not below its folders.

    Returns:
        Sorted names.
    """
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if entry.name.lower().endswith(IMAGE_ENDINGS)
            and entry.name[0] != "."
            and not entry.is_dir()  # not is_file(): a broken link is an image that is missing
        )


def class_samples(
    images: str | os.PathLike[str], classes: Iterable[tuple[str, int]]
) -> list[Sample]:
    """The images of class folders, class after class, sorted by name within each.

    Args:
        images: Image folder.
        classes: Path of each class folder below ``images``, with slashes, and its label.

    Returns:
        One sample per image.

    Raises:
        ValueError: If a class folder has no image.
    """
    samples: list[Sample] = []
    for path, label in classes:
        folder = os.path.join(images, path)
        names = image_names(folder)
        if not names:
            raise ValueError(
                f"`{folder}` should hold images ({', '.join(IMAGE_ENDINGS)}). "
                f"Got {_content(folder)}. Put its images there, or remove the folder."
            )
        samples += [Sample(f"{path}/{name}", label) for name in names]
    return samples


def left_out(folder: str | os.PathLike[str], taken: Iterable[str]) -> list[str]:
    """Return the files at any depth of a folder that a data set does not take.

    Args:
        folder: The folder.
        taken: Paths of the images that it takes, below the folder, with slashes.

    Returns:
        Sorted paths below the folder; hidden files and folders do not count.
    """
    known = set(taken)
    found: list[str] = []
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        below = os.path.relpath(path, folder).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        found += [f"{prefix}{name}" for name in files if name[0] != "."]
    return sorted(path for path in found if path not in known)


def listed_split(
    train: Sequence[Sample],
    val: Sequence[Sample],
    test: Sequence[Sample],
    class_names: Sequence[str],
) -> Split:
    """A split that no file holds; its hash is that of its list of images and class names.

    Args:
        train: Training images.
        val: Validation images.
        test: Test images.
        class_names: Name of each class, by label.

    Returns:
        The split.
    """
    digest = hashlib.sha256()
    for name in class_names:
        digest.update(_encode(f"class\0{name}\n"))
    for subset, samples in (("train", train), ("val", val), ("test", test)):
        for sample in samples:
            digest.update(_encode(f"{subset}\0{sample.label}\0{sample.path}\n"))
    return Split(tuple(train), tuple(val), tuple(test), tuple(class_names), digest.hexdigest())


def _encode(text: str) -> bytes:
    """Bytes of a text that may hold a file name in no encoding."""
    return text.encode("utf-8", "surrogateescape")


def _content(folder: str) -> str:
    """What a folder without images holds instead."""
    folders = len(class_folders(folder))
    others = len(os.listdir(folder)) - folders
    return f"{others} other files and {folders} folders" if folders or others else "an empty folder"
