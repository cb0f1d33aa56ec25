"""Folders of images, listed in one order on every file system; a user's own images."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from .splits import (
    ALIASES,
    SUBSETS,
    TEST_SHARE,
    VAL_SHARE,
    ImageDataset,
    Sample,
    Split,
    cut_class,
    listed_split,
    read_split,
)

IMAGE_ENDINGS = (
    *(".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"),
    *(".pbm", ".pgm", ".pnm", ".ppm"),
)
"""How the name of an image file ends, in small or large letters."""
DEFAULT_TEMPLATES = ("a photo of a {}.",)
SHOWN = 3
log = logging.getLogger(__name__)


def class_folders(folder: str | os.PathLike[str]) -> list[str]:
    """Return the sorted names of the folders in a folder, hidden ones left out."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())


def image_names(folder: str | os.PathLike[str]) -> list[str]:
    """Return the sorted names of the images in a folder, by their endings; not hidden files."""
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
    """Return the images of class folders, given by path below ``images`` and label."""
    samples: list[Sample] = []
    for path, label in classes:
        folder = os.path.join(images, path)
        names = image_names(folder)
        if not names:
            folders = len(class_folders(folder))
            raise ValueError(
                f"`{folder}` should hold images ({', '.join(IMAGE_ENDINGS)}). Got "
                f"{len(os.listdir(folder)) - folders} other files and {folders} folders. Put its "
                "images there, or remove the folder."
            )
        samples += [Sample(f"{path}/{name}", label) for name in names]
    return samples


def image_folder(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    seed: int = 1,
    val_share: float = VAL_SHARE,
    test_share: float = TEST_SHARE,
    only_test: bool = False,
    templates: tuple[str, ...] = DEFAULT_TEMPLATES,
) -> ImageDataset:
    """Open a folder with one folder of images per class.

    Files with other endings than those of images, and hidden files, are left out. Labels follow
    the sorted names of the class folders. Where the folder holds ``train``, ``test`` and perhaps
    ``val``, each with the same class folders, these are the subsets. Otherwise the images of each
    class are cut by ``seed``, or with ``only_test`` all taken for testing. Without images for
    validation, these are drawn from the training images.
    """
    if not (val_share >= 0 and test_share > 0 and val_share + test_share < 1):
        raise ValueError(
            "`val_share` should be 0 or more, `test_share` more than 0, and their sum less than "
            f"1. Got {val_share} and {test_share}."
        )
    folder = _existing(path, "path")
    subsets = _subset_folders(folder)
    if "train" in subsets:
        split = _subset_split(folder, subsets)
    else:
        names = _class_names(folder)
        parts: dict[str, list[Sample]] = {subset: [] for subset in SUBSETS}
        for label, class_name in enumerate(names):
            samples = class_samples(folder, [(class_name, label)])
            cut = cut_class(
                len(samples), class_name, seed=seed, val_share=val_share, test_share=test_share
            )
            for sample, subset in zip(samples, cut, strict=True):
                parts["test" if only_test else subset].append(sample)
        if not parts["test"]:
            raise ValueError(
                f"`{folder}` should have images left for testing. Got "
                f"{sum(map(len, parts.values()))} images in {len(names)} classes and a share of "
                f"{test_share}. Add images."
            )
        split = listed_split(**parts, class_names=names)
    _tell(folder, split)
    return ImageDataset(name or folder.resolve().name, folder, split, templates, templates)


def split_dataset(
    split_file: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    name: str | None = None,
    templates: tuple[str, ...] = DEFAULT_TEMPLATES,
) -> ImageDataset:
    """Open a split, as :func:`read_split` reads it, with its image folder."""
    folder = _existing(images, "images")
    split = read_split(split_file)
    return ImageDataset(name or Path(split_file).stem, folder, split, templates, templates)


def _subset_folders(folder: Path) -> dict[str, str]:
    """Return the folder of each subset if there are two or more with ``train``, and no other."""
    names = class_folders(folder)
    subsets = {ALIASES.get(name.lower(), name.lower()): name for name in names}
    are_subsets = "train" in subsets and set(subsets) <= set(SUBSETS)
    return subsets if are_subsets and len(subsets) == len(names) > 1 else {}


def _subset_split(folder: Path, subsets: dict[str, str]) -> Split:
    """Take the folders ``train``, ``test`` and perhaps ``val`` as the subsets."""
    names = _class_names(folder / subsets["train"])
    if "test" not in subsets:
        raise ValueError(
            f"`{folder}` should hold `test` next to `train`. Got {' and '.join(subsets)}. Name the "
            "folder whose images count for the reported accuracy `test`."
        )
    parts: dict[str, list[Sample]] = {subset: [] for subset in SUBSETS}
    for subset, own in subsets.items():
        differing = sorted(set(names) ^ set(class_folders(folder / own)))
        if differing:
            raise ValueError(
                f"`{folder / own}` should have the class folders of `{subsets['train']}`. "
                f"Got {differing[0]!r} in one of the two only. Give every subset every class."
            )
        classes = [(f"{own}/{name}", label) for label, name in enumerate(names)]
        parts[subset] = class_samples(folder, classes)
    return listed_split(**parts, class_names=names)


def _class_names(folder: Path) -> list[str]:
    """Return the names of two or more class folders."""
    names = class_folders(folder)
    if len(names) < 2:
        got = f"only {names[0]!r}" if names else "none"
        raise ValueError(
            f"`{folder}` should hold two or more class folders of images, or `train` and `test` "
            f"with class folders in them. Got {got}. Make one folder per class, named after it."
        )
    return names


def _tell(folder: Path, split: Split) -> None:
    """Say what was found and what was left out, in one line each."""
    counts = {name: len(split.subset(name)) for name in SUBSETS}
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    classes = len(split.class_names)
    log.info("%s: %d classes, %d images (%s).", folder, classes, sum(counts.values()), told)
    taken, left = set(split.paths()), []
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        below = Path(path).relative_to(folder).as_posix()
        found = [f"{below}/{name}".removeprefix("./") for name in files if name[0] != "."]
        left += [name for name in found if name not in taken]
    if left:
        shown = ", ".join(sorted(left)[:SHOWN]) + (", ..." if len(left) > SHOWN else "")
        log.warning(
            "%s: %d files left out (%s). Images count in class folders only, not in folders "
            "below them, and by the endings %s.",
            *(folder, len(left), shown, " ".join(IMAGE_ENDINGS)),
        )


def _existing(path: str | os.PathLike[str], argument: str) -> Path:
    """Return a folder that exists."""
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"`{argument}` should be a folder of images. Got {str(folder)!r}, not a folder. "
            "Do the data lie elsewhere?"
        )
    return folder
