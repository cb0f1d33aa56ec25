"""A trained adapter on other images: the test images of another data set, and image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize

from ._files import write_json
from .backbones import Backbone, check_weights
from .data.folders import IMAGE_ENDINGS
from .features.views import extract_features, read_image
from .runs import Run, SavedRun, transfer_file
from .sources import Extraction, unit_features
from .training import accuracy


class Target:
    """The test images of a data set, extracted for adapters on one backbone."""

    def __init__(self, extraction: Extraction) -> None:
        self.backbone = extraction.backbone
        self.dataset = extraction.dataset
        self.part = extraction.part(self.dataset.split.test)

    def key(self, run: Run) -> dict[str, str]:
        """Return what the accuracy of a run on these images belongs to."""
        return {"run": run.identity, "features": self.part.identity()}


def accuracy_on(saved: SavedRun, target: Target) -> dict[str, Any]:
    """Return the test accuracy on a target domain and what it belongs to, as JSON takes it.

    ImageNet-A and -R have 200 of ImageNet's classes, taken by WordNet number, because names occur
    twice. As in CLAP, a cache keeps all its keys and the columns of these classes.
    """
    check_weights(target.backbone, saved.run.weights)
    dataset, run = target.dataset, saved.run
    theirs = dataset.split.class_names
    classes = dataset.classes or _by_name(saved.class_names, theirs)
    # The run's labels should be those of ImageNet, of which a target has some.
    names = [saved.class_names[k] if k < len(saved.class_names) else None for k in classes]
    other = next((k for k, name in enumerate(names) if name != theirs[k]), None)
    if other is not None:
        raise ValueError(
            f"The run's class {classes[other]} should be {theirs[other]!r}. Got {names[other]!r}. "
            "Is the run one on ImageNet, with the same `classnames.txt`?"
        )
    features, labels = unit_features(target.part)
    return {
        **target.key(run),
        "method": run.method,
        "preset": run.preset,
        "source": run.dataset,
        "target": dataset.name,
        "backbone": run.backbone,
        "shots": run.shots,
        "seed": run.seed,
        "images": len(labels),
        "accuracy": accuracy(saved.adapter.restrict(torch.tensor(classes)), features, labels),
    }


def write_accuracy(folder: Path, saved: SavedRun, target: Target) -> dict[str, Any]:
    """Write the accuracy of a run on a target domain into the run's folder, and return it."""
    found = accuracy_on(saved, target)
    file = transfer_file(folder, target.dataset.name)
    file.parent.mkdir(exist_ok=True)
    write_json(file, found)
    return found


def _by_name(ours: tuple[str, ...], theirs: tuple[str, ...]) -> Sequence[int]:
    """Return our label of each of their classes."""
    if ours == theirs:
        return range(len(ours))
    if len(set(ours)) < len(ours):
        raise ValueError(
            "The run's classes should have distinct names to be found on another data set. "
            "Got a name twice."
        )
    missing = [name for name in theirs if name not in ours]
    if missing:
        raise ValueError(
            f"The data set's classes should be among the run's {len(ours)}. Got {missing[0]!r}."
        )
    return [ours.index(name) for name in theirs]


def image_files(named: Sequence[Path]) -> list[Path]:
    """Return image files and the images below folders, at any depth and by their endings.

    Hidden files and those in hidden folders below the named ones are left out.
    """
    files: list[Path] = []
    for path in named:
        found = [path]
        if not path.is_file():
            below = (f for f in path.rglob("*") if f.name.lower().endswith(IMAGE_ENDINGS))
            found = sorted(f for f in below if f.is_file() and not _is_hidden(f.relative_to(path)))
        if not found:
            raise FileNotFoundError(
                f"`IMAGES` should be image files or folders of them. Got '{path}', which is "
                f"{'a folder without images' if path.is_dir() else 'neither'}."
            )
        files += found
    return files


def _is_hidden(path: Path) -> bool:
    return any(part[0] == "." for part in path.parts)


def predict(
    saved: SavedRun, backbone: Backbone, images: Sequence[Path], top: int
) -> list[dict[str, Any]]:
    """Classify image files: for each the ``top`` classes, or the error of one that is damaged.

    The images are read as those of the run were. Classes are a list by falling probability,
    because two classes of ImageNet may share a name.
    """
    check_weights(backbone, saved.run.weights)
    found: dict[Path, dict[str, Any]] = {
        path: {"path": _printable(path), "classes": []} for path in images
    }
    for path, item in found.items():
        try:
            read_image(Path(), str(path), published=saved.run.published_pixels)
        except (OSError, ValueError) as error:  # noqa: PERF203 - each file is judged alone
            item["error"] = _printable(error)
    good = [path for path, item in found.items() if "error" not in item]
    files, published = [str(path) for path in good], saved.run.published_pixels
    features = extract_features(backbone, Path(), files, published=published)
    with torch.no_grad():
        shares = saved.adapter(normalize(features, dim=1)).softmax(dim=1)
    values, labels = shares.topk(min(top, shares.shape[1]), dim=1)
    for path, *row in zip(good, labels.tolist(), values.tolist(), strict=True):
        found[path]["classes"] = [
            {"class": saved.class_names[label], "probability": value}
            for label, value in zip(*row, strict=True)
        ]
    return [found[path] for path in images]


def _printable(value: object) -> str:
    """Return a text in which a name that is not UTF-8 has escapes."""
    return str(value).encode(errors="backslashreplace").decode()
