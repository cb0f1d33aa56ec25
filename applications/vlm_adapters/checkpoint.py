"""The state of a training, and the safetensors file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from ._files import json_hash, read_tensors, write_tensors
from .adapters import Adapter
from .options import Method, plug_hashes
from .regularizers import Regularizer
from .regularizers.consistency import Consistency
from .tasks import Task

KEY = "vlm_adapters.checkpoint"
LOGGED = {
    "learning_rate",
    "cross_entropy",
    "track_coincidence",
    "deviating_perturbation",
    "val_accuracy",
}


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

    optimizer: torch.optim.Optimizer
    constraint: Consistency
    generator: torch.Generator
    regularizer: Regularizer | None = None
    regularizer_weight: float = 0.0


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
    """Put a training that has not begun into the state of a checkpoint.

    Raises:
        ValueError: If the file is damaged, or of another run.
    """
    metadata, tensors = read_tensors(file)
    try:
        content = json.loads(metadata[KEY])
        same = content["identity"] == identity
        if same:
            _restore(training, content, tensors)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"`{file}` should be a checkpoint of a training. Got {type(error).__name__}: {error}. "
            "Remove it to begin anew."
        ) from None
    if not same:
        raise ValueError(
            f"`{file}` should be of a run with these settings. Got a checkpoint of another. "
            "Remove it to begin anew, or choose another folder."
        )


def training_identity(task: Task, method: Method, *more: object) -> str:
    """Hash what must agree for a training to go on.

    Args:
        task: Its task, of whose features only the hashes of the draw and the logit scale count.
        method: Its method.
        more: What else it depends on, above all its features.
    """
    own = [task.hashes, task.shots, task.seed, task.logit_scale]
    return json_hash([asdict(method), plug_hashes(method), *own, more])


def _restore(training: Training, content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Put what a file holds into a training; whatever it lacks raises."""
    adapter = training.adapter
    adapter.load_state_dict(_below(tensors, "adapter"))
    _restore_optimizer(training.optimizer, _below(tensors, "optimizer"))
    training.generator.set_state(tensors["generator"])
    for entry in content["log"]:
        if not entry.keys() >= LOGGED:
            raise ValueError("an epoch that lacks a term")
        _check_numbers(entry.values())
    training.log = content["log"]
    device, kinds = next(adapter.parameters()).device, _kinds(adapter.state_dict())
    for name in ("best_val", "best_test"):
        if name in content or name == "best_val":  # which every epoch sets
            kept = {key: tensor.to(device) for key, tensor in _below(tensors, name).items()}
            if _kinds(kept) != kinds:
                raise ValueError(f"other tensors in `{name}`")
            epoch, reached = content[name]
            _check_numbers((epoch, reached))
            setattr(training, name, Best(int(epoch), reached, kept))


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
    """Shapes and dtypes by name."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _check_numbers(numbers: Iterable[Any]) -> None:
    for number in numbers:
        if type(number) not in (int, float):
            raise TypeError(f"{number!r} in place of a number")


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    head = f"{prefix}."
    return {n.removeprefix(head): t for n, t in tensors.items() if n.startswith(head)}
