"""``tune``: learning rates and weights, chosen on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from .._files import write_text
from ..config import load_methods
from ..inputs import FeatureInputs
from ..tuning import Trial, read_search, read_trials, tune, tuned_values, write_trials
from ._app import as_usage, command, image_progress, progress_bar, writable_file
from ._options import CORES, JobsOption, SetOption, with_features

OF_IMAGES, OF_BUNDLES = "tune_paper.toml", "tune.toml"


@command("tune", resumes=True)
@with_features
def tune_command(
    inputs: FeatureInputs,
    out: Annotated[Path, typer.Option(help="File for the tuned values.")] = Path("tuned.toml"),
    plan: Annotated[
        str | None,
        typer.Option(
            help="Search plan: shipped name or path.",
            show_default=f"{OF_IMAGES}; {OF_BUNDLES} for --bundle",
        ),
    ] = None,
    jobs: JobsOption = CORES,
    overrides: SetOption = None,
) -> None:
    """Choose learning rates and weights on validation images; goes on where it stopped."""
    with as_usage():
        search = read_search(plan or (OF_IMAGES if inputs.bundle is None else OF_BUNDLES))
        methods = load_methods(
            search.presets(), dataset=inputs.published, overrides=overrides or ()
        )
    writable_file(out)
    with image_progress() as progress:
        with as_usage():
            opened = inputs.opened(progress)
        source = opened(search.draws())
    file = out.with_suffix(".trials.json")
    with as_usage():
        known = read_trials(file)
    with progress_bar("trials", search.trials()) as advance:

        def keep(trials: Sequence[Trial]) -> None:
            write_trials(file, trials, known)
            advance()

        found = tune(
            source, methods, search, jobs=jobs, device=inputs.device, known=known, on_trial=keep
        )
    origin = f"{search.shots} shots, seeds {search.seeds}; {inputs.describe()}"
    text = tuned_values(
        found, origin, dataset=inputs.name, also=search.also(), overrides=overrides or ()
    )
    write_text(out, text)
    typer.echo(f"Wrote {out}.")
