"""The training images of a task: what a step sees of them, and what a cache keeps of them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..backbones.base import Backbone
from .views import Augmentation, extract_views

LARGEST_DRAW = 2**62


class CachedViews:
    """Views (n, v, d), encoded once and not normalised; a step draws one of each image."""

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
        """Return features (m, d) of unit length of one view of each of m images."""
        if self.units.shape[1] == 1:
            return self.units[rows, 0]
        return self.units[rows, torch.randint(self.units.shape[1], rows.shape, generator=generator)]

    def keys(self) -> Tensor:
        """Return Tip-Adapter's cache keys (n, d): means of the raw views, then unit length."""
        return self._keys


class OnlineViews:
    """Images read, augmented and encoded at every step; methods as in :class:`CachedViews`."""

    def __init__(
        self,
        backbone: Backbone,
        root: Path,
        paths: Sequence[str],
        augmentation: Augmentation,
        **options: Any,
    ) -> None:
        self.backbone, self.root, self.paths = backbone, root, list(paths)
        self.augmentation, self.options = augmentation, options
        self.device = torch.device("cpu")
        self._keys: Tensor | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def to(self, device: torch.device | str) -> OnlineViews:
        """Return images whose features are moved to a device."""
        moved = copy.copy(self)
        moved.device = torch.device(device)
        return moved

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return features (m, d) of unit length of a new view of each of m images."""
        first = int(torch.randint(LARGEST_DRAW, (), generator=generator))
        fresh = replace(self.augmentation, views=1, first=self.augmentation.views + first)
        return normalize(self._encode([self.paths[row] for row in rows.tolist()], fresh)[:, 0])

    def keys(self) -> Tensor:
        """Return Tip-Adapter's cache keys (n, d), computed once."""
        if self._keys is None:
            self._keys = normalize(self._encode(self.paths, self.augmentation).mean(1), dim=1)
        return self._keys

    def _encode(self, paths: Sequence[str], augmentation: Augmentation) -> Tensor:
        views = extract_views(self.backbone, self.root, paths, augmentation, **self.options)
        return views.to(self.device)


TrainingImages: TypeAlias = CachedViews | OnlineViews
