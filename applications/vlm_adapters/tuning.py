"""Choosing learning rates and weights on validation images."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ._files import json_hash
from .adapters import Adapter
from .evaluation import accuracy, adapter_under
from .options import PROTOCOLS, Method, plug_hashes
from .parallel import run_all
from .search_plans import Plan, Search, Values, changed, grid
from .tasks import Task, TaskSource
from .text_projection import check_checkpoints, checkpoint_sha256
from .training import Diverged, train
from .checkpoint import Trained
from .trials import Trial, best

LAST, _, SEARCHED = PROTOCOLS
WORST = 1e30  # cross-entropy of a training that diverged: JSON has no infinity


def tune(
    source: TaskSource,
    methods: Mapping[str, Method],
    search: Search,
    *,
    jobs: int = 1,
    device: str = "cpu",
    known: Sequence[Trial] = (),
    on_trial: Callable[[list[Trial]], None] = lambda found: None,
) -> list[Trial]:
    """Search on few-shot validation images. Test images are never read.

    Args:
        source: What tasks are drawn from.
        methods: The methods of the search by preset name.
        search: What to try.
        jobs: Processes, each with one thread.
        device: Where trials train and search.
        known: Trials made before, of this or of other searches; none is made again.
        on_trial: Called after each trial with all that the search has.

    Returns:
        All trials, in order; :func:`vlm_adapters.trials.best` picks from them.

    Raises:
        FileNotFoundError: If a checkpoint of texts is missing.
        ValueError: If a plan makes no sense, as in :meth:`Plan.check`.
    """
    for plan in search.plans:
        plan.check(methods)
    for preset, method in methods.items():
        check_checkpoints(preset, method.text, search.shots)
    progress = _Progress(source, methods, search, jobs, known, on_trial, device)
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
        device: str,
    ) -> None:
        last = search.score == "last"
        self.methods = {
            name: replace(method, protocol=LAST) if last else method
            for name, method in methods.items()
        }
        self.shared = source, tuple(search.draws()), device
        self.common = _identity_of_tasks(source, self.shared[1])
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
        return json_hash(
            [self.common, asdict(replace(method, title="")), texts, plug_hashes(method)]
        )


def _identity_of_tasks(source: TaskSource, draws: Sequence[tuple[int, int]]) -> str:
    """Hash of what all trials on some tasks depend on."""
    versions = [version(name) for name in ("topreg", "torch")]
    return json_hash([draws, [source.identity(*draw) for draw in draws], versions])


_tasks: dict[str, list[Task]] = {}


def _tasks_of(source: TaskSource, draws: Sequence[tuple[int, int]], device: str) -> list[Task]:
    """The tasks without their test images, so that no trial can read them; made once a process."""
    key = f"{_identity_of_tasks(source, draws)} {device}"
    if key not in _tasks:
        _tasks.clear()
        _tasks[key] = [source.task(*draw).without_test().to(device) for draw in draws]
    return _tasks[key]


def _validate(
    shared: tuple[TaskSource, Sequence[tuple[int, int]], str], method: Method
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
    factors = None
    if protocol == SEARCHED:
        factors = trained.adapter.search(features, labels)
    return adapter_under(trained, protocol, factors)
