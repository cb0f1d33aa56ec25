"""Synthetic data sets in CoOp's layout, for tests of the whole command line."""

from __future__ import annotations

import colorsys
import json
from pathlib import Path

import numpy as np
from PIL import Image

# Folder, image folder and split file, written down anew: they test those of the application.
LAYOUTS = {
    "caltech101": ("caltech-101", "101_ObjectCategories", "split_zhou_Caltech101.json"),
    "oxford_pets": ("oxford_pets", "images", "split_zhou_OxfordPets.json"),
    "stanford_cars": ("stanford_cars", ".", "split_zhou_StanfordCars.json"),
    "oxford_flowers": ("oxford_flowers", "jpg", "split_zhou_OxfordFlowers.json"),
    "food101": ("food-101", "images", "split_zhou_Food101.json"),
    "fgvc_aircraft": ("fgvc_aircraft", "images", "variants.txt"),
    "sun397": ("sun397", "SUN397", "split_zhou_SUN397.json"),
    "dtd": ("dtd", "images", "split_zhou_DescribableTextures.json"),
    "eurosat": ("eurosat", "2750", "split_zhou_EuroSAT.json"),
    "ucf101": ("ucf101", "UCF-101-midframes", "split_zhou_UCF101.json"),
    "imagenet": ("imagenet", "images", "classnames.txt"),
    "imagenetv2": ("imagenetv2", "imagenetv2-matched-frequency-format-val", "classnames.txt"),
    "imagenet_sketch": ("imagenet-sketch", "images", "classnames.txt"),
    "imagenet_a": ("imagenet-adversarial", "imagenet-a", "classnames.txt"),
    "imagenet_r": ("imagenet-rendition", "imagenet-r", "classnames.txt"),
}
CLASS_NAMES = ("red_thing", "yellow thing", "green thing", "blue_green thing", "blue thing")


def write_dataset(
    root: str | Path,
    name: str,
    *,
    classes: int = 3,
    images: int = 10,
    size: int = 48,
    seed: int = 0,
) -> Path:
    """Write a small data set whose classes differ in colour.

    Of ten images a class, five are for training, two for validation and three for testing;
    ImageNet has them all for training, and a third as many again for testing. The variants of
    ImageNet are only for testing, all but V2 with more noise; A and R leave out ImageNet's first
    class, so that their labels differ from ImageNet's. They use ImageNet's ``classnames.txt`` if
    it is there.

    Args:
        root: Folder for the data sets.
        name: CoOp's configuration name.
        classes: Classes; of ImageNet, for the variants.
        images: Images per class, three or more.
        size: Width and height of the images.
        seed: Seed of the noise.

    Returns:
        The folder of the data set.
    """
    folder_name, image_folder, split = LAYOUTS[name]
    folder = Path(root) / folder_name
    painter = Painter(
        folder / image_folder, classes, size, seed, 60 if name.startswith("imagenet_") else 40
    )
    if name == "fgvc_aircraft":
        _write_aircraft(folder, painter, classes, images)
    elif split == "classnames.txt":
        _write_imagenet(Path(root), folder, painter, name, classes, images)
    else:
        _write_json(folder / split, painter, name, classes, images)
    return folder


class Painter:
    """Writes JPEG files with the colour of a class and noise."""

    def __init__(self, folder: Path, classes: int, size: int, seed: int, noise: float):
        self.folder, self.classes, self.size, self.noise = folder, classes, size, noise
        self.generator = np.random.default_rng(seed)

    def paint(self, path: str, label: int) -> str:
        """Write one image and return its path below the folder."""
        colour = 255 * np.array(colorsys.hsv_to_rgb(label / self.classes, 0.8, 0.8))
        noise = self.generator.normal(0, self.noise, (self.size, self.size, 3))
        noise += self.generator.normal(0, self.noise / 2, 3)  # the whole image, hard to average out
        pixels = (colour + noise).clip(0, 255).astype(np.uint8)
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file, "JPEG")
        return path


def class_name(label: int) -> str:
    """Name of a class; some have underscores, as in the data sets."""
    name = CLASS_NAMES[label % len(CLASS_NAMES)]
    return name if label < len(CLASS_NAMES) else f"{name} {label // len(CLASS_NAMES)}"


def wnid(label: int) -> str:
    """Name of a class folder of the synthetic ImageNet."""
    return f"n{10_000_000 + 7 * label:08d}"


def _subset(row: int, images: int) -> str:
    """Which subset an image of a class belongs to."""
    val, test = max(1, images // 5), max(1, images * 3 // 10)
    return "train" if row < images - val - test else "val" if row < images - test else "test"


def _write_json(split: Path, painter: Painter, name: str, classes: int, images: int) -> None:
    """A data set with CoOp's split file."""
    entries: dict[str, list[list[object]]] = {"train": [], "val": [], "test": []}
    for label in range(classes):
        for row in range(images):
            subset = _subset(row, images)
            folder = f"class_{label}"
            if name == "stanford_cars":
                folder = "cars_test" if subset == "test" else "cars_train"
            path = painter.paint(f"{folder}/{label:02d}{row:03d}.jpg", label)
            entries[subset].append([path, label, class_name(label)])
    split.write_text(json.dumps(entries))


def _write_aircraft(folder: Path, painter: Painter, classes: int, images: int) -> None:
    """A data set with the lists of FGVC-Aircraft."""
    lists: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for label in range(classes):
        for row in range(images):
            number = f"{1000 * (label + 1) + row:07d}"
            painter.paint(f"{number}.jpg", label)
            lists[_subset(row, images)].append(f"{number} {class_name(label)}")
    (folder / "variants.txt").write_text("".join(f"{class_name(k)}\n" for k in range(classes)))
    for subset, lines in lists.items():
        (folder / f"images_variant_{subset}.txt").write_text("\n".join(lines) + "\n")


def _write_imagenet(
    root: Path, folder: Path, painter: Painter, name: str, classes: int, images: int
) -> None:
    """ImageNet or one of its variants."""
    parts = {"train/": images, "val/": -(-images // 3)} if name == "imagenet" else {"": images}
    first = 1 if name in ("imagenet_a", "imagenet_r") else 0
    for part, count in parts.items():
        for label in range(first, classes):
            class_folder = str(label) if name == "imagenetv2" else wnid(label)
            for row in range(count):
                painter.paint(f"{part}{class_folder}/{row:03d}.JPEG", label)
    if name in ("imagenet_a", "imagenet_r"):
        (painter.folder / "README.txt").write_text("No class.\n")
    if name == "imagenet" or not (root / "imagenet" / "classnames.txt").exists():
        lines = [f"{wnid(label)} {class_name(label)}\n" for label in range(classes)]
        (folder / "classnames.txt").write_text("".join(lines))
