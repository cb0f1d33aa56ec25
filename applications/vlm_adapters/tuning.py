"""Choosing learning rates and weights on validation images: what is tried, and what wins."""

from __future__ import annotations

import itertools
import json
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic.dataclasses import dataclass
from torch.nn.functional import cross_entropy

from ._files import json_hash, read_json, write_json
from .config import PROTOCOLS, STRICT, Method, Size, build, override_tables, read_toml
from .experiments import method_identity, run_all
from .sources import Source, Task
from .training import Diverged, accuracy, adapter_under, train

LAST, _, SEARCHED = PROTOCOLS
CONTROL = re.compile(r"[\s\x00-\x1f\x7f]+")  # what a comment of TOML may not hold
WORST = 1e30  # cross-entropy of a training that diverged: JSON has no infinity

Values = dict[str, Any]  # by `section.key` of a preset
Axes = dict[str, list[Any]]  # the values to try


@dataclass(frozen=True, config=STRICT)
class Plan:
    """What is searched for one baseline and its constrained form.

    Both take the best of ``shared``, found on the baseline. Then the baseline multiplies what it
    has by the factors of ``refine``, and the constrained form tries ``constrain``: grids of one
    size, so that neither side has more trials. A plan without a constrained form stops after
    ``shared``. The presets of ``also`` take the baseline's values too.
    """

    baseline: str
    shared: Axes
    constrained: str = ""
    refine: Axes = field(default_factory=dict)
    constrain: Axes = field(default_factory=dict)
    also: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raise if there is nothing to try for a key."""
        for name in ("shared", "refine", "constrain"):
            for key in (key for key, values in getattr(self, name).items() if not values):
                raise ValueError(f"`{name}.{key}` should list one or more values to try. Got none.")

    def trials(self) -> int:
        """Count the settings that the plan tries."""
        axes = (self.shared, self.refine, self.constrain) if self.constrained else (self.shared,)
        return sum(len(grid(part)) for part in axes)

    def check(self, methods: Mapping[str, Method]) -> None:
        """Raise before the first trial if something would fail after hours."""
        for preset in filter(None, (self.baseline, self.constrained)):
            if preset not in methods:
                raise ValueError(
                    f"A plan should name shipped presets. Got {preset!r}. Train a method of your "
                    "own with `--method`, its values overridden by `--set`."
                )
        tried = {self.baseline: grid(self.shared)}
        if self.constrained:
            refine, constrain = grid(self.refine), grid(self.constrain)
            if len(refine) != len(constrain):
                raise ValueError(
                    "`refine` and `constrain` should have as many combinations. "
                    f"Got {len(refine)} and {len(constrain)}."
                )
            for key in self.refine:
                if not all(type(value) is float and value for value in self.shared.get(key, [0])):
                    raise ValueError(
                        "`refine` should multiply values of `shared` that are written with a "
                        f"point and are not 0. Got {key!r}."
                    )
            tried[self.baseline] += refine
            tried.setdefault(self.constrained, []).extend(constrain)
        for preset, points in tried.items():
            for point in points:
                changed(methods[preset], point)


@dataclass(frozen=True, config=STRICT)
class Search:
    """Several plans on the same tasks; each starts from what those before it chose.

    Accuracies are averaged over shot counts and seeds; the seeds of the final runs should be
    others. A trial is judged as the headline protocol of its method says (``"headline"``: cache
    models after the search over sharpness and weight), or after the last epoch (``"last"``).
    """

    shots: list[Size]
    seeds: list[int]
    plans: list[Plan]
    score: Literal["headline", "last"] = "headline"

    def __post_init__(self) -> None:
        """Raise if there is nothing to search, or on nothing."""
        told = {"shots": "one number or more", "seeds": "one number or more"}
        told["plans"] = "one table or more, each a plan"
        for name in (name for name in told if not getattr(self, name)):
            raise ValueError(f"`{name}` of a search should be {told[name]}. Got none.")

    def presets(self) -> list[str]:
        """List all presets that the plans name, each once."""
        named = [name for plan in self.plans for name in (plan.baseline, plan.constrained) if name]
        return list(dict.fromkeys(named))

    def draws(self) -> list[tuple[int, int]]:
        """List shots and seed of each task."""
        return list(itertools.product(self.shots, self.seeds))

    def also(self) -> dict[str, list[str]]:
        """List the presets that take the values of a baseline too, by baseline."""
        found: dict[str, list[str]] = {}
        for plan in self.plans:
            found.setdefault(plan.baseline, []).extend(plan.also)
        return found

    def trials(self) -> int:
        """Count the settings that the search tries."""
        return sum(plan.trials() for plan in self.plans)


def read_search(name: str) -> Search:
    """Read a search from a shipped or other TOML file: shots, seeds and a table for each plan."""
    table = read_toml(name)
    plans = [build(Plan, table[key], key) for key in table if isinstance(table[key], dict)]
    rest = {key: value for key, value in table.items() if not isinstance(value, dict)}
    return build(Search, rest | {"plans": plans}, name)


def grid(axes: Axes) -> list[Values]:
    """Return every combination of the values of some axes, the last axis running fastest."""
    return [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]


def changed(method: Method, values: Values) -> Method:
    """Return a method with some values replaced."""
    table = asdict(method)
    for path, value in values.items():
        section, _, key = path.partition(".")
        if not key or not isinstance(table.get(section), dict):
            raise ValueError(f"`{path}` should be a key of a preset. Got no such key.")
        table[section][key] = value
        if path == "training.epochs":  # alone it holds for all shot counts, as in a preset
            table[section]["epochs_from_8_shots"] = 0
    return build(Method, table)


@dataclass(frozen=True, config=STRICT)
class Trial:
    """One point of a grid and its validation results, means over tasks.

    A training that diverged has an accuracy of 0 and a cross-entropy of 1e30. The identity is the
    hash of everything that the results depend on.
    """

    preset: str
    stage: str
    values: Values
    accuracy: float
    cross_entropy: float
    identity: str = ""


def best(trials: Sequence[Trial]) -> Trial:
    """Return the trial with the highest accuracy; of equals that with the lowest cross-entropy."""
    return max(trials, key=lambda trial: (trial.accuracy, -trial.cross_entropy))


def read_trials(file: Path) -> list[Trial]:
    """Read the trials of a file, of whatever searches; none if there is no such file."""
    if not file.is_file():
        return []
    content = read_json(file)
    if not isinstance(content, list) or not all(isinstance(trial, dict) for trial in content):
        raise ValueError(f"`{file}` should hold trials. Got another document. Move it away.")
    return [build(Trial, trial, str(file)) for trial in content]


def write_trials(file: Path, found: Sequence[Trial], known: Sequence[Trial]) -> None:
    """Write the trials of a search, and behind them those that were known."""
    there = {trial.identity for trial in found}
    others = [trial for trial in known if trial.identity not in there]
    write_json(file, [asdict(trial) for trial in (*found, *others)])


def tuned_values(
    trials: Sequence[Trial],
    origin: str,
    *,
    dataset: str = "",
    also: Mapping[str, Sequence[str]] | None = None,
    overrides: Sequence[str] = (),
) -> str:
    """Write the best values of each preset as the TOML that ``load_methods`` lays over presets.

    They hold for the named data set, and also for the presets that ``also`` lists for a preset. The
    overrides, which all trials had, are written too. ``origin`` says what they were chosen on.
    """
    lines = [
        "# Written by `vlm-adapters tune`: chosen on few-shot validation images.",
        f"# {CONTROL.sub(' ', origin)}",
    ]
    values: Values = {}
    for override in overrides:
        values |= _dotted(override_tables(override))
    for preset in dict.fromkeys(trial.preset for trial in trials):
        mine = [trial for trial in trials if trial.preset == preset]
        winner = best(mine)
        lines.append(
            f"# {preset}: best of {len(mine)} trials, validation accuracy "
            f"{winner.accuracy:.2f} %, cross-entropy {winner.cross_entropy:.4f}"
        )
        for name in (preset, *(also or {}).get(preset, ())):
            for path, value in winner.values.items():
                short = float(f"{value:.4g}") if isinstance(value, float) else value
                values[f"{name}.{path}"] = short
    lines += [f"dataset = {_toml(dataset)}"] if dataset else []
    lines += [f"{path} = {_toml(value)}" for path, value in values.items()]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """Write a value as TOML, which is JSON but for pairs of surrogates and U+007F."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _dotted(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value within tables with its dotted key."""
    for key, value in table.items():
        path = prefix + (key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml(key))
        if isinstance(value, Mapping):
            yield from _dotted(value, f"{path}.")
        else:
            yield path, value


def tune(
    source: Source,
    methods: Mapping[str, Method],
    search: Search,
    *,
    jobs: int = 1,
    device: str = "cpu",
    known: Sequence[Trial] = (),
    on_trial: Callable[[list[Trial]], None] = lambda found: None,
) -> list[Trial]:
    """Search on few-shot validation images. Test images are never read.

    Trials that are known, of this or of other searches, are not made again. ``on_trial`` gets all
    trials of this search after each of them.
    """
    for plan in search.plans:
        plan.check(methods)
    for preset, method in methods.items():
        method.text.check(preset, search.shots)
    if search.score == "last":
        methods = {name: replace(method, protocol=LAST) for name, method in methods.items()}
    made = {trial.identity: trial for trial in known}
    shared = source, search.draws(), device
    common = [source.identity(*draw) for draw in search.draws()]
    found: list[Trial] = []
    chosen: dict[str, Values] = {}

    def choose(preset: str, stage: str, points: list[Values], rivals: Sequence[Trial] = ()) -> None:
        """Try a preset at each point; of these and their rivals, choose the best."""
        candidates = [changed(methods[preset], point) for point in points]
        keys = [_identity(candidate, common, search) for candidate in candidates]
        waiting = [c for c, key in zip(candidates, keys, strict=True) if key not in made]
        results = run_all(_validate, shared, waiting, jobs=jobs)
        for point, key in zip(points, keys, strict=True):
            old = made.get(key) or Trial(preset, stage, point, *next(results), key)
            found.append(replace(old, preset=preset, stage=stage, values=point))
            on_trial(found)
        chosen[preset] = best([*rivals, *found[len(found) - len(points) :]]).values

    for plan in search.plans:
        before = chosen.get(plan.baseline, {})
        choose(plan.baseline, "shared", [before | point for point in grid(plan.shared)])
        if plan.constrained:
            start, rivals = chosen[plan.baseline], found[-len(grid(plan.shared)) :]
            refined = [
                start | {key: start[key] * factor for key, factor in point.items()}
                for point in grid(plan.refine)
            ]
            choose(plan.baseline, "refine", refined, rivals)
            constrained = [start | point for point in grid(plan.constrain)]
            choose(plan.constrained, "constrain", constrained)
    return found


def _identity(method: Method, tasks: list[Any], search: Search) -> str:
    """Hash everything that a trial depends on, but not what it is called."""
    plain = replace(method, title="")
    methods = [method_identity(plain, count) for count in search.shots]
    return json_hash([search.draws(), tasks, methods])


_tasks: dict[str, list[Task]] = {}


def _tasks_of(source: Source, draws: Sequence[tuple[int, int]], device: str) -> list[Task]:
    """The tasks without their test images, which no trial may read; made once per process."""
    key = json_hash([draws, [source.identity(*draw) for draw in draws], device])
    if key not in _tasks:
        _tasks.clear()
        _tasks[key] = [source.task(*draw).without_test().to(device) for draw in draws]
    return _tasks[key]


def _validate(
    shared: tuple[Source, Sequence[tuple[int, int]], str], method: Method
) -> tuple[float, float]:
    """Validation accuracy and cross-entropy of one method, means over tasks."""
    accuracies, losses = [], []
    for task in _tasks_of(*shared):
        images = task.val_features, task.val_labels
        try:
            trained = train(task, method)
        except Diverged:
            return 0.0, WORST
        factors = trained.adapter.search(*images) if method.protocol == SEARCHED else None
        adapter = adapter_under(trained, method.protocol, factors)
        with torch.no_grad():
            losses.append(float(cross_entropy(adapter(images[0]), images[1])))
        accuracies.append(accuracy(adapter, *images))
    return statistics.fmean(accuracies), statistics.fmean(losses)
