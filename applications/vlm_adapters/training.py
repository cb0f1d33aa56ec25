"""One training loop for every adapter, and the file from which a killed training goes on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from ._files import json_hash, read_tensors, write_tensors
from .adapters import Adapter, adapter_class, build_adapter
from .evaluation import accuracy
from .optimizers import build_optimizer
from .options import Method, TrainingOptions, plug_hashes
from .regularizers import BatchViews, Regularizer, build_regularizer
from .regularizers.consistency import Consistency
from .tasks import Task
from .text_projection import with_texts

MANY_SHOTS = 8
SECONDS_BETWEEN_CHECKPOINTS = 30.0
KEY = "vlm_adapters.checkpoint"
LOGGED = [
    "learning_rate",
    "cross_entropy",
    "track_coincidence",
    "deviating_perturbation",
    "val_accuracy",
]


class Diverged(ValueError):
    """A training whose loss is not finite."""


class Best(NamedTuple):
    """The epoch with the highest accuracy on some images; the first of equals."""

    epoch: int
    accuracy: float
    tensors: dict[str, Tensor]


@dataclass(kw_only=True)
class Trained:
    """An adapter after its last epoch, its log, and its best epochs.

    Attributes:
        adapter: After the last epoch.
        log: One entry per epoch: learning rate, terms of the loss, validation accuracy.
        best_val: By the few-shot validation images; None without training.
        best_test: By the test images, an oracle; None unless asked for.
    """

    adapter: Adapter
    log: list[dict[str, float]] = field(default_factory=list)
    best_val: Best | None = None
    best_test: Best | None = None


@dataclass(kw_only=True)
class Training(Trained):
    """A training, with all that changes during it."""

    optimizer: Optimizer
    constraint: Consistency
    generator: torch.Generator
    regularizer: Regularizer | None = None
    regularizer_weight: float = 0.0


def train(
    task: Task,
    method: Method,
    *,
    checkpoint: Path | None = None,
    identity: str = "",
    follow_test: bool = False,
    seconds_between: float = SECONDS_BETWEEN_CHECKPOINTS,
) -> Trained:
    """Train an adapter on a few-shot task, whose seed orders the batches and draws the views.

    With a checkpoint, an interrupted training goes on, and gives what an uninterrupted one gives.
    One that was made with other settings, or on features of another ``identity``, is refused.
    ``follow_test`` notes the best epoch by test accuracy too, for the oracle protocols.
    """
    task = with_texts(task, method.text)
    if not adapter_class(method.adapter.kind).trainable:
        return Trained(adapter=build_adapter(task, method.adapter))
    training, options = start_training(task, method), method.training
    own = [task.hashes, task.shots, task.seed, task.logit_scale, [identity, follow_test]]
    whole = json_hash([asdict(method), plug_hashes(method), *own])
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
    """Make one step on some training images and return the terms of the loss, detached.

    Nothing is read back from a device.
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
        tensors = {key: tensor.clone() for key, tensor in training.adapter.state_dict().items()}
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


def save_checkpoint(file: Path, training: Training, identity: str) -> None:
    """Write everything that the next epoch depends on."""
    tensors = {"generator": training.generator.get_state()}
    tensors |= {f"adapter.{name}": t for name, t in training.adapter.state_dict().items()}
    for number, state in training.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    content: dict[str, Any] = {"identity": identity, "log": training.log}
    for name in ("best_val", "best_test"):
        best = getattr(training, name)
        if best is not None:
            content[name] = [best.epoch, best.accuracy]
            tensors |= {f"{name}.{key}": tensor for key, tensor in best.tensors.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(file, tensors, {KEY: json.dumps(content)})


def load_checkpoint(file: Path, training: Training, identity: str) -> None:
    """Put a training that has not begun into the state of a checkpoint."""
    metadata, tensors = read_tensors(file)
    try:
        content = json.loads(metadata[KEY])
        same = content["identity"] == identity
        if same:
            _restore(training, content, tensors)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"`{file}` should be a checkpoint of a training. Got {type(error).__name__}: {error}. "
            "Remove it to start over."
        ) from None
    if not same:
        raise ValueError(
            f"`{file}` should be of a run with these settings. Got a checkpoint of another. "
            "Remove it to start over, or choose another folder."
        )


def _restore(training: Training, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Put what a file holds into a training; whatever it lacks raises."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, key = name.partition(".")
        parts.setdefault(part, {})[key] = tensor
    training.generator.set_state(parts["generator"][""])
    training.adapter.load_state_dict(parts["adapter"])
    _restore_optimizer(training.optimizer, parts["optimizer"])
    if not isinstance(content["log"], list):
        raise TypeError("a log that is not a list")
    for entry in content["log"]:
        _check_numbers([entry[name] for name in {*LOGGED, *entry}])
    training.log = content["log"]
    own = training.adapter.state_dict()
    for name in ("best_val", "best_test"):
        if name in content or name == "best_val":  # which every epoch sets
            if _kinds(parts[name]) != _kinds(own):
                raise ValueError(f"other tensors in `{name}`")
            epoch, reached = content[name]
            _check_numbers([epoch, reached])
            moved = {key: tensor.to(own[key].device) for key, tensor in parts[name].items()}
            setattr(training, name, Best(int(epoch), reached, moved))


def _restore_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Take the state of Adam or AdamW, if it is that of the parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        place, key = name.split(".", 1)
        state.setdefault(int(place), {})[key] = tensor
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, parameter in enumerate(parameters):
        shapes = dict.fromkeys(("exp_avg", "exp_avg_sq"), parameter.shape) | {"step": ()}
        found = {name: tensor.shape for name, tensor in state[number].items()}
        if found != shapes or not state[number]["step"] >= 1:
            raise ValueError("another state of the optimizer")
    if len(state) != len(parameters):
        raise ValueError("another number of parameters")
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _kinds(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _check_numbers(numbers: Sequence[Any]) -> None:
    for number in numbers:
        if type(number) not in (int, float):
            raise TypeError(f"{number!r} in place of a number")
