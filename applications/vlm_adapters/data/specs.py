"""What is known of a published data set: its layout, its size and where to get it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .splits import Split

__all__ = ["DatasetSpec", "Layout", "Problem", "Reader", "Sizes"]

GUIDE = "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"
CLASS_NAMES = "classnames.txt"


@dataclass(frozen=True)
class Problem:
    """Something wrong with a data set.

    Attributes:
        path: The file or folder.
        what: What is wrong with it.
        fix: What to do.
        files: Every file of which this is said, as the split names them; empty for ``path`` alone.
    """

    path: str
    what: str
    fix: str
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        """One line."""
        return f"{self.path}: {self.what} {self.fix}"


@dataclass(frozen=True)
class Sizes:
    """How many classes and images a data set has."""

    classes: int
    train: int
    val: int
    test: int

    def __str__(self) -> str:
        """The numbers in words."""
        return (
            f"{self.classes} classes, {self.train} training, {self.val} validation and "
            f"{self.test} test images"
        )


@dataclass(frozen=True)
class Layout:
    """Where a data set lies, or should lie.

    Attributes:
        folder: Folder of the data set.
        images: Its image folder.
        split: File with the split, or with the class names.
    """

    folder: Path
    images: Path
    split: Path


Reader = Callable[[Layout], tuple[Split, tuple[int, ...] | None]]
"""Reads the split, and for a target domain which classes of ImageNet its labels are."""


@dataclass(frozen=True)
class DatasetSpec:
    """One published data set in CoOp's layout.

    Attributes:
        name: CoOp's configuration name.
        folders: Names of its folder below the root: CoOp's, then others in use.
        images: Image folders below it: CoOp's, then others in use.
        split: File with the split, or with the class names.
        read: How to read the split.
        sizes: Published numbers.
        home: Web page to get the images from.
        section: Section of CoOp's instructions.
        note: What else one should know to get it.
        files: Further files in its folder.
        subfolders: Folders that the image folder must have.
    """

    name: str
    folders: tuple[str, ...]
    images: tuple[str, ...]
    split: str
    read: Reader
    sizes: Sizes
    home: str
    section: str
    note: str = ""
    files: tuple[str, ...] = ()
    subfolders: tuple[str, ...] = ()

    def locate(self, root: str | os.PathLike[str]) -> Layout:
        """Where the data set lies below a root; where it should, if it does not."""
        base = Path(root)
        folder = _first(base / name for name in self.folders)
        images = _first((folder / name for name in self.images), self.subfolders)
        splits = [folder / self.split]
        if self.split == CLASS_NAMES:
            splits.insert(0, base / "imagenet" / CLASS_NAMES)
        return Layout(folder, images, _first(splits))

    def missing(self, root: str | os.PathLike[str]) -> list[Problem]:
        """One problem for each file or folder that is not there."""
        base, layout = Path(root), self.locate(root)
        for folder, fix in (
            (base, f"Name the folder that holds `{self.folders[0]}`."),
            (layout.folder, self.how_to_get()),
        ):
            if not folder.is_dir():
                return [Problem(str(folder), "There is no such folder.", fix)]
        folders = [layout.images]
        if layout.images.is_dir():
            folders = [layout.images / name for name in self.subfolders]
        files = [layout.split, *(layout.folder / name for name in self.files)]
        return [
            Problem(str(path), "There is no such folder.", self.how_to_get())
            for path in folders
            if not path.is_dir()
        ] + [
            Problem(str(path), "There is no such file.", self._how_to_get_file(path.name))
            for path in files
            if not path.is_file()
        ]

    def how_to_get(self) -> str:
        """Where the images are, and how to lay them out."""
        note = f" {self.note}" if self.note else ""
        return (
            f"Get the images of {self.name} from {self.home} and lay them out as section "
            f'"{self.section}" of {GUIDE} shows.{note}'
        )

    def _how_to_get_file(self, name: str) -> str:
        """Where a file beside the images is."""
        if not name.endswith((".json", CLASS_NAMES)):
            return self.how_to_get()
        section = "ImageNet" if name == CLASS_NAMES else self.section
        return f'Download `{name}` by the link in section "{section}" of {GUIDE} and put it there.'


def _first(paths: Iterable[Path], below: tuple[str, ...] = ()) -> Path:
    """The first path that exists and has these folders; the very first if none does."""
    candidates = list(paths)
    for path in candidates:
        if path.exists() and all((path / name).is_dir() for name in below):
            return path
    return candidates[0]
