"""``tree``: the spanning tree of some training images before and after training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from ..adapters import build_adapter
from ..backbones.base import check_weights
from ..config import build
from ..options import Method
from ..results import read_saved_run, save_tree_figure
from ..text_projection import with_texts
from ._app import UsageError, as_usage, command, image_progress, writable_file
from ._options import (
    DatasetOption,
    DeviceOption,
    ImagesOption,
    OtherBundleOption,
    RootOption,
    ScaleOption,
    SplitOption,
    StoreOption,
    TemplateOption,
    ViewsOption,
    feature_inputs,
)
from .use import RunArgument


@command("tree")
def tree(
    run: RunArgument,
    dataset: DatasetOption = None,
    root: RootOption = None,
    images: ImagesOption = None,
    split: SplitOption = None,
    template: TemplateOption = None,
    bundle: OtherBundleOption = None,
    device: DeviceOption = "cpu",
    store: StoreOption = Path("features"),
    views: ViewsOption = 10,
    scale: ScaleOption = "0.5,1",
    classes: Annotated[int, typer.Option(min=2, help="Classes to show, the first ones.")] = 8,
    out: Annotated[Path, typer.Option(help="PNG file.")] = Path("tree.png"),
) -> None:
    """Draw the tree of training images beside their counterparts, edges coloured by agreement.

    ``--template`` names the prompts with which the run was trained.
    """
    with as_usage():
        saved = read_saved_run(run)
    inputs = feature_inputs(
        dataset, root, images, split, template, bundle,
        device=device, store=store, views=views, scale=scale,
    )  # fmt: skip
    inputs = replace(inputs, backbone=saved.run.backbone)
    writable_file(out)
    with image_progress() as progress:
        with as_usage():
            opened = inputs.opened(progress)
        source = opened([(saved.run.shots, saved.run.seed)])
        task = source.task(saved.run.shots, saved.run.seed)
    if saved.run.hashes.items() - task.hashes.items():
        raise UsageError(
            f"`--dataset`, `--images` or `--bundle` should name the images of the run, of "
            f"{saved.run.dataset}. Got images of another split or draw."
        )
    with as_usage():
        if source.weights:  # a bundle may not say
            check_weights(source.backbone, source.weights, saved.run.weights)
    method = build(Method, saved.run.config, "config")
    before = build_adapter(with_texts(task, method.text), method.adapter)
    rows = (task.train_labels < classes).nonzero().flatten()
    features = task.train.draw(rows, torch.Generator().manual_seed(task.seed))
    save_tree_figure(
        out, saved.adapter, features, task.train_labels[rows], saved.class_names, before=before,
        title=f"{saved.run.method}, {saved.run.dataset}, {saved.run.shots}-shot",
    )  # fmt: skip
    typer.echo(f"Wrote {out}.")
