"""CLIP-Adapter: a bottleneck on the image features (Gao et al., IJCV 2024)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize, relu

from ..options import AdapterOptions
from ..tasks import Task
from .base import Adapter, Step

REDUCTION = 4


class CLIPAdapter(Adapter):
    """Logits ``scale * normalize(a relu(W2 relu(W1 x)) + (1 - a) x) . t``, a the residual scale.

    Shape:
        - text: (k, d), unit length. down: (d / 4, d). up: (d, d / 4).
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
