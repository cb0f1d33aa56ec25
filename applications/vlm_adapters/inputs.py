"""What the commands' options mean: from names and paths to data sets, features and tasks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .backbones import load_backbone
from .data import ImageDataset, image_folder, open_dataset, split_dataset
from .data.check import without_damaged
from .data.image_folder import DEFAULT_TEMPLATES
from .features import ranks
from .features.views import Augmentation, Progress
from .sources import BundleSource, Extraction
from .tasks import TaskSource

OpenSource = Callable[[Sequence[tuple[int, int]]], TaskSource]
"""Extracts what some tasks need, given by shots and seed, and returns their source."""

NAME = re.compile(r"[^\W_][\w .+-]*")


@dataclass(frozen=True)
class ImageInputs:
    """Which images: a published data set below ``root``, or a folder of the user's images."""

    dataset: str | None = None  # CoOp's name; for the user's images their name in tables
    root: Path | None = None
    images: Path | None = None  # a folder for each class, or what `split` names
    split: Path | None = None  # in CoOp's format
    templates: tuple[str, ...] = DEFAULT_TEMPLATES  # of the user's images
    skip_damaged: bool = False  # decode all images first, and leave out damaged ones

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

    def arguments(self) -> list[str]:
        """Return the options of the command line that say the same."""
        names = ("dataset", "root", "images", "split")
        given = {name: getattr(self, name) for name in names}
        templates = () if self.images is None else self.templates
        return [
            *[f"--{name}={value}" for name, value in given.items() if value is not None],
            *["--skip-damaged"] * self.skip_damaged,
            *[f"--template={template}" for template in templates],
        ]

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
    backbone: str = "open_clip/RN50/openai"
    device: str = "cpu"
    store: Path = Path("features")
    views: int = 10
    scale: tuple[float, float] = (0.5, 1.0)  # least and greatest share of the area of a view
    online: bool = False  # read, augment and encode training images at every step
    batch_size: int = 64
    workers: int = 2
    bundle: Path | None = None
    published_pixels: bool = False  # read images as the published codes do

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
        names = ("backbone", "device", "store", "views", "batch_size", "workers")
        return [
            *self.images.arguments(),
            *[f"--{name.replace('_', '-')}={getattr(self, name)}" for name in names],
            "--scale={},{}".format(*self.scale),
            *["--online"] * self.online,
            *["--published-pixels"] * self.published_pixels,
        ]

    def extraction(
        self, progress: Progress = lambda done, total: None, *, only_test: bool = False
    ) -> Extraction:
        """Open data set and backbone."""
        dataset = self.images.open(only_test=only_test)  # before the backbone, which takes longer
        backbone = load_backbone(self.backbone, device=ranks.device(self.device))
        return Extraction(self, dataset, backbone, progress)

    def opened(self, progress: Progress = lambda done, total: None) -> OpenSource:
        """Open data set and backbone, or a bundle."""
        if self.bundle is None:
            return self.extraction(progress).source
        source = BundleSource(self.bundle)
        _ = source.bundle  # raises for a bad file here, not in a worker
        return lambda draws: source
