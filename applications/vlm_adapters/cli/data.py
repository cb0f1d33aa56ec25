"""``data``, ``extract``, ``bundle`` and ``weights``: images, features and weights on disk."""

from __future__ import annotations

import json
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from . import app, as_usage, command, errors, image_progress, numbers, writable_file
from . import inputs as opt
from .inputs import Dataset, Images, Inputs, Root, SplitFile, Store

data = typer.Typer(help="Data sets on disk.", no_args_is_help=True)
app.add_typer(data, name="data")
weights = typer.Typer(help="Files of weights.", no_args_is_help=True)
app.add_typer(weights, name="weights")


@command("check", data)
def check(
    dataset: Dataset = None,
    root: Root = None,
    images: Images = None,
    split: SplitFile = None,
    verify: Annotated[bool, typer.Option("--verify", help="Decode every image.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Do not compare with the published sizes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Problems as JSON.")] = False,
) -> None:
    """Say what is missing or damaged in a data set, and the fix; exit code 1 if anything is.

    Of many files it names the first; ``--json`` names all.
    """
    from ..data.check import check_dataset, check_images, image_kinds

    kinds: Counter[str] = Counter()
    with as_usage(), image_progress() as progress:
        inputs = Inputs(dataset, root, images, split)
        if dataset is not None and images is None and root is not None:
            problems = check_dataset(
                dataset, root, verify=verify, sizes=not partial, progress=progress
            )
        else:
            own = inputs.open()
            problems = check_images(own, verify=verify, progress=progress)
            kinds = image_kinds(own.images, own.split.paths())
    if as_json:
        typer.echo(json.dumps([problem._asdict() for problem in problems], indent=1))
    else:
        for problem in problems:
            errors.print(str(problem))
        if kinds:
            told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            typer.echo(f"Modes and orientations: {told}.")
        if not problems:
            typer.echo("Everything is there.")
    raise typer.Exit(1 if problems else 0)


@command("store", data)
def list_store(store: Store = Path("features")) -> None:
    """List the tables of extracted features; to free the space of one, remove its folder."""
    from ..features.store import table_sizes

    with as_usage():
        tables = table_sizes(store)
    for name, (images, size) in tables.items():
        typer.echo(f"{store / name}: {images} images, {size / 2**20:.1f} MiB")
    if not tables:
        typer.echo(f"{store} has no features.")


@command("extract", resumes=True)
@partial(opt.with_features, left_out=["bundle"])  # it holds features already
def extract(
    inputs: Inputs, shots: opt.ShotsOption = "1,2,4,8,16", seeds: opt.SeedsOption = "1,2,3"
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
    from ..backbones.devise import Devise
    from ..data.datasets import open_dataset
    from ..features.bundle import build_bundle, save_bundle

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


@command("convert", weights)
def convert(
    source: Annotated[Path, typer.Argument(help="OpenAI's TorchScript archive or a .pt file.")],
    target: Annotated[Path, typer.Argument(help="safetensors file to write.")],
) -> None:
    """Convert a TorchScript archive, which holds code: only one that you trust."""
    from ..weights import convert_weights

    with as_usage():
        convert_weights(source, writable_file(target, "TARGET"))
    typer.echo(f"Wrote {target}. Use it as open_clip/MODEL/{target}.")
