"""``evaluate`` and ``predict``: what a trained adapter is for."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from .._files import write_json
from ..backbones import load_backbone
from ..inputs import Device, FeatureInputs
from ..runs import read_saved_run, transfer_file
from ..transfer import Target, accuracy_on, image_files, predict
from . import as_usage, command, errors, image_progress
from ._options import AdapterOption, with_features

RunArgument = Annotated[Path, typer.Argument(help="Folder of a run.")]
OF_TRAINING = ("templates", "backbone", "views", "scale", "online", "bundle")


@command("evaluate", resumes=True)
@partial(with_features, left_out=OF_TRAINING)
def evaluate(inputs: FeatureInputs, run: RunArgument, adapter: AdapterOption = None) -> None:
    """Accuracy of a trained adapter on the test images of another data set with its classes.

    For ImageNet-A and -R the adapter is restricted to their classes, by WordNet number.
    """
    with as_usage():
        saved = read_saved_run(run, adapter)
        if inputs.name == saved.run.dataset:
            raise ValueError(
                f"`--dataset` should name other images than those of the run, {inputs.name}. "
                "Its test accuracy is in its result. Give images of your own another name."
            )
    inputs = replace(inputs, backbone=saved.run.backbone)
    with image_progress() as progress:
        with as_usage():
            extraction = inputs.extraction(progress, only_test=True)
        found = accuracy_on(saved, Target(extraction))
    file = transfer_file(run, inputs.name)
    file.parent.mkdir(exist_ok=True)
    write_json(file, found)
    typer.echo(
        f"{found['method']} from {found['source']} on {found['target']}: "
        f"{found['accuracy']:.2f} % of {found['images']} images."
    )


@command("predict")
def predict_command(
    run: RunArgument,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    device: Device = "cpu",
    adapter: AdapterOption = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to show for each image.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Probabilities as JSON.")] = False,
) -> None:
    """Name the classes of image files, with probabilities.

    Exit code 1 if a file is not a readable image; the others are classified all the same.
    """
    with as_usage():
        saved = read_saved_run(run, adapter)
        files = image_files(images)  # before the backbone, which takes longer
        backbone = load_backbone(saved.run.backbone, device=device)
    found = predict(saved, backbone, files, top)
    bad = [image for image in found if "error" in image]
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    for image in found:
        if not (as_json or "error" in image):
            shares = [
                f"{each['class']} {100 * each['probability']:.1f} %" for each in image["classes"]
            ]
            typer.echo(f"{image['path']}: {', '.join(shares)}")
    for image in bad:
        errors.print(f"Error: {image['error']}")
    raise typer.Exit(1 if bad else 0)
