"""One training loop for every adapter."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .adapters import adapter_class, build_adapter
from .checkpoint import (
    Best,
    Trained,
    Training,
    load_checkpoint,
    save_checkpoint,
    training_identity,
)
from .evaluation import accuracy
from .optimizers import build_optimizer
from .options import Method, TrainingOptions
from .regularizers import BatchViews, build_regularizer
from .regularizers.consistency import Consistency
from .tasks import Task
from .text_projection import with_texts

MANY_SHOTS = 8
SECONDS_BETWEEN_CHECKPOINTS = 30.0


class Diverged(ValueError):
    """A training whose loss is not finite."""


def train(
    task: Task,
    method: Method,
    *,
    checkpoint: Path | None = None,
    identity: str = "",
    follow_test: bool = False,
    seconds_between: float = SECONDS_BETWEEN_CHECKPOINTS,
) -> Trained:
    """Train an adapter on a few-shot task.

    Args:
        task: Few-shot task; its seed also orders the batches and draws the views.
        method: Adapter, class texts, training and constraint.
        checkpoint: File from which an interrupted training goes on, and which it writes after an
            epoch; None keeps nothing. Going on gives what an uninterrupted run gives.
        identity: Hash of the features; a checkpoint made on others is refused.
        follow_test: Note the best epoch by test accuracy too, for the oracle protocols.
        seconds_between: Least time between two checkpoints.

    Returns:
        The adapter with its log.

    Raises:
        Diverged: If a loss is not finite.
        ValueError: If the checkpoint is damaged or of another run.
    """
    task = with_texts(task, method.text)
    if not adapter_class(method.adapter.kind).trainable:
        return Trained(adapter=build_adapter(task, method.adapter))
    training, options = start_training(task, method), method.training
    whole = training_identity(task, method, identity, follow_test)
    epochs = epochs_of(options, task.shots)
    if checkpoint is not None and checkpoint.is_file():
        load_checkpoint(checkpoint, training, whole)
    saved = time.monotonic()
    for epoch in range(len(training.log), epochs):
        training.constraint.start_epoch()
        batches = _batches(len(task.train_labels), options, training.generator)
        found, rates = [], []
        for step, rows in enumerate(batches):
            rates.append(learning_rate(options, epoch, epochs, step, len(batches)))
            found.append(one_step(training, task, rows, rates[-1]))
        means = {"learning_rate": sum(rates) / len(rates), **_means(found)}
        means["val_accuracy"] = _note_best(training, "best_val", task.val_features, task.val_labels)
        if follow_test:
            _note_best(training, "best_test", task.test_features, task.test_labels)
        training.log.append(means)
        if not all(map(math.isfinite, means.values())):
            raise Diverged(
                f"The loss should be finite. Got {means} in epoch {epoch}. Lower "
                "`training.learning_rate` or `constraint.weight`."
            )
        if checkpoint is not None and time.monotonic() - saved >= seconds_between:
            save_checkpoint(checkpoint, training, whole)
            saved = time.monotonic()
    return training


def start_training(task: Task, method: Method) -> Training:
    """Return a training before its first step."""
    adapter = build_adapter(task, method.adapter)
    return Training(
        adapter=adapter,
        optimizer=build_optimizer(adapter.parameters(), method.training),
        constraint=Consistency(method.constraint, task.logit_scale),
        generator=torch.Generator().manual_seed(task.seed),
        regularizer=build_regularizer(method.regularizer),
        regularizer_weight=method.regularizer.weight,
    )


def one_step(
    training: Training, task: Task, rows: Tensor, rate: float | None = None
) -> dict[str, Tensor]:
    """Make one step on some training images; nothing is read back from a device.

    Args:
        training: It is changed.
        task: Few-shot task.
        rows: Which images.
        rate: Learning rate; that of the optimiser if left out.

    Returns:
        Cross-entropy, the two terms of the constraint and those of the regulariser, detached.
    """
    adapter, optimizer = training.adapter, training.optimizer
    for group in optimizer.param_groups if rate is not None else ():
        group["lr"] = rate
    features, labels = task.train.draw(rows, training.generator), task.train_labels[rows]
    optimizer.zero_grad()
    output = adapter.step(features)
    loss = entropy = cross_entropy(output.logits, labels)
    terms: Mapping[str, Tensor] = {}
    if training.regularizer is not None:
        views = BatchViews(features, output.source, output.target(labels), labels)
        terms = training.regularizer(views)
        loss = loss + training.regularizer_weight * sum(terms.values())
    constraint = training.constraint.backward(loss, adapter, output, features, labels)
    optimizer.step()
    found = {"cross_entropy": entropy, **constraint, **terms}
    return {name: term.detach() for name, term in found.items()}


def _means(steps: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Means over the steps, read back from the device at once."""
    names = list(steps[0])
    values = torch.stack([torch.stack([step[name] for name in names]) for step in steps])
    return dict(zip(names, values.cpu().double().mean(0).tolist(), strict=True))


def _note_best(training: Training, name: str, features: Tensor, labels: Tensor) -> float:
    """Keep the tensors of this epoch if it is the best on some images; return its accuracy."""
    reached, best = accuracy(training.adapter, features, labels), getattr(training, name)
    if best is None or reached > best.accuracy:
        tensors = {name: tensor.clone() for name, tensor in training.adapter.state_dict().items()}
        setattr(training, name, Best(len(training.log), reached, tensors))
    return reached


def epochs_of(options: TrainingOptions, shots: int) -> int:
    """Return how many epochs a task of some shots takes."""
    many = options.epochs_from_8_shots if shots >= MANY_SHOTS else 0
    return many or options.epochs


def learning_rate(
    options: TrainingOptions, epoch: int, epochs: int, step: int, steps: int
) -> float:
    """Return the learning rate of one step of one epoch, both counted from 0.

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


def _batches(
    images: int, options: TrainingOptions, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Row numbers of the batches of one epoch in random order; a single small batch is kept."""
    order = torch.randperm(images, generator=generator)
    batches: tuple[Tensor, ...] = order.split(options.batch_size)
    short = len(batches) > 1 and len(batches[-1]) < options.batch_size
    return batches[:-1] if short and options.drop_last else batches
