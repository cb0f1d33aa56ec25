"""What is wrong with a data set, and what to do about it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace

from .base import ImageDataset
from .datasets import DATASETS, find_spec, open_dataset
from .folders import listed_split
from .image_files import Progress, missing_images, unreadable_images
from .specs import DatasetSpec, Problem, Sizes
from .splits import SUBSETS, Split

__all__ = ["Problem", "check_dataset", "check_images", "without_damaged"]

log = logging.getLogger(__name__)

SHOWN = 3


def check_dataset(
    name: str,
    root: str | os.PathLike[str],
    *,
    verify: bool = False,
    sizes: bool = True,
    progress: Progress | None = None,
) -> list[Problem]:
    """Look for whatever is wrong with a published data set. Bad data raise no error.

    Args:
        name: CoOp's configuration name.
        root: Folder that holds the data sets' folders.
        verify: Decode every image, to find those that are damaged.
        sizes: Compare the numbers of classes and images with the published ones. Turn off for a
            part of a data set.
        progress: Called with the images decoded and the images in all.

    Returns:
        The problems; none if the data set can be used.

    Raises:
        ValueError: If there is no such data set.
    """
    spec = find_spec(name)
    problems = spec.missing(root)
    if problems:
        return problems
    try:
        dataset = open_dataset(name, root)
    except (OSError, ValueError) as error:
        return [Problem(str(spec.locate(root).folder), str(error), spec.how_to_get())]
    if sizes:
        problems += _wrong_sizes(spec, dataset.split, str(spec.locate(root).folder))
    return problems + check_images(dataset, verify=verify, progress=progress)


def check_images(
    dataset: ImageDataset, *, verify: bool = False, progress: Progress | None = None
) -> list[Problem]:
    """Look for images that are missing, damaged, or in two subsets.

    Args:
        dataset: An open data set, a user's own or a published one.
        verify: Decode every image, to find those that are damaged.
        progress: Called with the images decoded and the images in all.

    Returns:
        The problems; none if the data set can be used.
    """
    paths = _paths(dataset.split)
    missing = missing_images(dataset.images, paths)
    shared = _shared(dataset.split)
    damaged: list[str] = []
    if verify:
        absent = set(missing)
        present = [path for path in paths if path not in absent]
        damaged = unreadable_images(dataset.images, present, progress)
    found = (
        (missing, "are missing", "Unpack or copy the images again, or name the right folder."),
        (damaged, "are damaged", "Unpack or copy these again."),
        (shared, "are in two subsets or twice in one", "Name each image once in the split."),
    )
    return [
        Problem(str(dataset.images), f"{_some(which, len(paths))} {what}.", fix, tuple(which))
        for which, what, fix in found
        if which
    ]


def without_damaged(dataset: ImageDataset) -> ImageDataset:
    """Leave the images that are missing or cannot be decoded out of a data set.

    Args:
        dataset: The data set; every image is decoded.

    Returns:
        The data set without them, or itself if there are none.

    Raises:
        ValueError: If no test image is left.
    """
    paths = _paths(dataset.split)
    bad = set(unreadable_images(dataset.images, paths))
    if not bad:
        return dataset
    log.warning("%s left out, damaged.", _some(sorted(bad), len(paths)))
    train, val, test = (
        [sample for sample in dataset.split.subset(name) if sample.path not in bad]
        for name in SUBSETS
    )
    if not test:
        raise ValueError(
            f"`{dataset.images}` should hold readable test images. Got none. Copy them again."
        )
    return replace(dataset, split=listed_split(train, val, test, dataset.split.class_names))


def _wrong_sizes(spec: DatasetSpec, split: Split, folder: str) -> list[Problem]:
    """The problem that the numbers are not the published ones."""
    counts = Sizes(len(split.class_names), len(split.train), len(split.val), len(split.test))
    if counts == spec.sizes:
        return []
    others = [other.name for other in DATASETS.values() if other.sizes == counts]
    whose = f", the numbers of {others[0]}" if others else ""
    what = f"`{spec.split}` and its images give {counts}{whose}, not {spec.sizes}."
    return [Problem(folder, what, f"Is it complete, and no other data set? {spec.how_to_get()}")]


def _paths(split: Split) -> list[str]:
    """Every image once."""
    return list(dict.fromkeys(s.path for subset in SUBSETS for s in split.subset(subset)))


def _shared(split: Split) -> list[str]:
    """Images that the split names more than once."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for subset in SUBSETS:
        for sample in split.subset(subset):
            if sample.path in seen:
                twice[sample.path] = None
            seen.add(sample.path)
    return list(twice)


def _some(paths: Sequence[str], total: int) -> str:
    """How many of the images, and the first few."""
    shown = ", ".join(paths[:SHOWN]) + (", ..." if len(paths) > SHOWN else "")
    return f"{len(paths)} of {total} images ({shown})"
