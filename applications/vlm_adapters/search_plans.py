"""What a search tries: grids of values for a baseline and its constrained form."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .config import build, read_toml
from .options import STRICT, Method, one_of

Number = int | float  # for pydantic: whole numbers stay whole
Values = dict[str, Number]
Axes = Mapping[str, Sequence[Number]]


@dataclass(frozen=True)
class Plan:
    """What is searched for one baseline and its constrained form.

    Both take the best of ``shared``, found on the baseline. Then the baseline multiplies what it
    has by the factors of ``refine``, and the constrained form tries ``constrain``: grids of one
    size, so that neither side has more trials. A plan without a constrained form stops after
    ``shared``.

    Attributes:
        baseline: Preset without the constraint.
        shared: Values by ``section.key``.
        constrained: Preset with it.
        refine: Factors by ``section.key``.
        constrain: Values by ``section.key``.
        also: Presets that take the baseline's values too.
    """

    __pydantic_config__ = STRICT

    baseline: str
    shared: dict[str, list[Number]]
    constrained: str = ""
    refine: dict[str, list[Number]] = field(default_factory=dict)
    constrain: dict[str, list[Number]] = field(default_factory=dict)
    also: list[str] = field(default_factory=list)

    def trials(self) -> int:
        """Number of settings that the plan tries."""
        axes = (self.shared, self.refine, self.constrain) if self.constrained else (self.shared,)
        return sum(len(grid(part)) for part in axes)

    def check(self, methods: Mapping[str, Method]) -> None:
        """Refuse before the first trial what would fail after hours.

        Args:
            methods: The plan's methods by preset name.

        Raises:
            ValueError: If a preset or a key is unknown, a value is of another type, the grids of
                the two sides differ in size, or ``refine`` multiplies 0.
        """
        for preset in filter(None, (self.baseline, self.constrained)):
            if preset not in methods:
                raise ValueError(
                    f"A plan should name shipped presets. Got {preset!r}. Train a method of your "
                    "own with `--method`, its values overridden by `--set`."
                )
        for point in grid(self.shared):
            changed(methods[self.baseline], point)
        if self.constrained:
            self._check_both_sides(methods[self.constrained])

    def _check_both_sides(self, constrained: Method) -> None:
        """The grids that follow ``shared``."""
        refine, constrain = grid(self.refine), grid(self.constrain)
        if len(refine) != len(constrain):
            raise ValueError(
                "`refine` and `constrain` should have as many combinations. "
                f"Got {len(refine)} and {len(constrain)}."
            )
        zero = [key for key in self.refine if not all(self.shared.get(key, [0]))]
        if zero:
            raise ValueError(
                f"`refine` should multiply values of `shared` that are not 0. Got {zero[0]!r}."
            )
        whole = [key for key in self.refine if any(type(v) is int for v in self.shared[key])]
        if whole:
            raise ValueError(f"`refine` should multiply values with a point. Got {whole[0]!r}.")
        for point in constrain:
            changed(constrained, point)


@dataclass(frozen=True)
class Search:
    """Several plans on the same tasks; each starts from what those before it chose.

    Attributes:
        shots: Shot counts over which accuracies are averaged.
        seeds: Seeds over which they are averaged; those of the final runs should be others.
        plans: What is searched.
        score: How a trial is judged: ``"headline"``, as the method's protocol says (cache models
            after the search over sharpness and weight), or ``"last"``, after the last epoch.
    """

    __pydantic_config__ = STRICT

    shots: list[int]
    seeds: list[int]
    plans: list[Plan]
    score: str = "headline"

    def __post_init__(self) -> None:
        """Refuse an unknown score."""
        one_of("score", self.score, ("headline", "last"))

    def presets(self) -> list[str]:
        """All presets that the plans name, each once."""
        named = [name for plan in self.plans for name in (plan.baseline, plan.constrained) if name]
        return list(dict.fromkeys(named))

    def draws(self) -> list[tuple[int, int]]:
        """Shots and seed of each task."""
        return [(shots, seed) for shots in self.shots for seed in self.seeds]

    def also(self) -> dict[str, list[str]]:
        """Presets that take the values of a baseline too, by baseline."""
        found: dict[str, list[str]] = {}
        for plan in self.plans:
            found.setdefault(plan.baseline, []).extend(plan.also)
        return found

    def trials(self) -> int:
        """Number of settings that the search tries."""
        return sum(plan.trials() for plan in self.plans)


def read_search(name: str) -> Search:
    """A search from a file with ``shots``, ``seeds`` and a table for each plan.

    Args:
        name: Shipped name or path of a TOML file.

    Returns:
        The search.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a key is unknown or missing, or a value has the wrong type.
    """
    table = read_toml(name)
    plans = [build(Plan, table[key], key) for key in table if isinstance(table[key], dict)]
    rest = {key: value for key, value in table.items() if not isinstance(value, dict)}
    return build(Search, rest | {"plans": plans}, name)


def grid(axes: Axes) -> list[Values]:
    """Every combination of the values of some axes.

    Args:
        axes: Values by key.

    Returns:
        Combinations, the last axis running fastest.
    """
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]


def changed(method: Method, values: Values) -> Method:
    """A method with some ``section.key`` values replaced.

    Args:
        method: What to start from.
        values: New values.

    Returns:
        The new method.

    Raises:
        ValueError: If there is no such key, or a value has the wrong type.
    """
    for path, value in values.items():
        section, _, key = path.partition(".")
        if not hasattr(getattr(method, section, None), key):
            raise ValueError(f"`{path}` should be a key of a preset. Got no such key.")
        kind = type(getattr(getattr(method, section), key))
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(f"`{path}` should be of type {kind.__name__}. Got {value!r}.")
        new: dict[str, Any] = {key: value}
        if path == "training.epochs":  # alone it holds for all shot counts, as in a preset
            new["epochs_from_8_shots"] = 0
        options: Any = dataclasses.replace(getattr(method, section), **new)
        method = dataclasses.replace(method, **{section: options})
    return method
