"""The first stage of HC*: the backbone's text projection, tuned on the few-shot images."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from .config import TextOptions
from .sources import Task

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
    file = options.file(task.shots)
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


def read_weight(file: Path) -> Tensor:
    """Read the weight (w, d) of one of TaskRes's enhanced bases, ``model.pth.tar``."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        weight: Tensor = content["state_dict"]["weight"].float().t().contiguous()
        return weight
    except Exception as error:  # a pickle may fail in any way
        raise ValueError(
            "`text.checkpoint` should be a checkpoint with a `state_dict` that holds `weight`. "
            f"Got '{file}': {type(error).__name__}."
        ) from None
