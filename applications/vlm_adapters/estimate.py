"""How long runs will take, from a few steps on random features of their size."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch
from torch.nn.functional import normalize

from .experiments import Job
from .features.texts import ClassTexts
from .features.training_images import CachedViews
from .options import Method
from .parallel import thread_count
from .tasks import Task
from .training import one_step, start_training, steps_of

STEPS = 3


def estimated_seconds(jobs: Sequence[Job], classes: int, width: int) -> float:
    """Seconds of training of some runs on one core, without extraction and evaluation.

    Args:
        jobs: The runs.
        classes: Number of classes.
        width: Coordinates of the backbone's space.

    Returns:
        The sum over the runs, one after the other.
    """
    measured: dict[tuple[str, int], float] = {}
    with thread_count(1):
        for job in jobs:
            key = job.preset, job.shots
            if key not in measured:
                measured[key] = job.epochs and _seconds_a_step(
                    job.method, classes, job.shots, width
                )
    return sum(
        measured[job.preset, job.shots]
        * job.epochs
        * steps_of(job.method.training, classes * job.shots)
        for job in jobs
    )


def _seconds_a_step(method: Method, classes: int, shots: int, width: int) -> float:
    """Median time of a step on random features."""
    task = _random_task(classes, shots, width)
    training = start_training(task, method)
    rows = torch.randperm(len(task.train_labels))[: method.training.batch_size]
    seconds = []
    for _ in range(STEPS):
        start = time.perf_counter()
        one_step(training, task, rows)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[STEPS // 2]


def _random_task(classes: int, shots: int, width: int) -> Task:
    """A task of some size that says nothing."""
    labels = torch.arange(classes).repeat_interleave(shots)
    texts = normalize(torch.randn(classes, width), dim=1)
    images = torch.randn(len(labels), 1, width)
    empty = images[:0, 0], labels[:0]
    return Task(
        shots, 1, CachedViews(images), labels, *empty, *empty, ClassTexts(texts, texts), 100.0, {}
    )
