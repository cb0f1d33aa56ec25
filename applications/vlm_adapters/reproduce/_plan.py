"""What the scripts share: a plan of sweeps, their options, and the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..cli._app import UsageError, numbers, run_app, writable_folder
from ..cli._options import CORES, JobsOption, RootOption, StoreOption, TunedOption
from ..cli._tables import print_table
from ..cli.train import make_runs, print_plan
from ..data import DATASETS
from ..inputs import FeatureInputs, ImageInputs
from ..results import accuracy_table, by_setting, read_runs, read_transfers, write_run_report
from ..sweep import Sweep, pairs_of

ELEVEN = (
    "imagenet", "caltech101", "dtd", "eurosat", "fgvc_aircraft", "oxford_flowers", "food101",
    "oxford_pets", "stanford_cars", "sun397", "ucf101",
)  # fmt: skip
SHOTS = (1, 2, 4, 8, 16)
RN50 = "open_clip/RN50/openai"


@dataclass(frozen=True)
class Variant:
    """A sweep of a plan: a folder, methods, and what they change.

    Attributes:
        folder: Below the output folder.
        presets: Methods.
        overrides: ``preset.section.key=value`` each.
        backbone: Backbone; that of the command line if left out.
    """

    folder: str
    presets: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    backbone: str | None = None


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
    """What the command line chose."""

    root: Path | None
    store: Path
    out: Path
    backbone: str
    seeds: tuple[int, ...]
    tuned: str | None
    device: str

    def sweeps(self, plan: Plan) -> Iterator[Sweep]:
        """The sweeps of a plan."""
        for variant in plan.variants:
            for dataset in plan.datasets:
                inputs = FeatureInputs(
                    images=ImageInputs(dataset, self.root),
                    backbone=variant.backbone or self.backbone,
                    device=self.device,
                    store=self.store,
                )
                yield Sweep(
                    inputs, variant.presets, plan.shots, self.seeds, self.out / variant.folder,
                    self.tuned, variant.overrides,
                )  # fmt: skip


def main(plan: Plan) -> None:
    """Run a script.

    Args:
        plan: The table.
    """

    def script(
        root: RootOption = None,
        out: Annotated[Path | None, typer.Option(help="Folder of runs and report.")] = None,
        store: StoreOption = Path("features"),
        backbone: Annotated[str, typer.Option(help="In place of the paper's ResNet-50.")] = RN50,
        device: Annotated[str, typer.Option(help="Where the backbone runs.")] = "cpu",
        seeds: Annotated[str, typer.Option(help="Comma list of seeds.")] = "1,2,3",
        datasets: Annotated[str, typer.Option(help="Comma list of data sets.")] = ",".join(
            plan.datasets
        ),
        shots: Annotated[str, typer.Option(help="Comma list of shot counts.")] = ",".join(
            map(str, plan.shots)
        ),
        tuned: TunedOption = None,
        jobs: JobsOption = CORES,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Print one command a run, and run nothing.")
        ] = False,
    ) -> None:
        folder = out or Path("runs") / f"table{plan.table}"
        chosen = _narrowed(plan, datasets, shots)
        choice = Choice(
            root, store, folder, backbone, tuple(numbers("--seeds", seeds)), tuned, device
        )
        if dry_run:
            for sweep in choice.sweeps(chosen):
                print_plan(sweep)
            return
        _run(chosen, choice, jobs)

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


def _run(plan: Plan, choice: Choice, jobs: int) -> None:
    """Make the runs, take them to the targets, and report."""
    from ._targets import evaluate_on

    writable_folder(choice.out)
    for sweep in choice.sweeps(plan):
        made = make_runs(sweep, jobs)
        typer.echo(f"{sweep.out}: {len(made)} runs on {sweep.inputs.name}.")
        evaluate_on(sweep, plan.targets)
    runs = read_runs(choice.out)
    paper = all(run.backbone.startswith("open_clip/") for run in runs)
    write_run_report(
        choice.out, runs, pairs_of(run.preset for run in runs),
        compare_paper=plan.table if paper else None, transfers=read_transfers(choice.out),
    )  # fmt: skip
    for group in by_setting(runs).values():
        print_table(accuracy_table(group))
    if not paper:
        typer.echo("The backbone is not CLIP: the paper's values are not set beside these.")
    typer.echo(f"Wrote tables and figures into {choice.out}.")
