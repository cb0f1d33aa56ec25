"""What a run is: frozen dataclasses, read from presets, changed by ``key=value`` overrides."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")
PRESETS = (
    "zero_shot", "taskres", "taskres_official", "hc_tr",
    "tip_adapter", "tip_adapter_f", "hc_taf",
)  # fmt: skip


def _one_of(where: str, value: str, options: Sequence[str]) -> None:
    """Refuse a value that is none of the options."""
    if value not in options:
        listed = ", ".join(f'"{option}"' for option in options)
        raise ValueError(f"`{where}` should be one of {listed}. Got {value!r}.")


@dataclass(frozen=True)
class AdapterOptions:
    """Which adapter, and its fixed factors.

    Attributes:
        kind: ``"zero_shot"``, ``"taskres"``, ``"tip_adapter"`` or ``"tip_adapter_f"``.
        residual_scale: TaskRes: factor of the learned residual.
        cache_weight: Tip-Adapter: weight of the cache's prediction, in units of a hundredth of the
            logit scale, so that published values (for a scale of 100) keep their meaning.
        sharpness: Tip-Adapter: sharpness of the affinity.
        search_sharpness: Tip-Adapter: upper end of the search over the sharpness.
        search_cache_weight: Tip-Adapter: upper end of the search over the weight, same units.
    """

    kind: str
    residual_scale: float = 1.0
    cache_weight: float = 1.0
    sharpness: float = 1.0
    search_sharpness: float = 12.0
    search_cache_weight: float = 5.0

    def __post_init__(self) -> None:
        """Refuse an unknown kind."""
        _one_of("adapter.kind", self.kind, ("zero_shot", "taskres", "tip_adapter", "tip_adapter_f"))


@dataclass(frozen=True)
class TrainingOptions:
    """How the adapter's parameters are found.

    Attributes:
        optimizer: ``"adam"`` (L2 penalty in the gradient) or ``"adamw"`` (decoupled decay).
        learning_rate: Initial learning rate.
        weight_decay: Penalty or decay factor.
        eps: The optimiser's denominator constant.
        epochs: Epochs below eight shots.
        epochs_from_8_shots: Epochs from eight shots on.
        batch_size: Images a step.
        drop_last: Drop the last, smaller batch where there is a full one.
        schedule: ``"epoch_cosine"``: one warm-up epoch, then a cosine by epochs (TaskRes);
            ``"step_cosine"``: a cosine by steps (Tip-Adapter).
        warmup_learning_rate: Learning rate of the warm-up epoch of ``"epoch_cosine"``.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    eps: float = 1e-8
    epochs: int = 100
    epochs_from_8_shots: int = 100
    batch_size: int = 256
    drop_last: bool = False
    schedule: str = "epoch_cosine"
    warmup_learning_rate: float = 1e-5

    def __post_init__(self) -> None:
        """Refuse unknown choices and sizes below 1."""
        _one_of("training.optimizer", self.optimizer, ("adam", "adamw"))
        _one_of("training.schedule", self.schedule, ("epoch_cosine", "step_cosine"))
        for name in ("epochs", "epochs_from_8_shots", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`training.{name}` should be 1 or more. Got {getattr(self, name)}."
                )


@dataclass(frozen=True)
class ConstraintOptions:
    """The homology-consistency constraint.

    Attributes:
        weight: With ``"constant"`` the factor of the constraint in units of the logit scale (the
            paper's 0.15); with ``"ratio"`` the ratio of gradient norms (the paper's omega). 0
            leaves the constraint out.
        perturbation_weight: Weight of the deviating perturbation within the constraint.
        combination: ``"constant"`` or ``"ratio"``.
        norm: Scope of the ratio: ``"global"``, ``"per_parameter"`` or ``"rowwise"``.
        undirected: As in :func:`topreg.track_coincidence`.
        related: As in :func:`topreg.deviating_perturbation`.
        match_norms: As in :func:`topreg.deviating_perturbation`.
    """

    weight: float = 0.0
    perturbation_weight: float = 0.0
    combination: str = "constant"
    norm: str = "global"
    undirected: str = "skip"
    related: str = "all"
    match_norms: bool = True

    def __post_init__(self) -> None:
        """Refuse unknown choices."""
        _one_of("constraint.combination", self.combination, ("constant", "ratio"))
        _one_of("constraint.norm", self.norm, ("global", "per_parameter", "rowwise"))
        _one_of("constraint.undirected", self.undirected, ("skip", "zero"))
        _one_of("constraint.related", self.related, ("endpoints", "all"))


@dataclass(frozen=True)
class Method:
    """One row of a table: an adapter, its training, its constraint.

    Attributes:
        title: What tables and figures call it.
        protocol: Which number is its headline: ``"last"`` or ``"last+val_search"``.
        adapter: Which adapter.
        training: How it is trained.
        constraint: The constraint, left out at weight 0.
    """

    title: str
    adapter: AdapterOptions
    protocol: str = "last"
    training: TrainingOptions = TrainingOptions()
    constraint: ConstraintOptions = ConstraintOptions()

    def __post_init__(self) -> None:
        """Refuse a protocol that the adapter does not have."""
        searched = self.adapter.kind.startswith("tip_adapter")
        protocols = ("last", "last+val_search") if searched else ("last",)
        _one_of("protocol", self.protocol, protocols)


def load_methods(
    names: Sequence[str], *, tuned: str | None = None, overrides: Sequence[str] = ()
) -> dict[str, Method]:
    """Read presets, lay tuned values over them, then overrides.

    Args:
        names: Presets shipped with the package.
        tuned: File of tuned values, shipped or on disk; it has one table a preset.
        overrides: ``preset.section.key=value`` each, the value in TOML.

    Returns:
        Methods by preset name, in the order of ``names``.

    Raises:
        FileNotFoundError: If a file does not exist.
        ValueError: If a file is no TOML, a key is unknown, or a value has the wrong type.
    """
    for name in names:
        _one_of("methods", name, PRESETS)
    tables = {name: read_toml(f"{name}.toml") for name in names}
    if tuned is not None:
        for name, table in read_toml(tuned).items():
            if name not in PRESETS or not isinstance(table, Mapping):
                known = ", ".join(PRESETS)
                raise ValueError(f"`{tuned}` should hold tables of {known}. Got {name!r}.")
            if name in tables:
                _overlay(tables[name], table)
    for override in overrides:
        _apply(tables, override)
    return {name: build(Method, table, name) for name, table in tables.items()}


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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
                f"`{where}.{key}` should be a known key. Known are: {', '.join(fields)}."
            )
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING
        if required and name not in table:
            raise ValueError(f"`{where}.{name}` should be given. Got no such key.")
    return kind(
        **{key: _value(hints[key], value, f"{where}.{key}") for key, value in table.items()}
    )


def _value(hint: Any, value: Any, where: str) -> Any:
    """One value in the type of its field; whole numbers stand for floats."""
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return build(hint, value, where)  # type: ignore[arg-type]
    kind = get_origin(hint) or hint
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"`{where}` should be of type {kind.__name__}. Got {value!r}.")
    return value


def _overlay(table: dict[str, Any], values: Mapping[str, Any]) -> None:
    """Replace values in a table, table within table."""
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(table.setdefault(key, {}), dict):
            _overlay(table[key], value)
        else:
            table[key] = value


def _apply(tables: dict[str, dict[str, Any]], override: str) -> None:
    """Lay one ``preset.section.key=value`` over the presets."""
    path, found, text = override.partition("=")
    keys = path.strip().split(".")
    if not found or len(keys) < 2 or not all(keys):
        raise ValueError(f"`--set` should be `preset.section.key=value`. Got {override!r}.")
    if keys[0] not in tables:
        known = ", ".join(tables)
        raise ValueError(f"`--set` should begin with a preset: {known}. Got {override!r}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in reversed(keys[1:]):
        value = {key: value}
    _overlay(tables[keys[0]], value)
