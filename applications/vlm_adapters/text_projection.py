"""The first stage of HC*: the backbone's text projection, tuned on the few-shot images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from ._files import file_sha256
from .options import TextOptions
from .tasks import Task

SHOTS = "{shots}"
STREAM = 1_000_003  # keeps this stage's draws apart from those of the adapter's training


def with_texts(task: Task, options: TextOptions) -> Task:
    """Return a task whose class texts are those that the options ask for."""
    if options.underscores == "kept":
        if task.texts_kept is None:
            raise ValueError(
                '`text.underscores = "kept"` should have class texts with underscores. Got '
                "features without them. Use features that `vlm-adapters extract` made."
            )
        task = replace(task, texts=task.texts_kept)
    if options.projection == "frozen":
        return task
    file = _checkpoint_of(options, task.shots)
    weight = tune_projection(task, options) if file is None else read_weight(file)
    return replace(task, texts=task.texts.projected(weight))


def tune_projection(task: Task, options: TextOptions) -> Tensor:
    """Train the weight (w, d) of the text projection by cross-entropy; all else is frozen.

    Source:
        The enhanced bases of TaskRes and HC* of Zhang et al., NeurIPS 2024. Neither published a
        recipe; this one is ours: Adam, a cosine over the epochs, on TaskRes's raw texts.
    """
    hidden = task.texts.require_hidden()
    weight = torch.nn.Parameter(hidden.projection.weight.clone())
    optimizer = torch.optim.Adam([weight], lr=options.learning_rate)
    generator = torch.Generator().manual_seed(task.seed + STREAM)
    for epoch in range(options.epochs):
        share = (1 + math.cos(math.pi * epoch / options.epochs)) / 2
        optimizer.param_groups[0]["lr"] = options.learning_rate * share
        order = torch.randperm(len(task.train_labels), generator=generator)
        for rows in order.split(options.batch_size):
            features = task.train.draw(rows, generator)
            classifier = normalize(hidden.raw(weight), dim=1)
            optimizer.zero_grad()
            logits = task.logit_scale * features @ classifier.T
            cross_entropy(logits, task.train_labels[rows]).backward()
            optimizer.step()
    return weight.detach()


def checkpoint_sha256(options: TextOptions, shots: int) -> str:
    """Hash the content of the checkpoint for some shots; "" where the options name none."""
    file = _checkpoint_of(options, shots)
    return "" if file is None else file_sha256(_checked(file))


def check_checkpoints(preset: str, options: TextOptions, shots: Sequence[int]) -> None:
    """Raise, before anything is extracted, if a checkpoint is missing or serves several shots."""
    files = [_checkpoint_of(options, count) for count in shots]
    if len(files) > 1 and files[0] is not None and SHOTS not in options.checkpoint:
        raise ValueError(
            f"`{preset}.text.checkpoint` should hold {SHOTS}, which stands for each of "
            f"{len(files)} shot counts. Got {options.checkpoint!r}."
        )
    for file in filter(None, files):
        _checked(file)


def read_weight(file: Path) -> Tensor:
    """Read the weight (w, d) of one of TaskRes's enhanced bases, ``model.pth.tar``."""
    _checked(file)
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        weight: Tensor = content["state_dict"]["weight"].float().t().contiguous()
        return weight
    except Exception as error:  # a pickle may fail in any way
        raise ValueError(
            "`text.checkpoint` should be a checkpoint with a `state_dict` that holds `weight`. "
            f"Got '{file}': {type(error).__name__}."
        ) from None


def _checkpoint_of(options: TextOptions, shots: int) -> Path | None:
    """The checkpoint for some shots, if the options name any."""
    named = options.projection == "tuned" and options.checkpoint
    return Path(options.checkpoint.replace(SHOTS, str(shots))) if named else None


def _checked(file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"`text.checkpoint` should be a file. Got '{file}'.")
    return file
