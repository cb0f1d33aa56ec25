"""``reproduce``: the paper's tables, our values beside the paper's, and its figure 3."""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from .._files import read_json, write_json
from ..config import lineage
from ..inputs import FeatureInputs, ImageInputs
from ..preset_names import pairs_of
from ..results import (
    accuracy_table,
    by_setting,
    paper_comparison,
    read_run,
    read_runs,
    read_saved_run,
    read_transfers,
    save_accuracy_figure,
    write_run_report,
)
from ..results.transfers import transfer_file
from ..run_files import RESULT
from ..runs import Run
from ..sweep import Sweep
from ..transfer import Target, accuracy_on
from ._app import (
    UsageError,
    app,
    as_usage,
    command,
    errors,
    image_progress,
    numbers,
    writable_file,
    writable_folder,
)
from ._options import (
    CORES,
    EveryOption,
    JobsOption,
    SeedsOption,
    ShotsOption,
    ThreadsOption,
    with_features,
)
from ._tables import print_table
from .train import make_runs, print_plan

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

group = typer.Typer(help="Repeat a table or figure 3 of the paper.", no_args_is_help=True)
app.add_typer(group, name="reproduce")


@dataclass(frozen=True)
class Variant:
    """One sweep of a table: a folder, methods, and what they change.

    Attributes:
        folder: Below the output folder.
        presets: Methods.
        overrides: ``preset.section.key=value`` each.
        model: CLIP's model, which replaces ``{model}`` in ``--backbone``.
    """

    folder: str
    presets: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    model: str = "RN50"

    @property
    def family(self) -> list[str]:
        """The presets and what they extend."""
        return [name for preset in self.presets for name in lineage(preset)]


@dataclass(frozen=True)
class Plan:
    """What a table of the paper runs.

    Attributes:
        table: Its number.
        variants: Sweeps.
        datasets: Data sets.
        shots: Shot counts.
        targets: Data sets on which the trained adapters are evaluated too.
    """

    table: int
    variants: tuple[Variant, ...]
    datasets: tuple[str, ...] = ("imagenet",)
    shots: tuple[int, ...] = (1, 2, 4, 8, 16)
    targets: tuple[str, ...] = ()


def read_plans() -> dict[int, Plan]:
    """Read what each table of the paper runs."""
    file = resources.files(__package__.rpartition(".")[0]) / "reproduce" / "tables.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return {int(number): _plan(int(number), **table) for number, table in tables.items()}


def _plan(
    table: int,
    methods: Sequence[str] = (),
    models: Sequence[str] = ("RN50",),
    factors: dict[str, dict[str, Any]] | None = None,
    **others: Sequence[Any],
) -> Plan:
    """Build a plan from its TOML table."""
    folders = models if len(models) > 1 else ["."]
    variants = [
        Variant(folder, tuple(methods), model=model)
        for folder, model in zip(folders, models, strict=True)
        if methods
    ]
    for preset, grids in (factors or {}).items():
        chosen = grids["chosen"]
        variants += [
            Variant(
                f"{preset}-{key}-{value:g}",
                (preset,),
                tuple(f"{preset}.constraint.{k}={v}" for k, v in (chosen | {key: value}).items()),
            )
            for key in chosen
            for value in grids[key]
        ]
    return Plan(table, tuple(variants), **{key: tuple(value) for key, value in others.items()})


PLANS = read_plans()


def sweeps(plan: Plan, base: Sweep) -> Iterator[Sweep]:
    """Give the sweeps of a plan.

    Args:
        plan: The plan.
        base: Its inputs, seeds, folder, tuned values, overrides and protocols hold for all. Its
            backbone holds ``{model}`` for the model, its tuned values and overrides
            ``{dataset}`` for the data set.

    Raises:
        UsageError: If one backbone or one file of tuned values would serve for several, or an
            override would have no effect or would change what the table varies.
    """
    models = list(dict.fromkeys(variant.model for variant in plan.variants))
    _check_place("--backbone", base.inputs.backbone, "{model}", models)
    _check_place("--tuned", base.tuned or "{dataset}", "{dataset}", plan.datasets)
    known = {name: None for variant in plan.variants for name in variant.family}
    fixed = {_key(text) for variant in plan.variants for text in variant.overrides}
    for text in base.overrides:
        if _preset(text) not in known:
            raise UsageError(
                f"`--set` should begin with a preset: {', '.join(known)}. Got {text!r}."
            )
        if _key(text) in fixed:
            raise UsageError(
                f"`--set` should leave alone what table {plan.table} varies. Got {text!r}."
            )
    for variant, dataset in itertools.product(plan.variants, plan.datasets):
        mine = [text for text in base.overrides if _preset(text) in variant.family]
        yield replace(
            base,
            inputs=replace(
                base.inputs,
                images=ImageInputs(dataset, base.inputs.images.root),
                backbone=base.inputs.backbone.replace("{model}", variant.model),
            ),
            presets=variant.presets,
            shots=plan.shots,
            out=base.out / variant.folder,
            tuned=base.tuned and base.tuned.replace("{dataset}", dataset),
            overrides=(*variant.overrides, *(t.replace("{dataset}", dataset) for t in mine)),
        )


def _preset(override: str) -> str:
    """Return the preset with which an override begins."""
    return override.split(".")[0].strip()


def _key(override: str) -> str:
    """Return what an override changes."""
    return override.split("=")[0].strip()


def _check_place(option: str, text: str, place: str, names: Collection[str]) -> None:
    """Raise if one value would serve for several models or data sets."""
    if len(names) > 1 and place not in text:
        raise UsageError(
            f"`{option}` should hold {place}, which stands for each of {', '.join(names)}. "
            f"Got {text!r}."
        )


def _add_table(plan: Plan) -> None:
    """Add the command of a table."""
    all_datasets, all_shots = ",".join(plan.datasets), ",".join(map(str, plan.shots))

    def table(
        inputs: FeatureInputs,
        backbone: Annotated[
            str, typer.Option(help="As for `train`; {model} stands for RN50 and so on.")
        ] = "open_clip/{model}/openai",
        out: Annotated[Path, typer.Option(help="Folder of runs and report.")] = (
            Path("runs") / f"table{plan.table}"
        ),
        seeds: SeedsOption = "1,2,3",
        datasets: Annotated[str, typer.Option(help="Comma list of data sets.")] = all_datasets,
        shots: ShotsOption = all_shots,
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
            bool, typer.Option("--dry-run", help="Print one command per run, and run nothing.")
        ] = False,
    ) -> None:
        names, known = tuple(datasets.split(",")), PLANS[5].datasets
        unknown = [name for name in names if name not in known]
        if unknown:
            raise UsageError(f"`--datasets` should be of {', '.join(known)}. Got {unknown[0]!r}.")
        chosen = replace(plan, datasets=names, shots=tuple(numbers("--shots", shots)))
        base = Sweep(
            replace(inputs, backbone=backbone), (), chosen.shots, tuple(numbers("--seeds", seeds)),
            out, tuned, tuple(overrides or ()), every,
        )  # fmt: skip
        if not dry_run:
            run_plan(chosen, base, jobs, threads)
            return
        for sweep in sweeps(chosen, base):
            print_plan(sweep, threads)
            print_transfers(sweep, chosen.targets)

    table.__doc__ = f"Repeat table {plan.table} of the paper, and set its values beside ours."
    left_out = ("dataset", "images", "split", "template", "bundle", "backbone")
    command(str(plan.table), group, resumes=True)(with_features(table, left_out=left_out))


for _each in PLANS.values():
    _add_table(_each)


@command("figure3", group)
def figure3(
    runs: Annotated[Path, typer.Argument(help="Folder of the runs of table 5.")] = Path(
        "runs/table5"
    ),
    out: Annotated[Path, typer.Option(help="PNG file.")] = Path("figure3.png"),
) -> None:
    """Draw accuracy over shots, mean and deviation over seeds, and the average over data sets."""
    with as_usage():
        found = read_runs(runs)
    save_accuracy_figure(writable_file(out), found, "Accuracy over shots")
    typer.echo(f"Wrote {out}.")


def run_plan(plan: Plan, base: Sweep, jobs: int, threads: int) -> None:
    """Make the runs, evaluate them on the targets, and report.

    Args:
        plan: What to run.
        base: As for :func:`sweeps`.
        jobs: Processes.
        threads: Of each.
    """
    planned = list(sweeps(plan, base))
    with as_usage():
        for sweep in planned:
            sweep.jobs()  # reads presets and tuned values
        for name in dict.fromkeys([*plan.datasets, *plan.targets]):
            ImageInputs(name, base.inputs.images.root).open()  # before hours of training
    writable_folder(base.out)
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
    _report(base.out, plan.table)
    if failures:
        raise RuntimeError(f"Some runs failed. {failures[0]}")


def _report(folder: Path, table: int) -> None:
    """Write and print the tables; the paper's values stand there if runs compare with them."""
    runs, transfers = read_runs(folder), read_transfers(folder)
    obstacle = incomparable([*runs, *transfers], table)
    write_run_report(
        folder, runs, pairs_of(run.preset for run in runs),
        compare_paper=None if obstacle else table, transfers=transfers,
    )  # fmt: skip
    for each in by_setting(runs).values():
        print_table(accuracy_table(each))
    if obstacle:
        typer.echo(f"The paper's values are not set beside these. {obstacle}")
    typer.echo(f"Wrote tables and figures into {folder}.")


@contextmanager
def _collect(name: str, failures: list[str]) -> Iterator[None]:
    """Print and keep an error, so that the other data sets need not wait."""
    try:
        yield
    except (UsageError, ValueError, RuntimeError, OSError) as error:
        failures.append(f"{name}: {error}")
        errors.print(failures[-1])


def incomparable(runs: Sequence[Run], table: int) -> str:
    """Say why runs cannot be compared with a table of the paper; empty if they can."""
    try:
        for each in by_setting(runs).values():
            paper_comparison(each, table)
    except ValueError as error:
        return str(error)
    return ""


def print_transfers(sweep: Sweep, targets: Iterable[str]) -> None:
    """Print one ``vlm-adapters evaluate`` for each run and target."""
    inputs = sweep.inputs
    root = [f"--root={inputs.images.root}"] if inputs.images.root else []
    for job, target in itertools.product(sweep.jobs(), targets):
        words = ["vlm-adapters", "evaluate", str(job.folder), f"--dataset={target}", *root]
        typer.echo(shlex.join([*words, f"--store={inputs.store}", f"--device={inputs.device}"]))


def evaluate_on(sweep: Sweep, name: str) -> None:
    """Evaluate the finished runs of a sweep on a target, but those already evaluated there.

    Args:
        sweep: Its runs.
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
            key = target.key(read_run(folder))
            if not (file.is_file() and key.items() <= read_json(file).items()):
                file.parent.mkdir(parents=True, exist_ok=True)
                write_json(file, accuracy_on(read_saved_run(folder), target))
