"""``report`` and ``reproduce``: tables and figures of runs; the paper's, beside its values."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .._files import read_json
from ..config import load_methods, one_of, overrides_of, shipped_toml
from . import UsageError, app, as_usage, command, image_progress
from . import inputs as opt
from .commands import OF_TRAINING, make_runs, print_plan, print_results
from .inputs import Inputs

if TYPE_CHECKING:
    from ..experiments import Sweep

VARIED = ("constraint.weight", "constraint.perturbation_weight")  # by table 4
group = typer.Typer(help="Repeat a table or figure 3 of the paper.", no_args_is_help=True)
app.add_typer(group, name="reproduce")


@command("report")
def report(
    runs: Annotated[Path, typer.Argument(help="Folder of runs.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report; that of the runs if left out.")
    ] = None,
    compare_paper: Annotated[
        int | None,
        typer.Option(min=1, max=5, help="Table of the paper whose values to set beside ours."),
    ] = None,
) -> None:
    """Write results.csv, results.json, results.md and the figures of all runs in a folder."""
    from ..results.report import write_run_report
    from ..runs import read_runs, read_transfers

    with as_usage():
        found = read_runs(runs)
    folder = opt.writable_folder(out or runs)
    transfers = read_transfers(runs)
    written = write_run_report(folder, found, compare_paper=compare_paper, transfers=transfers)
    print_results(found)
    typer.echo(f"Wrote {', '.join(written)} into {folder}.")


@dataclass(frozen=True)
class Plan:
    """What a table of the paper runs, as ``reproduce/tables.toml`` tells."""

    methods: Sequence[str] = ()
    models: Sequence[str] = ("RN50",)  # which replace `{model}` in `--backbone`
    datasets: Sequence[str] = ("imagenet",)
    shots: Sequence[int] = (1, 2, 4, 8, 16)
    targets: Sequence[str] = ()  # on which the trained adapters are evaluated too
    # By preset: the constraint's weight and perturbation weight of each run.
    factors: dict[str, list[list[float]]] = field(default_factory=dict)


PLANS = {int(n): Plan(**table) for n, table in shipped_toml("reproduce/tables.toml").items()}


def sweeps(plan: Plan, base: Sweep) -> list[Sweep]:
    """Return the sweeps of a plan; what it does not say, ``base`` says for all.

    In the backbone of ``base`` ``{model}`` stands for the model, in its tuned values and overrides
    ``{dataset}`` for the data set.
    """
    for option, text, place, names in (
        ("--backbone", base.inputs.backbone, "{model}", plan.models),
        ("--tuned", base.tuned or "{dataset}", "{dataset}", plan.datasets),
    ):
        if len(names) > 1 and place not in text:
            raise UsageError(
                f"`{option}` should hold {place}, which stands for each of {', '.join(names)}. "
                f"Got {text!r}."
            )
    with as_usage():
        load_methods((*plan.methods, *plan.factors), overrides=base.overrides)
    for text in base.overrides:
        preset, _, key = (part.strip() for part in text.partition("=")[0].partition("."))
        if preset in plan.factors and key in VARIED:
            raise UsageError(f"`--set` should leave alone what the table varies. Got {text!r}.")
    parts: list[tuple[str, tuple[str, ...], list[str]]] = []
    if plan.methods:
        parts.append(("{model}" if len(plan.models) > 1 else ".", tuple(plan.methods), []))
    for preset, points in plan.factors.items():
        for point in points:
            values = zip(VARIED, point, strict=True)
            changes = [f"{preset}.{key}={value}" for key, value in values]
            parts.append(("{}-{:g}-{:g}".format(preset, *point), (preset,), changes))
    found, backbone = [], base.inputs.backbone
    for model, dataset, part in itertools.product(plan.models, plan.datasets, parts):
        folder, presets, changes = part
        changes = changes + overrides_of(presets, base.overrides)
        sweep = replace(
            base,
            inputs=replace(
                base.inputs, dataset=dataset, backbone=backbone.replace("{model}", model)
            ),
            presets=presets,
            shots=tuple(plan.shots),
            out=base.out / folder.replace("{model}", model),
            tuned=base.tuned and base.tuned.replace("{dataset}", dataset),
            overrides=tuple(text.replace("{dataset}", dataset) for text in changes),
        )
        found.append(sweep)
    return found


def _add_table(number: int, plan: Plan) -> None:
    """Add the command of a table."""
    all_datasets, all_shots = ",".join(plan.datasets), ",".join(map(str, plan.shots))

    def table(
        inputs: Inputs,
        out: Annotated[Path, typer.Option(help="Folder of runs and report.")] = (
            Path("runs") / f"table{number}"
        ),
        seeds: opt.SeedsOption = "1,2,3",
        datasets: Annotated[str, typer.Option(help="Comma list of data sets.")] = all_datasets,
        shots: opt.ShotsOption = all_shots,
        tuned: opt.TunedOption = None,
        overrides: opt.SetOption = None,
        every: opt.EveryOption = False,
        jobs: opt.JobsOption = opt.CORES,
        threads: opt.ThreadsOption = 1,
        dry_run: opt.DryRunOption = False,
    ) -> None:
        names = opt.names("--datasets", datasets)
        with as_usage():
            for name in names:
                one_of("--datasets", name, PLANS[5].datasets)
        base = opt.plan(inputs, None, shots, seeds, out, tuned, overrides, every)
        chosen = replace(plan, datasets=names, shots=base.shots)
        if not dry_run:
            run_plan(number, chosen, base, jobs, threads)
            return
        for sweep in sweeps(chosen, base):
            print_plan(sweep, threads)
            print_transfers(sweep, chosen.targets)

    table.__doc__ = f"""Repeat table {number} of the paper, and set its values beside ours.

    In --backbone {{model}} stands for RN50 and so on; in --tuned and --set {{dataset}} stands for
    the name of each data set.
    """
    left_out = ("dataset", "images", "split", "template", "bundle")
    options = opt.with_features(table, left_out=left_out, backbone="open_clip/{model}/openai")
    command(str(number), group, resumes=True)(options)


for _number, _plan in PLANS.items():
    _add_table(_number, _plan)


@command("figure3", group)
def figure3(
    runs: Annotated[Path, typer.Argument(help="Folder of the runs of table 5.")] = Path(
        "runs/table5"
    ),
    out: Annotated[Path, typer.Option(help="PNG file.")] = Path("figure3.png"),
) -> None:
    """Draw accuracy over shots, mean and deviation over seeds, and the average over data sets."""
    from ..results.figures import save_accuracy_figure
    from ..runs import read_runs

    with as_usage():
        found = read_runs(runs)
    save_accuracy_figure(opt.writable_file(out), found, "Accuracy over shots")
    typer.echo(f"Wrote {out}.")


def run_plan(number: int, plan: Plan, base: Sweep, jobs: int, threads: int) -> None:
    """Make the runs of a table, evaluate them on the targets, and report."""
    from ..results.report import write_run_report  # before the training, not after it
    from ..runs import RESULT, read_runs, read_transfers

    planned = sweeps(plan, base)
    with as_usage():
        for sweep in planned:
            sweep.jobs()  # reads presets and tuned values
        for name in dict.fromkeys([*plan.datasets, *plan.targets]):
            Inputs(name, base.inputs.root).open()  # before hours of training
    opt.writable_folder(base.out)
    failures: list[str] = []
    for sweep in planned:
        with _collect(sweep.inputs.name, failures):
            made = make_runs(sweep, jobs, threads)
            typer.echo(f"{sweep.out}: {len(made)} runs on {sweep.inputs.name}.")
        for target in plan.targets:
            with _collect(target, failures):
                evaluate_on(sweep, target)
    if failures and not any(base.out.rglob(RESULT)):
        raise RuntimeError(f"No run was made. {failures[0]}")
    runs, transfers = read_runs(base.out), read_transfers(base.out)
    try:
        write_run_report(base.out, runs, compare_paper=number, transfers=transfers)
    except ValueError as obstacle:  # nothing was written
        write_run_report(base.out, runs, transfers=transfers)
        typer.echo(f"The paper's values are not set beside these. {obstacle}")
    print_results(runs)
    typer.echo(f"Wrote tables and figures into {base.out}.")
    if failures:
        raise RuntimeError(f"Some runs failed. {failures[0]}")


@contextmanager
def _collect(name: str, failures: list[str]) -> Iterator[None]:
    """Print and keep an error, so that the other data sets need not wait."""
    try:
        yield
    except (UsageError, ValueError, RuntimeError, OSError) as error:
        failures.append(f"{name}: {error}")
        typer.echo(failures[-1], err=True)


def print_transfers(sweep: Sweep, targets: Iterable[str]) -> None:
    """Print one ``vlm-adapters evaluate`` for each run and target."""
    for job, target in itertools.product(sweep.jobs(), targets):
        options = replace(sweep.inputs, dataset=target).arguments(OF_TRAINING)
        typer.echo(shlex.join(["vlm-adapters", "evaluate", str(job.folder), *options]))


def evaluate_on(sweep: Sweep, name: str) -> None:
    """Evaluate the finished runs of a sweep on a data set, but those already evaluated there."""
    from ..runs import RESULT, read_run, read_saved_run, transfer_file
    from ..transfer import Target, write_accuracy

    folders = [job.folder for job in sweep.jobs() if job.folder is not None]
    folders = [folder for folder in folders if (folder / RESULT).is_file()]
    if not folders:
        return  # the target's images would be extracted for nothing
    inputs = replace(sweep.inputs, dataset=name)
    with image_progress() as progress:
        target = Target(inputs.extraction(progress))
        for folder in folders:
            file = transfer_file(folder, name)
            key = target.key(read_run(folder))
            if not (file.is_file() and key.items() <= read_json(file).items()):
                write_accuracy(folder, read_saved_run(folder), target)
