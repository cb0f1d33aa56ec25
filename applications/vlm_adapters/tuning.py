"""Choosing learning rates and weights on validation images."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from ._files import json_hash
from .adapters import TipAdapter
from .config import build
from .evaluation import accuracy
from .evaluation import search as search_factors
from .options import PROTOCOLS, Method
from .parallel import run_all
from .search_plans import Plan, Search, Values, changed, grid
from .tasks import Task, TaskSource
from .training import train

LAST = PROTOCOLS[0]


@dataclass(frozen=True)
class Trial:
    """One point of a grid and its validation results, means over tasks."""

    preset: str
    stage: str
    values: Values
    accuracy: float
    cross_entropy: float


def tune(
    source: TaskSource,
    methods: Mapping[str, Method],
    search: Search,
    *,
    jobs: int = 1,
    known: Sequence[Trial] = (),
    on_trial: Callable[[list[Trial]], None] = lambda found: None,
) -> list[Trial]:
    """Search on few-shot validation images. Test images are never read.

    Args:
        source: What tasks are drawn from.
        methods: The methods of the search by preset name.
        search: What to try.
        jobs: Processes, each with one thread.
        known: Trials of an interrupted search, which are not made again.
        on_trial: Called after each trial with all that there are.

    Returns:
        All trials, in order; :func:`best` picks from them.

    Raises:
        ValueError: If a plan makes no sense, as in :meth:`Plan.check`.
    """
    for plan in search.plans:
        plan.check(methods)
    progress = _Progress(source, methods, search, jobs, known, on_trial)
    for plan in search.plans:
        progress.follow(plan)
    return progress.found


class _Progress:
    """A search as far as it has come."""

    def __init__(
        self,
        source: TaskSource,
        methods: Mapping[str, Method],
        search: Search,
        jobs: int,
        known: Sequence[Trial],
        on_trial: Callable[[list[Trial]], None],
    ) -> None:
        last = search.score == "last"
        self.methods = {
            name: replace(method, protocol=LAST) if last else method
            for name, method in methods.items()
        }
        self.shared = source, tuple(search.draws())
        self.jobs = jobs
        self.known = {_key(trial.preset, trial.stage, trial.values): trial for trial in known}
        self.on_trial = on_trial
        self.found: list[Trial] = []
        self.chosen: dict[str, Values] = {}

    def follow(self, plan: Plan) -> None:
        """Try what a plan says, and choose."""
        before = self.chosen.get(plan.baseline, {})
        shared = self._try(plan.baseline, "shared", [before | p for p in grid(plan.shared)])
        start = best(shared).values
        self.chosen[plan.baseline] = start
        if plan.constrained:
            refined = [
                start | {key: start[key] * factor for key, factor in point.items()}
                for point in grid(plan.refine)
            ]
            shared += self._try(plan.baseline, "refine", refined)
            self.chosen[plan.baseline] = best(shared).values
            constrained = [start | point for point in grid(plan.constrain)]
            tried = self._try(plan.constrained, "constrain", constrained)
            self.chosen[plan.constrained] = best(tried).values

    def _try(self, preset: str, stage: str, points: list[Values]) -> list[Trial]:
        """A trial at each point."""
        keys = [_key(preset, stage, point) for point in points]
        waiting = [point for key, point in zip(keys, points, strict=True) if key not in self.known]
        candidates = [changed(self.methods[preset], point) for point in waiting]
        results = run_all(_validate, self.shared, candidates, jobs=self.jobs)
        made = []
        for key, point in zip(keys, points, strict=True):
            trial = self.known.get(key) or Trial(preset, stage, point, *next(results))
            made.append(trial)
            self.found.append(trial)
            self.on_trial(self.found)
        return made


def _key(preset: str, stage: str, values: Values) -> str:
    """What tells trials apart."""
    return json_hash([preset, stage, values])


def best(trials: Sequence[Trial]) -> Trial:
    """Highest accuracy; of equals the lowest cross-entropy.

    Args:
        trials: Trials of one preset.

    Returns:
        The best of them.
    """
    return max(trials, key=lambda trial: (trial.accuracy, -trial.cross_entropy))


def search_identity(source: TaskSource, methods: Mapping[str, Method], search: Search) -> str:
    """Hash of everything that the trials of a search depend on.

    Args:
        source: What tasks are drawn from.
        methods: The methods by preset name.
        search: Its draws and its score count, its plans do not: other points are other trials.

    Returns:
        64 digits.
    """
    features = [source.identity(*draw) for draw in search.draws()]
    presets = {name: asdict(method) for name, method in methods.items()}
    versions = [version(name) for name in ("topreg", "torch")]
    return json_hash([features, search.draws(), presets, search.score, versions])


def trials_record(trials: Sequence[Trial], identity: str) -> dict[str, Any]:
    """Trials as JSON takes them.

    Args:
        trials: Any trials.
        identity: From :func:`search_identity`.

    Returns:
        The document.
    """
    return {"identity": identity, "trials": [asdict(trial) for trial in trials]}


def known_trials(record: Any, identity: str) -> list[Trial]:
    """The trials of a document, if they are of the same search.

    Args:
        record: From :func:`trials_record`, read again.
        identity: From :func:`search_identity`.

    Returns:
        The trials; none if the document is of another search.
    """
    match record:
        case {"identity": str(found), "trials": [*trials]} if found == identity:
            return [build(Trial, trial, "trials") for trial in trials]
    return []


_tasks: dict[str, list[Task]] = {}


def _tasks_of(source: TaskSource, draws: Sequence[tuple[int, int]]) -> list[Task]:
    """The tasks without their test images, so that no trial can read them; made once a process."""
    key = json_hash([draws, [source.identity(*draw) for draw in draws]])
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
        images = task.val_features, task.val_labels
        if method.protocol != LAST and isinstance(adapter, TipAdapter):
            adapter = adapter.with_factors(*search_factors(adapter, *images))
        with torch.no_grad():
            losses.append(float(cross_entropy(adapter(images[0]), images[1])))
        accuracies.append(accuracy(adapter, *images))
    return statistics.fmean(accuracies), statistics.fmean(losses)
