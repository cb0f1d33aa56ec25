"""Choosing learning rates and weights on validation images."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ._files import json_hash, read_json, write_json
from .adapters import Adapter, TipAdapter
from .config import build
from .evaluation import accuracy
from .evaluation import search as search_factors
from .options import PROTOCOLS, Method
from .parallel import run_all
from .search_plans import Plan, Search, Values, changed, grid
from .tasks import Task, TaskSource
from .text_projection import check_checkpoints, checkpoint_sha256
from .training import Diverged, train
from .training_state import Trained

LAST, BEST, SEARCHED = PROTOCOLS


WORST = 1e30  # cross-entropy of a training that diverged: JSON has no infinity


@dataclass(frozen=True)
class Trial:
    """One point of a grid and its validation results, means over tasks.

    Attributes:
        preset: What was tried.
        stage: Of the plan.
        values: By ``section.key``.
        accuracy: In per cent; 0 if a training diverged.
        cross_entropy: 1e30 if a training diverged.
        identity: Hash of everything that the results depend on.
    """

    preset: str
    stage: str
    values: Values
    accuracy: float
    cross_entropy: float
    identity: str = ""


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
        known: Trials made before, of this or of other searches; none is made again.
        on_trial: Called after each trial with all that the search has.

    Returns:
        All trials, in order; :func:`best` picks from them.

    Raises:
        FileNotFoundError: If a checkpoint of texts is missing.
        ValueError: If a plan makes no sense, as in :meth:`Plan.check`.
    """
    for plan in search.plans:
        plan.check(methods)
    for preset, method in methods.items():
        check_checkpoints(preset, method.text, search.shots)
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
        self.common = _identity_of_tasks(*self.shared)
        self.jobs = jobs
        self.known = {trial.identity: trial for trial in known}
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
        candidates = [changed(self.methods[preset], point) for point in points]
        keys = [self._identity(candidate) for candidate in candidates]
        waiting = [c for c, key in zip(candidates, keys, strict=True) if key not in self.known]
        results = run_all(_validate, self.shared, waiting, jobs=self.jobs)
        made = []
        for point, key in zip(points, keys, strict=True):
            if key in self.known:
                trial = replace(self.known[key], preset=preset, stage=stage, values=point)
            else:
                trial = Trial(preset, stage, point, *next(results), key)
            made.append(trial)
            self.found.append(trial)
            self.on_trial(self.found)
        return made

    def _identity(self, method: Method) -> str:
        """Hash of everything that a trial depends on, but not what it is called."""
        shots = dict.fromkeys(count for count, _ in self.shared[1])
        texts = [checkpoint_sha256(method.text, count) for count in shots]
        return json_hash([self.common, asdict(replace(method, title="")), texts])


def _identity_of_tasks(source: TaskSource, draws: Sequence[tuple[int, int]]) -> str:
    """Hash of what all trials on some tasks depend on."""
    versions = [version(name) for name in ("topreg", "torch")]
    return json_hash([draws, [source.identity(*draw) for draw in draws], versions])


def best(trials: Sequence[Trial]) -> Trial:
    """Highest accuracy; of equals the lowest cross-entropy.

    Args:
        trials: Trials of one preset.

    Returns:
        The best of them.
    """
    return max(trials, key=lambda trial: (trial.accuracy, -trial.cross_entropy))


def read_trials(file: Path) -> list[Trial]:
    """The trials of a file, of whatever searches.

    Args:
        file: From :func:`write_trials`.

    Returns:
        The trials; none if there is no such file.

    Raises:
        ValueError: If it is damaged.
    """
    if not file.is_file():
        return []
    content = read_json(file)
    if not isinstance(content, list) or not all(isinstance(trial, dict) for trial in content):
        raise ValueError(f"`{file}` should hold trials. Got another document. Move it away.")
    return [build(Trial, trial, str(file)) for trial in content]


def write_trials(file: Path, found: Sequence[Trial], known: Sequence[Trial]) -> None:
    """Keep the trials of a search, and behind them those that were known.

    Args:
        file: Where to.
        found: What the search has.
        known: What the file had before.
    """
    there = {trial.identity for trial in found}
    others = [trial for trial in known if trial.identity not in there]
    write_json(file, [asdict(trial) for trial in (*found, *others)])


_tasks: dict[str, list[Task]] = {}


def _tasks_of(source: TaskSource, draws: Sequence[tuple[int, int]]) -> list[Task]:
    """The tasks without their test images, so that no trial can read them; made once a process."""
    key = _identity_of_tasks(source, draws)
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
        images = task.val_features, task.val_labels
        try:
            adapter = _scored(train(task, method), method.protocol, *images)
        except Diverged:
            return 0.0, WORST
        with torch.no_grad():
            losses.append(float(cross_entropy(adapter(images[0]), images[1])))
        accuracies.append(accuracy(adapter, *images))
    return statistics.fmean(accuracies), statistics.fmean(losses)


def _scored(trained: Trained, protocol: str, features: Tensor, labels: Tensor) -> Adapter:
    """The adapter as a protocol evaluates it."""
    adapter = trained.adapter
    if protocol == SEARCHED and isinstance(adapter, TipAdapter):
        return adapter.with_factors(*search_factors(adapter, features, labels))
    if protocol == BEST and trained.best_val is not None:
        return adapter.at(trained.best_val.tensors)
    return adapter
