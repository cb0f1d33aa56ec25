"""``demo``, ``train``, ``sweep`` and ``tune``: runs over methods, shots and seeds."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .._files import write_json, write_text
from .._optional import require
from ..config import load_methods
from ..experiments import Sweep, plan_jobs, run_jobs
from ..inputs import Device, FeatureInputs
from ..results import accuracy_table, by_setting, difference_table, fewer_images
from ..results.report import write_run_report
from ..runs import SCHEMA, Run, environment, is_done
from ..sources import BundleSource
from ..tuning import Trial, read_search, read_trials, tune, tuned_values, write_trials
from . import _options as opt
from . import (
    as_usage,
    command,
    image_progress,
    numbers,
    print_table,
    progress_bar,
    writable_file,
    writable_folder,
)

METHODS = "zero_shot,taskres,hc_tr,tip_adapter_f,hc_taf"
DEMO_VALUES = "caltech101_devise.toml"
OF_IMAGES, OF_BUNDLES = "tune_paper.toml", "tune.toml"
JsonOption = Annotated[bool, typer.Option("--json", help="Results as JSON on standard output.")]


@command("demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for results.")] = Path("demo"),
    shots: opt.ShotsOption = "1,2,4,8,16",
    seeds: opt.SeedsOption = "1,2,3",
    presets: opt.MethodsOption = METHODS,
    jobs: opt.JobsOption = opt.CORES,
    bundle: opt.BundleOption = opt.SHIPPED,
    tuned: Annotated[str, typer.Option(help="Tuned values: shipped name or path.")] = DEMO_VALUES,
    overrides: opt.SetOption = None,
    device: Device = "cpu",
) -> None:
    """Train five methods on cached Caltech-101 features: no network, no image, minutes."""
    draws = numbers("--shots", shots), numbers("--seeds", seeds)
    with as_usage():
        methods = load_methods(presets.split(","), tuned=tuned, overrides=overrides or ())
    require("matplotlib", extra="vlm")  # before the training, not after it
    source = BundleSource(bundle)
    with as_usage():
        features = source.bundle
    folder = writable_folder(out)
    planned = plan_jobs(methods, *draws, device=device)
    with progress_bar("epochs", sum(job.epochs for job in planned)) as advance:
        runs = run_jobs(source, planned, processes=jobs, on_run=lambda job: advance(job.epochs))
    print_results(runs)
    batches = max(method.constraint.memory_batches for method in methods.values())
    memory = f"memory of {batches} batches" if batches else "no memory across batches"
    provenance = {
        "view": f"one centre-cropped view, cached; {memory}",
        "sha256": source.sha256,
        "logit_scale": features.logit_scale,
        "provenance": features.provenance,
    }
    content = {
        "schema": SCHEMA,
        "command": ["vlm-adapters", *sys.argv[1:]],
        "methods": {name: asdict(method) for name, method in methods.items()},
        "features": provenance,
        "environment": environment(),
        "runs": [run.as_record() for run in runs],
    }
    write_json(folder / "results.json", content)
    written = write_run_report(folder, runs)
    typer.echo(
        f"Features: one centre-cropped view an image, cached; {memory}. Backbone: "
        f"{source.backbone}, not the paper's CLIP: these numbers do not compare with its.\n"
        f"Wrote results.json, {', '.join(written)} into {folder}."
    )


@command("train", resumes=True)
@opt.with_features
def train(
    inputs: FeatureInputs,
    method: Annotated[str, typer.Option(help="Shipped preset or path of a TOML file.")] = "hc_tr",
    shots: Annotated[int, typer.Option(min=1, help="Training images a class.")] = 16,
    seed: Annotated[int, typer.Option(min=1, help="Seed of sample, batches and views.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("run"),
    tuned: opt.TunedOption = None,
    overrides: opt.SetOption = None,
    adapter: opt.AdapterOption = None,
    threads: opt.ThreadsOption = opt.CORES,
    every: opt.EveryOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train one adapter; goes on where it stopped."""
    changed = list(overrides or ())
    if adapter is not None:
        changed.append(f"{Path(method).stem}.adapter.kind={adapter}")
    plan = Sweep(inputs, (method,), (shots,), (seed,), out, tuned, tuple(changed), every)
    with as_usage():
        plan.methods()
    writable_folder(out)
    with image_progress() as progress:
        with as_usage():
            opened = inputs.opened(progress)
        source = opened(plan.draws)
    source.write_index_lists(out, plan.draws)
    _show(run_jobs(source, [plan.jobs()[0]._replace(folder=out)], threads=threads), as_json)


@command("sweep", resumes=True)
@opt.with_features
def sweep(
    inputs: FeatureInputs,
    methods: opt.MethodsOption = "zero_shot,taskres,hc_tr,tip_adapter_f,hc_taf,hc_taf_off",
    shots: opt.ShotsOption = "1,2,4,8,16",
    seeds: opt.SeedsOption = "1,2,3",
    out: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    tuned: opt.TunedOption = None,
    overrides: opt.SetOption = None,
    jobs: opt.JobsOption = opt.CORES,
    threads: opt.ThreadsOption = 1,
    every: opt.EveryOption = False,
    dry_run: opt.DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make many runs; those that are done are not made again."""
    draws = tuple(numbers("--shots", shots)), tuple(numbers("--seeds", seeds))
    presets, changed = tuple(methods.split(",")), tuple(overrides or ())
    plan = Sweep(inputs, presets, *draws, out, tuned, changed, every)
    if dry_run:
        print_plan(plan, threads)
    else:
        _show(make_runs(plan, jobs, threads), as_json)


def make_runs(plan: Sweep, jobs: int, threads: int = 1) -> list[Run]:
    """Extract, train and evaluate in ``jobs`` processes, with progress bars."""
    with as_usage():
        planned = plan.jobs()
    writable_folder(plan.out)
    with image_progress() as progress:
        with as_usage():
            opened = plan.inputs.opened(progress)
        source = plan.source(opened)
    with progress_bar("epochs", sum(job.epochs for job in planned)) as advance:
        return run_jobs(
            source,
            planned,
            processes=jobs,
            threads=threads,
            on_run=lambda job: advance(job.epochs),
        )


def print_plan(plan: Sweep, threads: int = 1) -> None:
    """Print one command for each run; on standard error what comes first, and how many are done."""
    with as_usage():
        commands, jobs = plan.commands(threads), plan.jobs()
    if plan.inputs.bundle is None:
        typer.echo(f"# First, once: {plan.extract_command()}", err=True)
    for line in commands:
        typer.echo(line)
    done = sum(is_done(job.folder) for job in jobs if job.folder)
    typer.echo(f"# {len(jobs)} runs, {done} of them done.", err=True)


def _show(runs: Sequence[Run], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([run.as_record() for run in runs], indent=1))
        return
    print_results(runs)
    for line in fewer_images(runs):
        typer.echo(line)


def print_results(runs: Sequence[Run]) -> None:
    """Print accuracies and differences for each backbone and kind of data."""
    for mine in by_setting(runs).values():
        print_table(accuracy_table(mine))
        differences = difference_table(mine)
        if len(differences):
            print_table(differences)


@command("tune", resumes=True)
@opt.with_features
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
    jobs: opt.JobsOption = opt.CORES,
    overrides: opt.SetOption = None,
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
