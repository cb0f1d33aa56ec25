"""Splits of folders that hold one folder of images per class."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from .folders import class_folders, class_samples, listed_split
from .splits import SUBSETS, Sample, Split

__all__ = ["cut_split", "has_subsets", "subset_split", "test_split"]

ALIASES = {"training": "train", "valid": "val", "validation": "val", "testing": "test"}


def has_subsets(folder: Path) -> bool:
    """Whether a folder holds ``train`` beside ``val`` or ``test``, and nothing else."""
    return _subset_folders(folder) is not None


def _subset_folders(folder: Path) -> dict[str, str] | None:
    """Folder of each subset, if there are two or more with ``train``, and no other folder.

    Capital letters do not count, and ``valid``, say, is ``val``.
    """
    names = class_folders(folder)
    subsets = {ALIASES.get(name.lower(), name.lower()): name for name in names}
    if len(subsets) == len(names) > 1 and "train" in subsets and set(subsets) <= set(SUBSETS):
        return subsets
    return None


def test_split(folder: Path) -> Split:
    """Take all images of the class folders for testing.

    Args:
        folder: Folder that holds the class folders.

    Returns:
        The split.

    Raises:
        ValueError: If there are fewer than two classes, or one is empty.
    """
    names = class_folders(folder)
    _check_classes(folder, names)
    classes = [(name, label) for label, name in enumerate(names)]
    return listed_split([], [], class_samples(folder, classes), names)


def subset_split(folder: Path) -> Split:
    """Take the folders ``train``, ``test`` and perhaps ``val`` as the subsets.

    Args:
        folder: Folder that holds them.

    Returns:
        The split.

    Raises:
        ValueError: If there is no ``test``, or the class folders differ, or one is empty.
    """
    subsets = _subset_folders(folder) or {"train": "train"}
    train = folder / subsets["train"]
    names = class_folders(train)
    _check_classes(train, names)
    if "test" not in subsets:
        raise ValueError(
            f"`{folder}` should hold `test` beside `train`. Got {' and '.join(subsets)}. Name the "
            "folder whose images count for the reported accuracy `test`."
        )
    parts: dict[str, list[Sample]] = {"val": []}
    for subset, own in subsets.items():
        differing = sorted(set(names) ^ set(class_folders(folder / own)))
        if differing:
            raise ValueError(
                f"`{folder / own}` should have the class folders of `{train.name}`. "
                f"Got {differing[0]!r} in one of the two only. Give every subset every class."
            )
        classes = [(f"{own}/{name}", label) for label, name in enumerate(names)]
        parts[subset] = class_samples(folder, classes)
    return listed_split(parts["train"], parts["val"], parts["test"], names)


def cut_split(folder: Path, seed: int, val_share: float, test_share: float) -> Split:
    """Cut the images of each class into the subsets, by a seed.

    Args:
        folder: Folder that holds the class folders.
        seed: Seed of the cut.
        val_share: Share of each class for validation.
        test_share: Share of each class for testing.

    Returns:
        The split, sorted by class and name.

    Raises:
        ValueError: If there are fewer than two classes, or one is empty, or none has an image for
            testing.
    """
    names = class_folders(folder)
    _check_classes(folder, names)
    train: list[Sample] = []
    val: list[Sample] = []
    test: list[Sample] = []
    for label, name in enumerate(names):
        samples = class_samples(folder, [(name, label)])
        # A stream per class: a new class does not change how the others are cut.
        random.Random(f"{seed} {name}").shuffle(samples)
        tests = min(round(len(samples) * test_share), len(samples) - 1)
        vals = min(round(len(samples) * val_share), len(samples) - 1 - tests)
        test += sorted(samples[:tests], key=_path)
        val += sorted(samples[tests : tests + vals], key=_path)
        train += sorted(samples[tests + vals :], key=_path)
    if not test:
        raise ValueError(
            f"`{folder}` should have images left for testing. Got {len(train) + len(val)} images "
            f"in {len(names)} classes and a share of {test_share}. Add images."
        )
    return listed_split(train, val, test, names)


def _check_classes(folder: Path, names: Sequence[str]) -> None:
    """Refuse fewer than two class folders."""
    if len(names) < 2:
        got = f"only {names[0]!r}" if names else "none"
        raise ValueError(
            f"`{folder}` should hold two or more class folders of images, or `train` and `test` "
            f"with class folders in them. Got {got}. Make one folder per class, named after it."
        )


def _path(sample: Sample) -> str:
    """What samples are sorted by."""
    return sample.path
