"""What the scripts share: their options, the runs, the transfers and the report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..cli._app import UsageError, as_usage, errors, numbers, run_app, writable_folder
from ..cli._options import (
    CORES,
    BatchOption,
    DeviceOption,
    EveryOption,
    JobsOption,
    OnlineOption,
    RootOption,
    ScaleOption,
    SeedsOption,
    ShotsOption,
    StoreOption,
    ThreadsOption,
    ViewsOption,
    WorkersOption,
    scale_range,
)
from ..cli._tables import print_table
from ..cli.train import make_runs, print_plan
from ..inputs import FeatureInputs
from ..preset_names import pairs_of
from ..results import (
    accuracy_table,
    by_setting,
    paper_comparison,
    read_runs,
    read_transfers,
    write_run_report,
)
from ..run_files import RESULT
from ..runs import Run
from ._plan import CLIP, ELEVEN, Choice, Plan
from ._targets import evaluate_on, print_transfers


def _list(values: Iterable[object]) -> str:
    """A comma list."""
    return ",".join(map(str, values))


def main(plan: Plan) -> None:
    """Run a script.

    Args:
        plan: The table.
    """
    every_dataset, every_shot = _list(plan.datasets), _list(plan.shots)
    folder = Path("runs") / f"table{plan.table}"

    def script(
        root: RootOption = None,
        out: Annotated[Path, typer.Option(help="Folder of runs and report.")] = folder,
        store: StoreOption = Path("features"),
        backbone: Annotated[
            str, typer.Option(help="As elsewhere; {model} stands for RN50 and so on.")
        ] = CLIP,
        device: DeviceOption = "cpu",
        views: ViewsOption = 10,
        scale: ScaleOption = "0.5,1",
        online: OnlineOption = False,
        batch_size: BatchOption = 64,
        workers: WorkersOption = 2,
        seeds: SeedsOption = "1,2,3",
        datasets: Annotated[str, typer.Option(help="Comma list of data sets.")] = every_dataset,
        shots: ShotsOption = every_shot,
        tuned: Annotated[
            str | None, typer.Option(help="Tuned values; {dataset} stands for each name.")
        ] = None,
        overrides: Annotated[
            list[str] | None,
            typer.Option(
                "--set",
                help="Override of a preset: preset.section.key=value; {dataset} stands for each "
                "name. Repeatable.",
            ),
        ] = None,
        every: EveryOption = False,
        jobs: JobsOption = CORES,
        threads: ThreadsOption = 1,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Print one command a run, and run nothing.")
        ] = False,
    ) -> None:
        chosen = _narrowed(plan, datasets, shots)
        inputs = FeatureInputs(
            device=device, store=store, views=views, scale=scale_range(scale), online=online,
            batch_size=batch_size, workers=workers,
        )  # fmt: skip
        choice = Choice(
            inputs, root, out, backbone,
            tuple(numbers("--seeds", seeds)), tuned, tuple(overrides or ()), every,
        )  # fmt: skip
        if dry_run:
            for sweep in choice.sweeps(chosen):
                print_plan(sweep, threads)
                print_transfers(sweep, chosen.targets)
            return
        _run(chosen, choice, jobs, threads)

    script.__doc__ = f"Repeat table {plan.table} of the paper, and set its values beside ours."
    run_app(script)


def _narrowed(plan: Plan, datasets: str, shots: str) -> Plan:
    """The plan on some of its data sets and shots."""
    names = tuple(datasets.split(","))
    unknown = [name for name in names if name not in ELEVEN]
    if unknown:
        raise UsageError(f"`--datasets` should be of {', '.join(ELEVEN)}. Got {unknown[0]!r}.")
    return Plan(plan.table, plan.variants, names, tuple(numbers("--shots", shots)), plan.targets)


def _run(plan: Plan, choice: Choice, jobs: int, threads: int) -> None:
    """Make the runs, take them to the targets, and report."""
    sweeps = list(choice.sweeps(plan))
    with as_usage():
        for sweep in sweeps:
            sweep.jobs()  # reads presets and tuned values
        for name in dict.fromkeys([*(sweep.inputs.name for sweep in sweeps), *plan.targets]):
            replace(sweeps[0].inputs.images, dataset=name).open()  # before hours of training
    writable_folder(choice.out)
    failures: list[str] = []
    for sweep in sweeps:
        with _told(sweep.inputs.name, failures):
            made = make_runs(sweep, jobs, threads)
            typer.echo(f"{sweep.out}: {len(made)} runs on {sweep.inputs.name}.")
        for target in plan.targets:
            with _told(target, failures):
                evaluate_on(sweep, target)
    if failures and not any(choice.out.rglob(RESULT)):
        raise RuntimeError(f"No run was made. {failures[0]}")
    runs, transfers = read_runs(choice.out), read_transfers(choice.out)
    obstacle = incomparable([*runs, *transfers], plan.table)
    write_run_report(
        choice.out, runs, pairs_of(run.preset for run in runs),
        compare_paper=None if obstacle else plan.table, transfers=transfers,
    )  # fmt: skip
    for group in by_setting(runs).values():
        print_table(accuracy_table(group))
    if obstacle:
        typer.echo(f"The paper's values are not set beside these. {obstacle}")
    typer.echo(f"Wrote tables and figures into {choice.out}.")
    if failures:
        raise RuntimeError(f"Some runs failed. {failures[0]}")


@contextmanager
def _told(name: str, failures: list[str]) -> Iterator[None]:
    """What goes wrong is told and noted: the other data sets shall not wait for it."""
    try:
        yield
    except (UsageError, ValueError, RuntimeError, OSError) as error:
        failures.append(f"{name}: {error}")
        errors.print(failures[-1])


def incomparable(runs: Sequence[Run], table: int) -> str:
    """Why runs cannot be compared with a table of the paper.

    Args:
        runs: Runs, and runs on targets.
        table: The table.

    Returns:
        The reason; empty if they can.
    """
    try:
        for group in by_setting(runs).values():
            paper_comparison(group, table)
    except ValueError as error:
        return str(error)
    return ""
