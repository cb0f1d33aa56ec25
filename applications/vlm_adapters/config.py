"""What a run is: validated options, each declared once, and the presets in TOML that set them.

One preset extends another; values of a data set and tuned values lie over them.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, field, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from .plugs import is_plug

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
Layer = dict[str, Any]

ADAPTERS = {
    "zero_shot": "residual:ZeroShot",
    "linear_probe": "linear_probe:LinearProbe",
    "taskres": "residual:TaskRes",
    "tip_adapter": "tip_adapter:TipAdapter",
    "tip_adapter_f": "tip_adapter:TipAdapterF",
    "clip_adapter": "residual:CLIPAdapter",
}
"""Module of ``adapters`` and class of each kind."""
TRAINED_KINDS = ("taskres", "tip_adapter_f", "clip_adapter")
SHOTS = "{shots}"
PROTOCOLS = ("last", "best_val", "last+val_search")

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
Factor = Annotated[float, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]


def suggestion(value: object, options: Iterable[str]) -> str:
    """Return a question that names the option closest to a value, if one is close."""
    near = difflib.get_close_matches(str(value), list(options), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def not_among(where: str, value: object, options: Sequence[str]) -> str:
    """Say that a value, which errors call ``where``, is none of the options."""
    listed = ", ".join(f'"{option}"' for option in options)
    return f"`{where}` should be one of {listed}. Got {value!r}.{suggestion(value, options)}"


def one_of(where: str, value: str, options: Iterable[str]) -> None:
    """Raise if a value, which errors call ``where``, is none of the options."""
    options = list(options)
    if value not in options:
        raise ValueError(not_among(where, value, options))


@dataclass(frozen=True, config=STRICT)
class AdapterOptions:
    """Which adapter, and its fixed factors."""

    kind: str  # of ADAPTERS; or a class of the user: "file.py:Name" or "module:Name"
    # TaskRes: factor of the learned residual. CLIP-Adapter: share of the adapted features.
    residual_scale: float = 1.0
    # Tip-Adapter: weight of the cache's prediction, in units of a hundredth of the logit scale, so
    # that published values (for a scale of 100) keep their meaning; sharpness of the affinity; and
    # the upper ends of the search over both.
    cache_weight: Factor = 1.0
    sharpness: Factor = 1.0
    search_sharpness: Factor = 12.0
    search_cache_weight: Factor = 5.0
    # TaskRes: which views of the constraint have unit length.
    normalize: Literal["both", "image"] = "both"
    # Numbers of an adapter of the user.
    settings: dict[str, int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise if the adapter is neither shipped nor a part of the user."""
        if not is_plug(self.kind):
            one_of("adapter.kind", self.kind, ADAPTERS)


@dataclass(frozen=True, config=STRICT)
class TextOptions:
    """Where the class texts come from."""

    # "tuned": the backbone's text projection is trained on the few-shot images first (HC* of the
    # paper, "enhanced" of TaskRes), or read from a checkpoint of TaskRes's enhanced bases, in whose
    # path {shots} stands for their number.
    projection: Literal["frozen", "tuned"] = "frozen"
    checkpoint: str = ""
    # Underscores in class names: TaskRes's code keeps them.
    underscores: Literal["replaced", "kept"] = "replaced"
    # Adam's, for the projection, with a cosine over the epochs.
    learning_rate: Factor = 1e-3
    epochs: Size = 20
    batch_size: Size = 256

    def file(self, shots: int) -> Path | None:
        """Return the checkpoint for some shots; None if the options name none."""
        if self.projection == "frozen" or not self.checkpoint:
            return None
        file = Path(self.checkpoint.replace(SHOTS, str(shots)))
        if not file.is_file():
            raise FileNotFoundError(f"`text.checkpoint` should be a file. Got '{file}'.")
        return file

    def check(self, preset: str, shots: Sequence[int]) -> None:
        """Raise, before anything is extracted, if a checkpoint is missing or serves several shots.

        Errors name the preset.
        """
        files = {self.file(count) for count in shots}
        if len(files) < len(shots) and None not in files:
            raise ValueError(
                f"`{preset}.text.checkpoint` should hold {SHOTS}, which stands for each of "
                f"{len(shots)} shot counts. Got {self.checkpoint!r}."
            )


@dataclass(frozen=True, config=STRICT)
class TrainingOptions:
    """How the adapter's parameters are found."""

    # "adam" has an L2 penalty in the gradient, "adamw" decoupled decay; "adamw_half" is AdamW in
    # float16, as the official codes run it: see `vlm_adapters.optimizers.HalfAdamW`.
    optimizer: Literal["adam", "adamw", "adamw_half"] = "adam"
    learning_rate: Factor = 1e-3
    weight_decay: Factor = 0.0
    eps: Factor = 1e-8
    # From eight shots on; 0 stands for `epochs`. A preset or an override that sets `epochs` alone
    # sets them for all shot counts.
    epochs: Size = 100
    epochs_from_8_shots: Count = 0
    batch_size: Size = 256
    drop_last: bool = False  # the last, smaller batch where there is a full one
    # "epoch_cosine": one warm-up epoch, then a cosine by epochs (TaskRes); "step_cosine": a cosine
    # by steps (Tip-Adapter).
    schedule: Literal["epoch_cosine", "step_cosine"] = "epoch_cosine"
    warmup_learning_rate: Factor = 1e-5


@dataclass(frozen=True, config=STRICT)
class ConstraintOptions:
    """The homology-consistency constraint."""

    # With "constant" the factor of the constraint (the paper's eta), in units of the logit scale
    # (the paper's 0.15) or absolute (its 15); with "ratio" the ratio of gradient norms (its omega),
    # taken over the scope `norm`. 0 leaves the constraint out.
    weight: Factor = 0.0
    unit: Literal["logit_scale", "absolute"] = "logit_scale"
    # Of its two terms; in the paper 1 and lambda.
    coincidence_weight: Factor = 1.0
    perturbation_weight: Factor = 0.0
    combination: Literal["constant", "ratio"] = "constant"
    norm: Literal["global", "per_parameter", "rowwise"] = "global"
    # Of the track coincidence. Above dimension 0, "aligned" turns a death edge that opposes its
    # birth edge among the image features; "index" orients both as equation 4 does.
    dimensions: tuple[int, ...] = (0,)
    orientation: Literal["aligned", "index"] = "aligned"
    # Edges of the spanning tree between images of one class, before both terms.
    same_label_edges: Literal["drop", "keep"] = "drop"
    # `undefined` of `topreg.track_coincidence` and of `topreg.deviating_perturbation`, whose
    # options `related` and `match_norms` are.
    undirected: Literal["skip", "zero"] = "skip"
    related: Literal["endpoints", "all"] = "all"
    unrelated: Literal["skip", "zero"] = "skip"
    match_norms: bool = True
    # Earlier batches of the epoch whose features are joined: those of the batch's classes or all,
    # with or without the pairs that lie within the memory.
    memory_batches: Count = 0
    memory_classes: Literal["current", "all"] = "current"
    memory_pairs: Literal["keep", "drop"] = "keep"
    # "float16": distances are rounded before they are ordered, as in the authors' code.
    distance_dtype: Literal["float32", "float16"] = "float32"

    def __post_init__(self) -> None:
        """Raise if dimension 0 is not the first, or one is there twice."""
        if self.dimensions[:1] != (0,) or len(set(self.dimensions)) < len(self.dimensions):
            raise ValueError(
                "`constraint.dimensions` should begin with 0 and hold each once. "
                f"Got {list(self.dimensions)}."
            )


@dataclass(frozen=True, config=STRICT)
class RegularizerOptions:
    """One more regulariser, added to the cross-entropy; a weight of 0 leaves it out."""

    # A loss of topreg across two spaces, such as "SignatureLoss", or a function of the user,
    # "file.py:name" or "module:name".
    use: str = ""
    weight: Factor = 0.0
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise if a weight has no regulariser."""
        if self.weight and not self.use:
            raise ValueError(
                "`regularizer.use` should name a regulariser. Got none, with a weight of "
                f"{self.weight}. Name one, or set `regularizer.weight` to 0."
            )


@dataclass(frozen=True, config=STRICT)
class Method:
    """One row of a table: an adapter, its training, its constraint."""

    title: str  # in tables and figures
    adapter: AdapterOptions
    protocol: str = "last"  # the headline's; of PROTOCOLS
    text: TextOptions = TextOptions()
    training: TrainingOptions = TrainingOptions()
    constraint: ConstraintOptions = ConstraintOptions()
    regularizer: RegularizerOptions = RegularizerOptions()

    def __post_init__(self) -> None:
        """Raise if the adapter does not have the protocol, or cannot be constrained."""
        kind = self.adapter.kind
        if is_plug(kind):  # its class alone knows
            one_of("protocol", self.protocol, PROTOCOLS)
            return
        last, best_val, search = PROTOCOLS
        best = [best_val] * (kind in TRAINED_KINDS)
        one_of("protocol", self.protocol, [last, *best, *[search] * kind.startswith("tip_adapter")])
        for section in ("constraint", "regularizer"):
            weight = getattr(self, section).weight
            if weight and kind not in TRAINED_KINDS:
                raise ValueError(
                    f'`{section}.weight` should be 0 with `adapter.kind = "{kind}"`, whose '
                    f"features are not trained by gradients. Got {weight}."
                )


def shipped_toml(file: str) -> Layer:
    """Read a file of this package, whatever lies in the working folder."""
    return tomllib.loads((resources.files(__package__) / file).read_text(encoding="utf-8"))


METHODS = shipped_toml("presets/methods.toml")
PRESETS = tuple(METHODS)
BASELINES = {n: table.pop("baseline") for n, table in METHODS.items() if "baseline" in table}
TYPES = {"string": "str", "dataclass": "table", "dict": "table"}  # other types as in Python


def place_of(preset: str) -> tuple[int, str]:
    """Return the sort key of a preset: the shipped ones in their order, then others by name."""
    return (PRESETS.index(preset) if preset in PRESETS else len(PRESETS), preset)


def load_methods(
    names: Sequence[str],
    *,
    dataset: str | None = None,
    tuned: str | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Method]:
    """Read presets, lay the data set's values over them, then tuned values, then overrides.

    ``names`` are shipped presets or paths of TOML files, which may extend one. What is published or
    tuned for a preset holds for those that extend it, unless they say otherwise themselves, and so
    does an override, ``preset.section.key=value`` with the value in TOML. Returns the methods by
    name, that of a file without its ending.
    """
    for name in names:
        if not name.endswith(".toml"):
            one_of("methods", name, PRESETS)
    for stem, count in Counter(Path(name).stem for name in names).items():
        if count > 1:
            raise ValueError(f"`methods` should have different names. Got {stem!r} twice.")
    layers = [
        shipped_toml("presets/datasets.toml").get(dataset or "", {}),
        _tuned(tuned, dataset),
        {},
    ]
    members = dict.fromkeys(member for name in names for member in lineage(name))
    for member in (member for member in members if member.endswith(".toml")):
        stem = Path(member).stem
        if stem in PRESETS or set(stem) & set(".="):
            raise ValueError(
                f"`{member}` should have a name without `.` and `=` that is not one of a shipped "
                f"preset. Got {stem!r}. Rename the file."
            )
    known = dict.fromkeys(Path(member).stem for member in members)
    for override in overrides:
        layer = override_tables(override)
        if not layer.keys() <= known.keys():
            raise ValueError(
                f"`--set` should begin with a preset: {', '.join(known)}. Got {override!r}."
                f"{suggestion(next(iter(layer)), known)}"
            )
        _overlay(layers[-1], layer)
    return {Path(name).stem: build(Method, _table(name, layers), name) for name in names}


def lineage(name: str) -> list[str]:
    """Return a preset and what it extends, the root first: shipped presets and paths of files."""
    family = [name]
    while (parent := _preset(family[-1]).get("extends")) is not None:
        child = family[-1]
        if not isinstance(parent, str) or not (parent in PRESETS or parent.endswith(".toml")):
            raise ValueError(
                f"`{child}: extends` should be a shipped preset or a TOML file. Got {parent!r}."
                f"{suggestion(parent, PRESETS)}"
            )
        if parent.endswith(".toml"):
            parent = os.path.normpath(Path(child).parent / parent)
        family.append(parent)
        if parent in family[:-1]:
            raise ValueError(
                f"`{name}` should not extend itself. Got a circle: {' -> '.join(family)}."
            )
    return family[::-1]


def overrides_of(names: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """Return the overrides that hold for some presets: theirs, and those of what they extend."""
    family = {Path(member).stem for name in names for member in lineage(name)}
    return [text for text in overrides if text.partition(".")[0].strip() in family]


def _preset(name: str) -> Layer:
    return read_toml(name) if name.endswith(".toml") else METHODS[name]


def _table(name: str, layers: Sequence[Layer]) -> Layer:
    """Collect a preset: each of its family lays its values, then its layers', over those before.

    So an ablation keeps what it leaves out, whatever was tuned for the method that it extends.
    """
    table: Layer = {}
    for member in lineage(name):
        for values in (_preset(member), *(layer.get(Path(member).stem, {}) for layer in layers)):
            training, ours = values.get("training"), table.get("training")
            if isinstance(training, dict) and isinstance(ours, dict) and "epochs" in training:
                ours.pop("epochs_from_8_shots", None)  # alone it holds for all shot counts
            _overlay(table, values)
    table.pop("extends", None)
    return table


def _tuned(name: str | None, dataset: str | None) -> Layer:
    """Read a file of tuned values, a table for each preset."""
    tables = {} if name is None else read_toml(name)
    origin = tables.pop("dataset", None)
    if origin and dataset and origin != dataset:
        raise ValueError(
            f"`{name}` should hold values tuned on {dataset}. Got those of {origin}. Tune on "
            f"{dataset}, or take the line `dataset` out of the file to use them all the same."
        )
    for preset, table in tables.items():
        if preset not in PRESETS or not isinstance(table, Mapping):
            raise ValueError(
                f"`{name}` should hold tables of {', '.join(PRESETS)}. Got {preset!r}."
                f"{suggestion(preset, PRESETS)}"
            )
    return tables


def read_toml(name: str) -> Layer:
    """Read a file by path, or a shipped one, such as ``tune.toml``, if there is no such path."""
    path = Path(name)
    shipped = resources.files(__package__) / "presets" / name
    try:
        return tomllib.loads((path if path.exists() else shipped).read_text(encoding="utf-8"))
    except OSError:
        raise FileNotFoundError(
            f"`{name}` should be a file or a shipped preset. Got neither."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"`{name}` should be TOML. Got: {error}.") from None


def build(kind: type[T], table: Any, where: str = "") -> T:
    """Validate a table of TOML or JSON, which errors call ``where``, as one of our dataclasses."""
    text = json.dumps(table, default=_plain)  # unlike pydantic's, also of half a surrogate pair
    try:
        return TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        raise ValueError(explain(error, kind, where)) from None


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) else str(value)  # type: ignore[arg-type]


def explain(error: ValidationError, kind: Any, where: str) -> str:
    """Say the first of pydantic's errors in our words."""
    unknown = "unexpected_keyword_argument"
    first = min(error.errors(include_url=False), key=lambda found: found["type"] != unknown)
    place = [part for part in first["loc"] if part not in ("int", "float")]  # members of a union
    name = ".".join(map(str, [where, *place])).removeprefix(".")
    got, context = first["input"], first.get("ctx", {})
    match first["type"]:
        case "value_error":
            return str(context["error"])
        case "missing" | "missing_argument":
            return f"`{name}` should be given. Got no such key."
        case "literal_error":
            return not_among(name, got, re.findall("'(.*?)'", context["expected"]))
        case found if found == unknown:
            for part in place[:-1]:
                kind = get_type_hints(kind)[str(part)]
            known = [f.name for f in fields(kind)]
            hint = suggestion(place[-1], known)
            return f"`{name}` should be a known key: {', '.join(known)}. Got another.{hint}"
        case "greater_than_equal":
            wanted = f"{context['ge']:g} or more"
        case "finite_number":
            wanted = "finite"
        case other:
            expected = other.partition("_")[0]
            wanted = f"of type {TYPES.get(expected, expected)}"
    return f"`{name}` should be {wanted}. Got {got!r}."


def _overlay(table: Layer, values: Mapping[str, Any]) -> None:
    """Replace values in a table, table within table."""
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(table.setdefault(key, {}), dict):
            _overlay(table[key], value)
        else:
            table[key] = value


def override_tables(override: str) -> Layer:
    """Read ``preset.section.key=value``, the value in TOML, as tables within tables."""
    path, found, text = override.partition("=")
    keys = path.strip().split(".")
    if not found or len(keys) < 2 or not all(keys):
        raise ValueError(f"`--set` should be `preset.section.key=value`. Got {override!r}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text.strip()
    for key in reversed(keys):
        value = {key: value}
    layer: Layer = value
    return layer
