"""Folders of images, listed in one order on every file system; a user's own images."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from .splits import (
    DEFAULT_TEMPLATES,
    SUBSETS,
    ImageDataset,
    Sample,
    check_text,
    cut_class,
    listed_split,
    read_split,
    subset_name,
)

IMAGE_ENDINGS = (
    *(".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"),
    *(".pbm", ".pgm", ".pnm", ".ppm"),
)
"""How the name of an image file ends, in small or large letters."""
NO_WORDS = re.compile(r"[\W\d_]*|[^\W\d_]\d{5,}")  # such as 12, and n01855672 of WordNet
log = logging.getLogger(__name__)


def class_folders(folder: str | os.PathLike[str]) -> list[str]:
    """Return the sorted names of the folders in a folder, hidden ones left out."""
    return _names(folder, os.DirEntry.is_dir)


def image_names(folder: str | os.PathLike[str]) -> list[str]:
    """Return the sorted names of the images in a folder, by their endings; not hidden files."""
    # Not is_file(): a broken link is an image that is missing.
    return _names(folder, lambda e: e.name.lower().endswith(IMAGE_ENDINGS) and not e.is_dir())


def _names(folder: str | os.PathLike[str], wanted: Callable[[os.DirEntry[str]], bool]) -> list[str]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.name[0] != "." and wanted(entry))
    for name in names:
        check_text(f"`{os.fspath(folder)}`: every name in it", name)
    return names


def class_samples(
    images: str | os.PathLike[str], classes: Iterable[tuple[str, int]]
) -> list[Sample]:
    """Return the images of class folders, given by path below ``images`` and label."""
    samples: list[Sample] = []
    for path, label in classes:
        folder = os.path.join(images, path)
        names = image_names(folder)
        if not names:
            raise ValueError(
                f"`{folder}` should hold images ({', '.join(IMAGE_ENDINGS)}). Got "
                f"{len(os.listdir(folder))} other files and folders. Put its images there, or "
                "remove the folder."
            )
        samples += [Sample(f"{path}/{name}", label) for name in names]
    return samples


def image_folder(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    only_test: bool = False,
    templates: tuple[str, ...] = DEFAULT_TEMPLATES,
) -> ImageDataset:
    """Open a folder with one folder of images per class.

    Files with other endings than those of images, and hidden files, are left out. Labels follow
    the sorted names of the class folders. Where the folder holds ``train``, ``test`` and perhaps
    ``val``, each with the same class folders, these are the subsets. Otherwise the images of each
    class are cut as :func:`~.splits.cut_class` says, or with ``only_test`` all taken for testing.
    Where no image is left for validation, those are drawn from the training images.
    """
    folder = Path(path)
    parts: dict[str, list[Sample]] = {subset: [] for subset in SUBSETS}
    subsets = _subset_folders(folder)
    names = class_folders(folder / subsets.get("train", ""))
    if len(names) < 2:
        raise ValueError(
            f"`{folder}` should hold two or more class folders of images, or `train` and `test` "
            f"with class folders in them. Got {' and '.join(names) or 'none'}. Make one folder per "
            "class, named after it."
        )
    for subset, own in subsets.items():
        differing = sorted(set(names) ^ set(class_folders(folder / own)))
        if differing:
            raise ValueError(
                f"`{folder / own}` should have the class folders of `{subsets['train']}`. "
                f"Got {differing[0]!r} in one of the two only. Give every subset every class."
            )
        classes = [(f"{own}/{class_name}", label) for label, class_name in enumerate(names)]
        parts[subset] = class_samples(folder, classes)
    for label, class_name in enumerate(names if not subsets else ()):
        samples = class_samples(folder, [(class_name, label)])
        for sample, subset in zip(samples, cut_class(len(samples), class_name), strict=True):
            parts["test" if only_test else subset].append(sample)
    if not parts["test"]:
        raise ValueError(
            f"`{folder}` should have images for testing. Got {sum(map(len, parts.values()))} "
            f"images in {len(names)} classes, and none left. Add images, or name the folder whose "
            "images count for the reported accuracy `test`."
        )
    _tell(folder, parts, len(names))
    _warn_of_names(names)
    split = listed_split(**parts, class_names=names)
    return ImageDataset(name or folder.resolve().name, folder, split, templates, templates)


def split_dataset(
    split_file: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    name: str | None = None,
    templates: tuple[str, ...] = DEFAULT_TEMPLATES,
) -> ImageDataset:
    """Open a split, as :func:`~.splits.read_split` reads it, with its image folder."""
    name, split = name or Path(split_file).stem, read_split(split_file)
    _warn_of_names(split.class_names)
    return ImageDataset(name, Path(images), split, templates, templates)


def _warn_of_names(names: Sequence[str]) -> None:
    """Warn of classes whose prompts are equal, and of names that are not words."""
    by_prompt: dict[str, list[str]] = {}
    for name in names:
        by_prompt.setdefault(" ".join(name.replace("_", " ").split()), []).append(name)
    found = {
        "names that make equal prompts": [n for own in by_prompt.values() if own[1:] for n in own],
        "names that are not words": [n for n in names if NO_WORDS.fullmatch(n)],
    }
    for what, wrong in found.items():
        if wrong:
            shown = ", ".join(map(repr, wrong[:4])) + (", ..." if len(wrong) > 4 else "")
            log.warning(
                "%d classes have %s (%s). Texts are made of the names of folders, or of the "
                "labels in the table of `--split`: write there what the images show.",
                *(len(wrong), what, shown),
            )


def _subset_folders(folder: Path) -> dict[str, str]:
    """Return the folder of each subset if there are two or more with ``train``, and no other."""
    names = class_folders(folder)
    subsets = {subset_name(name): name for name in names}
    are_subsets = "train" in subsets and set(subsets) <= set(SUBSETS)
    return subsets if are_subsets and len(subsets) == len(names) > 1 else {}


def _tell(folder: Path, parts: dict[str, list[Sample]], classes: int) -> None:
    """Say what was found and what was left out, in one line each."""
    told = ", ".join(f"{len(samples)} {name}" for name, samples in parts.items())
    taken = {sample.path for samples in parts.values() for sample in samples}
    log.info("%s: %d classes, %d images (%s).", folder, classes, len(taken), told)
    left: list[str] = []
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        below = Path(path).relative_to(folder)
        found = [(below / name).as_posix() for name in files if name[0] != "."]
        left += [name for name in found if name not in taken]
    if left:
        shown = ", ".join(sorted(left)[:3]) + (", ..." if len(left) > 3 else "")
        log.warning(
            f"%s: %d files left out (%s). Images count in class folders only, not in folders "
            f"below them, and by the endings {' '.join(IMAGE_ENDINGS)}.",
            *(folder, len(left), shown),
        )
