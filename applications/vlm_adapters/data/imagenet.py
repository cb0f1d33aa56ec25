"""ImageNet and its variants: class folders, named after WordNet or numbered."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from .folders import class_folders, class_samples, image_names, listed_split
from .specs import Layout
from .splits import Split

__all__ = [
    "read_all_classes",
    "read_class_names",
    "read_imagenet",
    "read_numbered",
    "read_some_classes",
]

LINE = re.compile(r"(n\d{8})\s+(\S.*)")
SORT_VAL = (
    "Sort its images into class folders, for instance with valprep.sh of "
    "https://github.com/soumith/imagenetloader.torch."
)


def read_class_names(file: Path) -> dict[str, str]:
    """Read ``classnames.txt``: one line per class, ``n01440764 tench``.

    Args:
        file: Where it lies.

    Returns:
        The name of each class folder's class, in the order of the labels. Two classes may share a
        name.

    Raises:
        ValueError: If a line has another form, or a folder comes twice.
    """
    names: dict[str, str] = {}
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    for number, line in enumerate(text.splitlines(), start=1):
        match = LINE.fullmatch(line.strip())
        if match is None or match[1] in names:
            raise ValueError(
                f"`{file}`, line {number}, should be a class folder not named before and the "
                f"class's name, such as `n01440764 tench`. Got {line[:60]!r}. "
                "Download the file again."
            )
        names[match[1]] = match[2]
    if not names:
        raise ValueError(
            f"`{file}` should name one or more classes. Got an empty file. Download it again."
        )
    return names


def read_imagenet(layout: Layout) -> tuple[Split, None]:
    """List ImageNet: training images from ``train``, test images from ``val``, none to validate.

    Args:
        layout: Where the data set lies.

    Returns:
        The split, and None: the data set is no target domain.

    Raises:
        ValueError: If the class folders are not those of ``classnames.txt``, or one is empty.
    """
    names = read_class_names(layout.split)
    labels = {wnid: label for label, wnid in enumerate(names)}
    subsets = []
    for part in ("train", "val"):
        folders = _known_folders(layout.images / part, names)
        _refuse_absent(layout.images / part, folders, list(names))
        classes = [(f"{part}/{wnid}", labels[wnid]) for wnid in folders]
        subsets.append(class_samples(layout.images, classes))
    train, test = subsets
    return listed_split(train, (), test, list(names.values())), None


def read_some_classes(layout: Layout) -> tuple[Split, tuple[int, ...]]:
    """List a target domain that has class folders for some classes of ImageNet.

    Args:
        layout: Where the data set lies.

    Returns:
        The split, test images only, and the position of each class in ``classnames.txt``.

    Raises:
        ValueError: If a class folder is not in ``classnames.txt``, or is empty.
    """
    names = read_class_names(layout.split)
    folders = _known_folders(layout.images, names)
    if not folders:
        raise ValueError(
            f"`{layout.images}` should hold class folders such as `n01440764`. Got none. "
            "Unpack the archive again."
        )
    position = {wnid: number for number, wnid in enumerate(names)}
    samples = class_samples(layout.images, [(wnid, label) for label, wnid in enumerate(folders)])
    split = listed_split((), (), samples, [names[wnid] for wnid in folders])
    return split, tuple(position[wnid] for wnid in folders)


def read_all_classes(layout: Layout) -> tuple[Split, tuple[int, ...]]:
    """List a target domain that has class folders for all classes of ImageNet.

    Args:
        layout: Where the data set lies.

    Returns:
        As :func:`read_some_classes`.

    Raises:
        ValueError: If the class folders are not those of ``classnames.txt``, or one is empty.
    """
    names = read_class_names(layout.split)
    _refuse_absent(layout.images, class_folders(layout.images), list(names))
    return read_some_classes(layout)


def read_numbered(layout: Layout) -> tuple[Split, tuple[int, ...]]:
    """List a target domain whose class folders bear the numbers of the labels.

    Args:
        layout: Where the data set lies.

    Returns:
        As :func:`read_some_classes`.

    Raises:
        ValueError: If the folders are not 0, 1, 2, ... for the classes of ``classnames.txt``.
    """
    names = read_class_names(layout.split)
    wanted = [str(label) for label in range(len(names))]
    found = class_folders(layout.images)
    _refuse_unknown(layout.images, found, wanted)
    _refuse_absent(layout.images, found, wanted)
    samples = class_samples(layout.images, [(name, int(name)) for name in wanted])
    return listed_split((), (), samples, list(names.values())), tuple(range(len(names)))


def _known_folders(folder: Path, names: Collection[str]) -> list[str]:
    """Class folders, all of them in ``classnames.txt``."""
    found = class_folders(folder)
    _refuse_unknown(folder, found, names)
    return found


def _refuse_unknown(folder: Path, found: Sequence[str], known: Collection[str]) -> None:
    """Refuse a class folder of no class."""
    unknown = [name for name in found if name not in known]
    if unknown:
        raise ValueError(
            f"`{folder}` should hold class folders of `classnames.txt` only. "
            f"Got {len(unknown)} others, such as {unknown[0]!r}. Move them elsewhere."
        )


def _refuse_absent(folder: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    """Refuse classes without a folder."""
    present = set(found)
    absent = [name for name in wanted if name not in present]
    if not absent:
        return
    loose = 0 if found else len(image_names(folder))
    raise ValueError(
        f"`{folder}` should hold a folder for each of the {len(wanted)} classes of "
        f"`classnames.txt`. Got {len(found)}, without {absent[0]!r}"
        + (
            f", and {loose} images in no class folder. {SORT_VAL}"
            if loose
            else ". Unpack it again."
        )
    )
