"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from ..config import PRESETS
from ..data.folders import DEFAULT_TEMPLATES
from ..experiments import Sweep, available_cores
from ..inputs import FeatureInputs, ImageInputs
from . import UsageError, as_usage, numbers

SHIPPED = Path(__file__).parent.parent / "assets" / "caltech101_devise.safetensors"
CORES = min(available_cores(), 8)  # a process takes some 0.8 GB, and its task

BundleOption = Annotated[
    Path,
    typer.Option("--bundle", help="Feature bundle.", show_default="shipped Caltech-101 features"),
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
EveryOption = Annotated[
    bool,
    typer.Option(
        "--every-protocol",
        help="Also search on the whole validation split and, marked as oracles, on test images.",
    ),
]


# Options of the inputs that the command line writes in another form.
PARSED = {
    "templates": Annotated[
        list[str] | None,
        typer.Option("--template", help="Prompt for --images, with {} for the class. Repeatable."),
    ],
    "scale": Annotated[str, typer.Option(help="Least and greatest share of the area of a view.")],
    "bundle": Annotated[
        Path | None, typer.Option("--bundle", help="Feature bundle in place of images, or `demo`.")
    ],
}
DEFAULTS: dict[str, Any] = {
    field.name: field.default for field in (*fields(FeatureInputs), *fields(ImageInputs))
} | {"templates": None, "scale": "0.5,1"}
NOT_OF_IMAGES = ("root", "device", "store", "batch_size", "workers", "bundle")


def image_inputs(
    dataset: str | None = None,
    root: Path | None = None,
    images: Path | None = None,
    split: Path | None = None,
    templates: Sequence[str] | None = None,
    skip_damaged: bool = False,
) -> ImageInputs:
    """Check and join the options that name images."""
    if split is not None and images is None:
        raise UsageError("`--split` should come with `--images`. Got no folder of images.")
    if templates and dataset is not None and images is None:
        raise UsageError(
            f"`--template` should come with `--images`. Got it for {dataset}, which has its own."
        )
    chosen = tuple(templates or DEFAULT_TEMPLATES)
    with as_usage():
        return ImageInputs(dataset, root, images, split, chosen, skip_damaged)


def feature_inputs(**given: Any) -> FeatureInputs:
    """Check and join the options that name features; those that are left out have their default."""
    given = DEFAULTS | given
    if given["bundle"] is not None:
        for name, default in DEFAULTS.items():
            if given[name] and given[name] != default and name not in NOT_OF_IMAGES:
                option = name.replace("templates", "template").replace("_", "-")
                raise UsageError(
                    f"`--{option}` should not come with `--bundle`, which holds the features of "
                    "its own images."
                )
        if given["bundle"] == Path("demo"):
            given["bundle"] = SHIPPED
    try:
        low, high = (float(part) for part in given["scale"].split(","))
    except ValueError:
        raise UsageError(
            f"`--scale` should be two numbers, as in 0.5,1. Got {given['scale']!r}."
        ) from None
    images = image_inputs(**{field.name: given.pop(field.name) for field in fields(ImageInputs)})
    return FeatureInputs(**given | {"images": images, "scale": (low, high)})


def with_features(
    function: Callable[..., None], *, left_out: Sequence[str] = ()
) -> Callable[..., None]:
    """Give a command the options of :func:`feature_inputs` in place of its ``inputs``."""
    kinds = (get_type_hints(kind, include_extras=True) for kind in (FeatureInputs, ImageInputs))
    hints = {name: hint for kind in kinds for name, hint in kind.items()} | PARSED
    shared = [name for name in DEFAULTS if name not in left_out]
    own = dict(inspect.signature(function, eval_str=True).parameters)
    del own["inputs"]

    @functools.wraps(function)
    def wrapped(**values: Any) -> None:
        function(inputs=feature_inputs(**{name: values.pop(name) for name in shared}), **values)

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        *(inspect.Parameter(n, kind, default=DEFAULTS[n], annotation=hints[n]) for n in shared),
        *(parameter.replace(kind=kind) for parameter in own.values()),
    ]
    del wrapped.__wrapped__
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def plan(
    inputs: FeatureInputs,
    methods: str,
    shots: str,
    seeds: str,
    out: Path,
    tuned: str | None = None,
    overrides: Sequence[str] | None = None,
    every: bool = False,
) -> Sweep:
    """Join the options of a sweep; methods, shots and seeds are comma lists."""
    draws = tuple(numbers("--shots", shots)), tuple(numbers("--seeds", seeds))
    presets = tuple(methods.split(","))
    return Sweep(inputs, presets, *draws, out, tuned, tuple(overrides or ()), every)
