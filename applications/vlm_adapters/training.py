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
from .checkpoint import load_checkpoint, save_checkpoint, training_identity
from .consistency import Consistency
from .evaluation import accuracy
from .optimizers import build_optimizer
from .options import Method, TrainingOptions
from .regularizers import BatchViews, build_regularizer
from .tasks import Task
from .text_projection import with_texts
from .training_state import Best, Epoch, Trained, Training

MANY_SHOTS = 8
SECONDS_BETWEEN_CHECKPOINTS = 30.0
NAMED = ("cross_entropy", "track_coincidence", "deviating_perturbation")  # in every log


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
        return Trained(build_adapter(task, method.adapter))
    training = start_training(task, method)
    whole = training_identity(task, method, identity, follow_test)
    trained, options = training.trained, method.training
    epochs = epochs_of(options, task.shots)
    if checkpoint is not None and checkpoint.is_file():
        load_checkpoint(checkpoint, training, whole)
    saved = time.monotonic()
    for epoch in range(len(trained.log), epochs):
        training.constraint.start_epoch()
        batches = _batches(len(task.train_labels), options, training.generator)
        found: list[dict[str, Tensor]] = []
        rates = []
        for step, rows in enumerate(batches):
            rate = learning_rate(options, epoch, epochs, step, len(batches))
            found.append(one_step(training, task, rows, rate))
            rates.append(rate)
        means = _means(found)
        watched = _watch(trained, task, epoch, follow_test=follow_test)
        finite = all(map(math.isfinite, means.values()))
        entropy, coincidence, perturbation = (means.pop(name) for name in NAMED)
        rate = sum(rates) / len(rates)
        trained.log.append(Epoch(rate, entropy, coincidence, perturbation, watched, means))
        if not finite:
            raise Diverged(
                f"The loss should be finite. Got {trained.log[-1]} in epoch {epoch}. Lower "
                "`training.learning_rate` or `constraint.weight`."
            )
        if checkpoint is not None and time.monotonic() - saved >= seconds_between:
            save_checkpoint(checkpoint, training, whole)
            saved = time.monotonic()
    return trained


def start_training(task: Task, method: Method) -> Training:
    """A training before its first step.

    Args:
        task: Few-shot task.
        method: Adapter, training and constraint.

    Returns:
        Adapter, optimiser, constraint, and what orders batches and draws views.
    """
    adapter = build_adapter(task, method.adapter)
    trainable = [p for p in adapter.parameters() if p.requires_grad]
    return Training(
        Trained(adapter),
        build_optimizer(trainable, method.training),
        Consistency(method.constraint, task.logit_scale),
        torch.Generator().manual_seed(task.seed),
        build_regularizer(method.regularizer),
        method.regularizer.weight,
    )


def one_step(
    training: Training, task: Task, rows: Tensor, rate: float | None = None
) -> dict[str, Tensor]:
    """One step on some training images; nothing is read back from a device.

    Args:
        training: It is changed.
        task: Few-shot task.
        rows: Which images.
        rate: Learning rate; that of the optimiser if left out.

    Returns:
        Cross-entropy, the two terms of the constraint and those of the regulariser, detached.
    """
    adapter, optimizer = training.trained.adapter, training.optimizer
    for group in optimizer.param_groups if rate is not None else ():
        group["lr"] = rate
    features, labels = task.train.draw(rows, training.generator), task.train_labels[rows]
    optimizer.zero_grad()
    output = adapter.step(features)
    loss = cross_entropy(output.logits, labels)
    found = {"cross_entropy": loss.detach()}
    others: dict[str, Tensor] = {}
    if training.regularizer is not None:
        views = BatchViews(features, output.source, output.target(labels), labels)
        others = dict(training.regularizer(views))
        loss = loss + training.regularizer_weight * sum(others.values())
    terms = training.constraint.backward(loss, adapter, output, features, labels)
    optimizer.step()
    found |= {name: term.detach() for name, term in terms._asdict().items()}
    return found | {name: term.detach() for name, term in others.items()}


def _means(steps: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """Means over the steps, read back from the device at once."""
    names = list(steps[0])
    values = torch.stack([torch.stack([step[name] for name in names]) for step in steps])
    return dict(zip(names, values.cpu().double().mean(0).tolist(), strict=True))


def _watch(trained: Trained, task: Task, epoch: int, *, follow_test: bool) -> float:
    """Note the best epochs; the validation accuracy of this one."""
    adapter = trained.adapter

    def better(best: Best | None, features: Tensor, labels: Tensor) -> tuple[float, Best | None]:
        reached = accuracy(adapter, features, labels)
        if best is not None and reached <= best.accuracy:
            return reached, best
        tensors = {name: tensor.clone() for name, tensor in adapter.state_dict().items()}
        return reached, Best(epoch, reached, tensors)

    reached, trained.best_val = better(trained.best_val, task.val_features, task.val_labels)
    if follow_test:
        _, trained.best_test = better(trained.best_test, task.test_features, task.test_labels)
    return reached


def epochs_of(options: TrainingOptions, shots: int) -> int:
    """How many epochs a task takes.

    Args:
        options: Training options.
        shots: Images a class.

    Returns:
        The number of epochs.
    """
    many = options.epochs_from_8_shots if shots >= MANY_SHOTS else 0
    return many or options.epochs


def steps_of(options: TrainingOptions, images: int) -> int:
    """How many steps an epoch takes.

    Args:
        options: Training options.
        images: Training images.

    Returns:
        The number of batches; the last may be smaller than the others, or is left out.
    """
    whole, rest = divmod(images, options.batch_size)
    return max(1, whole + (rest > 0 and not options.drop_last))


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


def _batches(
    images: int, options: TrainingOptions, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Row numbers of the batches of one epoch, in random order."""
    order = torch.randperm(images, generator=generator)
    batches: tuple[Tensor, ...] = order.split(options.batch_size)
    return batches[: steps_of(options, images)]
