"""Synthetic data sets in CoOp's layout, for tests of the whole command line."""

from __future__ import annotations

import colorsys
import json
from collections.abc import Iterator, Mapping
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
    """
    folder_name, image_folder, listing = LAYOUTS[name]
    folder, generator = Path(root) / folder_name, np.random.default_rng(seed)
    noise = 60 if name.startswith("imagenet_") else 40
    lists: dict[str, list[tuple[str, int]]] = {"train": [], "val": [], "test": []}
    for subset, label, path in _images(name, classes, images):
        lists[subset].append((path, label))
        colour = 255 * np.array(colorsys.hsv_to_rgb(label / classes, 0.8, 0.8))
        pixels = colour + generator.normal(0, noise, (size, size, 3))
        pixels += generator.normal(0, noise / 2, 3)  # the whole image, hard to average out
        file = folder / image_folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG")
    names = [class_name(label) for label in range(classes)]
    if name == "fgvc_aircraft":
        (folder / listing).write_text("\n".join(names))
        for subset, entries in lists.items():
            lines = [f"{Path(path).stem} {names[label]}\n" for path, label in entries]
            (folder / f"images_variant_{subset}.txt").write_text("".join(lines))
    elif listing.endswith(".json"):
        document = {
            subset: [[path, label, names[label]] for path, label in entries]
            for subset, entries in lists.items()
        }
        (folder / listing).write_text(json.dumps(document))
    elif name == "imagenet" or not (Path(root) / "imagenet" / listing).exists():
        lines = [f"{wnid(label)} {names[label]}\n" for label in range(classes)]
        (folder / listing).write_text("".join(lines))
    return folder


def _images(name: str, classes: int, images: int) -> Iterator[tuple[str, int, str]]:
    """Subset, label and path of each image."""
    val, test = max(1, images // 5), max(1, images * 3 // 10)
    train = images - val - test
    for label in range(1 if name in ("imagenet_a", "imagenet_r") else 0, classes):
        if name.startswith("imagenet"):
            parts = (
                {"train/": images, "val/": -(-images // 3)} if name == "imagenet" else {"": images}
            )
            place = str(label) if name == "imagenetv2" else wnid(label)
            for part, count in parts.items():
                yield from (
                    ("test", label, f"{part}{place}/{row:03d}.JPEG") for row in range(count)
                )
            continue
        for row in range(images):
            subset = "train" if row < train else "val" if row < train + val else "test"
            place = f"class_{label}/{label:02d}{row:03d}.jpg"
            if name == "stanford_cars":
                place = place.replace(f"class_{label}", f"cars_{subset.replace('val', 'train')}")
            elif name == "fgvc_aircraft":
                place = f"{1000 * (label + 1) + row:07d}.jpg"
            yield subset, label, place


def write_folder(folder: Path, counts: Mapping[str, int], ending: str = "bmp") -> Path:
    """Write class folders of equally large noisy images whose classes differ in colour."""
    draws = np.random.default_rng(0)
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for row in range(count):
            pixels = draws.integers(0, 80, (12, 10, 3), dtype=np.uint8)
            pixels[:, :, label % 3] += 150
            Image.fromarray(pixels).save(folder / name / f"{row:02d}.{ending}")
    return folder


def class_name(label: int) -> str:
    """Name of a class; some have underscores, as in the data sets."""
    name = CLASS_NAMES[label % len(CLASS_NAMES)]
    return name if label < len(CLASS_NAMES) else f"{name} {label // len(CLASS_NAMES)}"


def wnid(label: int) -> str:
    """Name of a class folder of the synthetic ImageNet."""
    return f"n{10_000_000 + 7 * label:08d}"
