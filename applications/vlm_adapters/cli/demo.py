"""``demo``: five methods on the shipped features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .._optional import require
from ..config import load_methods
from ..experiments import plan_jobs, run_jobs
from ..preset_names import pairs_of
from ..results import accuracy_table, difference_table, write_demo_report
from ..sources import BundleSource
from ._app import as_usage, command, numbers, progress_bar, writable_folder
from ._options import (
    CORES,
    SHIPPED,
    BundleOption,
    JobsOption,
    MethodsOption,
    SeedsOption,
    SetOption,
    ShotsOption,
)
from ._tables import print_table

METHODS = ("zero_shot", "taskres", "hc_tr", "tip_adapter_f", "hc_taf")
DEFAULT = ",".join(METHODS)
TUNED = "caltech101_devise.toml"


@command("demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for results.")] = Path("demo"),
    shots: ShotsOption = "1,2,4,8,16",
    seeds: SeedsOption = "1,2,3",
    presets: MethodsOption = DEFAULT,
    jobs: JobsOption = CORES,
    bundle: BundleOption = SHIPPED,
    tuned: Annotated[str, typer.Option(help="Tuned values: shipped name or path.")] = TUNED,
    overrides: SetOption = None,
) -> None:
    """Train five methods on cached Caltech-101 features: no network, no image, minutes."""
    shot_list, seed_list = numbers("--shots", shots), numbers("--seeds", seeds)
    with as_usage():
        methods = load_methods(presets.split(","), tuned=tuned, overrides=overrides or ())
    require("matplotlib", extra="vlm")  # before the training, not after it
    source = BundleSource(bundle)
    with as_usage():
        features = source.bundle
    folder = writable_folder(out)
    planned = plan_jobs(methods, shot_list, seed_list)
    with progress_bar("epochs", sum(job.epochs for job in planned)) as advance:
        runs = run_jobs(source, planned, processes=jobs, on_run=lambda job: advance(job.epochs))
    print_table(accuracy_table(runs))
    pairs = pairs_of(methods)
    if pairs:
        print_table(difference_table(runs, pairs))
    batches = max(method.constraint.memory_batches for method in methods.values())
    memory = f"memory of {batches} batches" if batches else "no memory across batches"
    provenance = {
        "view": f"one centre-cropped view, cached; {memory}",
        "sha256": source.sha256,
        "logit_scale": features.logit_scale,
        "provenance": features.provenance,
    }
    title = f"{source.dataset}, {source.backbone}, mean ± s.d. over seeds"
    write_demo_report(folder, runs, methods, pairs, provenance, title)
    typer.echo(
        f"Features: one centre-cropped view an image, cached; {memory}. Backbone: "
        f"{source.backbone}, not the paper's CLIP: these numbers do not compare with its.\n"
        f"Wrote results.csv, results.json, results.md and accuracy.png into {folder}."
    )
