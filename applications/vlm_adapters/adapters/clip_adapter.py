"""CLIP-Adapter: a bottleneck on the image features (Gao et al., IJCV 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from ..options import AdapterOptions
from ..tasks import Task
from .base import Adapter, Step

if TYPE_CHECKING:
    from typing_extensions import Self

REDUCTION = 4


class CLIPAdapter(Adapter):
    """Logits ``scale * normalize(a relu(W2 relu(W1 x)) + (1 - a) x) . t``, a the residual scale.

    Shape:
        - text: (k, d), unit length. down: (d / 4, d). up: (d, d / 4).
    """

    text: Tensor

    def __init__(
        self, text: Tensor, down: Tensor, up: Tensor, logit_scale: float, options: AdapterOptions
    ) -> None:
        super().__init__()
        self.register_buffer("text", text)
        self.down = nn.Parameter(down.clone())
        self.up = nn.Parameter(up.clone())
        self.logit_scale = logit_scale
        self.options = options

    @classmethod
    def build(cls, task: Task, options: AdapterOptions) -> Self:
        """Weights drawn as those of ``torch.nn.Linear``, from the task's seed."""
        width = task.texts.normalized.shape[1]
        generator = torch.Generator().manual_seed(task.seed)
        down, up = (
            (2 * torch.rand(rows, columns, generator=generator) - 1) / columns**0.5
            for rows, columns in ((width // REDUCTION, width), (width, width // REDUCTION))
        )
        text = task.texts.normalized
        return cls(text, down.to(text.device), up.to(text.device), task.logit_scale, options)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], options: AdapterOptions, logit_scale: float
    ) -> Self:
        """The adapter whose ``state_dict`` the tensors are."""
        return cls(tensors["text"], tensors["down"], tensors["up"], logit_scale, options)

    def adapted(self, features: Tensor) -> Tensor:
        """Adapted image features (n, d) of unit length."""
        share = self.options.residual_scale
        bottleneck = relu(relu(features @ self.down.T) @ self.up.T)
        return normalize(share * bottleneck + (1 - share) * features, dim=1)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, k) of image features (n, d) of unit length."""
        return self.logit_scale * self.adapted(features) @ self.text.T

    def step(self, features: Tensor) -> Step:
        """Logits; adapted images beside the text of their class."""
        adapted = self.adapted(features)
        return Step(self.logit_scale * adapted @ self.text.T, adapted, self.target)

    def target(self, labels: Tensor) -> Tensor:
        """The text of each class."""
        return self.text.index_select(0, labels)

    def restrict(self, classes: Tensor) -> Self:
        """The same for some of the classes."""
        return type(self)(
            self.text[classes], self.down.detach(), self.up.detach(), self.logit_scale,
            self.options,
        )  # fmt: skip
