"""``evaluate`` and ``predict``: what a trained adapter is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .._files import write_json
from ..backbones import load_backbone
from ..data.splits import ImageDataset
from ..inputs import BatchSize, Dataset, Device, Images, Root, SplitFile, Store, Workers
from ..runs import read_saved_run, transfer_file
from ..sources import Extraction
from ..transfer import Target, accuracy_on, image_files, predict
from . import as_usage, command, errors, image_progress
from ._options import AdapterOption, image_inputs

RunArgument = Annotated[Path, typer.Argument(help="Folder of a run.")]


@command("evaluate", resumes=True)
def evaluate(
    run: RunArgument,
    dataset: Dataset = None,
    root: Root = None,
    images: Images = None,
    split: SplitFile = None,
    device: Device = "cpu",
    adapter: AdapterOption = None,
    store: Store = Path("features"),
    batch_size: BatchSize = 64,
    workers: Workers = 2,
) -> None:
    """Accuracy of a trained adapter on the test images of another data set with its classes.

    For ImageNet-A and -R the adapter is restricted to their classes, by WordNet number.
    """
    inputs = image_inputs(dataset, root, images, split)
    with as_usage():
        saved = read_saved_run(run, adapter)
        target: ImageDataset = inputs.open(only_test=True)
        if target.name == saved.run.dataset:
            raise ValueError(
                f"`--dataset` should name other images than those of the run, {target.name}. "
                "Its test accuracy is in its result. Give images of your own another name."
            )
        backbone = load_backbone(saved.run.backbone, device=device)
    with image_progress() as progress:
        extraction = Extraction(
            backbone, saved.run.backbone, target, store, batch_size, workers, progress
        )
        found = accuracy_on(saved, Target(extraction))
    file = transfer_file(run, target.name)
    file.parent.mkdir(exist_ok=True)
    write_json(file, found)
    typer.echo(
        f"{found['method']} from {found['source']} on {target.name}: "
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
