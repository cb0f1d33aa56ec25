"""One training loop for every adapter, its checkpoints, and the accuracies it reaches."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from ._files import read_tensors, tensors_hash, write_tensors
from .adapters import Adapter, adapter_class, build_adapter
from .config import Method, TrainingOptions
from .features.texts import with_texts
from .regularizers import BatchViews, Regularizer, build_regularizer
from .regularizers.consistency import TERMS, Consistency
from .sources import Task

MANY_SHOTS = 8
SECONDS_BETWEEN_CHECKPOINTS = 30.0
KEY = "vlm_adapters.checkpoint"
BESTS = {"best_val", "best_test"}
LOGGED = ("learning_rate", "cross_entropy", "val_accuracy")  # beside the terms of others
EVALUATED = 4096  # images at a time
ORACLE = "oracle:"  # how the names of protocols that read test labels begin


class Diverged(ValueError):
    """A training whose loss is not finite."""


class Best(NamedTuple):
    """The epoch with the highest accuracy on some images; the first of equals."""

    epoch: int
    accuracy: float
    tensors: dict[str, Tensor]


@dataclass(kw_only=True)
class Trained:
    """An adapter after its last epoch, its log, and its best epochs."""

    adapter: Adapter
    # One entry per epoch: learning rate, terms of the loss, validation accuracy.
    log: list[dict[str, float]] = field(default_factory=list)
    best_val: Best | None = None  # by the few-shot validation images; None without training
    best_test: Best | None = None  # by the test images, an oracle; None unless asked for


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
    on_epochs: Callable[[int], None] = lambda epochs: None,
) -> Trained:
    """Train an adapter on a few-shot task, whose seed orders the batches and draws the views.

    With a checkpoint, an interrupted training goes on, and gives what an uninterrupted one gives.
    ``identity`` is a hash of everything that the training depends on: a checkpoint of another one
    is refused.
    ``follow_test`` notes the best epoch by test accuracy too, for the oracle protocols.
    ``on_epochs`` is told how many more epochs are done.
    """
    task = with_texts(task, method.text)
    if not adapter_class(method.adapter.kind).trainable:
        return Trained(adapter=build_adapter(task, method.adapter))
    training, options = start_training(task, method), method.training
    epochs = epochs_of(options, task.shots)
    if checkpoint is not None and checkpoint.is_file():
        load_checkpoint(checkpoint, training, identity)
    on_epochs(len(training.log))
    saved = time.monotonic()
    for epoch in range(len(training.log), epochs):
        training.constraint.start_epoch()
        batches = _batches(len(task.train_labels), options, training.generator)
        found, rates = [], []
        for step, rows in enumerate(batches):
            rates.append(learning_rate(options, epoch, epochs, step, len(batches)))
            found.append(one_step(training, task, rows, rates[-1]))
        terms = list(found[0])
        values = torch.stack([torch.stack([step[name] for name in terms]) for step in found])
        averages = values.cpu().double().mean(0).tolist()  # read back from the device at once
        means = {"learning_rate": sum(rates) / len(rates)}
        means |= dict(zip(terms, averages, strict=True))
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
            save_checkpoint(checkpoint, training, identity)
            saved = time.monotonic()
        on_epochs(1)
    return training


def start_training(task: Task, method: Method) -> Training:
    """Return a training before its first step."""
    adapter = build_adapter(task, method.adapter)
    return Training(
        adapter=adapter,
        optimizer=build_optimizer(adapter, method.training),
        constraint=Consistency(method.constraint, task.logit_scale),
        generator=torch.Generator().manual_seed(task.seed),
        regularizer=build_regularizer(method.regularizer),
        regularizer_weight=method.regularizer.weight,
    )


def build_optimizer(adapter: Adapter, options: TrainingOptions) -> Optimizer:
    """Build the optimiser that the options name, for an adapter's parameters."""
    kind: Callable[..., Optimizer]
    if options.optimizer == "adamw_half":
        from .optimizers import HalfAdamW as kind
    else:
        kind = torch.optim.Adam if options.optimizer == "adam" else torch.optim.AdamW
    rates = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
    return kind(adapter.parameters(), **rates, eps=options.eps)


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
        _check_names(terms, LOGGED + TERMS * (training.constraint.options.weight != 0))
        loss = loss + training.regularizer_weight * sum(terms.values())
    constraint = training.constraint.backward(loss, adapter, output, features, labels)
    optimizer.step()
    found = {"cross_entropy": entropy, **constraint, **terms}
    return {name: term.detach() for name, term in found.items()}


def _check_names(terms: Iterable[str], taken: Sequence[str]) -> None:
    """Raise if a regulariser calls a term as another value of the log is called."""
    for name in terms:
        if name in taken:
            raise ValueError(
                "`regularizer.use` should give its terms names that the log does not have already. "
                f"Got {name!r}. Choose another name. For a term of the constraint, which has it "
                "already, set `constraint.weight` to 0."
            )


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
    """Write everything that the next epoch depends on, and a hash by which damage is noticed."""
    bests = {name: best for name in BESTS if (best := getattr(training, name)) is not None}
    parts = {
        "adapter": training.adapter.state_dict(),
        **{f"optimizer.{n}": part for n, part in training.optimizer.state_dict()["state"].items()},
        **{name: best.tensors for name, best in bests.items()},
    }
    tensors = {f"{part}.{name}": t for part, found in parts.items() for name, t in found.items()}
    tensors["generator"] = training.generator.get_state()
    content = {"identity": identity, "log": training.log}
    content |= {name: [best.epoch, best.accuracy] for name, best in bests.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    sha256 = tensors_hash(tensors, json.dumps(content, sort_keys=True))
    write_tensors(file, tensors, {KEY: json.dumps(content | {"sha256": sha256})})


def load_checkpoint(file: Path, training: Training, identity: str) -> None:
    """Put a training that has not begun into the state of a checkpoint."""
    metadata, tensors = read_tensors(file)
    try:
        content = json.loads(metadata[KEY])
        sha256 = content.pop("sha256")
        whole = sha256 == tensors_hash(tensors, json.dumps(content, sort_keys=True))
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        whole = False
    if not whole:
        raise ValueError(
            f"`{file}` should be an unchanged checkpoint of a training. Got another file. "
            "Remove it to start over."
        )
    if content["identity"] != identity:
        raise ValueError(
            f"`{file}` should be of a run with these settings. Got a checkpoint of another. "
            "Remove it to start over, or choose another folder."
        )
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, key = name.rpartition(".")
        parts.setdefault(part, {})[key] = tensor
    training.log = content["log"]
    training.generator.set_state(parts[""]["generator"])
    training.adapter.load_state_dict(parts["adapter"])
    moments = {int(p.removeprefix("optimizer.")): parts[p] for p in parts if "optimizer." in p}
    training.optimizer.load_state_dict(training.optimizer.state_dict() | {"state": moments})
    own = training.adapter.state_dict()
    for name in BESTS & content.keys():
        moved = {key: tensor.to(own[key].device) for key, tensor in parts[name].items()}
        epoch, reached = content[name]
        setattr(training, name, Best(epoch, reached, moved))


@torch.no_grad()
def accuracy(adapter: Adapter, features: Tensor, labels: Tensor) -> float:
    """Return the share of images (n, d) that are classified correctly, in per cent."""
    parts = zip(features.split(EVALUATED), labels.split(EVALUATED), strict=True)
    correct = [(adapter(x).argmax(dim=1) == y).sum() for x, y in parts]
    return 100 * int(torch.stack(correct).sum()) / max(len(labels), 1)


@torch.no_grad()
def more_metrics(adapter: Adapter, features: Tensor, labels: Tensor) -> dict[str, float]:
    """Return top-5 accuracy, and the mean of the classes' accuracies, in per cent."""
    logits = torch.cat([adapter(part) for part in features.split(EVALUATED)])
    five = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    hits = (logits.argmax(dim=1) == labels).double()
    counts = labels.bincount()
    right = labels.bincount(weights=hits)[counts > 0] / counts[counts > 0]
    return {
        "top5": 100 * float(five.any(dim=1).double().mean()),
        "mean_per_class": 100 * float(right.mean()),
    }


def adapter_under(
    trained: Trained, protocol: str, factors: tuple[float, ...] | None = None
) -> Adapter:
    """Return the adapter that a protocol evaluates, at the factors that a search chose."""
    if protocol == "best_val" and trained.best_val is not None:
        return trained.adapter.at(trained.best_val.tensors)
    return trained.adapter if factors is None else trained.adapter.with_factors(*factors)


class Evaluation(NamedTuple):
    """Test accuracies in per cent, and the factors that searches chose, by protocol."""

    accuracies: dict[str, float]
    factors: dict[str, tuple[float, ...]]


def evaluate(trained: Trained, task: Task, *, every: bool = False) -> Evaluation:
    """Evaluate on the test images: ``last``, ``best_val``, and where there is a search, that too.

    ``every`` adds the search on the whole validation split, and, their names marked, the protocols
    that select on test images, as far as the training followed these.
    """
    test = task.test_features, task.test_labels
    last = trained.adapter
    found = Evaluation({"last": accuracy(last, *test)}, {})

    def add_search(protocol: str, adapter: Adapter, *images: Tensor) -> None:
        factors = adapter.search(*images)
        if factors is not None:
            found.factors[protocol] = factors
            found.accuracies[protocol] = accuracy(adapter.with_factors(*factors), *test)

    if trained.best_val is not None:
        found.accuracies["best_val"] = accuracy(adapter_under(trained, "best_val"), *test)
    add_search("last+val_search", last, task.val_features, task.val_labels)
    if every and task.all_val is not None:
        add_search("last+all_val_search", last, *task.all_val)
    if every and trained.best_test is not None:
        found.accuracies[f"{ORACLE}best_test"] = trained.best_test.accuracy
        best = last.at(trained.best_test.tensors)
        add_search(f"{ORACLE}best_test+test_search", best, *test)
    return found
