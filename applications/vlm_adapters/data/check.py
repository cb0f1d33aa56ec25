"""What is wrong with a data set, and what to do about it."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ..config import one_of
from ..features.views import Progress, read_image
from .datasets import DATASETS, Problem, open_dataset
from .splits import SUBSETS, ImageDataset, listed_split

log = logging.getLogger(__name__)

T = TypeVar("T")
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

    ``verify`` decodes every image. ``sizes=False`` accepts a part of a data set.
    """
    one_of("--dataset", name, DATASETS)
    spec = DATASETS[name]
    folder = str(spec.locate(root)[0])
    problems = spec.missing(root)
    if problems:
        return problems
    try:
        dataset = open_dataset(name, root)
    except (OSError, ValueError) as error:
        return [Problem(folder, str(error), spec.how_to_get())]
    split = dataset.split
    counts = (len(split.class_names), len(split.train), len(split.val), len(split.test))
    if sizes and counts != spec.sizes:
        others = [other.name for other in DATASETS.values() if other.sizes == counts]
        whose = f", the numbers of {others[0]}" if others else ""
        told, published = _told(counts), _told(spec.sizes)
        what = f"`{spec.split}` and its images give {told}{whose}, not {published}."
        fix = f"Is it complete, and no other data set? {spec.how_to_get()}"
        problems = [Problem(folder, what, fix)]
    return problems + check_images(dataset, verify=verify, progress=progress)


def check_images(
    dataset: ImageDataset, *, verify: bool = False, progress: Progress = lambda done, total: None
) -> list[Problem]:
    """Look for images that are missing, damaged (with ``verify``), or in two subsets."""
    images, paths = dataset.images, dataset.split.paths()
    missing = [path for path in paths if not os.path.isfile(os.path.join(images, path))]
    absent = set(missing)
    present = [path for path in paths if path not in absent]
    damaged = _damaged(images, present, progress) if verify else []
    counts = Counter(s.path for name in SUBSETS for s in dataset.split.subset(name))
    shared = [path for path, count in counts.items() if count > 1]
    found = (
        (missing, "are missing", "Unpack or copy the images again, or name the right folder."),
        (damaged, "are damaged", "Unpack or copy these again."),
        (shared, "are in two subsets or twice in one", "Name each image once in the split."),
    )
    return [
        Problem(str(images), f"{_some(which, len(paths))} {what}.", fix, tuple(which))
        for which, what, fix in found
        if which
    ]


def without_damaged(dataset: ImageDataset) -> ImageDataset:
    """Decode every image of a data set, and leave out those that are missing or damaged."""
    split, paths = dataset.split, dataset.split.paths()
    damaged = set(_damaged(dataset.images, paths))
    if not damaged:
        return dataset
    log.warning("%s left out, damaged.", _some(sorted(damaged), len(paths)))
    parts = {name: [s for s in split.subset(name) if s.path not in damaged] for name in SUBSETS}
    if not parts["test"]:
        raise ValueError(
            f"`{dataset.images}` should hold readable test images. Got none. Copy them again."
        )
    return replace(dataset, split=listed_split(**parts, class_names=split.class_names))


def image_kinds(images: Path, paths: Sequence[str]) -> Counter[str]:
    """Count images by mode, such as ``"RGB"``, and those turned by EXIF data or transparent."""
    return Counter(kind for found in _for_each(_kinds, images, paths) for kind in found)


def _damaged(
    images: Path, paths: Sequence[str], progress: Progress = lambda done, total: None
) -> list[str]:
    """Return the images that cannot be decoded to their end."""
    damaged = []
    for done, good in enumerate(_for_each(_decodes, images, paths)):
        progress(done + 1, len(paths))
        damaged += [] if good else [paths[done]]
    return damaged


def _for_each(function: Callable[[Path], T], images: Path, paths: Sequence[str]) -> Iterator[T]:
    """Yield the value of a function of each file, computed by threads."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), CHUNK):
            yield from pool.map(function, [images / path for path in paths[start : start + CHUNK]])


def _kinds(file: Path) -> list[str]:
    """Return mode and orientation of an image; nothing if it cannot be read."""
    from PIL import ExifTags, Image

    with suppress(Exception), Image.open(file) as image:  # decoders raise what they like
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
        extra = ["turned"] * turned + ["transparent"] * image.has_transparency_data
        return [image.mode, *extra]
    return []


def _decodes(file: Path) -> bool:
    """Tell whether an image can be read as the extraction reads it."""
    with suppress(FileNotFoundError, ValueError):
        read_image(file.parent, file.name, small=True)
        return True
    return False


def _some(paths: Sequence[str], total: int) -> str:
    """Say how many of the images, and the first few."""
    shown = ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
    return f"{len(paths)} of {total} images ({shown})"


def _told(sizes: Sequence[int]) -> str:
    classes, train, val, test = sizes
    return f"{classes} classes, {train} training, {val} validation and {test} test images"
