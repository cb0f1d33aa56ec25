"""What the commands' options mean: from names and paths to data sets, features and tasks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Option

from .backbones import load_backbone
from .data.check import without_damaged
from .data.datasets import open_dataset
from .data.folders import DEFAULT_TEMPLATES, image_folder, split_dataset
from .data.splits import ImageDataset
from .features.views import Augmentation, Progress
from .sources import BundleSource, Extraction
from .tasks import TaskSource

OpenSource = Callable[[Sequence[tuple[int, int]]], TaskSource]
"""Extracts what some tasks need, given by shots and seed, and returns their source."""

NAME = re.compile(r"[^\W_][\w .+-]*")


# What the command line asks for; the fields below are its options too.
Dataset = Annotated[
    str | None,
    Option(help="CoOp's name of a published data set; for --images its name in tables."),
]
Root = Annotated[Path | None, Option(help="Folder that holds the data sets.", envvar="VLM_DATA")]
Images = Annotated[
    Path | None, Option(help="Your own images: one folder a class, or those of --split.")
]
SplitFile = Annotated[Path | None, Option(help="Split of --images in CoOp's JSON format.")]
Device = Annotated[str, Option(help="Where the backbone and the training run.")]
Store = Annotated[Path, Option(help="Folder of extracted features.")]
BatchSize = Annotated[int, Option(min=1, help="Views per call of the encoder.")]
Workers = Annotated[int, Option(min=1, help="Threads that read images.")]
BACKBONES = "open_clip/MODEL/TAG_OR_FILE, open_clip/local-dir:PATH, devise, devise-512"
PIXELS = "Ignore orientation and transparency and cut off 16-bit values, as published codes."


@dataclass(frozen=True)
class ImageInputs:
    """Which images: a published data set below ``root``, or a folder of the user's images."""

    dataset: Dataset = None
    root: Root = None
    images: Images = None
    split: SplitFile = None
    templates: tuple[str, ...] = DEFAULT_TEMPLATES  # of the user's images
    skip_damaged: Annotated[
        bool, Option("--skip-damaged", help="Decode all images first; leave out damaged ones.")
    ] = False

    def __post_init__(self) -> None:
        """Raise if the name of the user's images cannot be part of a path."""
        name = self.dataset
        if self.images is not None and name is not None and not NAME.fullmatch(name):
            raise ValueError(
                "`--dataset` should name your images with letters, digits, spaces and . _ + -, "
                f"beginning with a letter or digit. Got {name!r}."
            )

    @property
    def published(self) -> str | None:
        """Name of the published data set whose settings hold; none for the user's images."""
        return self.dataset if self.images is None else None

    @property
    def name(self) -> str:
        """Name of the data set in tables and files."""
        if self.dataset is not None or self.images is None:
            return self.dataset or ""
        return self.split.stem if self.split is not None else self.images.resolve().name

    def open(self, *, only_test: bool = False) -> ImageDataset:
        """Open the data set; with ``only_test`` a folder that is not split has test images only."""
        dataset = self._open(only_test)
        return without_damaged(dataset) if self.skip_damaged else dataset

    def _open(self, only_test: bool) -> ImageDataset:
        if self.images is not None:
            name, templates = self.dataset, self.templates
            if self.split is not None:
                return split_dataset(self.split, self.images, name=name, templates=templates)
            return image_folder(self.images, only_test=only_test, name=name, templates=templates)
        if self.dataset is None:
            raise ValueError(
                "`--dataset` should name a published data set, or `--images` a folder of your own. "
                "Got neither."
            )
        if self.root is None:
            raise ValueError(
                f"`--root` should name the folder that holds the data sets, to find "
                f"{self.dataset}. Got none. Give `--root` or set VLM_DATA."
            )
        return open_dataset(self.dataset, self.root)


@dataclass(frozen=True)
class FeatureInputs:
    """Which features of which images, or of a bundle."""

    images: ImageInputs = ImageInputs()
    backbone: Annotated[str, Option(help=f"{BACKBONES}, or module:factory.")] = (
        "open_clip/RN50/openai"
    )
    device: Device = "cpu"
    store: Store = Path("features")
    views: Annotated[int, Option(min=1, help="Augmented views of a training image.")] = 10
    scale: tuple[float, float] = (0.5, 1.0)  # least and greatest share of the area of a view
    online: Annotated[
        bool, Option("--online", help="Augment and encode training images at every step.")
    ] = False
    batch_size: BatchSize = 64
    workers: Workers = 2
    bundle: Path | None = None  # in place of all that
    published_pixels: Annotated[bool, Option("--published-pixels", help=PIXELS)] = False

    @property
    def augmentation(self) -> Augmentation:
        """Views of the training images."""
        return Augmentation(self.views, self.scale, published=self.published_pixels)

    @property
    def extract_options(self) -> dict[str, int]:
        """Options of :func:`.features.views.extract_views`."""
        return {"batch_size": self.batch_size, "num_workers": self.workers}

    @property
    def published(self) -> str | None:
        """Name of the published data set whose settings hold; none for the user's images."""
        return self.images.published if self.bundle is None else self.name

    @property
    def name(self) -> str:
        """Name of the data set in tables and files."""
        return self.images.name if self.bundle is None else BundleSource(self.bundle).dataset

    def describe(self) -> str:
        """Return the features in words."""
        if self.bundle is not None:
            return f"bundle sha256 {BundleSource(self.bundle).sha256}"
        low, high = self.scale
        return f"{self.name}, {self.backbone}, {self.views} views of scale {low:g} to {high:g}"

    def arguments(self) -> list[str]:
        """Return the options of the command line that say the same."""
        if self.bundle is not None:
            return [f"--bundle={self.bundle}"]
        values = vars(self) | vars(self.images) | {"scale": "{},{}".format(*self.scale)}
        templates = values.pop("templates") if self.images.images else ()
        words = [f"--template={template}" for template in templates]
        for name, value in values.items():
            option = "--" + name.replace("_", "-")
            if value is True:
                words.append(option)
            elif value is not None and value is not False and name != "templates":
                words.append(f"{option}={value}")
        return words

    def extraction(
        self, progress: Progress = lambda done, total: None, *, only_test: bool = False
    ) -> Extraction:
        """Open data set and backbone."""
        dataset = self.images.open(only_test=only_test)  # before the backbone, which takes longer
        backbone = load_backbone(self.backbone, device=_own(self.device))
        return Extraction(self, dataset, backbone, progress)

    def opened(self, progress: Progress = lambda done, total: None) -> OpenSource:
        """Open data set and backbone, or a bundle."""
        if self.bundle is None:
            return self.extraction(progress).source
        source = BundleSource(self.bundle)
        _ = source.bundle  # raises for a bad file here, not in a worker
        return lambda draws: source


def _own(device: str) -> str:
    """Return the device of this process: each one that ``torchrun`` started has its own."""
    rank = os.environ.get("LOCAL_RANK")
    return f"{device}:{rank}" if rank and device in ("cuda", "xpu") else device
