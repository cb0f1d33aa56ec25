"""The published data sets: where they lie, how they are read, and what is missing."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel

from ..config import one_of, shipped_toml
from .splits import SUBSETS, ImageDataset, Sample, Split, listed_split, read_split

GUIDE = "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"
CLASS_NAMES = "classnames.txt"
TASKRES_IMAGENET_TEMPLATE = "a photo of a {}."
"""The template that TaskRes adds to the seven of ImageNet."""
SORT_VAL = (
    "Sort its images into class folders, for instance with valprep.sh of "
    "https://github.com/soumith/imagenetloader.torch."
)


class Problem(NamedTuple):
    """Something wrong with a data set, the fix, and every file of which it is said, if several."""

    path: str
    what: str
    fix: str
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}: {self.what} {self.fix}"


class DatasetSpec(BaseModel, frozen=True, extra="forbid"):
    """A data set of ``layouts.toml``, which describes the fields."""

    name: str
    folders: tuple[str, ...]
    images: tuple[str, ...]
    split: str
    reader: Literal["json", "aircraft", "imagenet", "all", "some", "numbered"]
    sizes: tuple[int, int, int, int]
    home: str
    section: str
    note: str = ""
    files: tuple[str, ...] = ()
    subfolders: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()

    def locate(self, root: str | os.PathLike[str]) -> tuple[Path, Path, Path]:
        """Return where its folder, image folder and split are below a root, or should be."""
        base = Path(root)
        folder = _first(base / name for name in self.folders)
        images = _first((folder / name for name in self.images), self.subfolders)
        splits = [folder / self.split]
        if self.split == CLASS_NAMES:
            splits.insert(0, base / "imagenet" / CLASS_NAMES)
        return folder, images, _first(splits)

    def missing(self, root: str | os.PathLike[str]) -> list[Problem]:
        """Return one problem for each file or folder that is not there."""
        folder, images, split = self.locate(root)
        if not Path(root).is_dir():
            fix = f"Name the folder that holds `{self.folders[0]}`."
            return [Problem(str(root), "There is no such folder.", fix)]
        folders, files = [folder], []
        if folder.is_dir():
            folders = [images / name for name in self.subfolders or (".",)]
            files = [split, *(folder / name for name in self.files)]
        absent = [(path, "folder") for path in folders if not path.is_dir()]
        absent += [(path, "file") for path in files if not path.is_file()]
        return [
            Problem(str(path), f"There is no such {kind}.", self.how_to_get())
            for path, kind in absent
        ]

    def how_to_get(self) -> str:
        """Return where the images and the split are, and how to lay them out."""
        note = f" {self.note}" if self.note else ""
        return (
            f"Get the images of {self.name} from {self.home}, get `{self.split}` by the links of "
            f'section "{self.section}" of {GUIDE}, and lay them out as it shows.{note}'
        )


DATASETS = {
    name: DatasetSpec(name=name, **fields)
    for name, fields in shipped_toml("data/layouts.toml").items()
}
"""The specifications by CoOp's configuration name."""


def open_dataset(name: str, root: str | os.PathLike[str]) -> ImageDataset:
    """Open a data set that lies below ``root`` in CoOp's layout; no image is read.

    The images of ImageNet and its variants are listed in sorted order, on every file system. The
    labels of ImageNet are the lines of ``classnames.txt``; its test images are those of ``val``,
    and validation images are drawn from the training images.
    """
    one_of("--dataset", name, DATASETS)
    spec = DATASETS[name]
    for problem in spec.missing(root):
        raise FileNotFoundError(
            f"`root` should hold {name} in CoOp's layout. Got {str(Path(root))!r}, "
            f"without {problem.path!r}. {problem.fix}"
        )
    _, images, file = spec.locate(root)
    classes: tuple[int, ...] | None = None
    if spec.reader == "json":
        split = read_split(file)
    elif spec.reader == "aircraft":
        split = _read_aircraft(file)
    else:
        split, classes = _read_imagenet(images, file, spec.reader)
    templates = spec.templates or DATASETS["imagenet"].templates
    more = (TASKRES_IMAGENET_TEMPLATE,) if spec.split == CLASS_NAMES else ()
    return ImageDataset(name, images, split, templates, (*templates, *more), classes)


def read_class_names(file: Path) -> dict[str, str]:
    """Read the name of each class folder's class, one line per class: ``n01440764 tench``."""
    names: dict[str, str] = {}
    text = file.read_text(encoding="utf-8", errors="replace").strip()
    for number, line in enumerate(text.splitlines() or [""], start=1):
        match = re.fullmatch(r"(n\d{8})\s+(\S.*)", line.strip())
        if match is None or match[1] in names:
            raise ValueError(
                f"`{file}`, line {number}, should be a class folder not named before and the "
                f"class's name, such as `n01440764 tench`. Got {line[:60]!r}. "
                "Download the file again."
            )
        names[match[1]] = match[2]
    return names


def _read_imagenet(images: Path, file: Path, reader: str) -> tuple[Split, tuple[int, ...] | None]:
    """List ImageNet, or the test images of a target domain with the classes that it has.

    ImageNet's training images are those of ``train``, its test images those of ``val``.
    """
    from .folders import class_samples

    names = read_class_names(file)
    folders = [str(label) for label in range(len(names))] if reader == "numbered" else list(names)
    label_of = {folder: label for label, folder in enumerate(folders)}
    if reader == "imagenet":
        parts = []
        for part in ("train", "val"):
            found = _known_folders(images / part, label_of, every=True)
            classes = [(f"{part}/{folder}", label_of[folder]) for folder in found]
            parts.append(class_samples(images, classes))
        return listed_split(parts[0], (), parts[1], names.values()), None
    found = _known_folders(images, label_of, every=reader != "some")
    if reader == "numbered":
        found.sort(key=int)
    samples = class_samples(images, [(folder, label) for label, folder in enumerate(found)])
    positions = tuple(label_of[folder] for folder in found)
    class_names = list(names.values())
    return listed_split((), (), samples, [class_names[k] for k in positions]), positions


def _known_folders(folder: Path, known: dict[str, int], *, every: bool) -> list[str]:
    """Return the class folders: one or more of those of ``classnames.txt``, or every one."""
    from .folders import class_folders, image_names

    found = class_folders(folder)
    present = set(found)
    unknown = [name for name in found if name not in known]
    absent = [name for name in known if name not in present] if every or not found else []
    if unknown or absent:
        loose = len(image_names(folder))
        raise ValueError(
            f"`{folder}` should hold class folders of the {len(known)} of `classnames.txt`. Got "
            f"{len(found)} folders and {loose} images in none, "
            + (f"with {unknown[0]!r}. " if unknown else f"without {absent[0]!r}. ")
            + (SORT_VAL if loose else "Move other folders elsewhere, or unpack it again.")
        )
    return found


def _read_aircraft(variants: Path) -> Split:
    """Read the lists of FGVC-Aircraft; the classes have the order of ``variants.txt``."""
    labels = {name: label for label, name in enumerate(dict.fromkeys(_lines(variants)))}
    parts: dict[str, list[Sample]] = {subset: [] for subset in SUBSETS}
    for subset, samples in parts.items():
        file = variants.with_name(f"images_variant_{subset}.txt")
        for line in _lines(file) or [""]:
            image, _, name = line.partition(" ")
            if not image.isdecimal() or name not in labels:
                raise ValueError(
                    f"`{file}` should hold lines of the number of an image and a variant of "
                    f"`variants.txt`. Got {line[:60]!r}. Unpack the archive again."
                )
            samples.append(Sample(f"{image}.jpg", labels[name]))
    return listed_split(**parts, class_names=labels)


def _lines(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def _first(paths: Iterable[Path], below: tuple[str, ...] = ()) -> Path:
    """Return the first path that exists and has these folders; the very first if none does."""
    candidates = list(paths)
    for path in candidates:
        if path.exists() and all((path / name).is_dir() for name in below):
            return path
    return candidates[0]
