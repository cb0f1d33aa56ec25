"""``tune``: learning rates and weights, chosen on validation images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .._files import write_json, write_text
from ..config import load_methods
from ..inputs import FeatureInputs
from ..tuning import Search, Trial, read_search, tune, tuned_values
from ._app import as_usage, command, image_progress, progress_bar, writable_file
from ._options import CORES, JobsOption, SetOption, with_features


@command("tune")
@with_features
def tune_command(
    inputs: FeatureInputs,
    out: Annotated[Path, typer.Option(help="File for the tuned values.")] = Path("tuned.toml"),
    plan: Annotated[str, typer.Option(help="Search plan: shipped name or path.")] = "tune.toml",
    jobs: JobsOption = CORES,
    overrides: SetOption = None,
) -> None:
    """Choose learning rates and weights on validation images, with one budget for both sides."""
    with as_usage():
        search = read_search(plan)
        methods = load_methods(search.presets(), dataset=inputs.name, overrides=overrides or ())
    writable_file(out)
    with image_progress() as progress:
        with as_usage():
            opened = inputs.opened(progress)
        source = opened(search.draws())
    found: list[Trial] = []
    with progress_bar("trials", sum(part.trials() for part in search.plans)) as advance:
        for part in search.plans:
            found += tune(
                source, methods, part, search.shots, search.seeds, jobs=jobs, on_trial=advance
            )
            write_json(out.with_suffix(".trials.json"), [asdict(trial) for trial in found])
    origin = f"{search.shots} shots, seeds {search.seeds}; {inputs.describe()}"
    write_text(out, tuned_values(found, origin, also_of(search), overrides or ()))
    typer.echo(f"Wrote {out}.")


def also_of(search: Search) -> dict[str, list[str]]:
    """Presets that take the values of a plan's baseline too."""
    return {part.baseline: part.also for part in search.plans}
