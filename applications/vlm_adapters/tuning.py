"""Choosing learning rates and weights on validation images, with one budget for both sides."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from .config import Method, build, read_toml
from .evaluation import accuracy
from .features import FeatureBundle
from .parallel import workers
from .tasks import Task, few_shot_task
from .training import train

Values = dict[str, float]
Axes = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Plan:
    """What is searched for one baseline and its constrained form.

    Both take the best of ``shared``, found on the baseline. Then the baseline multiplies what it
    has by the factors of ``refine``, and the constrained form tries ``constrain``: grids of one
    size, so that neither side is tuned harder.

    Attributes:
        baseline: Preset without the constraint.
        constrained: Preset with it.
        shared: Values by ``section.key``.
        refine: Factors by ``section.key``.
        constrain: Values by ``section.key``.
    """

    baseline: str
    constrained: str
    shared: dict[str, list[float]]
    refine: dict[str, list[float]]
    constrain: dict[str, list[float]]

    def trials(self) -> int:
        """Number of settings that the plan tries."""
        return sum(len(grid(axes)) for axes in (self.shared, self.refine, self.constrain))


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
    bundle: FeatureBundle,
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
        bundle: Features of a data set.
        methods: The two methods by preset name.
        plan: What to search.
        shots: Shot counts over which accuracies are averaged.
        seeds: Seeds over which they are averaged; those of the final runs should be others.
        jobs: Processes, each with one thread.
        on_trial: Called after each trial.

    Returns:
        All trials, in order; :func:`best` picks from them.

    Raises:
        ValueError: If the two sides' grids differ in size.
    """
    for preset in (plan.baseline, plan.constrained):
        if preset not in methods:
            raise ValueError(f"A plan should name presets: {', '.join(methods)}. Got {preset!r}.")
    refine, constrain = grid(plan.refine), grid(plan.constrain)
    if len(refine) != len(constrain):
        raise ValueError(
            "`refine` and `constrain` should have as many combinations. "
            f"Got {len(refine)} and {len(constrain)}."
        )
    tasks = [_without_test(few_shot_task(bundle, n, seed)) for n in shots for seed in seeds]
    with workers(jobs, tasks) as run:

        def trials(preset: str, stage: str, points: list[Values]) -> Iterator[Trial]:
            candidates = [changed(methods[preset], point) for point in points]
            for point, result in zip(points, run(_validate, candidates), strict=True):
                on_trial()
                yield Trial(preset, stage, point, *result)

        found = list(trials(plan.baseline, "shared", grid(plan.shared)))
        start = best(found).values
        zero = [key for key in plan.refine if not start.get(key)]
        if zero:
            raise ValueError(f"`refine` should multiply values that are not 0. Got {zero[0]!r}.")
        refined = [
            start | {key: start[key] * factor for key, factor in point.items()} for point in refine
        ]
        found += trials(plan.baseline, "refine", refined)
        found += trials(plan.constrained, "constrain", [start | point for point in constrain])
    return found


def best(trials: Sequence[Trial]) -> Trial:
    """Highest accuracy; of equals the lowest cross-entropy.

    Args:
        trials: Trials of one preset.

    Returns:
        The best of them.
    """
    return max(trials, key=lambda trial: (trial.accuracy, -trial.cross_entropy))


def tuned_values(trials: Sequence[Trial], origin: str) -> str:
    """The best values of each preset, as the TOML that ``load_methods`` lays over presets.

    Args:
        trials: Trials of several presets.
        origin: What the values were chosen on.

    Returns:
        Text of the file.
    """
    lines = [
        "# Written by `vlm-adapters tune`: chosen on few-shot validation images.",
        f"# {origin}",
    ]
    for preset in dict.fromkeys(trial.preset for trial in trials):
        mine = [trial for trial in trials if trial.preset == preset]
        winner = best(mine)
        lines += [
            "",
            f"# best of {len(mine)} trials: validation accuracy {winner.accuracy:.2f} %, "
            f"cross-entropy {winner.cross_entropy:.4f}",
        ]
        values = [(*key.split("."), value) for key, value in winner.values.items()]
        for section in dict.fromkeys(section for section, _, _ in values):
            lines.append(f"[{preset}.{section}]")
            lines += [f"{key} = {float(f'{v:.4g}')}" for part, key, v in values if part == section]
    return "\n".join(lines) + "\n"


def changed(method: Method, values: Values) -> Method:
    """A method with some ``section.key`` values replaced.

    Args:
        method: What to start from.
        values: New values.

    Returns:
        The new method.

    Raises:
        ValueError: If there is no such key.
    """
    for path, value in values.items():
        section, _, key = path.partition(".")
        if not hasattr(getattr(method, section, None), key):
            raise ValueError(f"`{path}` should be a key of a preset. Got no such key.")
        options: Any = dataclasses.replace(getattr(method, section), **{key: value})
        method = dataclasses.replace(method, **{section: options})
    return method


def _without_test(task: Task) -> Task:
    """The task without its test images, so that no trial can read them."""
    return dataclasses.replace(
        task, test_features=task.test_features[:0], test_labels=task.test_labels[:0]
    )


def _validate(tasks: list[Task], method: Method) -> tuple[float, float]:
    """Validation accuracy and cross-entropy of one method, means over tasks."""
    accuracies, losses = [], []
    for task in tasks:
        adapter, _ = train(task, method)
        with torch.no_grad():
            loss = cross_entropy(adapter(task.val_features), task.val_labels)
        accuracies.append(accuracy(adapter, task.val_features, task.val_labels))
        losses.append(float(loss))
    return statistics.fmean(accuracies), statistics.fmean(losses)
