"""Taking the adapters of a sweep to other data sets."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import typer

from .._files import read_json, write_json
from ..cli._app import image_progress
from ..results import read_run, read_saved_run
from ..results.transfers import transfer_file
from ..run_files import RESULT
from ..sweep import Sweep
from ..transfer import Target, accuracy_on


def print_transfers(sweep: Sweep, targets: tuple[str, ...]) -> None:
    """One ``vlm-adapters evaluate`` for each run and target.

    Args:
        sweep: Its runs would be evaluated.
        targets: Names of data sets.
    """
    inputs = sweep.inputs
    root = [f"--root={inputs.images.root}"] if inputs.images.root else []
    for job, target in itertools.product(sweep.jobs(), targets):
        words = ["vlm-adapters", "evaluate", str(job.folder), f"--dataset={target}", *root]
        typer.echo(shlex.join([*words, f"--store={inputs.store}", f"--device={inputs.device}"]))


def evaluate_on(sweep: Sweep, name: str) -> None:
    """Evaluate every adapter of a sweep on a target; what is there is not made again.

    Args:
        sweep: Its runs are done, but those that failed.
        name: Name of the data set.
    """
    folders = [job.folder for job in sweep.jobs() if job.folder is not None]
    folders = [folder for folder in folders if (folder / RESULT).is_file()]
    if not folders:
        return  # the target's images would be extracted for nothing
    inputs = replace(sweep.inputs, images=replace(sweep.inputs.images, dataset=name))
    with image_progress() as progress:
        target = Target(inputs.extraction(progress))
        for folder in folders:
            file = transfer_file(folder, name)
            if not _there(file, target.key(read_run(folder))):
                file.parent.mkdir(parents=True, exist_ok=True)
                write_json(file, accuracy_on(read_saved_run(folder), target))


def _there(file: Path, key: Mapping[str, str]) -> bool:
    """Whether a file holds what belongs to a run and some images."""
    return file.is_file() and key.items() <= read_json(file).items()
