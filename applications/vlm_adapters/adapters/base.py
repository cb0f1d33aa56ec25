"""What an adapter is, for training, evaluation and the constraint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from ..config import AdapterOptions
from ..tasks import Task


class Views(NamedTuple):
    """Two views of one batch for the constraint, and the points in which pairs are found.

    Shape:
        - geometry: (n, d), frozen. source, target: (n, m).
    """

    geometry: Tensor
    source: Tensor
    target: Tensor


@dataclass(frozen=True)
class SearchGrid:
    """Values of sharpness and cache weight among which validation data choose."""

    sharpness: tuple[float, ...]
    cache_weight: tuple[float, ...]


class Adapter(nn.Module, ABC):
    """A classifier on frozen image features of unit length."""

    trainable: ClassVar[bool] = True

    @classmethod
    @abstractmethod
    def build(cls, task: Task, options: AdapterOptions) -> Adapter:
        """The adapter at its initial parameters."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, k) of image features (n, d)."""

    @abstractmethod
    def views(self, features: Tensor, labels: Tensor) -> Views:
        """The two views that the constraint compares."""

    def search_grid(self) -> SearchGrid | None:
        """What may be searched after training; nothing by default."""
        return None

    @abstractmethod
    def restrict(self, classes: Tensor) -> Adapter:
        """The same adapter for a subset of the classes, in the order given."""
