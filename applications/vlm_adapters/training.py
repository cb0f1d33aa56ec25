"""One training loop for every adapter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .adapters import Adapter, build_adapter
from .config import Method, TrainingOptions
from .consistency import Consistency
from .tasks import Task

MANY_SHOTS = 8


class Epoch(NamedTuple):
    """Means over the steps of one epoch."""

    learning_rate: float
    cross_entropy: float
    track_coincidence: float
    deviating_perturbation: float


def train(task: Task, method: Method) -> tuple[Adapter, list[Epoch]]:
    """Train an adapter on a few-shot task; the last epoch counts.

    Args:
        task: Few-shot task; its seed also orders the batches.
        method: Adapter, training and constraint.

    Returns:
        The adapter and its log.

    Raises:
        ValueError: If a loss is not finite.
    """
    adapter = build_adapter(task, method.adapter)
    if not adapter.trainable:
        return adapter, []
    options, epochs = method.training, epochs_of(method.training, task.shots)
    constraint = Consistency(method.constraint, task.logit_scale)
    optimizer = _optimizer(adapter, options)
    generator = torch.Generator().manual_seed(task.seed)
    log = []
    for epoch in range(epochs):
        sums, steps = torch.zeros(4, dtype=torch.float64), 0
        batches = list(_batches(len(task.train_labels), options, generator))
        for step, rows in enumerate(batches):
            rate = learning_rate(options, epoch, epochs, step, len(batches))
            features, labels = task.train_features[rows], task.train_labels[rows]
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            loss = cross_entropy(adapter(features), labels)
            terms = constraint.backward(loss, adapter, features, labels)
            optimizer.step()
            sums += torch.tensor((rate, float(loss.detach()), *terms), dtype=torch.float64)
            steps += 1
        log.append(Epoch(*(sums / steps).tolist()))
        if not math.isfinite(sum(log[-1])):
            raise ValueError(f"The loss should be finite. Got {log[-1]} in epoch {epoch}.")
    return adapter, log


def epochs_of(options: TrainingOptions, shots: int) -> int:
    """How many epochs a task takes.

    Args:
        options: Training options.
        shots: Images a class.

    Returns:
        The number of epochs.
    """
    return options.epochs_from_8_shots if shots >= MANY_SHOTS else options.epochs


def learning_rate(
    options: TrainingOptions, epoch: int, epochs: int, step: int, steps: int
) -> float:
    """The learning rate of one step.

    Args:
        options: Schedule and initial value.
        epoch: Epoch from 0.
        epochs: Number of epochs.
        step: Step of the epoch from 0.
        steps: Steps an epoch.

    Returns:
        The learning rate.

    Source:
        ``"epoch_cosine"``: TaskRes, whose warm-up epoch is constant and whose cosine is one epoch
        late. ``"step_cosine"``: Tip-Adapter-F.
    """
    if options.schedule == "step_cosine":
        done = (epoch * steps + step) / (epochs * steps)
    elif epoch == 0:
        return options.warmup_learning_rate
    else:
        done = (epoch - 1) / epochs
    return options.learning_rate * (1 + math.cos(math.pi * done)) / 2


def _optimizer(adapter: Adapter, options: TrainingOptions) -> torch.optim.Optimizer:
    """Adam with an L2 penalty, or AdamW."""
    kinds: dict[str, type[torch.optim.Optimizer]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    parameters = [p for p in adapter.parameters() if p.requires_grad]
    return kinds[options.optimizer](
        parameters,
        lr=options.learning_rate,  # type: ignore[call-arg]
        weight_decay=options.weight_decay,
        eps=options.eps,
    )


def _batches(images: int, options: TrainingOptions, generator: torch.Generator) -> Iterator[Tensor]:
    """Row numbers of the batches of one epoch, in random order."""
    order = torch.randperm(images, generator=generator)
    for batch in order.split(options.batch_size):
        full = len(batch) == options.batch_size
        if full or not options.drop_last or images < options.batch_size:
            yield batch
