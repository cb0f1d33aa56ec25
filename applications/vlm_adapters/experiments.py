"""Runs of methods on few-shot tasks drawn from one bundle."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .config import Method
from .evaluation import evaluate
from .features import FeatureBundle
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


def run_methods(
    bundle: FeatureBundle,
    methods: Mapping[str, Method],
    shots: Iterable[int],
    seeds: Iterable[int],
    on_epoch: Callable[[], None] = lambda: None,
) -> list[Run]:
    """Train and evaluate every method on every task.

    Args:
        bundle: Features of a data set.
        methods: Methods by preset name.
        shots: Shot counts.
        seeds: Seeds.
        on_epoch: Called after each epoch.

    Returns:
        A run for each shot count, seed and method, in this order of nesting.
    """
    runs = []
    seeds = list(seeds)
    for count in shots:
        for seed in seeds:
            task = few_shot_task(bundle, count, seed)
            for preset, method in methods.items():
                start = time.perf_counter()
                adapter, log = train(task, method, on_epoch)
                runs.append(
                    Run(
                        method=method.title,
                        preset=preset,
                        shots=count,
                        seed=seed,
                        headline=method.protocol,
                        accuracies=evaluate(adapter, task),
                        hashes=task.hashes,
                        log=[epoch._asdict() for epoch in log],
                        seconds=round(time.perf_counter() - start, 3),
                    )
                )
    return runs


def total_epochs(methods: Iterable[Method], shots: Iterable[int], seeds: int) -> int:
    """How often ``on_epoch`` will be called.

    Args:
        methods: Methods.
        shots: Shot counts.
        seeds: Number of seeds.

    Returns:
        The number of epochs of all runs.
    """
    trained = [m.training for m in methods if m.adapter.kind not in ("zero_shot", "tip_adapter")]
    return seeds * sum(epochs_of(options, count) for options in trained for count in shots)
