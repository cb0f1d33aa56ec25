"""The training images of a task: what a step sees of them, and what a cache keeps of them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..backbones.base import Backbone
from .extract import extract_views
from .views import Augmentation

__all__ = ["CachedViews", "OnlineViews", "TrainingImages"]

LARGEST_DRAW = 2**62


class TrainingImages(Protocol):
    """Training images, each step anew or from a cache."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Features (m, d) of unit length of one view of each of m images."""
        ...

    def to(self, device: torch.device | str) -> TrainingImages:
        """Return images whose features lie on a device."""
        ...

    def keys(self) -> Tensor:
        """Tip-Adapter's cache keys (n, d): mean over the views as they come, then unit length."""
        ...


class CachedViews:
    """Views extracted once; a step draws one of each image.

    Args:
        features: Features of the views, not normalised.

    Shape:
        - features: (n, v, d).
    """

    def __init__(self, features: Tensor) -> None:
        self.units = normalize(features, dim=2)
        self._keys = normalize(features.mean(1), dim=1)

    def __len__(self) -> int:
        return len(self.units)

    def to(self, device: torch.device | str) -> CachedViews:
        """Return the views on a device."""
        moved = copy.copy(self)
        moved.units, moved._keys = self.units.to(device), self._keys.to(device)
        return moved

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Features (m, d) of unit length of one view of each of m images."""
        if self.units.shape[1] == 1:
            return self.units[rows, 0]
        return self.units[rows, torch.randint(self.units.shape[1], rows.shape, generator=generator)]

    def keys(self) -> Tensor:
        """Tip-Adapter's cache keys (n, d)."""
        return self._keys


class OnlineViews:
    """Images read, augmented and encoded at every step.

    Args:
        backbone: Frozen encoder.
        root: Image folder.
        paths: Files below it.
        augmentation: Scale and seed; keys are averaged over ``views`` passes.
        batch_size: Views per call of the encoder.
        num_workers: Threads that read images.
    """

    def __init__(
        self,
        backbone: Backbone,
        root: Path,
        paths: Sequence[str],
        augmentation: Augmentation,
        *,
        batch_size: int = 64,
        num_workers: int = 2,
    ) -> None:
        self.backbone = backbone
        self.root = root
        self.paths = list(paths)
        self.augmentation = augmentation
        self.batch_size = batch_size
        self.num_workers = num_workers
        self._keys: Tensor | None = None
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        return len(self.paths)

    def to(self, device: torch.device | str) -> OnlineViews:
        """Return images whose features are moved to a device."""
        moved = copy.copy(self)
        moved.device = torch.device(device)
        return moved

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Features (m, d) of unit length of a new view of each of m images."""
        first = int(torch.randint(LARGEST_DRAW, (), generator=generator))
        fresh = replace(self.augmentation, views=1, first=self.augmentation.views + first)
        return normalize(self._encode([self.paths[row] for row in rows.tolist()], fresh)[:, 0])

    def keys(self) -> Tensor:
        """Tip-Adapter's cache keys (n, d), computed once."""
        if self._keys is None:
            self._keys = normalize(self._encode(self.paths, self.augmentation).mean(1), dim=1)
        return self._keys

    def _encode(self, paths: Sequence[str], augmentation: Augmentation) -> Tensor:
        features = extract_views(
            self.backbone, self.root, paths, augmentation,
            batch_size=self.batch_size, num_workers=self.num_workers,
        )  # fmt: skip
        return features.to(self.device)
