"""``extract`` and ``bundle``: features of images."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ..data.datasets import open_dataset
from ..features.bundle import build_bundle, save_bundle
from ..inputs import FeatureInputs
from . import as_usage, command, image_progress, numbers, writable_file
from ._options import SeedsOption, ShotsOption, with_features


@command("extract", resumes=True)
@partial(with_features, left_out=["bundle"])  # it holds features already
def extract(
    inputs: FeatureInputs,
    shots: ShotsOption = "1,2,4,8,16",
    seeds: SeedsOption = "1,2,3",
) -> None:
    """Extract what the few-shot tasks of these shots and seeds need; goes on where it stopped.

    Processes that extract into one store share the images, under torchrun or started by hand.
    """
    draws = [(n, seed) for n in numbers("--shots", shots) for seed in numbers("--seeds", seeds)]
    with image_progress() as progress:
        with as_usage():
            extraction = inputs.extraction(progress)
        source = extraction.source(draws)
    if os.environ.get("RANK", "0") == "0":  # of torchrun
        count = 0 if inputs.online else len(source.train.images)
        typer.echo(
            f"{inputs.store} holds {count} training images in {inputs.views} views each, "
            "validation and test images, and class texts."
        )


@command("bundle")
def bundle(
    root: Annotated[Path, typer.Option(help="Folder that holds caltech-101/.", envvar="VLM_DATA")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    coordinates: Annotated[
        int, typer.Option(min=0, help="Coordinates to keep; 0 keeps all.")
    ] = 512,
) -> None:
    """Build the feature bundle of Caltech-101 from its images, with the DeViSE backbone."""
    from ..backbones import Devise

    with as_usage():
        dataset = open_dataset("caltech101", root)
    writable_file(out)
    with image_progress() as progress:
        features = build_bundle(
            Devise(), dataset, coordinates=coordinates or None, progress=progress
        )
    save_bundle(features, out)
    typer.echo(
        f"Wrote {out}: {len(features.features)} images, logit scale {features.logit_scale:.2f}."
    )
