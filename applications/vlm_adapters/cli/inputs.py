"""The options that commands share, each declared once, and what they mean."""

from __future__ import annotations

import functools
import inspect
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from typer import Option

from ..config import PRESETS
from . import UsageError, as_usage

if TYPE_CHECKING:
    from ..data.splits import ImageDataset
    from ..experiments import Sweep
    from ..features.bundle import BundleSource
    from ..features.views import Augmentation, Progress
    from ..sources import Extraction, Source

NAME = re.compile(r"[^\W_][\w .+-]*")

Dataset = Annotated[
    str | None, Option(help="CoOp's name of a published data set; for --images its name in tables.")
]
Root = Annotated[Path | None, Option(help="Folder that holds the data sets.", envvar="VLM_DATA")]
Images = Annotated[
    Path | None, Option(help="Your own images: one folder a class, or those of --split.")
]
Template = Annotated[
    list[str] | None, Option(help="Prompt for --images, with {} for the class. Repeatable.")
]
SplitFile = Annotated[
    Path | None, Option(help="Split of --images: CoOp's JSON, or a table of paths and labels.")
]
Device = Annotated[str, Option(help="Where the backbone and the training run.")]
Store = Annotated[Path, Option(help="Folder of extracted features.")]
BACKBONES = "open_clip/MODEL/TAG_OR_FILE, open_clip/local-dir:PATH, devise, devise-512"
PIXELS = "Ignore orientation and transparency and cut off 16-bit values, as published codes."


@dataclass(frozen=True)
class Inputs:
    """Which features of which images, or of a bundle; the fields are options of commands.

    The images are a published data set below ``root``, or a folder of the user's images.
    """

    dataset: Dataset = None
    root: Root = None
    images: Images = None
    split: SplitFile = None
    template: tuple[str, ...] = ()  # of the user's images; a default one without any
    skip_damaged: Annotated[
        bool, Option("--skip-damaged", help="Decode all images first; leave out damaged ones.")
    ] = False
    backbone: Annotated[str, Option(help=f"{BACKBONES}, or module:factory.")] = (
        "open_clip/RN50/openai"
    )
    device: Device = "cpu"
    store: Store = Path("features")
    views: Annotated[int, Option(min=1, help="Augmented views of a training image.")] = 10
    scale: Annotated[str, Option(help="Least and greatest share of the area of a view.")] = "0.5,1"
    online: Annotated[
        bool, Option("--online", help="Augment and encode training images at every step.")
    ] = False
    batch_size: Annotated[int, Option(min=1, help="Views per call of the encoder.")] = 64
    workers: Annotated[int, Option(min=1, help="Threads that read images.")] = 2
    bundle: Annotated[
        Path | None, Option("--bundle", help="Feature bundle in place of images, or `demo`.")
    ] = None
    published_pixels: Annotated[bool, Option("--published-pixels", help=PIXELS)] = False

    def __post_init__(self) -> None:
        """Raise for options that do not go together, and a name that cannot be part of a path."""
        name = self.dataset
        for option, default in DEFAULTS.items() if self.bundle is not None else ():
            if option not in NOT_OF_IMAGES and getattr(self, option) != default:
                raise ValueError(
                    f"`--{option.replace('_', '-')}` should not come with `--bundle`, which holds "
                    "the features of its own images."
                )
        if self.split is not None and self.images is None:
            raise ValueError("`--split` should come with `--images`. Got no folder of images.")
        if self.template and name is not None and self.images is None:
            raise ValueError(
                f"`--template` should come with `--images`. Got it for {name}, which has its own."
            )
        if self.images is not None and name is not None and not NAME.fullmatch(name):
            raise ValueError(
                "`--dataset` should name your images with letters, digits, spaces and . _ + -, "
                f"beginning with a letter or digit. Got {name!r}."
            )
        _ = self.augmentation  # raises for a bad scale
        check_device(self.device, there=False)  # a plan may be for another machine

    @property
    def published(self) -> str | None:
        """Name of the published data set whose settings hold; none for the user's images."""
        return self.name if self.images is None else None

    @property
    def name(self) -> str:
        """Name of the data set in tables and files."""
        if self.bundle is not None:
            return self.bundled.dataset
        if self.dataset is not None or self.images is None:
            return self.dataset or ""
        return self.split.stem if self.split is not None else self.images.resolve().name

    def open(self, *, only_test: bool = False) -> ImageDataset:
        """Open the data set; with ``only_test`` a folder that is not split has test images only."""
        from ..data.datasets import open_dataset
        from ..data.splits import DEFAULT_TEMPLATES

        if self.images is not None:
            from ..data.folders import image_folder, split_dataset

            name, templates = self.dataset, self.template or DEFAULT_TEMPLATES
            if self.split is not None:
                dataset = split_dataset(self.split, self.images, name=name, templates=templates)
            else:
                dataset = image_folder(
                    self.images, only_test=only_test, name=name, templates=templates
                )
        elif self.dataset is None:
            raise ValueError(
                "`--dataset` should name a published data set, or `--images` a folder of your own. "
                "Got neither."
            )
        elif self.root is None:
            raise ValueError(
                f"`--root` should name the folder that holds the data sets, to find "
                f"{self.dataset}. Got none. Give `--root` or set VLM_DATA."
            )
        else:
            dataset = open_dataset(self.dataset, self.root)
        if self.skip_damaged:
            from ..data.check import without_damaged

            return without_damaged(dataset)
        return dataset

    @property
    def augmentation(self) -> Augmentation:
        """Views of the training images."""
        from ..features.views import Augmentation

        try:
            low, high = (float(part) for part in self.scale.split(","))
        except ValueError:
            raise ValueError(
                f"`--scale` should be two numbers, as in 0.5,1. Got {self.scale!r}."
            ) from None
        return Augmentation(self.views, (low, high), published=self.published_pixels)

    @property
    def extract_options(self) -> dict[str, int]:
        """Options of :func:`.features.views.extract_views`."""
        return {"batch_size": self.batch_size, "num_workers": self.workers}

    @property
    def bundled(self) -> BundleSource:
        """The source of tasks in the bundle."""
        from ..features.bundle import BundleSource

        assert self.bundle is not None
        return BundleSource(self.bundle)

    def describe(self) -> str:
        """Return the features in words."""
        if self.bundle is not None:
            return f"bundle sha256 {self.bundled.sha256}"
        return f"{self.name}, {self.backbone}, {self.views} views of scale {self.scale}"

    def arguments(self, left_out: Sequence[str] = ()) -> list[str]:
        """Return the options of the command line that say the same, but for some that it lacks."""
        given = {name: value for name, value in vars(self).items() if name not in left_out}
        if self.bundle is not None:
            given = {name: given[name] for name in ("bundle", "device")}
        words = [f"--template={template}" for template in given.get("template", ())]
        for name, value in given.items():
            option = "--" + name.replace("_", "-")
            if value is True:
                words.append(option)
            elif value not in (None, False) and name != "template":
                words.append(f"{option}={value}")
        return words

    def extraction(
        self, progress: Progress = lambda done, total: None, *, only_test: bool = False
    ) -> Extraction:
        """Open data set and backbone."""
        from ..backbones import load_backbone
        from ..sources import Extraction

        device = check_device(_own(self.device))
        dataset = self.open(only_test=only_test)  # before the backbone, which takes longer
        backbone = load_backbone(self.backbone, device=device)
        return Extraction(self, dataset, backbone, progress)

    def opened(self, progress: Progress = lambda done, total: None) -> Callable[..., Source]:
        """Open data set and backbone, or a bundle; the result extracts what some tasks need."""
        if self.bundle is None:
            return self.extraction(progress).source
        check_device(self.device)
        source = self.bundled
        return lambda draws, trained=True: source


def check_device(device: str, *, there: bool = True) -> str:
    """Return a device if PyTorch knows its name and, with ``there``, if this machine has it."""
    import torch

    try:
        torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"`--device` should be cpu or an accelerator, such as cuda or cuda:1. Got {device!r}."
        ) from None
    try:
        torch.empty(0, device=device if there else "cpu").cpu()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"`--device` should be a device that PyTorch finds on this machine. Got {device!r}: "
            f"{str(error).splitlines()[0]}"
        ) from None
    return device


def _own(device: str) -> str:
    """Return the device of this process: each one that ``torchrun`` started has its own."""
    rank = os.environ.get("LOCAL_RANK")
    return f"{device}:{rank}" if rank and device in ("cuda", "xpu") else device


def numbers(option: str, text: str) -> list[int]:
    """Read a comma list of positive whole numbers, each once."""
    parts = [part.strip() for part in text.split(",")]
    plain = all(re.fullmatch("[0-9]{1,9}", part) for part in parts)  # int() takes 1_6 too
    found = [int(part) for part in parts] if plain else []
    if not found or min(found) < 1 or len(set(found)) < len(found):
        raise UsageError(
            f"`{option}` should be a comma list of distinct positive numbers. Got {text!r}."
        )
    return found


def names(option: str, text: str) -> tuple[str, ...]:
    """Read a comma list of names, each once; blanks around them do not count."""
    found = tuple(part.strip() for part in text.split(","))
    if not all(found) or len(set(found)) < len(found):
        raise UsageError(f"`{option}` should be a comma list of distinct names. Got {text!r}.")
    return found


def writable_folder(
    path: Path, requirement: str = "should be a folder", option: str = "--out"
) -> Path:
    """Make a folder, and try to write into it, before the work begins."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise UsageError(f"`{option}` {requirement}. Got {path}: {error.strerror}.") from None


def writable_file(path: Path, option: str = "--out") -> Path:
    """Raise if a file cannot be written, before the work begins."""
    if path.is_dir():
        raise UsageError(f"`{option}` should be a file. Got {path}, a folder.")
    writable_folder(path.parent, "should lie in a writable folder", option)
    return path


SHIPPED = Path(__file__).parent.parent / "assets" / "caltech101_devise.safetensors"
AVAILABLE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
CORES = min(AVAILABLE or 1, 8)  # a process takes some 0.8 GB, and its task

BundleOption = Annotated[
    Path, Option("--bundle", help="Feature bundle.", show_default="shipped Caltech-101 features")
]
JobsOption = Annotated[int, Option(min=1, help="Processes, each at one run or trial.")]
DryRunOption = Annotated[
    bool, Option("--dry-run", help="Print one command per run, and run nothing.")
]
ThreadsOption = Annotated[int, Option(min=1, help="Threads of a run.")]
SetOption = Annotated[
    list[str] | None,
    Option("--set", help="Override of a preset: preset.section.key=value. Repeatable."),
]
AdapterOption = Annotated[
    str | None, Option("--adapter", help="Adapter of your own, whose code runs: file.py:Class.")
]
MethodsOption = Annotated[str, Option("--methods", help=f"Comma list of: {', '.join(PRESETS)}.")]
ShotsOption = Annotated[str, Option(help="Comma list of shot counts.")]
SeedsOption = Annotated[str, Option(help="Comma list of seeds.")]
TunedOption = Annotated[
    str | None, Option(help="Tuned values over the published ones: shipped name or path.")
]
EveryOption = Annotated[
    bool,
    Option(
        "--every-protocol",
        help="Also search on the whole validation split and, marked as oracles, on test images.",
    ),
]


DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Inputs)}
NOT_OF_IMAGES = ("root", "device", "store", "batch_size", "workers", "bundle")


def read_inputs(**given: Any) -> Inputs:
    """Check and join the options that name features; those that are left out have their default."""
    given["template"] = tuple(given.get("template") or ())
    if given.get("bundle") == Path("demo"):
        given["bundle"] = SHIPPED
    with as_usage():
        return Inputs(**given)


def with_features(
    function: Callable[..., None], *, left_out: Sequence[str] = (), **defaults: Any
) -> Callable[..., None]:
    """Give a command the options of :class:`Inputs`, with other defaults, for its ``inputs``."""
    hints = get_type_hints(Inputs, include_extras=True) | {"template": Template}
    defaults = DEFAULTS | defaults
    shared = [name for name in defaults if name not in left_out]
    own = dict(inspect.signature(function, eval_str=True).parameters)
    del own["inputs"]

    @functools.wraps(function)
    def wrapped(**values: Any) -> None:
        function(inputs=read_inputs(**{name: values.pop(name) for name in shared}), **values)

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        *(inspect.Parameter(n, kind, default=defaults[n], annotation=hints[n]) for n in shared),
        *(parameter.replace(kind=kind) for parameter in own.values()),
    ]
    del wrapped.__wrapped__
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def plan(
    inputs: Inputs,
    methods: str | None,
    shots: str,
    seeds: str,
    out: Path,
    tuned: str | None = None,
    overrides: Sequence[str] | None = None,
    every: bool = False,
) -> Sweep:
    """Join the options of a sweep; methods, if there are any, shots and seeds are comma lists."""
    from ..experiments import Sweep

    draws = tuple(numbers("--shots", shots)), tuple(numbers("--seeds", seeds))
    presets = () if methods is None else names("--methods", methods)
    return Sweep(inputs, presets, *draws, out, tuned, tuple(overrides or ()), every)
