"""Runs of methods on few-shot tasks drawn from one bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from .adapters import ADAPTERS
from .config import Method
from .evaluation import evaluate
from .features import FeatureBundle
from .parallel import workers
from .tasks import few_shot_task
from .training import epochs_of, train


@dataclass(frozen=True)
class Run:
    """One training and its test accuracies.

    Attributes:
        method: Title of the method.
        preset: Name of its preset.
        shots: Training images a class.
        seed: Seed of sample and batches.
        headline: Protocol whose number the tables show.
        accuracies: Test accuracy in per cent under each protocol.
        hashes: Hashes of the index lists of training and validation images.
        log: Means of each epoch.
        seconds: Wall time.
    """

    method: str
    preset: str
    shots: int
    seed: int
    headline: str
    accuracies: dict[str, float]
    hashes: dict[str, str]
    log: list[dict[str, float]]
    seconds: float

    @property
    def accuracy(self) -> float:
        """Test accuracy in per cent under the headline protocol."""
        return self.accuracies[self.headline]

    def as_record(self) -> dict[str, Any]:
        """Everything, as JSON takes it."""
        return asdict(self)


class Job(NamedTuple):
    """One run to be made."""

    preset: str
    method: Method
    shots: int
    seed: int

    @property
    def epochs(self) -> int:
        """Length of its training."""
        frozen = not ADAPTERS[self.method.adapter.kind].trainable
        return 0 if frozen else epochs_of(self.method.training, self.shots)


def plan_jobs(
    methods: Mapping[str, Method], shots: Iterable[int], seeds: Sequence[int]
) -> list[Job]:
    """A job for each shot count, seed and method, in this order of nesting.

    Args:
        methods: Methods by preset name.
        shots: Shot counts.
        seeds: Seeds.

    Returns:
        The jobs.
    """
    return [
        Job(preset, method, count, seed)
        for count in shots
        for seed in seeds
        for preset, method in methods.items()
    ]


def run_jobs(
    bundle: FeatureBundle,
    jobs: Sequence[Job],
    *,
    processes: int = 1,
    on_run: Callable[[Job], None] = lambda job: None,
) -> list[Run]:
    """Train and evaluate.

    Args:
        bundle: Features of a data set.
        jobs: What to run.
        processes: How many runs to make at a time.
        on_run: Called after each run.

    Returns:
        The runs, in the order of the jobs, whatever the number of processes.
    """
    longest_first = sorted(range(len(jobs)), key=lambda place: -jobs[place].epochs)
    runs: dict[int, Run] = {}
    with workers(processes, bundle) as run:
        results = run(_run, [jobs[place] for place in longest_first])
        for place, result in zip(longest_first, results, strict=True):
            runs[place] = result
            on_run(jobs[place])
    return [runs[place] for place in range(len(jobs))]


def _run(bundle: FeatureBundle, job: Job) -> Run:
    """Train one adapter and evaluate it."""
    start = time.perf_counter()
    task = few_shot_task(bundle, job.shots, job.seed)
    adapter, log = train(task, job.method)
    return Run(
        method=job.method.title,
        preset=job.preset,
        shots=job.shots,
        seed=job.seed,
        headline=job.method.protocol,
        accuracies=evaluate(adapter, task),
        hashes=task.hashes,
        log=[epoch._asdict() for epoch in log],
        seconds=round(time.perf_counter() - start, 3),
    )
