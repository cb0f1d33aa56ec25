"""The commands; what they do stands in the modules that they call."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import torch
import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table as RichTable

from ._optional import require
from .config import PRESETS, load_methods
from .data import read_split
from .experiments import plan_jobs, run_jobs
from .features import build_bundle, bundle_sha256, load_bundle, save_bundle, split_file
from .parallel import available_cores
from .results import accuracy_table, difference_table, write_json, write_report, write_text
from .tuning import Trial, read_search, tune, tuned_values

METHODS = ("zero_shot", "taskres", "hc_tr", "tip_adapter_f", "hc_taf")
PAIRS = {"hc_tr": "taskres", "hc_taf": "tip_adapter_f"}
SHIPPED = Path(__file__).parent / "assets" / "caltech101_devise.safetensors"
CORES = min(available_cores(), 8)  # a process takes some 0.8 GB
TUNED = "caltech101_devise.toml"

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False,
    help="Adapters for vision-language models, with and without homology consistency.",
)  # fmt: skip
errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

BundleOption = Annotated[
    Path,
    typer.Option("--bundle", help="Feature bundle.", show_default="shipped Caltech-101 features"),
]
JobsOption = Annotated[int, typer.Option(min=1, help="Processes, one thread each.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override of a preset: preset.section.key=value. Repeatable."),
]


class UsageError(Exception):
    """What the user asked for cannot be done as asked."""


def run() -> NoReturn:
    """Run the command line; errors are one line, exit code 2 for usage and 1 for failure."""
    torch.set_flush_denormal(True)  # saturated softmax gradients are denormal, and slow
    try:
        app(prog_name="vlm-adapters")
    except UsageError as error:
        errors.print(f"Error: {error}")
        sys.exit(2)
    except (ValueError, TypeError, RuntimeError, OSError, ImportError) as error:
        errors.print(f"Error: {error}")
        sys.exit(1)
    sys.exit(0)


@app.callback()
def _group() -> None:
    """Keeps the name of a command obligatory."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for results.")] = Path("demo"),
    shots: Annotated[str, typer.Option(help="Comma list of shot counts.")] = "1,2,4,8,16",
    seeds: Annotated[str, typer.Option(help="Comma list of seeds.")] = "1,2,3",
    presets: Annotated[
        str, typer.Option("--methods", help=f"Comma list of: {', '.join(PRESETS)}.")
    ] = ",".join(METHODS),
    jobs: JobsOption = CORES,
    bundle: BundleOption = SHIPPED,
    tuned: Annotated[str, typer.Option(help="Tuned values: shipped name or path.")] = TUNED,
    overrides: SetOption = None,
) -> None:
    """Train five methods on cached Caltech-101 features: no network, no image, minutes."""
    shot_list, seed_list = _numbers("--shots", shots), _numbers("--seeds", seeds)
    with _as_usage():
        methods = load_methods(presets.split(","), tuned=tuned, overrides=overrides or ())
    require("matplotlib", extra="vlm")  # before the training, not after it
    features = load_bundle(bundle)
    folder = _folder(out, "should be a folder")
    planned = plan_jobs(methods, shot_list, seed_list)
    with _progress("epochs", sum(job.epochs for job in planned)) as advance:
        runs = run_jobs(features, planned, processes=jobs, on_run=lambda job: advance(job.epochs))
    _print(accuracy_table(runs))
    pairs = {form: plain for form, plain in PAIRS.items() if {form, plain} <= methods.keys()}
    if pairs:
        _print(difference_table(runs, pairs))
    provenance = {
        "view": "one centre-cropped view, cached; no memory across batches",
        "sha256": bundle_sha256(bundle),
        "logit_scale": features.logit_scale,
        "provenance": features.provenance,
    }
    title = "Caltech-101, DeViSE features, mean ± s.d. over seeds"
    write_report(folder, runs, methods, pairs, provenance, title)
    typer.echo(
        "Features: one centre-cropped view an image, cached; no memory across batches. Backbone: "
        "DeViSE, not CLIP, so these numbers do not compare with the paper's.\n"
        f"Wrote results.csv, results.json, results.md and accuracy.png into {folder}."
    )


@app.command("tune")
def tune_command(
    out: Annotated[Path, typer.Option(help="File for the tuned values.")] = Path(TUNED),
    bundle: BundleOption = SHIPPED,
    plan: Annotated[str, typer.Option(help="Search plan: shipped name or path.")] = "tune.toml",
    jobs: JobsOption = CORES,
    overrides: SetOption = None,
) -> None:
    """Choose learning rates and weights on validation images, with one budget for both sides."""
    with _as_usage():
        methods = load_methods(METHODS, overrides=overrides or ())
        search = read_search(plan)
    features = load_bundle(bundle)
    _file(out)
    found: list[Trial] = []
    with _progress("trials", sum(part.trials() for part in search.plans)) as advance:
        for part in search.plans:
            found += tune(
                features, methods, part, search.shots, search.seeds, jobs=jobs, on_trial=advance
            )
            write_json(out.with_suffix(".trials.json"), [asdict(trial) for trial in found])
    origin = f"{search.shots} shots, seeds {search.seeds}; bundle {bundle_sha256(bundle)}"
    write_text(out, tuned_values(found, origin))
    typer.echo(f"Wrote {out}.")


@app.command("bundle")
def bundle_command(
    root: Annotated[Path, typer.Option(help="Folder that holds caltech-101/.", envvar="VLM_DATA")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    coordinates: Annotated[
        int, typer.Option(min=0, help="Coordinates to keep; 0 keeps all.")
    ] = 512,
) -> None:
    """Build the feature bundle of Caltech-101 from its images, with the DeViSE backbone."""
    from .backbones import Devise

    read_split(split_file(root))
    _file(out)
    with _progress("images", None) as advance:
        done = 0

        def count(images: int, total: int) -> None:
            nonlocal done
            advance(images - done, total)
            done = images

        features = build_bundle(Devise(), root, coordinates=coordinates or None, progress=count)
    save_bundle(features, out)
    typer.echo(f"Wrote {out}: {len(features.features)} images, logit scale "
               f"{features.logit_scale:.2f}.")  # fmt: skip


def _numbers(option: str, text: str) -> list[int]:
    """A comma list of positive whole numbers, each once."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1 or len(set(numbers)) < len(numbers):
        raise UsageError(
            f"`{option}` should be a comma list of distinct positive numbers. Got {text!r}."
        )
    return numbers


def _folder(path: Path, requirement: str) -> Path:
    """Make a folder, and try to write into it, before the work begins."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise UsageError(f"`--out` {requirement}. Got {path}: {error.strerror}.") from None


def _file(path: Path) -> None:
    """Refuse a file that cannot be written, before the work begins."""
    if path.is_dir():
        raise UsageError(f"`--out` should be a file. Got {path}, a folder.")
    _folder(path.parent, "should lie in a writable folder")


def _print(table: list[list[str]]) -> None:
    """A table on standard output, turned so that its methods fit side by side on 80 columns."""
    header, *rows = zip(*table, strict=True)
    shown = RichTable(
        "",
        *header[1:],
        title=header[0],
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title_justify="left",
    )
    for column in shown.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)


@contextmanager
def _as_usage() -> Iterator[None]:
    """Errors in what the user wrote are errors of usage."""
    try:
        yield
    except (ValueError, FileNotFoundError) as error:
        raise UsageError(str(error)) from error


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error; call it with how many steps are done."""
    bar = Progress(
        "{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        console=Console(stderr=True),
    )  # fmt: skip
    with bar:
        task = bar.add_task(what, total=total)

        def advance(steps: int = 1, total: int | None = None) -> None:
            bar.update(task, advance=steps, total=total)

        yield advance
