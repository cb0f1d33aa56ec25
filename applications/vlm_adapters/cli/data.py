"""``data check``: what is missing, and what to do about it; ``data store``: what is extracted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from ..data.check import check_dataset, check_images, image_kinds
from ..features.store import table_sizes
from ..inputs import Dataset, Images, Root, SplitFile, Store
from . import app, as_usage, command, errors, image_progress
from ._options import image_inputs

data = typer.Typer(help="Data sets on disk.", no_args_is_help=True)
app.add_typer(data, name="data")


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
    inputs = image_inputs(dataset, root, images, split)
    kinds: Counter[str] = Counter()
    with as_usage(), image_progress() as progress:
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
    with as_usage():
        tables = table_sizes(store)
    for name, (images, size) in tables.items():
        typer.echo(f"{store / name}: {images} images, {size / 2**20:.1f} MiB")
    if not tables:
        typer.echo(f"{store} has no features.")
