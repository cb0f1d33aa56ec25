"""``evaluate`` and ``predict``: what a trained adapter is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .._files import write_json
from ..backbones import load_backbone
from ..inputs import FeatureInputs
from ..results import read_saved_run
from ..results.transfers import transfer_file
from ..transfer import Target, accuracy_on, image_files, predict
from ._app import as_usage, command, errors, image_progress
from ._options import (
    AdapterOption,
    BatchOption,
    DatasetOption,
    DeviceOption,
    ImagesOption,
    RootOption,
    SplitOption,
    StoreOption,
    WorkersOption,
    image_inputs,
)

RunArgument = Annotated[Path, typer.Argument(help="Folder of a run.")]


@command("evaluate", resumes=True)
def evaluate(
    run: RunArgument,
    dataset: DatasetOption = None,
    root: RootOption = None,
    images: ImagesOption = None,
    split: SplitOption = None,
    device: DeviceOption = "cpu",
    adapter: AdapterOption = None,
    store: StoreOption = Path("features"),
    batch_size: BatchOption = 64,
    workers: WorkersOption = 2,
) -> None:
    """Accuracy of a trained adapter on the test images of another data set with its classes.

    For ImageNet-A and -R the adapter is restricted to their classes, by WordNet number.
    """
    chosen = image_inputs(dataset, root, images, split)
    with as_usage():
        saved = read_saved_run(run, adapter)
        if chosen.name == saved.run.dataset:
            raise ValueError(
                f"`--dataset` should name other images than those of the run, {chosen.name}. "
                "Its test accuracy is in its result. Give images of your own another name."
            )
    inputs = FeatureInputs(
        chosen,
        saved.run.backbone,
        device=device,
        store=store,
        batch_size=batch_size,
        workers=workers,
    )
    with image_progress() as progress:
        with as_usage():
            extraction = inputs.extraction(progress, only_test=True)
        found = accuracy_on(saved, Target(extraction))
    file = transfer_file(run, chosen.name)
    file.parent.mkdir(exist_ok=True)
    write_json(file, found)
    typer.echo(
        f"{found['method']} from {found['source']} on {chosen.name}: "
        f"{found['accuracy']:.2f} % of {found['images']} images."
    )


@command("predict")
def predict_command(
    run: RunArgument,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    device: DeviceOption = "cpu",
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
