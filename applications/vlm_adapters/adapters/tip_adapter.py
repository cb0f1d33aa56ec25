"""Tip-Adapter and Tip-Adapter-F: a cache of training images (Zhang et al., ECCV 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from topreg import exponential_affinity, label_indicators

from ..config import AdapterOptions
from ..tasks import Task
from .base import Adapter, SearchGrid, Views

if TYPE_CHECKING:
    from typing_extensions import Self

SHARPNESS_STEPS, CACHE_WEIGHT_STEPS = 200, 20
PUBLISHED_SCALE = 100.0  # the logit scale for which published cache weights are meant


class TipAdapter(Adapter):
    """Logits ``scale * x . w + cache_weight * exp(-sharpness (1 - x . keys)) @ values``.

    Shape:
        - text: (k, d), unit length. keys: (c, d). cached_labels: (c,), int64.
    """

    trainable = False
    text: Tensor
    cached_labels: Tensor

    def __init__(
        self, text: Tensor, keys: Tensor, cached_labels: Tensor, logit_scale: float,
        options: AdapterOptions,
    ) -> None:  # fmt: skip
        super().__init__()
        self.register_buffer("text", text)
        self.register_buffer("cached_labels", cached_labels)
        self.keys = nn.Parameter(keys.clone(), requires_grad=self.trainable)
        self.logit_scale = logit_scale
        self.options = options
        self.sharpness = options.sharpness
        self.cache_weight = options.cache_weight

    @classmethod
    def build(cls, task: Task, options: AdapterOptions) -> Self:
        """A cache whose keys are the normalised training features."""
        keys = normalize(task.train_features, dim=1)
        return cls(task.text_normalized, keys, task.train_labels, task.logit_scale, options)

    def affinity(self, features: Tensor) -> Tensor:
        """Affinity (n, c) of images to the cached keys."""
        return exponential_affinity(features, self.keys, sharpness=self.sharpness)

    def values(self, dtype: torch.dtype) -> Tensor:
        """One-hot labels (c, k) of the cached images."""
        classes = torch.arange(len(self.text), device=self.text.device)
        return label_indicators(self.cached_labels, classes, dtype=dtype)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, k) of image features (n, d) of unit length."""
        weight = self.cache_weight * self.logit_scale / PUBLISHED_SCALE
        zero_shot = self.logit_scale * features @ self.text.T
        return zero_shot + weight * self.affinity(features) @ self.values(features.dtype)

    def views(self, features: Tensor, labels: Tensor) -> Views:
        """Affinities beside the indicators of the images' labels, both over the cached keys."""
        indicators = label_indicators(labels, self.cached_labels, dtype=features.dtype)
        return Views(features, self.affinity(features), indicators)

    def search_grid(self) -> SearchGrid:
        """The official grid: equal steps from 0.1, the upper end left out."""
        return SearchGrid(
            _steps(self.options.search_sharpness, SHARPNESS_STEPS),
            _steps(self.options.search_cache_weight, CACHE_WEIGHT_STEPS),
        )

    def restrict(self, classes: Tensor) -> Self:
        """All keys stay; labels outside ``classes`` vote for none of them."""
        places = torch.full((len(self.text),), -1, device=classes.device)
        places[classes] = torch.arange(len(classes), device=classes.device)
        smaller = type(self)(
            self.text[classes], self.keys.detach(), places[self.cached_labels],
            self.logit_scale, self.options,
        )  # fmt: skip
        smaller.sharpness, smaller.cache_weight = self.sharpness, self.cache_weight
        return smaller


class TipAdapterF(TipAdapter):
    """Tip-Adapter whose keys are trained."""

    trainable = True


def _steps(end: float, count: int) -> tuple[float, ...]:
    return tuple(0.1 + step * (end - 0.1) / count for step in range(count))
