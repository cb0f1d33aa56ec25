"""A user's own images: class folders, or a split file with an image folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from ..prompts import check_templates
from .base import ImageDataset
from .folder_split import cut_split, has_subsets, subset_split, test_split
from .folders import IMAGE_ENDINGS, left_out
from .splits import SUBSETS, Split, read_split

__all__ = ["DEFAULT_TEMPLATES", "image_folder", "split_dataset"]

SHOWN = 3
log = logging.getLogger(__name__)

DEFAULT_TEMPLATES = ("a photo of a {}.",)


def image_folder(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    seed: int = 1,
    val_share: float = 0.2,
    test_share: float = 0.3,
    only_test: bool = False,
    templates: Sequence[str] = DEFAULT_TEMPLATES,
) -> ImageDataset:
    """Open a folder with one folder of images per class.

    Files with other endings than those of images, and hidden files, are left out. Labels follow
    the sorted names of the class folders. Where the folder holds ``train``, ``test`` and perhaps
    ``val``, each with the same class folders, these are the subsets; the seed and the shares are
    not used. Otherwise the images of each class are shuffled, by the seed and the name of the
    class alone, and cut: every image is in one subset, and every class has a training image.

    Args:
        path: The folder.
        name: Name in tables and files; by default that of the folder.
        seed: Seed of the cut.
        val_share: Share of each class's images for validation, rounded; with none left, validation
            images are drawn from the training images.
        test_share: Share of each class's images for testing, rounded.
        only_test: Take all images for testing instead, if the folder does not hold subsets.
        templates: Sentences with one ``{}`` each, where a class name goes.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there are fewer than two classes, a class has no image, subsets differ in
            their classes, no image is left for testing, or an argument is out of range.
    """
    check_templates(templates)
    folder = _existing(path, "path")
    _check_shares(val_share, test_share)
    if has_subsets(folder):
        split = subset_split(folder)
    elif only_test:
        split = test_split(folder)
    else:
        split = cut_split(folder, seed, val_share, test_share)
    _tell(folder, split)
    texts = tuple(templates)
    return ImageDataset(name or folder.resolve().name, folder, split, texts, texts)


def split_dataset(
    split_file: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    name: str | None = None,
    templates: Sequence[str] = DEFAULT_TEMPLATES,
) -> ImageDataset:
    """Open a split in CoOp's JSON format with its images.

    Args:
        split_file: The split; see :func:`read_split`.
        images: Folder below which the paths of the split lie.
        name: Name in tables and files; by default that of the split file, without its ending.
        templates: Sentences with one ``{}`` each, where a class name goes.

    Returns:
        The data set. :func:`check_images` tells whether its images are there.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If the file is no such split, or a template has no place for the name.
    """
    check_templates(templates)
    folder = _existing(images, "images")
    split = read_split(split_file)
    texts = tuple(templates)
    return ImageDataset(name or Path(split_file).stem, folder, split, texts, texts)


def _tell(folder: Path, split: Split) -> None:
    """Say what was found and what was left out, in one line each."""
    counts = {name: len(split.subset(name)) for name in SUBSETS}
    log.info(
        "%s: %d classes, %d images (%s).",
        folder, len(split.class_names), sum(counts.values()),
        ", ".join(f"{count} {name}" for name, count in counts.items()),
    )  # fmt: skip
    taken = (sample.path for name in SUBSETS for sample in split.subset(name))
    others = left_out(folder, taken)
    if others:
        shown = ", ".join(others[:SHOWN]) + (", ..." if len(others) > SHOWN else "")
        log.warning(
            "%s: %d files left out (%s). Images count in class folders only, not in folders "
            "below them, and by the endings %s.",
            folder, len(others), shown, " ".join(IMAGE_ENDINGS),
        )  # fmt: skip


def _existing(path: str | os.PathLike[str], argument: str) -> Path:
    """A folder that is there."""
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"`{argument}` should be a folder of images. Got {str(folder)!r}, not a folder. "
            "Do the data lie elsewhere?"
        )
    return folder


def _check_shares(val_share: float, test_share: float) -> None:
    """Refuse shares that leave nothing to train on or to test on."""
    if not (val_share >= 0 and test_share > 0 and val_share + test_share < 1):
        raise ValueError(
            "`val_share` should be 0 or more, `test_share` more than 0, and their sum less than "
            f"1. Got {val_share} and {test_share}."
        )
