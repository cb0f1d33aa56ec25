"""Presets in TOML: one extends another, values of a data set and tuned values lie over them."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from .options import Method, one_of, suggestion

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
Layer = dict[str, Any]


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
    known = dict.fromkeys(Path(member).stem for name in names for member in lineage(name))
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
    """Read a file by path, or a shipped one, such as ``taskres.toml``, if there is no such path."""
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
    text = json.dumps(table, default=_plain)
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
        case found if found == unknown:
            owner = kind
            for part in place[:-1]:
                owner = get_type_hints(owner)[str(part)]
            known = [f.name for f in fields(owner)]
            return (
                f"`{name}` should be a known key: {', '.join(known)}. Got another."
                f"{suggestion(place[-1], known)}"
            )
        case "literal_error":
            options = context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            listed = ", ".join(f'"{option}"' for option in options)
            return f"`{name}` should be one of {listed}. Got {got!r}.{suggestion(got, options)}"
        case "greater_than_equal":
            return f"`{name}` should be {context['ge']:g} or more. Got {got!r}."
        case "finite_number":
            return f"`{name}` should be finite. Got {got!r}."
        case other:
            expected = other.partition("_")[0]
            return f"`{name}` should be of type {TYPES.get(expected, expected)}. Got {got!r}."


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
