"""Tip-Adapter and Tip-Adapter-F: a cache of training images (Zhang et al., ECCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from topreg import label_indicators

from ..config import AdapterOptions
from ..regularizers.grams import Grams, inner_products
from . import Adapter, LinearMap, Step

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..sources import Task

ROWS = 512  # images searched at a time
SHARPNESS_STEPS, CACHE_WEIGHT_STEPS = 200, 20
PUBLISHED_SCALE = 100.0  # the logit scale for which published cache weights are meant


class TipAdapter(Adapter):
    """Logits ``scale * x . w + cache_weight * exp(-sharpness (1 - x . keys)) @ values``.

    Shape:
        - text: (k, d), unit length. keys: (c, d). cached_labels: (c,), int64; -1 votes for none.
    """

    tensors = ("text", "keys", "cached_labels")
    shared = ("keys", "cached_labels")
    text: Tensor
    keys: Tensor
    cached_labels: Tensor

    def __init__(
        self, tensors: Mapping[str, Tensor], options: AdapterOptions, logit_scale: float
    ) -> None:
        super().__init__(tensors, options, logit_scale)
        labels, classes = self.cached_labels, len(self.text)
        if labels.dtype != torch.int64 or bool(((labels < -1) | (labels >= classes)).any()):
            raise ValueError(f"`cached_labels` should be -1 to {classes - 1}. Got others.")
        self.class_sums = ClassSums(labels, classes)

    @classmethod
    def initial(cls, task: Task, options: AdapterOptions) -> dict[str, Tensor]:
        """Take as keys the training images, averaged over their views."""
        parts = task.texts.normalized, task.train.keys(), task.train_labels
        return dict(zip(cls.tensors, parts, strict=True))

    def step(self, features: Tensor) -> Step:
        """Compare affinities with the indicators of the images' labels over the cached keys."""
        similarities = features @ self.keys.mT
        sharpness = self.options.sharpness
        affinity = torch.exp(sharpness * similarities - sharpness)
        weight = self.options.cache_weight * self.logit_scale / PUBLISHED_SCALE
        zero_shot = self.logit_scale * features @ self.text.mT
        logits = zero_shot + weight * self.class_sums(affinity)

        def target(labels: Tensor) -> Tensor:
            return label_indicators(labels, self.cached_labels, dtype=self.keys.dtype)

        return Step(logits, affinity, target, LinearMap(features, self.keys, similarities))

    def grams(self, source: Tensor, labels: Tensor) -> Grams:
        """Return inner products: class sums with indicators, class counts between these."""
        cross = self.class_sums(source).index_select(1, labels)
        counts = self.class_sums.counts.to(source.dtype)[labels]
        target = torch.where(labels[:, None] == labels[None, :], counts[:, None], 0.0)
        return Grams(inner_products(source), cross, target)

    @torch.no_grad()
    def search(self, features: Tensor, labels: Tensor) -> tuple[float, float]:
        """Choose the sharpness and cache weight with the best accuracy; the first of equals.

        Source:
            The official ``search_hp``, which recomputes the affinity for each pair of values; here
            it is computed once for each sharpness.
        """
        sharpnesses, cache_weights = self.search_grid()
        weights = torch.tensor(cache_weights).to(features.device)
        weights = weights * self.logit_scale / PUBLISHED_SCALE
        size = len(sharpnesses), len(weights)
        correct = torch.zeros(size, dtype=torch.int64).to(features.device)
        for x, y in zip(features.split(ROWS), labels.split(ROWS), strict=True):
            zero_shot = self.logit_scale * x @ self.text.mT
            similarities = x @ self.keys.mT - 1
            for row, sharpness in enumerate(sharpnesses):
                cache = self.class_sums(torch.exp(sharpness * similarities))
                predictions = (zero_shot + weights[:, None, None] * cache).argmax(dim=2)
                correct[row] += (predictions == y).sum(dim=1)
        row, column = divmod(int(correct.argmax()), len(weights))
        return sharpnesses[row], cache_weights[column]

    def search_grid(self) -> tuple[list[float], list[float]]:
        """Return sharpnesses and cache weights: equal steps from 0.1, the upper end left out."""
        ends = self.options.search_sharpness, self.options.search_cache_weight
        sharpnesses, cache_weights = (
            [0.1 + step * (end - 0.1) / count for step in range(count)]
            for end, count in zip(ends, (SHARPNESS_STEPS, CACHE_WEIGHT_STEPS), strict=True)
        )
        return sharpnesses, cache_weights

    def with_factors(self, *factors: float) -> Self:
        """Return the same cache at another sharpness and cache weight."""
        sharpness, cache_weight = factors
        return self.at(self.state_dict(), sharpness=sharpness, cache_weight=cache_weight)

    def restrict(self, classes: Tensor) -> Self:
        """Keep all keys; labels outside ``classes`` vote for none of them."""
        places = torch.full((len(self.text) + 1,), -1, device=classes.device)  # the last is -1's
        places[classes] = torch.arange(len(classes), device=classes.device)
        labels = places[self.cached_labels]
        return self.at({"text": self.text[classes], "keys": self.keys, "cached_labels": labels})


class TipAdapterF(TipAdapter):
    """Tip-Adapter whose keys are trained."""

    trainable = ("keys",)


class ClassSums:
    """Sums of columns by their label: ``values @ one_hot(labels)`` without the zeros.

    Where every class has one run of equal length, as few-shot caches do, the sum is one reduction;
    the dense product costs as many multiplications as the affinities themselves. The label -1 is
    left out.
    """

    def __init__(self, labels: Tensor, classes: int) -> None:
        self.labels = labels
        self.classes = classes
        self.counts = torch.bincount(labels[labels >= 0], minlength=classes)
        self.run, self.order = _equal_runs(labels, classes)

    def __call__(self, values: Tensor) -> Tensor:
        """Return the sums (n, k) of values (n, c)."""
        if self.run:
            sums: Tensor = values.unflatten(1, (self.classes, self.run)).sum(2)
            return sums if self.order is None else sums.index_select(1, self.order)
        sums = values.new_zeros(len(values), self.classes + 1)  # the last column takes -1
        places = torch.where(self.labels < 0, self.classes, self.labels)
        return sums.index_add(1, places, values)[:, : self.classes]


def _equal_runs(labels: Tensor, classes: int) -> tuple[int, Tensor | None]:
    """Length of the runs, 0 if they differ, and the run of each class, None if in order."""
    length, rest = divmod(len(labels), max(classes, 1))
    if rest or not length:
        return 0, None
    runs = labels.view(classes, length)
    heads = runs[:, 0]
    in_order = torch.arange(classes, device=labels.device)
    if not bool((runs == heads[:, None]).all()) or not torch.equal(heads.sort().values, in_order):
        return 0, None
    return length, None if torch.equal(heads, in_order) else heads.argsort()
