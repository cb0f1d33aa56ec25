"""Open a published data set by its name."""

from __future__ import annotations

import os
from pathlib import Path

from ..prompts import TASKRES_IMAGENET_TEMPLATE, TEMPLATES
from .base import ImageDataset
from .specs import CLASS_NAMES, DatasetSpec
from .table import DATASETS

__all__ = ["DATASETS", "find_spec", "open_dataset"]


def open_dataset(name: str, root: str | os.PathLike[str]) -> ImageDataset:
    """Open a data set that lies in CoOp's layout; no image is read.

    The images of ImageNet and its variants are listed in sorted order, on every file system. The
    labels of ImageNet are the lines of ``classnames.txt``; its test images are those of ``val``,
    and validation images are drawn from the training images.

    Args:
        name: CoOp's configuration name, such as ``"caltech101"``.
        root: Folder that holds the data sets' folders.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: If the root, or a file or folder below it, is not there.
        ValueError: If there is no such data set, or its split or class folders are wrong.
    """
    spec = find_spec(name)
    problems = spec.missing(root)
    if problems:
        raise FileNotFoundError(
            f"`root` should hold {name} in CoOp's layout. Got {str(Path(root))!r}, "
            f"without {problems[0].path!r}. {problems[0].fix}"
        )
    layout = spec.locate(root)
    split, classes = spec.read(layout)
    templates = TEMPLATES["imagenet" if spec.split == CLASS_NAMES else name]
    more = (TASKRES_IMAGENET_TEMPLATE,) if spec.split == CLASS_NAMES else ()
    return ImageDataset(name, layout.images, split, templates, (*templates, *more), classes)


def find_spec(name: str) -> DatasetSpec:
    """What is known of a data set.

    Args:
        name: CoOp's configuration name.

    Returns:
        Its specification.

    Raises:
        ValueError: If there is no such data set; the message lists those there are.
    """
    if name not in DATASETS:
        raise ValueError(f"`name` should be one of {', '.join(DATASETS)}. Got {name!r}.")
    return DATASETS[name]
