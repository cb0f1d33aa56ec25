"""The commands on runs, images, features and weights; those on tables are in ``report``."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._files import claimed, write_text
from . import UsageError, app, as_usage, command, image_progress, progress_bar
from . import inputs as opt
from .inputs import Dataset, Device, Images, Inputs, Root, SplitFile, Store

if TYPE_CHECKING:
    from ..experiments import Sweep
    from ..runs import Run
    from ..sources import Source

data = typer.Typer(help="Data sets on disk.", no_args_is_help=True)
app.add_typer(data, name="data")
weights = typer.Typer(help="Files of weights.", no_args_is_help=True)
app.add_typer(weights, name="weights")
METHODS = "zero_shot,taskres,hc_tr,tip_adapter_f,hc_taf"
DEMO_VALUES = "caltech101_devise.toml"
OF_IMAGES, OF_BUNDLES = "tune_paper.toml", "tune.toml"
PRESET_FILES = Path(__file__).parent.parent / "presets"  # whatever the working folder holds
OF_TRAINING = ("template", "backbone", "views", "scale", "online", "bundle")
JsonOption = Annotated[bool, typer.Option("--json", help="Results as JSON on standard output.")]
RunArgument = Annotated[Path, typer.Argument(help="Folder of a run.")]


@command("demo", resumes=True)
def demo(
    out: Annotated[Path, typer.Option(help="Folder for runs and report.")] = Path("demo"),
    shots: opt.ShotsOption = "1,2,4,8,16",
    seeds: opt.SeedsOption = "1,2,3",
    methods: opt.MethodsOption = METHODS,
    jobs: opt.JobsOption = opt.CORES,
    bundle: opt.BundleOption = opt.SHIPPED,
    tuned: Annotated[
        str | None,
        typer.Option(help="Tuned values: shipped name or path.", show_default=DEMO_VALUES),
    ] = None,
    overrides: opt.SetOption = None,
    device: Device = "cpu",
) -> None:
    """Train five methods on cached Caltech-101 features: no network, no image, minutes."""
    from ..results.report import write_run_report  # before the training, not after it

    tuned = tuned or str(PRESET_FILES / DEMO_VALUES)
    with as_usage():
        inputs = Inputs(bundle=bundle, device=device)
    runs = make_runs(opt.plan(inputs, methods, shots, seeds, out, tuned, overrides), jobs)
    written = write_run_report(out, runs)
    print_results(runs)
    batches = max(run.config["constraint"]["memory_batches"] for run in runs)
    typer.echo(
        "Features: one centre-cropped view an image, cached; "
        f"{f'memory of {batches} batches' if batches else 'no memory across batches'}. Backbone: "
        f"{runs[0].backbone}, not the paper's CLIP: these numbers do not compare with its.\n"
        f"Wrote the runs, {', '.join(written)} into {out}."
    )


@command("train", resumes=True)
@opt.with_features
def train(
    inputs: Inputs,
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
    from ..experiments import Sweep

    changed = list(overrides or ())
    if adapter is not None:
        changed.append(f"{Path(method).stem}.adapter.kind={adapter}")
    plan = Sweep(inputs, (method,), (shots,), (seed,), out, tuned, tuple(changed), every)
    [run] = make_runs(plan, threads=threads, folder=out)
    if as_json:
        typer.echo(json.dumps([asdict(run)], indent=1))
        return
    others = {name: value for name, value in run.accuracies.items() if name != run.headline}
    told = "".join(f"; {name}: {value:.2f} %" for name, value in others.items())
    typer.echo(
        f"{run.method} on {run.dataset}, {run.shots}-shot, seed {run.seed}: "
        f"{run.accuracy:.2f} % of {run.images['test']} test images ({run.headline}{told})."
    )
    for line in fewer_images([run]):
        typer.echo(line)


@command("sweep", resumes=True)
@opt.with_features
def sweep(
    inputs: Inputs,
    methods: opt.MethodsOption = f"{METHODS},hc_taf_off",
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
    if dry_run and as_json:
        raise UsageError("`--json` should not come with `--dry-run`, which makes no results.")
    plan = opt.plan(inputs, methods, shots, seeds, out, tuned, overrides, every)
    if dry_run:
        print_plan(plan, threads)
        return
    from .. import results  # noqa: F401 - before the training, not after it

    runs = make_runs(plan, jobs, threads)
    if as_json:
        typer.echo(json.dumps([asdict(run) for run in runs], indent=1))
        return
    print_results(runs)


def open_source(
    inputs: Inputs, draws: Sequence[tuple[int, int]], *, trained: bool = True
) -> Source:
    """Open what tasks are drawn from; extract what is missing, with progress bars."""
    with image_progress() as progress:
        with as_usage():
            opened = inputs.opened(progress)
        return opened(draws, trained=trained)


def make_runs(
    plan: Sweep, processes: int = 1, threads: int = 1, folder: Path | None = None
) -> list[Run]:
    """Extract, train and evaluate with progress bars; a single run is written into ``folder``."""
    from ..experiments import run_jobs

    with as_usage():
        jobs = plan.jobs()
    if folder is not None:
        jobs = [job._replace(folder=folder) for job in jobs]
    opt.writable_folder(plan.out)
    kinds = {(job.method.adapter.kind, job.method.text.projection) for job in jobs}
    trained = kinds != {("zero_shot", "frozen")}
    source = open_source(plan.inputs, plan.draws, trained=trained)
    lists = folder or plan.out / "few_shot"
    how: dict[str, Any] = {"processes": processes, "threads": threads, "index_lists": lists}
    with progress_bar("epochs", sum(job.epochs for job in jobs)) as advance:
        return run_jobs(source, jobs, **how, on_epochs=advance)


def print_plan(plan: Sweep, threads: int = 1) -> None:
    """Print one command for each run; on standard error what comes first, and how many are done."""
    from ..runs import is_done

    with as_usage():
        commands, jobs = plan.commands(threads), plan.jobs()
    if plan.inputs.bundle is None:
        typer.echo(f"# First, once: {plan.extract_command()}", err=True)
    for line in commands:
        typer.echo(line)
    done = sum(is_done(job.folder) for job in jobs if job.folder)
    typer.echo(f"# {len(jobs)} runs, {done} of them done.", err=True)


def fewer_images(runs: Sequence[Run]) -> list[str]:
    """Say where a class gave fewer training images than the shots that a table is headed by."""
    given: dict[tuple[str, int], int] = {}
    for run in runs:
        place, count = (run.dataset, run.shots), run.images.get("fewest_per_class", run.shots)
        given[place] = min(given.get(place, count), count)
    return [
        f"{dataset} at {shots} shots: a class has no more than {count} training images."
        for (dataset, shots), count in sorted(given.items())
        if count < shots
    ]


def print_results(runs: Sequence[Run]) -> None:
    """Print accuracies and differences for each backbone and kind of data, and missing images."""
    from ..results import accuracy_table, by_setting, difference_table

    for mine in by_setting(runs).values():
        for table in filter(len, (accuracy_table(mine), difference_table(mine))):
            methods_side_by_side = table.T.rename_axis(index=None, columns=None)
            typer.echo(f"{table.index.name}\n{methods_side_by_side.to_string()}\n")
    for line in fewer_images(runs):
        typer.echo(line)


@command("tune", resumes=True)
@opt.with_features
def tune_command(
    inputs: Inputs,
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
    from ..config import load_methods
    from ..tuning import Trial, read_search, read_trials, tune, tuned_values, write_trials

    changed = overrides or ()
    with as_usage():
        shipped = PRESET_FILES / (OF_IMAGES if inputs.bundle is None else OF_BUNDLES)
        search = read_search(plan or str(shipped))
        methods = load_methods(search.presets(), dataset=inputs.published, overrides=changed)
    opt.writable_file(out)
    source = open_source(inputs, search.draws())
    file = out.with_suffix(".trials.json")
    with claimed(out.parent, out.name, file.name), ExitStack() as shown:
        with as_usage():
            known = read_trials(file)
        advance = shown.enter_context(progress_bar("trials", search.trials()))

        def keep(trials: Sequence[Trial]) -> None:
            write_trials(file, trials, known)
            advance()

        found = tune(
            source, methods, search, jobs=jobs, device=inputs.device, known=known, on_trial=keep
        )
        origin = f"{search.shots} shots, seeds {search.seeds}; {inputs.describe()}"
        also = search.also()
        text = tuned_values(found, origin, dataset=inputs.name, also=also, overrides=changed)
        write_text(out, text)
    typer.echo(f"Wrote {out}.")


@command("evaluate", resumes=True)
@partial(opt.with_features, left_out=OF_TRAINING)
def evaluate(inputs: Inputs, run: RunArgument, adapter: opt.AdapterOption = None) -> None:
    """Accuracy of a trained adapter on the test images of another data set with its classes.

    For ImageNet-A and -R the adapter is restricted to their classes, by WordNet number.
    """
    from ..runs import TRANSFERS, read_saved_run
    from ..transfer import Target, write_accuracy

    with as_usage():
        saved = read_saved_run(run, adapter)
        if inputs.name == saved.run.dataset:
            raise ValueError(
                f"`--dataset` should name other images than those of the run, {inputs.name}. "
                "Its test accuracy is in its result. Give images of your own another name."
            )
    published = inputs.published_pixels or saved.run.published_pixels
    inputs = replace(inputs, backbone=saved.run.backbone, published_pixels=published)
    with image_progress() as progress:
        with as_usage():
            extraction = inputs.extraction(progress, only_test=True)
        opt.writable_folder(run / TRANSFERS, "should have a folder to write into", "RUN")
        found = write_accuracy(run, saved, Target(extraction))
    typer.echo(
        f"{found['method']} from {found['source']} on {found['target']}: "
        f"{found['accuracy']:.2f} % of {found['images']} images."
    )


@command("predict")
def predict_command(
    run: RunArgument,
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.")],
    device: Device = "cpu",
    adapter: opt.AdapterOption = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to show for each image.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Probabilities as JSON.")] = False,
) -> None:
    """Name the classes of image files, with probabilities.

    Exit code 1 if a file is not a readable image; the others are classified all the same.
    """
    from ..backbones import load_backbone
    from ..runs import read_saved_run
    from ..transfer import image_files, predict

    with as_usage():
        saved = read_saved_run(run, adapter)
        files = image_files(images)  # before the backbone, which takes longer
        backbone = load_backbone(saved.run.backbone, device=opt.check_device(device))
    found = predict(saved, backbone, files, top)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    for image in found:
        if "error" in image:
            typer.echo(f"Error: {image['error']}", err=True)
        elif not as_json:
            shares = [f"{c['class']} {100 * c['probability']:.1f} %" for c in image["classes"]]
            typer.echo(f"{image['path']}: {', '.join(shares)}")
    raise typer.Exit(1 if any("error" in image for image in found) else 0)


@command("check", data)
def check(
    dataset: Dataset = None,
    root: Root = None,
    images: Images = None,
    split: SplitFile = None,
    verify: Annotated[bool, typer.Option("--verify", help="Decode every image.")] = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Do not compare with the published sizes.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Problems as JSON.")] = False,
) -> None:
    """Say what is missing or damaged in a data set, and the fix; exit code 1 if anything is.

    Of many files it names the first; ``--json`` names all.
    """
    from ..data.check import check_dataset, check_images, image_kinds

    kinds: Counter[str] = Counter()
    with as_usage(), image_progress() as progress:
        inputs = Inputs(dataset, root, images, split)
        if dataset is not None and images is None and root is not None:
            problems = check_dataset(
                dataset, root, verify=verify, sizes=not partial, progress=progress
            )
        else:
            own = inputs.open()
            problems = check_images(own, verify=verify, progress=progress)
            kinds = image_kinds(own.images, own.split.paths())
    if as_json:
        typer.echo(json.dumps([problem._asdict() for problem in problems], indent=1))
    else:
        for problem in problems:
            typer.echo(problem, err=True)
        if kinds:
            told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
            typer.echo(f"Modes and orientations: {told}.")
        if not problems:
            typer.echo("Everything is there.")
    raise typer.Exit(1 if problems else 0)


@command("store", data)
def list_store(store: Store = Path("features")) -> None:
    """List the tables of extracted features; to free the space of one, remove its folder."""
    from ..features.store import table_sizes

    with as_usage():
        tables = table_sizes(store)
    for name, (images, size) in tables.items():
        typer.echo(f"{store / name}: {images} images, {size / 2**20:.1f} MiB")
    if not tables:
        typer.echo(f"{store} has no features.")


@command("extract", resumes=True)
@partial(opt.with_features, left_out=["bundle"])  # it holds features already
def extract(
    inputs: Inputs, shots: opt.ShotsOption = "1,2,4,8,16", seeds: opt.SeedsOption = "1,2,3"
) -> None:
    """Extract what the few-shot tasks of these shots and seeds need; goes on where it stopped.

    Processes that extract into one store share the images, under torchrun or started by hand.
    """
    draws = [
        (n, seed) for n in opt.numbers("--shots", shots) for seed in opt.numbers("--seeds", seeds)
    ]
    source = open_source(inputs, draws)
    if os.environ.get("RANK", "0") == "0":  # of torchrun
        drawn = {row for draw in draws for row in source.draw(*draw).train}
        count = 0 if inputs.online else len(drawn)
        typer.echo(
            f"{inputs.store} holds {count} training images in {inputs.views} views each, "
            "validation and test images, and class texts."
        )


@command("bundle")
def bundle(
    root: Annotated[Path, typer.Option(help="Folder that holds caltech-101/.", envvar="VLM_DATA")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    coordinates: Annotated[
        int, typer.Option(min=0, help="Coordinates to keep; 0 keeps all.")
    ] = 512,
) -> None:
    """Build the feature bundle of Caltech-101 from its images, with the DeViSE backbone."""
    from ..backbones.devise import Devise
    from ..data.datasets import open_dataset
    from ..features.bundle import build_bundle, save_bundle

    with as_usage():
        dataset = open_dataset("caltech101", root)
    opt.writable_file(out)
    with image_progress() as progress:
        features = build_bundle(
            Devise(), dataset, coordinates=coordinates or None, progress=progress
        )
    save_bundle(features, out)
    typer.echo(
        f"Wrote {out}: {len(features.features)} images, logit scale {features.logit_scale:.2f}."
    )


@command("convert", weights)
def convert(
    source: Annotated[Path, typer.Argument(help="OpenAI's TorchScript archive or a .pt file.")],
    target: Annotated[Path, typer.Argument(help="safetensors file to write.")],
) -> None:
    """Convert a TorchScript archive, which holds code: only one that you trust."""
    from ..weights import convert_weights

    with as_usage():
        convert_weights(source, opt.writable_file(target, "TARGET"))
    typer.echo(f"Wrote {target}. Use it as open_clip/MODEL/{target}.")
