"""A folder of extracted features, each entry named by the fingerprint of all that it depends on."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._files import json_hash, read_json, read_tensors, write_json, write_tensors
from .extract import Progress
from .recipe import SCHEMA, Recipe

__all__ = ["FeatureStore"]

FEATURES, META, PARTS = "features.safetensors", "meta.json", "parts"


@dataclass(frozen=True)
class FeatureStore:
    """Entries of features under one folder.

    An entry is complete when its features and its ``meta.json`` are there. Until then its parts,
    one for each block of images, lie in ``parts/``; what is killed goes on from them.

    Attributes:
        root: The folder.
    """

    root: Path

    def find(self, recipe: Recipe) -> Path | None:
        """The features of a recipe's images, from its own entry or from one that covers it.

        Args:
            recipe: What is wanted.

        Returns:
            The entry's folder, or None.

        Raises:
            ValueError: If an entry is damaged.
        """
        own = self.root / recipe.folder
        if is_complete(own):
            return own
        wanted = set(zip(recipe.paths, recipe.contents, recipe.labels, strict=True))
        for meta in sorted(
            self.root.glob(f"{glob.escape(recipe.dataset)}-{recipe.view['kind']}-*/{META}")
        ):
            if not is_complete(meta.parent):
                continue
            content = _meta(meta)
            if content["base"] == recipe.base() and wanted <= set(_images(content)):
                return meta.parent
        return None

    def read(self, recipe: Recipe, entry: Path, places: Sequence[int] | None = None) -> Tensor:
        """Features of a recipe's images from an entry that :meth:`find` gave.

        Args:
            recipe: What is wanted.
            entry: The entry.
            places: Which of the recipe's images; all if left out. No others are copied.

        Returns:
            Features (n, v, d), not normalised, in the order of ``places``.

        Raises:
            ValueError: If the entry is damaged or of another recipe.
        """
        content = _meta(entry / META)
        images = _images(content)
        row = {image: place for place, image in enumerate(images)}
        wanted = list(zip(recipe.paths, recipe.contents, recipe.labels, strict=True))
        if content["base"] != recipe.base() or any(image not in row for image in wanted):
            raise ValueError(
                f"`{entry}` should hold the features asked for. Got those of another recipe. "
                "Remove the folder to have it made anew."
            )
        _, tensors = read_tensors(entry / FEATURES)
        features = tensors.get("features", torch.empty(0))
        if not _are_features(features, len(images)):
            raise ValueError(
                f"`{entry / FEATURES}` should hold features of {len(images)} images. "
                f"Got shape {tuple(features.shape)}, {features.dtype}. "
                "Remove the folder to have it made anew."
            )
        places = range(len(wanted)) if places is None else places
        chosen = features[[row[wanted[place]] for place in places]]
        bad = _not_finite(chosen)
        if bad:
            raise ValueError(
                f"`{entry / FEATURES}` should be finite. Got {len(bad)} images with NaN or "
                "infinity. Remove the folder to have it made anew."
            )
        return chosen

    def make(
        self,
        recipe: Recipe,
        block: int,
        encode: Callable[[slice, Progress], Tensor],
        *,
        share: tuple[int, int] = (0, 1),
        progress: Progress = lambda done, total: None,
    ) -> None:
        """Extract the parts that are not there yet.

        Args:
            recipe: What to extract.
            block: Images a part; it must not change between calls, so that batches do not.
            encode: Features (m, v, d) of the images of a slice of the recipe; it calls its second
                argument with the images done and the images in all.
            share: Rank and number of the processes that divide the parts among them.
            progress: Called with the images done and the images in all.

        Raises:
            ValueError: If a feature is not finite; its part is not kept.
        """
        try:
            self._make(recipe, block, encode, share, progress)
        except (FileNotFoundError, FileExistsError):
            if not is_complete(self.root / recipe.folder):
                raise
            # another process was faster: it has joined the parts, and removed them

    def _make(
        self,
        recipe: Recipe,
        block: int,
        encode: Callable[[slice, Progress], Tensor],
        share: tuple[int, int],
        progress: Progress,
    ) -> None:
        """The parts of a share."""
        parts = self.root / recipe.folder / PARTS
        parts.mkdir(parents=True, exist_ok=True)
        rank, ranks = share
        slices = list(_slices(len(recipe.paths), block))
        mine = slices[rank::ranks]
        total, done = sum(s.stop - s.start for s in mine), 0
        if mine:
            progress(0, total)
        for part in mine:
            file = parts / _part(part)
            if not _readable(file, part.stop - part.start):
                features = encode(part, _after(done, total, progress))
                _refuse_not_finite(features, recipe.paths[part])
                write_tensors(file, {"features": features})
            done += part.stop - part.start
            progress(done, total)

    def finish(self, recipe: Recipe, block: int) -> Path:
        """Join the parts of a recipe; the entry is complete then.

        Args:
            recipe: What was extracted.
            block: As in :meth:`make`.

        Returns:
            The entry's folder.

        Raises:
            FileNotFoundError: If a part is missing.
            ValueError: If one is damaged.
        """
        entry = self.root / recipe.folder
        slices = _slices(len(recipe.paths), block)
        try:
            parts = [_features_of(entry / PARTS / _part(s), s.stop - s.start) for s in slices]
        except FileNotFoundError:
            if not is_complete(entry):
                raise
            shutil.rmtree(entry / PARTS, ignore_errors=True)
            return entry  # another process was faster
        _have_one_shape(parts, entry / PARTS)
        tensors = {"features": torch.cat(parts), "labels": torch.tensor(recipe.labels)}
        del parts
        write_tensors(entry / FEATURES, tensors)
        images = list(zip(recipe.paths, recipe.contents, recipe.labels, strict=True))
        write_json(
            entry / META,
            {"fingerprint": recipe.fingerprint(), "base": recipe.base(), "images": images},
        )
        shutil.rmtree(entry / PARTS, ignore_errors=True)
        return entry

    def texts(
        self, dataset: str, recipe: Mapping[str, Any], encode: Callable[[Path], None]
    ) -> Path:
        """The file of the class texts of a recipe.

        Args:
            dataset: Name of the data set.
            recipe: What the texts depend on.
            encode: Writes the file if it is not there.

        Returns:
            The file.
        """
        file = self.root / f"{dataset}-texts-{json_hash([SCHEMA, recipe])[:16]}.safetensors"
        if not file.is_file():
            self.root.mkdir(parents=True, exist_ok=True)
            encode(file)
        return file


def _after(before: int, total: int, progress: Progress) -> Progress:
    """The progress of one part as that of all."""
    return lambda done, _: progress(before + done, total)


def is_complete(entry: Path) -> bool:
    """Return whether an entry has every file of a complete one."""
    return (entry / META).is_file() and (entry / FEATURES).is_file()


def _slices(images: int, block: int) -> Iterator[slice]:
    """Consecutive blocks."""
    return (slice(start, min(start + block, images)) for start in range(0, images, block))


def _part(part: slice) -> str:
    """File name of a block."""
    return f"{part.start:08d}.safetensors"


def _not_finite(features: Tensor) -> list[int]:
    """Rows with NaN or infinity."""
    rows: list[int] = (~features.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()
    return rows


def _refuse_not_finite(features: Tensor, paths: Sequence[str]) -> None:
    """Refuse what no later step could use."""
    bad = _not_finite(features)
    if bad:
        raise ValueError(
            f"`features` should be finite. Got infinity or NaN for {paths[bad[0]]!r}. "
            "Look at the image and at the precision of the encoder."
        )


def _readable(file: Path, images: int) -> bool:
    """Whether a part is there and whole."""
    try:
        _features_of(file, images)
    except (OSError, ValueError):
        return False
    return True


def _features_of(file: Path, images: int) -> Tensor:
    """The features of a part."""
    features = read_tensors(file)[1].get("features", torch.empty(0))
    if not _are_features(features, images):
        raise ValueError(
            f"`{file}` should hold features of {images} images. Got shape "
            f"{tuple(features.shape)}, {features.dtype}. Remove it to have it made anew."
        )
    return features


def _are_features(features: Tensor, images: int) -> bool:
    """Whether a tensor may be the features of some images."""
    return features.ndim == 3 and len(features) == images and features.dtype == torch.float32


def _have_one_shape(parts: Sequence[Tensor], folder: Path) -> None:
    """Refuse parts that cannot be joined."""
    shapes = sorted({tuple(part.shape[1:]) for part in parts})
    if len(shapes) > 1:
        raise ValueError(
            f"`{folder}` should hold features of one shape. Got {shapes[0]} and {shapes[1]}. "
            "Remove the folder to have it made anew."
        )


def _meta(file: Path) -> dict[str, Any]:
    """The content of a ``meta.json``, checked."""
    content = read_json(file)
    match content:
        case {"fingerprint": _, "base": dict(), "images": [*images]}:
            if all(map(_is_image, images)):
                return dict(content)
    raise ValueError(
        f"`{file}` should describe features. Got another document. "
        "Remove the folder to have it made anew."
    )


def _is_image(image: object) -> bool:
    """Whether an entry's image has a path, a content hash and a label."""
    match image:
        case [str(), str(), int()]:
            return True
    return False


def _images(content: Mapping[str, Any]) -> Sequence[tuple[str, str, int]]:
    """Path, content hash and label of each image of an entry."""
    return [(path, content, label) for path, content, label in content["images"]]
