"""Splits that come as files: CoOp's JSON, and the lists of FGVC-Aircraft."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .folders import listed_split
from .specs import Layout
from .splits import SUBSETS, Sample, Split, read_split

__all__ = ["read_aircraft", "read_json"]


def read_json(layout: Layout) -> tuple[Split, None]:
    """Read a split in CoOp's format.

    Args:
        layout: Where the data set lies.

    Returns:
        The split, and None: the data set is no target domain.
    """
    return read_split(layout.split), None


def read_aircraft(layout: Layout) -> tuple[Split, None]:
    """Read the lists of FGVC-Aircraft; the classes have the order of ``variants.txt``.

    Args:
        layout: Where the data set lies.

    Returns:
        The split, and None: the data set is no target domain.

    Raises:
        ValueError: If a list has another form, or names another variant.
    """
    names = _lines(layout.split)
    labels = {name: label for label, name in enumerate(names)}
    if len(labels) < len(names):
        raise ValueError(
            f"`{layout.split}` should name each variant once. Got {len(names)} lines with "
            f"{len(labels)} names. Unpack the archive again."
        )
    train, val, test = (
        _listed(layout.folder / f"images_variant_{subset}.txt", labels) for subset in SUBSETS
    )
    return listed_split(train, val, test, names), None


def _listed(file: Path, labels: Mapping[str, int]) -> list[Sample]:
    """The images of one list, each line an image's number and its variant."""
    samples: list[Sample] = []
    for number, line in enumerate(_lines(file), start=1):
        image, _, name = line.partition(" ")
        if not image.isdecimal() or name not in labels:
            raise ValueError(
                f"`{file}`, line {number}, should be the number of an image and a variant of "
                f"`variants.txt`. Got {line[:60]!r}. Unpack the archive again."
            )
        samples.append(Sample(f"{image}.jpg", labels[name]))
    return samples


def _lines(file: Path) -> list[str]:
    """The lines of a text file, those without a letter left out."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`{file}` should be text in UTF-8. Got {error}. Unpack the archive again."
        ) from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(
            f"`{file}` should have one or more lines. Got an empty file. Unpack the archive again."
        )
    return lines
