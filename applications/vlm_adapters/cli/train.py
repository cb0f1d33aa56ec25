"""``train`` and ``sweep``: one run, and runs over methods, shots and seeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..experiments import run_jobs
from ..inputs import FeatureInputs
from ..preset_names import pairs_of
from ..results import accuracy_table, difference_table, fewer_images
from ..run_files import is_done
from ..runs import Run
from ..sweep import Sweep
from ._app import (
    as_usage,
    command,
    image_progress,
    numbers,
    progress_bar,
    writable_folder,
)
from ._options import (
    CORES,
    AdapterOption,
    EveryOption,
    JobsOption,
    MethodsOption,
    SeedsOption,
    SetOption,
    ShotsOption,
    ThreadsOption,
    TunedOption,
    with_features,
)
from ._tables import print_table

JsonOption = Annotated[bool, typer.Option("--json", help="Results as JSON on standard output.")]


@command("train", resumes=True)
@with_features
def train(
    inputs: FeatureInputs,
    method: Annotated[str, typer.Option(help="Shipped preset or path of a TOML file.")] = "hc_tr",
    shots: Annotated[int, typer.Option(min=1, help="Training images a class.")] = 16,
    seed: Annotated[int, typer.Option(min=1, help="Seed of sample, batches and views.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("run"),
    tuned: TunedOption = None,
    overrides: SetOption = None,
    adapter: AdapterOption = None,
    threads: ThreadsOption = CORES,
    every: EveryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train one adapter; goes on where it stopped."""
    changed = list(overrides or ())
    if adapter is not None:
        changed.append(f"{Path(method).stem}.adapter.kind={adapter}")
    sweep = Sweep(inputs, (method,), (shots,), (seed,), out, tuned, tuple(changed), every)
    with as_usage():
        sweep.methods()
    writable_folder(out)
    with image_progress() as progress:
        with as_usage():
            opened = inputs.opened(progress)
        source = opened(sweep.draws)
    source.write_index_lists(out, sweep.draws)
    [job] = [job._replace(folder=out) for job in sweep.jobs()]
    [run] = run_jobs(source, [job], threads=threads)
    _show([run], as_json)


@command("sweep", resumes=True)
@with_features
def sweep(
    inputs: FeatureInputs,
    methods: MethodsOption = "zero_shot,taskres,hc_tr,tip_adapter_f,hc_taf,hc_taf_off",
    shots: ShotsOption = "1,2,4,8,16",
    seeds: SeedsOption = "1,2,3",
    out: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    tuned: TunedOption = None,
    overrides: SetOption = None,
    jobs: JobsOption = CORES,
    threads: ThreadsOption = 1,
    every: EveryOption = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print one command a run, and run nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make many runs; those that are done are not made again."""
    plan = Sweep(
        inputs, tuple(methods.split(",")), tuple(numbers("--shots", shots)),
        tuple(numbers("--seeds", seeds)), out, tuned, tuple(overrides or ()), every,
    )  # fmt: skip
    if dry_run:
        print_plan(plan, threads)
        return
    _show(make_runs(plan, jobs, threads), as_json)


def make_runs(plan: Sweep, jobs: int, threads: int = 1) -> list[Run]:
    """Extract, train and evaluate with progress bars.

    Args:
        plan: What to run.
        jobs: Processes.
        threads: Of each.

    Returns:
        All runs.
    """
    with as_usage():
        planned = plan.jobs()
    writable_folder(plan.out)
    with image_progress() as progress:
        with as_usage():
            opened = plan.inputs.opened(progress)
        source = plan.source(opened)
    with progress_bar("epochs", sum(job.epochs for job in planned)) as advance:
        return plan.run(
            source, processes=jobs, threads=threads, on_run=lambda job: advance(job.epochs)
        )


def print_plan(plan: Sweep, threads: int = 1) -> None:
    """One command a run on standard output; what comes first and how long on standard error.

    Args:
        plan: What would be run.
        threads: Of each run.
    """
    with as_usage():
        commands, jobs = plan.commands(threads), plan.jobs()
    if plan.inputs.bundle is None:
        typer.echo(f"# First, once: {plan.extract_command()}", err=True)
    for line in commands:
        typer.echo(line)
    done = sum(is_done(job.folder) for job in jobs if job.folder)
    typer.echo(f"# {len(jobs)} runs, {done} of them done.", err=True)


def _show(runs: list[Run], as_json: bool) -> None:
    """Results on standard output."""
    if as_json:
        typer.echo(json.dumps([run.as_record() for run in runs], indent=1))
        return
    print_table(accuracy_table(runs))
    for line in fewer_images(runs):
        typer.echo(line)
    pairs = pairs_of(run.preset for run in runs)
    if pairs:
        print_table(difference_table(runs, pairs))
