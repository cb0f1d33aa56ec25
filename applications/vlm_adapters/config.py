"""Presets in TOML: one extends another, values of a data set and tuned values lie over them."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from .options import Method, one_of
from .preset_names import METHODS, PRESETS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
DATASETS = "datasets.toml"


def load_methods(
    names: Sequence[str],
    *,
    dataset: str | None = None,
    tuned: str | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Method]:
    """Read presets, lay the data set's values over them, then tuned values, then overrides.

    Args:
        names: Shipped presets, or paths of TOML files of one's own, which may extend one.
        dataset: Data set whose published values are taken, if there are any.
        tuned: File of tuned values, shipped or on disk; it has one table a preset. What is tuned
            for a preset holds for those that extend it, unless they say otherwise themselves.
        overrides: ``preset.section.key=value`` each, the value in TOML; as with tuned values.

    Returns:
        Methods by preset name, that of a file without its ending, in the order of ``names``.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If a file is no TOML, a key is unknown, a value has the wrong type, two methods
            have one name, or values were tuned on another data set.
    """
    for name in names:
        if not name.endswith(".toml"):
            one_of("methods", name, PRESETS)
    twice = [stem for stem, count in Counter(map(_stem, names)).items() if count > 1]
    if twice:
        raise ValueError(f"`methods` should have names of their own. Got {twice[0]!r} twice.")
    published = _shipped(DATASETS).get(dataset or "", {})
    overridden: dict[str, Any] = {}
    for override in overrides:
        layer = override_tables(override)
        _check_override(override, layer, names)
        _overlay(overridden, layer)
    layers = [published, _tuned(tuned, dataset), overridden]
    return {_stem(name): build(Method, _table(name, layers), name) for name in names}


def lineage(name: str) -> list[str]:
    """A preset and what it extends, the root first.

    Args:
        name: Shipped preset, or path of a file, which may extend a file beside it.

    Returns:
        Shipped presets and paths.

    Raises:
        ValueError: If something extends itself, or what is no preset.
    """
    family = [name]
    while (parent := _preset(family[-1]).get("extends")) is not None:
        child = family[-1]
        if not isinstance(parent, str) or not (parent in PRESETS or parent.endswith(".toml")):
            raise ValueError(
                f"`{child}: extends` should be a shipped preset or a TOML file. Got {parent!r}."
            )
        if parent.endswith(".toml"):
            parent = os.path.normpath(Path(child).parent / parent)
        family.append(parent)
        if parent in family[:-1]:
            raise ValueError(
                f"`{name}` should not extend itself. Got a circle: {' -> '.join(family)}."
            )
    return family[::-1]


def _stem(name: str) -> str:
    """What tables, folders and overrides call a preset."""
    return Path(name).stem


def _preset(name: str) -> dict[str, Any]:
    """The file of a preset, shipped or one's own."""
    return read_toml(name) if name.endswith(".toml") else METHODS[name]


def _shipped(file: str) -> dict[str, Any]:
    """A shipped file, whatever lies in the working folder."""
    text = (resources.files(__package__) / "presets" / file).read_text(encoding="utf-8")
    return tomllib.loads(text)


def _table(name: str, layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All values of a preset: each of its family lays its own, then its layers', over those before.

    So an ablation keeps what it leaves out, whatever was tuned for the method that it extends.
    """
    table: dict[str, Any] = {}
    for member in lineage(name):
        for values in (_preset(member), *(layer.get(_stem(member), {}) for layer in layers)):
            if "epochs" in _section(values, "training"):  # alone it holds for all shot counts
                _section(table, "training").pop("epochs_from_8_shots", None)
            _overlay(table, values)
    table.pop("extends", None)
    return table


def _section(table: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A table within a table; an empty one where there is none."""
    section = table.get(name)
    return section if isinstance(section, dict) else {}


def _tuned(name: str | None, dataset: str | None) -> dict[str, Any]:
    """The tables of a file of tuned values, each that of a preset."""
    tables = {} if name is None else read_toml(name)
    origin = tables.pop("dataset", None)
    if origin and dataset and origin != dataset:
        raise ValueError(
            f"`{name}` should hold values tuned on {dataset}. Got those of {origin}. Tune on "
            f"{dataset}, or take the line `dataset` out of the file to use them all the same."
        )
    for preset, table in tables.items():
        if preset not in PRESETS or not isinstance(table, Mapping):
            known = ", ".join(PRESETS)
            raise ValueError(f"`{name}` should hold tables of {known}. Got {preset!r}.")
    return tables


def _check_override(override: str, layer: Mapping[str, Any], names: Sequence[str]) -> None:
    """Refuse an override that no method would read."""
    family = [_stem(member) for name in names for member in lineage(name)]
    if not layer.keys() <= set(family):
        known = ", ".join(dict.fromkeys(family))
        raise ValueError(f"`--set` should begin with a preset: {known}. Got {override!r}.")


def read_toml(name: str) -> dict[str, Any]:
    """A file by path, or a shipped preset by file name where there is no such path.

    Args:
        name: A path, or for instance ``taskres.toml``.

    Returns:
        The tables of the file.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is no TOML.
    """
    shipped = resources.files(__package__) / "presets" / name
    path = Path(name) if Path(name).exists() else shipped
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise FileNotFoundError(
            f"`{name}` should be a file or a shipped preset. Got neither."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"`{name}` should be TOML. Got: {error}.") from None


def build(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A dataclass from a table, tables within it becoming dataclasses too.

    Args:
        kind: The dataclass.
        table: Its values by field name.
        where: What errors call the table.

    Returns:
        The dataclass.

    Raises:
        ValueError: If a key is unknown or missing, or a value has the wrong type.
    """
    hints = get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            raise ValueError(
                f"`{where}.{key}` should be a known key: {', '.join(fields)}. Got another."
            )
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING is field.default_factory
        if required and name not in table:
            raise ValueError(f"`{where}.{name}` should be given. Got no such key.")
    return kind(
        **{key: _value(hints[key], value, f"{where}.{key}") for key, value in table.items()}
    )


def _value(hint: Any, value: Any, where: str) -> Any:
    """One value in the type of its field; whole numbers stand for floats."""
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value, where)  # type: ignore[arg-type]
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind is tuple and type(value) is list and all(type(v) is inner[0] for v in value):
        return tuple(value)
    if kind is float and type(value) is int and abs(value) < 1 << 63:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"`{where}` should be of type {kind.__name__}. Got {value!r}.")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"`{where}` should be finite. Got {value!r}.")
    if kind in (list, dict):
        for part in value.values() if kind is dict else value:
            if inner[-1] is not Any and not (inner[-1] is float and type(part) is bool):
                _value(inner[-1], part, where)
    return value


def _overlay(table: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Replace values in a table, table within table."""
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(table.setdefault(key, {}), dict):
            _overlay(table[key], value)
        else:
            table[key] = value


def override_tables(override: str) -> dict[str, Any]:
    """One ``preset.section.key=value`` as tables.

    Args:
        override: As on the command line, the value in TOML.

    Returns:
        Tables within tables.

    Raises:
        ValueError: If it has another form.
    """
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
    layer: dict[str, Any] = value
    return layer
