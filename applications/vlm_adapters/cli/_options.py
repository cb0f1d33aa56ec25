"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..data.folders import DEFAULT_TEMPLATES
from ..inputs import FeatureInputs, ImageInputs
from ..parallel import available_cores
from ..preset_names import PRESETS
from ._app import UsageError, as_usage

SHIPPED = Path(__file__).parent.parent / "assets" / "caltech101_devise.safetensors"
CORES = min(available_cores(), 8)  # a process takes some 0.8 GB, and its task

BundleOption = Annotated[
    Path,
    typer.Option("--bundle", help="Feature bundle.", show_default="shipped Caltech-101 features"),
]
OtherBundleOption = Annotated[
    Path | None,
    typer.Option("--bundle", help="Feature bundle in place of images, or `demo`."),
]
JobsOption = Annotated[int, typer.Option(min=1, help="Processes, each at one run or trial.")]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Print one command per run, and run nothing.")
]
ThreadsOption = Annotated[int, typer.Option(min=1, help="Threads of a run.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override of a preset: preset.section.key=value. Repeatable."),
]
AdapterOption = Annotated[
    str | None,
    typer.Option("--adapter", help="Adapter of your own, whose code runs: file.py:Class."),
]
MethodsOption = Annotated[
    str, typer.Option("--methods", help=f"Comma list of: {', '.join(PRESETS)}.")
]
ShotsOption = Annotated[str, typer.Option(help="Comma list of shot counts.")]
SeedsOption = Annotated[str, typer.Option(help="Comma list of seeds.")]
TunedOption = Annotated[
    str | None, typer.Option(help="Tuned values over the published ones: shipped name or path.")
]
DatasetOption = Annotated[
    str | None,
    typer.Option(help="CoOp's name of a published data set; for --images its name in tables."),
]
RootOption = Annotated[
    Path | None, typer.Option(help="Folder that holds the data sets.", envvar="VLM_DATA")
]
ImagesOption = Annotated[
    Path | None, typer.Option(help="Your own images: one folder a class, or those of --split.")
]
SplitOption = Annotated[
    Path | None,
    typer.Option(help="Split of --images: CoOp's JSON, or a .csv of path, label, subset."),
]
TemplateOption = Annotated[
    list[str] | None,
    typer.Option("--template", help="Prompt for --images, with {} for the class. Repeatable."),
]
BackboneOption = Annotated[
    str,
    typer.Option(
        help="open_clip/MODEL/TAG_OR_FILE, open_clip/local-dir:PATH, devise, devise-512, or "
        "module:factory."
    ),
]
DeviceOption = Annotated[str, typer.Option(help="Where the backbone and the training run.")]
StoreOption = Annotated[Path, typer.Option(help="Folder of extracted features.")]
ViewsOption = Annotated[int, typer.Option(min=1, help="Augmented views of a training image.")]
ScaleOption = Annotated[str, typer.Option(help="Least and greatest share of the area of a view.")]
OnlineOption = Annotated[
    bool, typer.Option("--online", help="Augment and encode training images at every step.")
]
SkipOption = Annotated[
    bool,
    typer.Option("--skip-damaged", help="Decode all images first; leave out damaged ones."),
]
PixelsOption = Annotated[
    bool,
    typer.Option(
        "--published-pixels",
        help="Ignore orientation and transparency and cut off 16-bit values, as published codes.",
    ),
]
BatchOption = Annotated[int, typer.Option(min=1, help="Views per call of the encoder.")]
WorkersOption = Annotated[int, typer.Option(min=1, help="Threads that read images.")]
EveryOption = Annotated[
    bool,
    typer.Option(
        "--every-protocol",
        help="Also search on the whole validation split and, marked as oracles, on test images.",
    ),
]


def image_inputs(
    dataset: str | None,
    root: Path | None,
    images: Path | None,
    split: Path | None,
    template: list[str] | None = None,
    skip_damaged: bool = False,
) -> ImageInputs:
    """The options that name images."""
    if split is not None and images is None:
        raise UsageError("`--split` should come with `--images`. Got no folder of images.")
    if template and dataset is not None and images is None:
        raise UsageError(
            f"`--template` should come with `--images`. Got it for {dataset}, which has its own."
        )
    templates = tuple(template or DEFAULT_TEMPLATES)
    with as_usage():
        return ImageInputs(dataset, root, images, split, templates, skip_damaged)


def bundle_file(named: Path | None) -> Path | None:
    """The file of a bundle; ``demo`` is the shipped one."""
    return SHIPPED if named == Path("demo") else named


def scale_range(text: str) -> tuple[float, float]:
    """Two shares of the area."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"`--scale` should be two numbers, as in 0.5,1. Got {text!r}.") from None
    return low, high


def feature_inputs(
    dataset: DatasetOption = None,
    root: RootOption = None,
    images: ImagesOption = None,
    split: SplitOption = None,
    template: TemplateOption = None,
    bundle: OtherBundleOption = None,
    backbone: BackboneOption = "open_clip/RN50/openai",
    device: DeviceOption = "cpu",
    store: StoreOption = Path("features"),
    views: ViewsOption = 10,
    scale: ScaleOption = "0.5,1",
    online: OnlineOption = False,
    batch_size: BatchOption = 64,
    workers: WorkersOption = 2,
    skip_damaged: SkipOption = False,
    published_pixels: PixelsOption = False,
) -> FeatureInputs:
    """The options that name features."""
    defaults = inspect.signature(feature_inputs).parameters
    given = {
        "dataset": dataset,
        "images": images,
        "split": split,
        "template": template,
        "backbone": backbone,
        "views": views,
        "scale": scale,
        "online": online,
        "skip-damaged": skip_damaged,
        "published-pixels": published_pixels,
    }
    idle = [
        name
        for name, value in given.items()
        if value and value != defaults[name.replace("-", "_")].default
    ]
    if bundle is not None and idle:
        raise UsageError(
            f"`--{idle[0]}` should not come with `--bundle`, which holds the features of its own "
            "images."
        )
    return FeatureInputs(
        images=image_inputs(dataset, root, images, split, template, skip_damaged),
        backbone=backbone,
        device=device,
        store=store,
        views=views,
        scale=scale_range(scale),
        online=online,
        batch_size=batch_size,
        workers=workers,
        bundle=bundle_file(bundle),
        published_pixels=published_pixels,
    )


def with_features(
    function: Callable[..., None], *, left_out: Sequence[str] = ()
) -> Callable[..., None]:
    """Give a command the options of :func:`feature_inputs` in place of its ``inputs``."""
    shared = dict(inspect.signature(feature_inputs, eval_str=True).parameters)
    for name in left_out:
        del shared[name]
    own = dict(inspect.signature(function, eval_str=True).parameters)
    del own["inputs"]

    @functools.wraps(function)
    def wrapped(**values: Any) -> None:
        function(inputs=feature_inputs(**{name: values.pop(name) for name in shared}), **values)

    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in (*shared.values(), *own.values())
    ]
    del wrapped.__wrapped__
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped
