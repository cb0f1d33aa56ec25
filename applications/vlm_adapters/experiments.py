"""Runs of methods on few-shot tasks drawn from one source."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from ._files import json_hash
from .adapters import adapter_class
from .evaluation import adapter_under, evaluate
from .options import Method, plug_hashes
from .parallel import run_all
from .run_files import CHECKPOINT, claimed, finished_run, write_run
from .runs import Run
from .tasks import Task, TaskSource
from .text_projection import check_checkpoints, checkpoint_sha256
from .training import epochs_of, train


class Job(NamedTuple):
    """One run to be made.

    Attributes:
        preset: Name of the method's preset.
        method: The method.
        shots: Training images a class.
        seed: Seed.
        folder: Where result, adapter and checkpoint lie; None keeps nothing.
        every: Whether to evaluate every protocol, as :func:`vlm_adapters.evaluation.evaluate` does.
        device: Where it trains, searches and evaluates.
    """

    preset: str
    method: Method
    shots: int
    seed: int
    folder: Path | None = None
    every: bool = False
    device: str = "cpu"

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.preset} at {self.shots} shots with seed {self.seed}"

    @property
    def epochs(self) -> int:
        """Length of its training."""
        frozen = not adapter_class(self.method.adapter.kind).trainable
        return 0 if frozen else epochs_of(self.method.training, self.shots)

    def identity(self, source: TaskSource) -> str:
        """Hash of everything that the run depends on."""
        return json_hash(
            {
                "method": asdict(self.method),
                "features": source.identity(self.shots, self.seed),
                "text_checkpoint": checkpoint_sha256(self.method.text, self.shots),
                "plugs": plug_hashes(self.method),
                "task": [self.shots, self.seed, self.every],
                "packages": {name: version(name) for name in ("topreg", "torch")},
            }
        )


def plan_jobs(
    methods: Mapping[str, Method],
    shots: Iterable[int],
    seeds: Sequence[int],
    *,
    folder: Path | None = None,
    dataset: str = "",
    every: bool = False,
    device: str = "cpu",
) -> list[Job]:
    """A job for each shot count, seed and method, in this order of nesting.

    Args:
        methods: Methods by preset name.
        shots: Shot counts.
        seeds: Seeds.
        folder: Folder of all runs; None keeps nothing.
        dataset: Name of the data set, which names a folder.
        every: Whether to evaluate every protocol.
        device: Where they train, search and evaluate.

    Returns:
        The jobs.

    Raises:
        FileNotFoundError: If a checkpoint of texts is missing.
        ValueError: If one would serve for several shot counts.
    """
    shots = list(shots)
    for preset, method in methods.items():
        check_checkpoints(preset, method.text, shots)

    def run_folder(preset: str, count: int, seed: int) -> Path | None:
        return folder and folder / preset / dataset / f"{count}shot" / f"seed{seed}"

    return [
        Job(preset, method, count, seed, run_folder(preset, count, seed), every, device)
        for count in shots
        for seed in seeds
        for preset, method in methods.items()
    ]


def run_jobs(
    source: TaskSource,
    jobs: Sequence[Job],
    *,
    processes: int = 1,
    threads: int = 1,
    on_run: Callable[[Job], None] = lambda job: None,
) -> list[Run]:
    """Train and evaluate; a job whose result is there already is not run again.

    Args:
        source: What tasks are drawn from.
        jobs: What to run.
        processes: How many runs to make at a time.
        threads: Of each process.
        on_run: Called after each run.

    Returns:
        The runs, in the order of the jobs, whatever the number of processes.

    Raises:
        ValueError: If a folder holds a result with other settings, or a damaged one.
        RuntimeError: If some of several runs failed; the others are done all the same.
    """
    runs: dict[int, Run] = {}
    for place, job in enumerate(jobs):
        done = job.folder and finished_run(job.folder, job.identity(source))
        if done:
            runs[place] = done
            on_run(job)
    waiting = [place for place in range(len(jobs)) if place not in runs]
    waiting.sort(key=lambda place: -jobs[place].epochs)  # the longest first
    function = run_job if len(jobs) == 1 else _try_job
    results = run_all(
        function, source, [jobs[place] for place in waiting], jobs=processes, threads=threads
    )
    failed = {}
    for place, run in zip(waiting, results, strict=True):
        if isinstance(run, str):
            failed[place] = run
        else:
            runs[place] = run
        on_run(jobs[place])
    if failed:
        first: dict[str, str] = {}
        for place in sorted(failed):
            first.setdefault(failed[place], jobs[place].name)
        told = " ".join(f"{name}: {message}" for message, name in first.items())
        raise RuntimeError(f"{len(failed)} of {len(jobs)} runs failed, the others are done. {told}")
    return [runs[place] for place in range(len(jobs))]


def _try_job(source: TaskSource, job: Job) -> Run | str:
    """The run, or what went wrong: one that fails shall not end the others."""
    try:
        return run_job(source, job)
    except Exception as error:  # whatever it is, it is told at the end
        return f"{type(error).__name__}: {error}"


def run_job(source: TaskSource, job: Job) -> Run:
    """Train one adapter, evaluate it, and write what its folder keeps.

    Args:
        source: What the task is drawn from.
        job: What to run.

    Returns:
        The run.
    """
    with claimed(job.folder) if job.folder else nullcontext():
        done = job.folder and finished_run(job.folder, job.identity(source))
        return done or _make(source, job)


def _make(source: TaskSource, job: Job) -> Run:
    """The run, made in a folder that is this process's own."""
    start = time.perf_counter()
    task = source.task(job.shots, job.seed).to(job.device)
    checkpoint = job.folder and job.folder / CHECKPOINT
    identity = job.identity(source)
    trained = train(
        task, job.method, checkpoint=checkpoint, identity=identity, follow_test=job.every
    )
    evaluation = evaluate(trained, task, every=job.every)
    run = Run(
        method=job.method.title,
        preset=job.preset,
        dataset=source.dataset,
        backbone=source.backbone,
        data=source.data,
        shots=job.shots,
        seed=job.seed,
        headline=job.method.protocol,
        accuracies=evaluation.accuracies,
        factors=evaluation.factors,
        hashes=task.hashes,
        images=_counts(task),
        weights=source.weights,
        identity=identity,
        config=json.loads(json.dumps(asdict(job.method))),  # as it is read back
        log=trained.log,
        best_epoch=trained.best_val and trained.best_val.epoch,
        seconds=round(time.perf_counter() - start, 3),
    )
    if job.folder:
        adapter = adapter_under(trained, run.headline, run.factors.get(run.headline))
        write_run(job.folder, run, adapter, source.class_names)
    return run


def _counts(task: Task) -> dict[str, int]:
    """How many images the run saw, and how many a class gave to the training at least."""
    per_class = task.train_labels.bincount(minlength=len(task.texts.normalized))
    return {
        "train": len(task.train_labels),
        "val": len(task.val_labels),
        "test": len(task.test_labels),
        "fewest_per_class": int(per_class.min()),
    }
