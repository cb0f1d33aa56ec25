"""TaskRes: a learned residual on the class texts (Yu et al., CVPR 2023)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..options import AdapterOptions
from ..tasks import Task
from .base import Adapter, Step


class TaskRes(Adapter):
    """Logits ``scale * x . normalize(t + residual_scale * r)`` with a residual r that starts at 0.

    Shape:
        - text: (k, d), raw means over templates, not normalised. residual: (k, d).
    """

    tensors = ("text", "residual")
    trainable: ClassVar[tuple[str, ...]] = ("residual",)
    text: Tensor
    residual: Tensor

    @classmethod
    def initial(cls, task: Task, options: AdapterOptions) -> dict[str, Tensor]:
        """Begin at a task's raw class texts."""
        return {"text": task.texts.raw, "residual": torch.zeros_like(task.texts.raw)}

    def step(self, features: Tensor) -> Step:
        """Compare images with the tuned text of their class."""
        texts = self.text + self.options.residual_scale * self.residual
        classifier = normalize(texts, dim=1)
        rows = classifier if self.options.normalize == "both" else texts
        logits = self.logit_scale * features @ classifier.mT
        return Step(logits, features, lambda labels: rows.index_select(0, labels))


class ZeroShot(TaskRes):
    """The class texts as they are: TaskRes whose residual stays 0."""

    trainable = ()

    @classmethod
    def initial(cls, task: Task, options: AdapterOptions) -> dict[str, Tensor]:
        """Take Tip-Adapter's normalised texts."""
        text = task.texts.normalized
        return {"text": text, "residual": torch.zeros_like(text)}
