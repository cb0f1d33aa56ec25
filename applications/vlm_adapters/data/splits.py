"""Splits in CoOp's JSON format."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

__all__ = ["SUBSETS", "Sample", "Split", "read_split"]

SUBSETS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)  # slots: ImageNet has more than a million
class Sample:
    """One image: its path below the image folder and its class."""

    path: str
    label: int


@dataclass(frozen=True)
class Split:
    """The images of a data set, in three subsets.

    Attributes:
        train: Images to draw few-shot samples from; none where a data set is only a test set.
        val: Images for choosing hyper-parameters; may be none.
        test: Images for the reported accuracy.
        class_names: Name of each class, by label.
        sha256: Hash of the file that the split was read from, or of the listing of its folders.
    """

    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    class_names: tuple[str, ...]
    sha256: str

    def subset(self, name: str) -> tuple[Sample, ...]:
        """The images of ``"train"``, ``"val"`` or ``"test"``.

        Args:
            name: Which subset.

        Returns:
            Its images, in the order of the file.

        Raises:
            ValueError: If there is no such subset.
        """
        if name not in SUBSETS:
            raise ValueError(f"`name` should be one of {', '.join(SUBSETS)}. Got {name!r}.")
        images: tuple[Sample, ...] = getattr(self, name)
        return images


def read_split(path: str | os.PathLike[str]) -> Split:
    """Read a split in CoOp's format.

    The file holds ``{"train": [[path, label, class name], ...], "val": [...], "test": [...]}``
    with labels 0, 1, 2, ... and paths below the image folder.

    Args:
        path: JSON file.

    Returns:
        The split, every entry checked.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no such split; the message names the entry.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"`path` should be a split file. Got {str(file)!r}, which is no file. "
            "Do the data lie elsewhere?"
        )
    content = file.read_bytes()
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"`{file.name}` should be JSON. Got {error}. Download the split again."
        ) from error
    names: dict[int, str] = {}
    subsets = {subset: _samples(document, subset, names, file.name) for subset in SUBSETS}
    class_names = _class_names(names, file.name)
    return Split(**subsets, class_names=class_names, sha256=hashlib.sha256(content).hexdigest())


def _samples(
    document: Any,
    subset: str,
    names: dict[int, str],
    file: str,
) -> tuple[Sample, ...]:
    """Check one subset and note the class names that it uses."""
    entries = document.get(subset) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ValueError(
            f"`{file}` should have a list of one or more images under `{subset}`. "
            f"Got {_short(entries)}. Write "
            '{"train": [[path, label, class name], ...], "val": [...], "test": [...]}.'
        )
    return tuple(
        _sample(entry, names, f"`{file}`, `{subset}`[{row}],") for row, entry in enumerate(entries)
    )


def _sample(entry: Any, names: dict[int, str], where: str) -> Sample:
    """Check one entry and note its class name."""
    match entry:
        case [str(path), int(label), str(name)] if not isinstance(label, bool):
            pass
        case _:
            raise ValueError(f"{where} should be [path, label, class name]. Got {_short(entry)}.")
    if not _stays_below(path):
        raise ValueError(
            f"{where} should have a path below the image folder. Got {path!r}. "
            "Write it relative to the folder, without `..`."
        )
    if label < 0:
        raise ValueError(f"{where} should have a label of 0 or more. Got {label}.")
    if names.setdefault(label, name) != name:
        raise ValueError(
            f"{where} should name class {label} as before, {names[label]!r}. Got {name!r}. "
            "Give each class one label and one name."
        )
    return Sample(path, label)


def _stays_below(path: str) -> bool:
    """Whether a relative path cannot leave its folder, on any system."""
    for flavour in (PurePosixPath(path), PureWindowsPath(path)):
        if not flavour.parts or flavour.anchor or ".." in flavour.parts:
            return False
    return True


def _class_names(names: dict[int, str], file: str) -> tuple[str, ...]:
    """The names by label; the labels must have no gap."""
    missing = sorted(set(range(len(names))) - set(names))
    if missing:
        raise ValueError(
            f"`{file}` should use the labels 0 to {len(names) - 1} for its {len(names)} classes. "
            f"Got label {max(names)} and no label {missing[0]}. Number the classes without gaps."
        )
    return tuple(names[label] for label in range(len(names)))


def _short(value: object) -> str:
    """A value, cut to fit a message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
