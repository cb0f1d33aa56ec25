"""What the scripts share: a plan of sweeps, their options, and the report."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
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
    SetOption,
    ShotsOption,
    StoreOption,
    ThreadsOption,
    ViewsOption,
    WorkersOption,
    scale_range,
)
from ..cli._tables import print_table
from ..cli.train import make_runs, print_plan
from ..config import lineage
from ..data import DATASETS
from ..experiments import Run
from ..inputs import FeatureInputs, ImageInputs
from ..results import (
    accuracy_table,
    by_setting,
    paper_comparison,
    read_runs,
    read_transfers,
    write_run_report,
)
from ..sweep import Sweep, pairs_of
from ._targets import evaluate_on, print_transfers

ELEVEN = (
    "imagenet", "caltech101", "dtd", "eurosat", "fgvc_aircraft", "oxford_flowers", "food101",
    "oxford_pets", "stanford_cars", "sun397", "ucf101",
)  # fmt: skip
SHOTS = (1, 2, 4, 8, 16)
CLIP = "open_clip/{model}/openai"


@dataclass(frozen=True)
class Variant:
    """A sweep of a plan: a folder, methods, and what they change.

    Attributes:
        folder: Below the output folder.
        presets: Methods.
        overrides: ``preset.section.key=value`` each.
        model: CLIP's model, which stands for ``{model}`` in ``--backbone``.
    """

    folder: str
    presets: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    model: str = "RN50"


@dataclass(frozen=True)
class Plan:
    """A table of the paper.

    Attributes:
        table: Its number.
        variants: Sweeps.
        datasets: Data sets.
        shots: Shot counts.
        targets: Data sets to which the adapters are taken.
    """

    table: int
    variants: tuple[Variant, ...]
    datasets: tuple[str, ...] = ("imagenet",)
    shots: tuple[int, ...] = SHOTS
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """What the command line chose.

    Attributes:
        inputs: Features, but for the data set and the backbone.
        root: Folder that holds the data sets.
        out: Folder of runs and report.
        backbone: With ``{model}`` where a plan's models stand.
        seeds: Seeds.
        tuned: Tuned values, with ``{dataset}`` where names of data sets stand.
        overrides: ``preset.section.key=value`` each.
        every: Whether to evaluate every protocol.
    """

    inputs: FeatureInputs
    root: Path | None
    out: Path
    backbone: str = CLIP
    seeds: tuple[int, ...] = (1, 2, 3)
    tuned: str | None = None
    overrides: tuple[str, ...] = ()
    every: bool = False

    def sweeps(self, plan: Plan) -> Iterator[Sweep]:
        """The sweeps of a plan.

        Raises:
            UsageError: If one backbone or one file of tuned values would serve for several.
        """
        models = list(dict.fromkeys(variant.model for variant in plan.variants))
        _one_each("--backbone", self.backbone, "{model}", models)
        known = {name: None for variant in plan.variants for name in _family(variant)}
        other = [text for text in self.overrides if _preset_of(text) not in known]
        if other:
            raise UsageError(
                f"`--set` should begin with a preset: {', '.join(known)}. Got {other[0]!r}."
            )
        _one_each("--tuned", self.tuned or "{dataset}", "{dataset}", plan.datasets)
        for variant, dataset in itertools.product(plan.variants, plan.datasets):
            inputs = replace(
                self.inputs,
                images=ImageInputs(dataset, self.root),
                backbone=self.backbone.replace("{model}", variant.model),
            )
            mine = [
                text.replace("{dataset}", dataset)
                for text in self.overrides
                if _preset_of(text) in _family(variant)
            ]
            yield Sweep(
                inputs, variant.presets, plan.shots, self.seeds, self.out / variant.folder,
                self.tuned and self.tuned.replace("{dataset}", dataset),
                (*variant.overrides, *mine), self.every,
            )  # fmt: skip


def _family(variant: Variant) -> list[str]:
    """The presets of a variant and what they extend."""
    return [name for preset in variant.presets for name in lineage(preset)]


def _preset_of(override: str) -> str:
    """The preset that an override begins with."""
    return override.split(".")[0].strip()


def _one_each(option: str, text: str, place: str, names: Collection[str]) -> None:
    """Refuse one value for several models or data sets."""
    if len(names) > 1 and place not in text:
        raise UsageError(
            f"`{option}` should hold {place}, which stands for each of {', '.join(names)}. "
            f"Got {text!r}."
        )


def _list(values: Iterable[object]) -> str:
    """A comma list."""
    return ",".join(map(str, values))


def main(plan: Plan) -> None:
    """Run a script.

    Args:
        plan: The table.
    """
    every_dataset, every_shot = _list(plan.datasets), _list(plan.shots)

    def script(
        root: RootOption = None,
        out: Annotated[Path | None, typer.Option(help="Folder of runs and report.")] = None,
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
        overrides: SetOption = None,
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
            inputs, root, out or Path("runs") / f"table{plan.table}", backbone,
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
    unknown = [name for name in names if name not in DATASETS]
    if unknown:
        raise UsageError(
            f"`--datasets` should be of {', '.join(plan.datasets)}. Got {unknown[0]!r}."
        )
    return Plan(plan.table, plan.variants, names, tuple(numbers("--shots", shots)), plan.targets)


def _run(plan: Plan, choice: Choice, jobs: int, threads: int) -> None:
    """Make the runs, take them to the targets, and report."""
    sweeps = list(choice.sweeps(plan))
    with as_usage():
        for sweep in sweeps:
            sweep.jobs()  # reads presets and tuned values
    writable_folder(choice.out)
    failures = []
    for sweep in sweeps:
        try:
            made = make_runs(sweep, jobs, threads)
            typer.echo(f"{sweep.out}: {len(made)} runs on {sweep.inputs.name}.")
        except RuntimeError as error:  # the other data sets shall not wait for it
            failures.append(f"{sweep.inputs.name}: {error}")
            errors.print(failures[-1])
        evaluate_on(sweep, plan.targets)
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
