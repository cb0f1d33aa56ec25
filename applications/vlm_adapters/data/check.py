"""What is wrong with a data set, and what to do about it."""

from __future__ import annotations

import logging
import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from .datasets import DATASETS, Problem, Sizes, find_spec, open_dataset
from .splits import SUBSETS, ImageDataset, listed_split

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of images done and the number of all images."""
T = TypeVar("T")
SHOWN = 3
CHUNK = 128  # images in the queue of the threads: ImageNet has more than a million


def check_dataset(
    name: str,
    root: str | os.PathLike[str],
    *,
    verify: bool = False,
    sizes: bool = True,
    progress: Progress = lambda done, total: None,
) -> list[Problem]:
    """Look for whatever is wrong with a published data set. Bad data raise no error.

    ``verify`` decodes every image, to find those that are damaged. ``sizes=False`` accepts a part
    of a data set.
    """
    spec = find_spec(name)
    problems = spec.missing(root)
    if problems:
        return problems
    folder = str(spec.locate(root).folder)
    try:
        dataset = open_dataset(name, root)
    except (OSError, ValueError) as error:
        return [Problem(folder, str(error), spec.how_to_get())]
    split = dataset.split
    counts = Sizes(len(split.class_names), len(split.train), len(split.val), len(split.test))
    if sizes and counts != spec.sizes:
        others = [other.name for other in DATASETS.values() if other.sizes == counts]
        whose = f", the numbers of {others[0]}" if others else ""
        what = f"`{spec.split}` and its images give {counts}{whose}, not {spec.sizes}."
        fix = f"Is it complete, and no other data set? {spec.how_to_get()}"
        problems = [Problem(folder, what, fix)]
    return problems + check_images(dataset, verify=verify, progress=progress)


def check_images(
    dataset: ImageDataset,
    *,
    verify: bool = False,
    progress: Progress = lambda done, total: None,
) -> list[Problem]:
    """Look for images that are missing, damaged (with ``verify``), or in two subsets."""
    paths = dataset.split.paths()
    missing = _missing(dataset.images, paths)
    absent = set(missing)
    present = [path for path in paths if path not in absent]
    damaged = _damaged(dataset.images, present, progress) if verify else []
    counts = Counter(s.path for name in SUBSETS for s in dataset.split.subset(name))
    shared = [path for path, count in counts.items() if count > 1]
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
    """Decode every image of a data set, and leave out those that are missing or damaged."""
    split = dataset.split
    paths = split.paths()
    damaged = _damaged(dataset.images, paths)
    if not damaged:
        return dataset
    log.warning("%s left out, damaged.", _some(sorted(damaged), len(paths)))
    bad = set(damaged)
    parts = {name: [s for s in split.subset(name) if s.path not in bad] for name in SUBSETS}
    if not parts["test"]:
        raise ValueError(
            f"`{dataset.images}` should hold readable test images. Got none. Copy them again."
        )
    return replace(dataset, split=listed_split(**parts, class_names=split.class_names))


def image_kinds(images: Path, paths: Sequence[str]) -> Counter[str]:
    """Count the modes, such as ``"RGB"``, by the headers of images.

    Images that EXIF data turn are also counted as ``"turned"``, and those with transparent pixels
    as ``"transparent"``.
    """
    kinds: Counter[str] = Counter()
    for found in _for_each(_kinds, images, paths):
        kinds.update(found)
    return kinds


def _missing(images: Path, paths: Sequence[str]) -> list[str]:
    """Return the images that are not there; lists each folder once, not asking for each file."""
    present: dict[str, set[str]] = {}
    missing: list[str] = []
    for path in paths:
        parent, name = posixpath.split(path)
        if parent not in present:
            try:
                with os.scandir(images / parent) as entries:
                    present[parent] = {entry.name for entry in entries if entry.is_file()}
            except OSError:
                present[parent] = set()
        if name not in present[parent]:
            missing.append(path)
    return missing


def _damaged(
    images: Path, paths: Sequence[str], progress: Progress = lambda done, total: None
) -> list[str]:
    """Return the images that cannot be decoded to their end."""
    damaged: list[str] = []
    for done, (path, good) in enumerate(
        zip(paths, _for_each(_decodes, images, paths), strict=True), start=1
    ):
        progress(done, len(paths))
        if not good:
            damaged.append(path)
    return damaged


def _for_each(function: Callable[[Path], T], images: Path, paths: Sequence[str]) -> Iterable[T]:
    """Yield the value of a function of each file, computed by threads."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), CHUNK):
            yield from pool.map(function, [images / path for path in paths[start : start + CHUNK]])


def _kinds(file: Path) -> list[str]:
    """Return mode and orientation of an image; nothing if it cannot be read."""
    from PIL import ExifTags, Image

    try:
        with Image.open(file) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
            extra = ["turned"] * turned + ["transparent"] * image.has_transparency_data
            return [image.mode, *extra]
    except Exception:  # decoders raise what they like
        return []


def _decodes(file: Path) -> bool:
    """Tell whether an image can be decoded. PIL's ``verify`` misses JPEGs cut short."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.draft("RGB", (1, 1))  # JPEG: an eighth of the size, which is faster
            image.load()
    except Exception:  # decoders raise what they like
        return False
    return True


def _some(paths: Sequence[str], total: int) -> str:
    """Say how many of the images, and the first few."""
    shown = ", ".join(paths[:SHOWN]) + (", ..." if len(paths) > SHOWN else "")
    return f"{len(paths)} of {total} images ({shown})"
