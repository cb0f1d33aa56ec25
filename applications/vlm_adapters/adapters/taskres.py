"""TaskRes: a learned residual on the class texts (Yu et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..options import AdapterOptions
from ..tasks import Task
from .base import Adapter, Step

if TYPE_CHECKING:
    from typing_extensions import Self


class TaskRes(Adapter):
    """Logits ``scale * x . normalize(t + residual_scale * r)`` with a residual r that starts at 0.

    Shape:
        - text: (k, d), raw means over templates, not normalised.
    """

    text: Tensor

    def __init__(self, text: Tensor, logit_scale: float, options: AdapterOptions) -> None:
        super().__init__()
        self.register_buffer("text", text)
        self.residual = nn.Parameter(torch.zeros_like(text))
        self.logit_scale = logit_scale
        self.options = options

    @classmethod
    def build(cls, task: Task, options: AdapterOptions) -> Self:
        """TaskRes on a task's raw class texts."""
        return cls(task.texts.raw, task.logit_scale, options)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], options: AdapterOptions, logit_scale: float
    ) -> Self:
        """The adapter whose ``state_dict`` the tensors are."""
        adapter = cls(tensors["text"], logit_scale, options)
        adapter.load_state_dict(dict(tensors))
        return adapter

    def texts(self) -> Tensor:
        """Class texts (k, d) with their residuals."""
        return self.text + self.options.residual_scale * self.residual

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, k) of image features (n, d) of unit length."""
        return self.logit_scale * features @ normalize(self.texts(), dim=1).T

    def step(self, features: Tensor) -> Step:
        """Logits; images beside the tuned text of their class."""
        texts = self.texts()
        classifier = normalize(texts, dim=1)
        logits = self.logit_scale * features @ classifier.T
        return Step(logits, features, partial(self._views(texts, classifier).index_select, 0))

    def target(self, labels: Tensor) -> Tensor:
        """The tuned text of each class."""
        texts = self.texts()
        return self._views(texts, normalize(texts, dim=1)).index_select(0, labels)

    def _views(self, texts: Tensor, classifier: Tensor) -> Tensor:
        """What stands beside the images."""
        return classifier if self.options.normalize == "both" else texts

    def restrict(self, classes: Tensor) -> Self:
        """The same for some of the classes."""
        return self.at({name: tensor[classes] for name, tensor in self.state_dict().items()})


class ZeroShot(TaskRes):
    """The class texts as they are: TaskRes whose residual stays 0."""

    trainable = False

    @classmethod
    def build(cls, task: Task, options: AdapterOptions) -> Self:
        """Zero-shot classification by Tip-Adapter's normalised texts."""
        return cls(task.texts.normalized, task.logit_scale, options)
