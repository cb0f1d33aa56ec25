"""TaskRes: a learned residual on the class texts (Yu et al., CVPR 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..config import AdapterOptions
from ..tasks import Task
from .base import Adapter, Views


class TaskRes(Adapter):
    """Logits ``scale * x . normalize(t + residual_scale * r)`` with a residual r that starts at 0.

    Shape:
        - text: (k, d), raw means over templates, not normalised.
    """

    text: Tensor

    def __init__(self, text: Tensor, logit_scale: float, residual_scale: float) -> None:
        super().__init__()
        self.register_buffer("text", text)
        self.residual = nn.Parameter(torch.zeros_like(text))
        self.logit_scale = logit_scale
        self.residual_scale = residual_scale

    @classmethod
    def build(cls, task: Task, options: AdapterOptions) -> TaskRes:
        """TaskRes on a task's raw class texts."""
        return cls(task.text_raw, task.logit_scale, options.residual_scale)

    def classifier(self) -> Tensor:
        """Class texts (k, d) with their residuals, of unit length."""
        return normalize(self.text + self.residual_scale * self.residual, dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, k) of image features (n, d) of unit length."""
        return self.logit_scale * features @ self.classifier().T

    def views(self, features: Tensor, labels: Tensor) -> Views:
        """Images beside the tuned text of their class."""
        return Views(features, features, self.classifier().index_select(0, labels))

    def restrict(self, classes: Tensor) -> TaskRes:
        """The same for some of the classes."""
        smaller = type(self)(self.text[classes], self.logit_scale, self.residual_scale)
        smaller.residual = nn.Parameter(self.residual.detach()[classes])
        return smaller


class ZeroShot(TaskRes):
    """The class texts as they are: TaskRes whose residual stays 0."""

    trainable = False

    @classmethod
    def build(cls, task: Task, options: AdapterOptions) -> ZeroShot:
        """Zero-shot classification by Tip-Adapter's normalised texts."""
        return cls(task.text_normalized, task.logit_scale, 0.0)
