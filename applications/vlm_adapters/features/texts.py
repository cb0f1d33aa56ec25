"""Class texts, in the two ways of averaging, and under a tuned text projection."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from .._files import read_tensors, write_tensors
from ..backbones import Backbone, TextProjection
from ..data.splits import ImageDataset

if TYPE_CHECKING:
    from ..config import TextOptions
    from ..sources import Task

KEY = "vlm_adapters.class_texts"
STREAM = 1_000_003  # keeps the projection's draws apart from those of the adapter's training


@dataclass(frozen=True, eq=False)
class HiddenTexts:
    """Text features before the encoder's last linear map."""

    features: Tensor  # (s, k, w) for s templates, those of TaskRes, and k classes
    projection: TextProjection  # the map
    templates: int  # how many Tip-Adapter uses, the first ones

    def raw(self, weight: Tensor) -> Tensor:
        """Return TaskRes's mean (k, d) under another weight of the map, differentiable."""
        return TextProjection(weight, self.projection.bias)(self.features).mean(0)

    def normalized(self, weight: Tensor) -> Tensor:
        """Return Tip-Adapter's mean (k, d) under another weight of the map."""
        projected = TextProjection(weight, self.projection.bias)(self.features[: self.templates])
        return class_means(projected, self.templates)[1]


@dataclass(frozen=True, eq=False)
class ClassTexts:
    """Texts of the classes."""

    raw: Tensor  # TaskRes's mean over templates (k, d), not normalised
    normalized: Tensor  # Tip-Adapter's (k, d), of unit length
    hidden: HiddenTexts | None = None  # None if the encoder does not end in a linear map

    def to(self, device: torch.device | str) -> ClassTexts:
        """Return the texts on a device."""
        hidden = self.hidden
        if hidden is not None:
            weight, bias = hidden.projection.weight.to(device), hidden.projection.bias.to(device)
            projection = TextProjection(weight, bias)
            hidden = HiddenTexts(hidden.features.to(device), projection, hidden.templates)
        return ClassTexts(self.raw.to(device), self.normalized.to(device), hidden)

    def projected(self, weight: Tensor) -> ClassTexts:
        """Return the texts under a tuned weight (w, d) of the text projection."""
        hidden = self.require_hidden()
        if weight.shape != hidden.projection.weight.shape:
            raise ValueError(
                "`weight` should have the shape of the text projection, "
                f"{tuple(hidden.projection.weight.shape)}. Got {tuple(weight.shape)}. "
                "Is it that of another backbone?"
            )
        return ClassTexts(hidden.raw(weight), hidden.normalized(weight), hidden)

    def require_hidden(self) -> HiddenTexts:
        """Return what a tuned projection needs, or raise."""
        if self.hidden is None:
            raise ValueError(
                '`text.projection = "tuned"` should have text features before a linear projection. '
                "Got features without them. Use features that `vlm-adapters extract` made from a "
                "backbone whose text tower ends in a linear map."
            )
        return self.hidden


def class_means(features: Tensor, templates: int) -> tuple[Tensor, Tensor]:
    """Average text features (s, k, d) over the s templates as TaskRes and as Tip-Adapter do.

    TaskRes takes the mean of the features as they come. Tip-Adapter takes the mean of unit
    features, of unit length again, over its own templates: the first ``templates`` ones.

    Source:
        Yu et al., "Task Residual for Tuning Vision-Language Models", CVPR 2023, and Zhang et al.,
        "Tip-Adapter", ECCV 2022, and their codes.

    Example:
        >>> import torch
        >>> class_means(torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]]), templates=1)
        (tensor([[1.5000, 3.0000]]), tensor([[0.6000, 0.8000]]))
    """
    units = normalize(features[:templates], dim=2)
    return features.mean(0), normalize(units.mean(0), dim=1)


def prompts(
    class_names: Sequence[str], templates: Sequence[str], *, replace_underscores: bool = True
) -> list[list[str]]:
    """Return one list of sentences per template; TaskRes's own code leaves underscores in."""
    names = [name.replace("_", " ") if replace_underscores else name for name in class_names]
    return [[template.replace("{}", name) for name in names] for template in templates]


@torch.no_grad()
def encode_classes(
    backbone: Backbone, dataset: ImageDataset, *, replace_underscores: bool = True
) -> ClassTexts:
    """Encode the classes' prompts; TaskRes's templates begin with Tip-Adapter's."""
    names, first = dataset.split.class_names, len(dataset.templates)
    lists = prompts(names, dataset.taskres_templates, replace_underscores=replace_underscores)
    hidden = None
    try:
        projection = backbone.text_projection
    except ValueError:  # the text tower does not end in a linear map
        features = [backbone.encode_text(part) for part in lists]
    else:
        inner = [backbone.encode_text_hidden(part) for part in lists]
        features = [projection(part) for part in inner]
        cpu = TextProjection(projection.weight.cpu(), projection.bias.cpu())
        hidden = HiddenTexts(torch.stack(inner).cpu(), cpu, first)
    raw, normalized = class_means(torch.stack(features), first)
    return ClassTexts(raw.cpu(), normalized.cpu(), hidden)


def save_texts(texts: ClassTexts, file: Path, recipe: Mapping[str, Any]) -> None:
    """Write class texts, with what they depend on."""
    tensors = {"raw": texts.raw, "normalized": texts.normalized}
    if texts.hidden is not None:
        projection = texts.hidden.projection
        tensors["hidden"] = texts.hidden.features
        tensors |= {"weight": projection.weight, "bias": projection.bias}
    content = {"recipe": recipe, "templates": texts.hidden.templates if texts.hidden else 0}
    write_tensors(file, tensors, {KEY: json.dumps(content, sort_keys=True)})


def load_texts(file: Path) -> ClassTexts:
    """Read what :func:`save_texts` wrote."""
    again = "Remove it to have it made again."
    metadata, tensors = read_tensors(file, again)
    try:
        templates = int(json.loads(metadata[KEY])["templates"])
        classes, width = tensors["raw"].shape
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(("raw", "normalized"), (classes, width))
        hidden = None
        if templates:
            most, _, inner = tensors["hidden"].shape
            shapes["hidden"] = max(most, templates), classes, inner
            shapes |= {"weight": (inner, width), "bias": (width,)}
            projection = TextProjection(tensors["weight"], tensors["bias"])
            hidden = HiddenTexts(tensors["hidden"], projection, templates)
        found = {name: (tuple(tensors[name].shape), tensors[name].dtype) for name in shapes}
        texts = ClassTexts(tensors["raw"], tensors["normalized"], hidden)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"`{file}` should hold class texts. Got no {error}. {again}") from None
    if found != {name: (shape, torch.float32) for name, shape in shapes.items()} or templates < 0:
        raise ValueError(
            f"`{file}` should hold class texts. Got shapes or dtypes that do not fit each other. "
            f"{again}"
        )
    return texts


# The first stage of HC*: the backbone's text projection, tuned on the few-shot images


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
