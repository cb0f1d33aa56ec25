"""Learned residuals: on the class texts (TaskRes) or on the image features (CLIP-Adapter)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize, relu

from ..config import AdapterOptions
from . import Adapter, Step

if TYPE_CHECKING:
    from ..sources import Task

REDUCTION = 4


class TaskRes(Adapter):
    """Logits ``scale * x . normalize(t + residual_scale * r)`` with a residual r that starts at 0.

    Shape:
        - text: (k, d), raw means over templates, not normalised. residual: (k, d).

    Source:
        Yu et al., CVPR 2023.
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


class CLIPAdapter(Adapter):
    """Logits ``scale * normalize(a relu(W2 relu(W1 x)) + (1 - a) x) . t``, a the residual scale.

    Shape:
        - text: (k, d), unit length. down: (d / 4, d). up: (d, d / 4).

    Source:
        Gao et al., IJCV 2024.
    """

    tensors = ("text", "down", "up")
    trainable = shared = ("down", "up")
    text: Tensor
    down: Tensor
    up: Tensor

    @classmethod
    def initial(cls, task: Task, options: AdapterOptions) -> dict[str, Tensor]:
        """Draw weights as those of ``torch.nn.Linear``, from the task's seed."""
        text = task.texts.normalized
        generator = torch.Generator().manual_seed(task.seed)

        def weight(rows: int, columns: int) -> Tensor:
            draw: Tensor = (2 * torch.rand(rows, columns, generator=generator) - 1) / columns**0.5
            return draw.to(text.device)

        width = text.shape[1]
        narrow = width // REDUCTION
        return {"text": text, "down": weight(narrow, width), "up": weight(width, narrow)}

    def step(self, features: Tensor) -> Step:
        """Compare adapted images with the text of their class."""
        share = self.options.residual_scale
        bottleneck = relu(relu(features @ self.down.mT) @ self.up.mT)
        adapted = normalize(share * bottleneck + (1 - share) * features, dim=1)
        logits = self.logit_scale * adapted @ self.text.mT
        return Step(logits, adapted, lambda labels: self.text.index_select(0, labels))
