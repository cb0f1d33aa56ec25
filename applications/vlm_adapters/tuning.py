"""Choosing learning rates and weights on validation images, with one budget for both sides."""

from __future__ import annotations

import dataclasses
import itertools
import json
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from ._files import json_hash
from .config import build, override_tables, read_toml
from .evaluation import accuracy
from .options import Method
from .parallel import run_all
from .tasks import Task, TaskSource
from .training import train

Values = dict[str, float]
Axes = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Plan:
    """What is searched for one baseline and its constrained form.

    Both take the best of ``shared``, found on the baseline. Then the baseline multiplies what it
    has by the factors of ``refine``, and the constrained form tries ``constrain``: grids of one
    size, so that neither side is tuned harder. A plan without a constrained form stops after
    ``shared``.

    Attributes:
        baseline: Preset without the constraint.
        shared: Values by ``section.key``.
        constrained: Preset with it.
        refine: Factors by ``section.key``.
        constrain: Values by ``section.key``.
        also: Presets that take the baseline's values too.
    """

    baseline: str
    shared: dict[str, list[float]]
    constrained: str = ""
    refine: dict[str, list[float]] = field(default_factory=dict)
    constrain: dict[str, list[float]] = field(default_factory=dict)
    also: list[str] = field(default_factory=list)

    def trials(self) -> int:
        """Number of settings that the plan tries."""
        axes = (self.shared, self.refine, self.constrain) if self.constrained else (self.shared,)
        return sum(len(grid(part)) for part in axes)


@dataclass(frozen=True)
class Search:
    """Several plans on the same tasks.

    Attributes:
        shots: Shot counts over which accuracies are averaged.
        seeds: Seeds over which they are averaged; those of the final runs should be others.
        plans: What is searched.
    """

    shots: list[int]
    seeds: list[int]
    plans: list[Plan]

    def presets(self) -> list[str]:
        """All presets that the plans name, each once."""
        named = [name for plan in self.plans for name in (plan.baseline, plan.constrained) if name]
        return list(dict.fromkeys(named))

    def draws(self) -> list[tuple[int, int]]:
        """Shots and seed of each task."""
        return [(shots, seed) for shots in self.shots for seed in self.seeds]


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


@dataclass(frozen=True)
class Trial:
    """One point of a grid and its validation results, means over tasks."""

    preset: str
    stage: str
    values: Values
    accuracy: float
    cross_entropy: float


def grid(axes: Axes) -> list[Values]:
    """Every combination of the values of some axes.

    Args:
        axes: Values by key.

    Returns:
        Combinations, the last axis running fastest.
    """
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]


def tune(
    source: TaskSource,
    methods: Mapping[str, Method],
    plan: Plan,
    shots: Sequence[int],
    seeds: Sequence[int],
    *,
    jobs: int = 1,
    on_trial: Callable[[], None] = lambda: None,
) -> list[Trial]:
    """Search one plan on few-shot validation images. Test images are never read.

    Args:
        source: What tasks are drawn from.
        methods: The methods of the plan by preset name.
        plan: What to search.
        shots: Shot counts over which accuracies are averaged.
        seeds: Seeds over which they are averaged; those of the final runs should be others.
        jobs: Processes, each with one thread.
        on_trial: Called after each trial.

    Returns:
        All trials, in order; :func:`best` picks from them.

    Raises:
        ValueError: If the plan names other presets, unknown keys or values of another type, if its
            two sides' grids differ in size, or if `refine` multiplies 0.
    """
    _check_plan(plan, methods)
    shared = (source, tuple((count, seed) for count in shots for seed in seeds))

    def trials(preset: str, stage: str, points: list[Values]) -> Iterator[Trial]:
        candidates = [changed(methods[preset], point) for point in points]
        results = run_all(_validate, shared, candidates, jobs=jobs)
        for point, result in zip(points, results, strict=True):
            on_trial()
            yield Trial(preset, stage, point, *result)

    found = list(trials(plan.baseline, "shared", grid(plan.shared)))
    if not plan.constrained:
        return found
    start = best(found).values
    refined = [
        start | {key: start[key] * factor for key, factor in point.items()}
        for point in grid(plan.refine)
    ]
    constrained = [start | point for point in grid(plan.constrain)]
    found += trials(plan.baseline, "refine", refined)
    found += trials(plan.constrained, "constrain", constrained)
    return found


def _check_plan(plan: Plan, methods: Mapping[str, Method]) -> None:
    """Refuse before the first trial what would fail after hours."""
    for preset in filter(None, (plan.baseline, plan.constrained)):
        if preset not in methods:
            raise ValueError(f"A plan should name presets: {', '.join(methods)}. Got {preset!r}.")
    for point in grid(plan.shared):
        changed(methods[plan.baseline], point)
    if not plan.constrained:
        return
    refine, constrain = grid(plan.refine), grid(plan.constrain)
    if len(refine) != len(constrain):
        raise ValueError(
            "`refine` and `constrain` should have as many combinations. "
            f"Got {len(refine)} and {len(constrain)}."
        )
    zero = [key for key in plan.refine if not all(plan.shared.get(key, [0]))]
    if zero:
        raise ValueError(f"`refine` should multiply values that are not 0. Got {zero[0]!r}.")
    whole = [key for key in plan.refine if any(type(v) is int for v in plan.shared[key])]
    if whole:
        raise ValueError(f"`refine` should multiply values with a point. Got {whole[0]!r}.")
    for point in constrain:
        changed(methods[plan.constrained], point)


def best(trials: Sequence[Trial]) -> Trial:
    """Highest accuracy; of equals the lowest cross-entropy.

    Args:
        trials: Trials of one preset.

    Returns:
        The best of them.
    """
    return max(trials, key=lambda trial: (trial.accuracy, -trial.cross_entropy))


def tuned_values(
    trials: Sequence[Trial],
    origin: str,
    also: Mapping[str, Sequence[str]] | None = None,
    overrides: Sequence[str] = (),
) -> str:
    """The best values of each preset, as the TOML that ``load_methods`` lays over presets.

    Args:
        trials: Trials of several presets.
        origin: What the values were chosen on.
        also: Presets that take the values of a preset too.
        overrides: What all trials had, ``preset.section.key=value`` each.

    Returns:
        Text of the file.
    """
    lines = [
        "# Written by `vlm-adapters tune`: chosen on few-shot validation images.",
        f"# {origin}",
    ]
    tables: dict[str, dict[str, Any]] = {}
    for override in overrides:
        [(preset, content)] = override_tables(override).items()
        for name, value in content.items():
            if isinstance(value, Mapping):
                tables.setdefault(f"{preset}.{name}", {}).update(value)
            else:
                tables.setdefault(preset, {})[name] = value
    for preset in dict.fromkeys(trial.preset for trial in trials):
        mine = [trial for trial in trials if trial.preset == preset]
        winner = best(mine)
        lines.append(
            f"# {preset}: best of {len(mine)} trials, validation accuracy "
            f"{winner.accuracy:.2f} %, cross-entropy {winner.cross_entropy:.4f}"
        )
        for name in (preset, *(also or {}).get(preset, ())):
            for path, value in winner.values.items():
                section, _, key = path.partition(".")
                tables.setdefault(f"{name}.{section}", {})[key] = _number(value)
    for table, values in tables.items():
        lines += ["", f"[{table}]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _number(value: float) -> float | int:
    """Four digits; whole where it was written so."""
    return value if isinstance(value, int) else float(f"{value:.4g}")


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
        options: Any = dataclasses.replace(getattr(method, section), **{key: value})
        method = dataclasses.replace(method, **{section: options})
    return method


_tasks: dict[str, list[Task]] = {}


def _tasks_of(source: TaskSource, draws: Sequence[tuple[int, int]]) -> list[Task]:
    """The tasks without their test images, so that no trial can read them; made once a process."""
    key = json_hash([source.identity(), draws])
    if key not in _tasks:
        _tasks.clear()
        _tasks[key] = [source.task(*draw).without_test() for draw in draws]
    return _tasks[key]


def _validate(
    shared: tuple[TaskSource, Sequence[tuple[int, int]]], method: Method
) -> tuple[float, float]:
    """Validation accuracy and cross-entropy of one method, means over tasks."""
    accuracies, losses = [], []
    for task in _tasks_of(*shared):
        adapter = train(task, method).adapter
        with torch.no_grad():
            loss = cross_entropy(adapter(task.val_features), task.val_labels)
        accuracies.append(accuracy(adapter, task.val_features, task.val_labels))
        losses.append(float(loss))
    return statistics.fmean(accuracies), statistics.fmean(losses)
