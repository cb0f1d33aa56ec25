"""What a training changes and leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .adapters import Adapter
from .consistency import Consistency
from .regularizers import Regularizer


class Epoch(NamedTuple):
    """Means over the steps of one epoch, and what the epoch ended with."""

    learning_rate: float
    cross_entropy: float
    track_coincidence: float
    deviating_perturbation: float
    val_accuracy: float
    others: dict[str, float] = {}  # noqa: RUF012 - terms of the regulariser; never changed

    def as_record(self) -> dict[str, float]:
        """Return one flat entry, as results keep it."""
        record: dict[str, Any] = self._asdict()
        others: dict[str, float] = record.pop("others")
        return record | others


class Best(NamedTuple):
    """The epoch with the highest accuracy on some images; the first of equals."""

    epoch: int
    accuracy: float
    tensors: dict[str, Tensor]


@dataclass
class Trained:
    """An adapter, its log, and its best epochs.

    Attributes:
        adapter: At the last epoch.
        log: One entry an epoch.
        best_val: By the few-shot validation images; None without training.
        best_test: By the test images, an oracle; None unless asked for.
    """

    adapter: Adapter
    log: list[Epoch] = field(default_factory=list)
    best_val: Best | None = None
    best_test: Best | None = None


class Training(NamedTuple):
    """All that changes during a training."""

    trained: Trained
    optimizer: torch.optim.Optimizer
    constraint: Consistency
    generator: torch.Generator
    regularizer: Regularizer | None = None
    regularizer_weight: float = 0.0
