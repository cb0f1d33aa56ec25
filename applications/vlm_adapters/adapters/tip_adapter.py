"""Tip-Adapter and Tip-Adapter-F: a cache of training images (Zhang et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from topreg import label_indicators

from ..grams import Grams, inner_products
from ..options import AdapterOptions
from ..tasks import Task
from .base import Adapter, LinearMap, Step
from .class_sums import ClassSums

if TYPE_CHECKING:
    from typing_extensions import Self

ROWS = 512  # images searched at a time
SHARPNESS_STEPS, CACHE_WEIGHT_STEPS = 200, 20
PUBLISHED_SCALE = 100.0  # the logit scale for which published cache weights are meant


@dataclass(frozen=True)
class SearchGrid:
    """Values of sharpness and cache weight among which validation data choose."""

    sharpness: tuple[float, ...]
    cache_weight: tuple[float, ...]


class TipAdapter(Adapter):
    """Logits ``scale * x . w + cache_weight * exp(-sharpness (1 - x . keys)) @ values``.

    Shape:
        - text: (k, d), unit length. keys: (c, d). cached_labels: (c,), int64; -1 votes for none.
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
        self.class_sums = ClassSums(cached_labels, len(text))

    @classmethod
    def build(cls, task: Task, options: AdapterOptions) -> Self:
        """A cache whose keys are the training images, averaged over their views."""
        return cls(
            task.texts.normalized, task.train.keys(), task.train_labels, task.logit_scale, options
        )

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], options: AdapterOptions, logit_scale: float
    ) -> Self:
        """The adapter whose ``state_dict`` the tensors are."""
        labels, classes = tensors["cached_labels"], len(tensors["text"])
        if labels.dtype != torch.int64 or bool(((labels < -1) | (labels >= classes)).any()):
            raise ValueError(f"`cached_labels` should be -1 to {classes - 1}. Got others.")
        return cls(tensors["text"], tensors["keys"], tensors["cached_labels"], logit_scale, options)

    def with_factors(self, *factors: float) -> Self:
        """Return the same cache at another sharpness and cache weight."""
        sharpness, cache_weight = factors
        options = replace(self.options, sharpness=sharpness, cache_weight=cache_weight)
        return self.from_tensors(self.state_dict(), options, self.logit_scale)

    def affinity(self, similarities: Tensor) -> Tensor:
        """Affinity (n, c) of images to the cached keys."""
        sharpness = self.options.sharpness
        return torch.exp(sharpness * similarities - sharpness)

    def logits(self, features: Tensor, affinity: Tensor) -> Tensor:
        """Logits (n, k) of images from their affinities."""
        weight = self.options.cache_weight * self.logit_scale / PUBLISHED_SCALE
        zero_shot = self.logit_scale * features @ self.text.T
        return zero_shot + weight * self.class_sums(affinity)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, k) of image features (n, d) of unit length."""
        return self.logits(features, self.affinity(features @ self.keys.T))

    def step(self, features: Tensor) -> Step:
        """Logits; affinities, whose counterpart are the indicators of the images' labels."""
        similarities = features @ self.keys.T
        affinity = self.affinity(similarities)
        linear = LinearMap(features, self.keys, similarities)
        return Step(self.logits(features, affinity), affinity, self.target, linear)

    def target(self, labels: Tensor) -> Tensor:
        """Which cached keys have each label."""
        return label_indicators(labels, self.cached_labels, dtype=self.keys.dtype)

    def grams(self, source: Tensor, labels: Tensor) -> Grams:
        """Inner products with indicators are class sums; those of indicators are class counts."""
        cross = self.class_sums(source).index_select(1, labels)
        counts = self.class_sums.counts.to(source.dtype)[labels]
        target = torch.where(labels[:, None] == labels[None, :], counts[:, None], 0.0)
        return Grams(inner_products(source), cross, target)

    @torch.no_grad()
    def search(self, features: Tensor, labels: Tensor) -> tuple[float, float]:
        """Choose the sharpness and cache weight with the best accuracy; the first of equals.

        Args:
            features: Validation features (v, d) of unit length.
            labels: Their classes (v,).

        Returns:
            Sharpness and cache weight.

        Source:
            The official ``search_hp``, which recomputes the affinity for each pair of values; here
            it is computed once for each sharpness.
        """
        grid = self.search_grid()
        weights = torch.tensor(grid.cache_weight).to(features.device)
        weights = weights * self.logit_scale / PUBLISHED_SCALE
        size = len(grid.sharpness), len(weights)
        correct = torch.zeros(size, dtype=torch.int64).to(features.device)
        for x, y in zip(features.split(ROWS), labels.split(ROWS), strict=True):
            zero_shot = self.logit_scale * x @ self.text.T
            similarities = x @ self.keys.T - 1
            for row, sharpness in enumerate(grid.sharpness):
                cache = self.class_sums(torch.exp(sharpness * similarities))
                predictions = (zero_shot + weights[:, None, None] * cache).argmax(dim=2)
                correct[row] += (predictions == y).sum(dim=1)
        row, column = divmod(int(correct.argmax()), len(weights))
        return grid.sharpness[row], grid.cache_weight[column]

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
        voting = self.cached_labels >= 0
        labels = torch.where(voting, places[self.cached_labels.clamp(min=0)], -1)
        return type(self)(
            self.text[classes], self.keys.detach(), labels, self.logit_scale, self.options
        )


class TipAdapterF(TipAdapter):
    """Tip-Adapter whose keys are trained."""

    trainable = True


def _steps(end: float, count: int) -> tuple[float, ...]:
    """Equal steps from 0.1 to an end that is left out."""
    return tuple(0.1 + step * (end - 0.1) / count for step in range(count))
