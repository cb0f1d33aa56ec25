"""Logistic regression on the image features."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._optional import require
from ..options import AdapterOptions
from ..tasks import Task
from .base import Adapter, Step

if TYPE_CHECKING:
    from typing_extensions import Self

PENALTIES = tuple(10.0**power for power in range(7))
"""Inverse strengths C among which validation images choose; the first of equals."""


class LinearProbe(Adapter):
    """Logits ``x . w + b``, fitted with an L2 penalty; it knows no text.

    Shape:
        - weight: (k, d). bias: (k,).
    """

    trainable = False
    weight: Tensor
    bias: Tensor

    def __init__(
        self, weight: Tensor, bias: Tensor, logit_scale: float, options: AdapterOptions
    ) -> None:
        super().__init__()
        self.logit_scale = logit_scale
        self.options = options
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    @classmethod
    def build(cls, task: Task, options: AdapterOptions) -> Self:
        """Fit for each penalty on the training images; the best on validation images."""
        classes = len(task.texts.raw)
        images, labels = task.train.keys().cpu().numpy(), task.train_labels.cpu().numpy()
        device = task.texts.raw.device
        probes = []
        for penalty in PENALTIES:
            weight, bias = _weights(_fit(images, labels, penalty), classes)
            probes.append(cls(weight.to(device), bias.to(device), task.logit_scale, options))
        return max(probes, key=lambda probe: _correct(probe, task))

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], options: AdapterOptions, logit_scale: float
    ) -> Self:
        """The adapter whose ``state_dict`` the tensors are."""
        return cls(tensors["weight"], tensors["bias"], logit_scale, options)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, k) of image features (n, d) of unit length."""
        return features @ self.weight.T + self.bias

    def step(self, features: Tensor) -> Step:
        """Logits; images beside the weights of their class."""
        return Step(self(features), features, self.target)

    def target(self, labels: Tensor) -> Tensor:
        """The weights of each class."""
        return self.weight.index_select(0, labels)

    def restrict(self, classes: Tensor) -> Self:
        """The same for some of the classes."""
        return type(self)(self.weight[classes], self.bias[classes], self.logit_scale, self.options)


def _fit(images: Any, labels: Any, penalty: float) -> Any:
    """A regression; where its solver stops early, validation images still judge it."""
    linear = require("sklearn.linear_model", extra="vlm")
    exceptions = require("sklearn.exceptions", extra="vlm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exceptions.ConvergenceWarning)
        return linear.LogisticRegression(C=penalty, max_iter=1000).fit(images, labels)


def _correct(probe: LinearProbe, task: Task) -> int:
    """Number of validation images that are classified correctly."""
    return int((probe(task.val_features).argmax(1) == task.val_labels).sum())


def _weights(fitted: Any, classes: int) -> tuple[Tensor, Tensor]:
    """Weights (k, d) and biases (k,); a class without training images is never predicted."""
    rows = torch.from_numpy(fitted.coef_).float()
    bias = torch.from_numpy(fitted.intercept_).float()
    if len(rows) == 1:  # of two classes
        rows, bias = torch.cat([-rows, rows]) / 2, torch.cat([-bias, bias]) / 2
    weights, biases = rows.new_zeros(classes, rows.shape[1]), bias.new_full((classes,), -torch.inf)
    weights[fitted.classes_], biases[fitted.classes_] = rows, bias
    return weights, biases
