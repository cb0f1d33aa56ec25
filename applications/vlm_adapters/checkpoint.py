"""The state of a training, as a safetensors file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ._files import json_hash, read_tensors, write_tensors
from .options import Method, plug_hashes
from .tasks import Task
from .training_state import Best, Epoch, Training

KEY = "vlm_adapters.checkpoint"
BEST = ("best_val", "best_test")


def save_checkpoint(
    file: Path,
    training: Training,
    identity: str,
) -> None:
    """Write everything that the next epoch depends on.

    Args:
        file: Where to write; its folder is made.
        training: After an epoch.
        identity: From :func:`training_identity`.
    """
    trained, optimizer = training.trained, training.optimizer
    tensors = {"generator": training.generator.get_state()}
    tensors |= {f"adapter.{name}": t for name, t in trained.adapter.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    content: dict[str, Any] = {"identity": identity, "log": trained.log}
    for name in BEST:
        best = getattr(trained, name)
        if best is not None:
            content[name] = [best.epoch, best.accuracy]
            tensors |= {f"{name}.{key}": tensor for key, tensor in best.tensors.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(file, tensors, {KEY: json.dumps(content)})


def load_checkpoint(
    file: Path,
    training: Training,
    identity: str,
) -> None:
    """Put a training into the state of a checkpoint.

    Args:
        file: What :func:`save_checkpoint` wrote.
        training: One that has not begun.
        identity: From :func:`training_identity`.

    Raises:
        ValueError: If the file is damaged, or of another run.
    """
    metadata, tensors = read_tensors(file)
    try:
        content = json.loads(metadata[KEY])
        same = content["identity"] == identity
        if same:
            _restore(training, content, tensors)
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        IndexError,
    ) as error:
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
    """Hash of what must agree for a training to go on.

    Args:
        task: Its task, of whose features only the hashes of the draw and the logit scale count.
        method: Its method.
        more: What else it depends on, above all its features.

    Returns:
        64 digits.
    """
    return json_hash(
        [
            asdict(method),
            plug_hashes(method),
            task.hashes,
            task.shots,
            task.seed,
            task.logit_scale,
            more,
        ]
    )


def _restore(
    training: Training, content: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
) -> None:
    """Put what a file holds into a training; whatever it lacks raises."""
    trained, optimizer = training.trained, training.optimizer
    trained.adapter.load_state_dict(_below(tensors, "adapter"))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in _below(tensors, "optimizer").items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = tensor
    _check_state(state, [p for group in optimizer.param_groups for p in group["params"]])
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    training.generator.set_state(tensors["generator"])
    trained.log = [_epoch(entry) for entry in content["log"]]
    kinds = _kinds(trained.adapter.state_dict())
    for name in BEST:
        if name in content or name == "best_val":  # which every epoch sets
            epoch, reached = _numbers(content[name])
            device = next(trained.adapter.parameters()).device
            kept = {key: tensor.to(device) for key, tensor in _below(tensors, name).items()}
            best = Best(int(epoch), reached, kept)
            if _kinds(best.tensors) != kinds:
                raise ValueError(f"other tensors in `{name}`")
            setattr(trained, name, best)


def _check_state(
    state: Mapping[int, Mapping[str, torch.Tensor]], parameters: Sequence[torch.Tensor]
) -> None:
    """Refuse what is not Adam's or AdamW's state of some parameters."""
    for number, parameter in enumerate(parameters):
        shapes = dict.fromkeys(("exp_avg", "exp_avg_sq"), parameter.shape) | {"step": ()}
        found = {name: tensor.shape for name, tensor in state[number].items()}
        if found != shapes or not state[number]["step"] >= 1:
            raise ValueError("another state of the optimizer")
    if len(state) != len(parameters):
        raise ValueError("another number of parameters")


def _kinds(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Shapes and dtypes by name."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def _numbers(entry: Sequence[Any]) -> Sequence[Any]:
    """An entry of a list as it is; refuse what is no list of numbers."""
    if type(entry) is not list or any(type(number) not in (int, float) for number in entry):
        raise TypeError(f"{entry!r} in place of numbers")
    return entry


def _epoch(entry: Any) -> Epoch:
    """An entry of the log: numbers, and the terms of the regulariser by name."""
    *numbers, others = entry
    _numbers(list(others.values()))
    rate, entropy, coincidence, perturbation, accuracy = _numbers(numbers)
    return Epoch(rate, entropy, coincidence, perturbation, accuracy, others)


def _below(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    head = f"{prefix}."
    return {n.removeprefix(head): t for n, t in tensors.items() if n.startswith(head)}
