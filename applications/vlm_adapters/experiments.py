"""Runs over methods, shots and seeds: planned, dry or real, each resumable."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from ._files import json_hash
from .adapters import adapter_class
from .config import lineage, load_methods
from .evaluation import adapter_under, evaluate, more_metrics
from .inputs import FeatureInputs, OpenSource
from .options import Method, plug_hashes
from .parallel import run_all
from .runs import CHECKPOINT, Run, claimed, finished_run, write_run
from .tasks import Task, TaskSource
from .text_projection import check_checkpoints, checkpoint_sha256
from .training import epochs_of, train


class Job(NamedTuple):
    """One run to be made."""

    preset: str
    method: Method
    shots: int
    seed: int
    folder: Path | None = None  # of result, adapter and checkpoint; None keeps nothing
    every: bool = False  # whether to evaluate every protocol
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Return what messages call it."""
        return f"{self.preset} at {self.shots} shots with seed {self.seed}"

    @property
    def epochs(self) -> int:
        """Return the length of its training."""
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
    """Return a job for each shot count, seed and method, in this order of nesting.

    ``folder`` is that of all runs, in which ``dataset`` names a folder; None keeps nothing.
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
    """Train and evaluate in so many processes; a job whose result is there is not run again.

    Returns the runs in the order of the jobs. If some fail, the others are made all the same.
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
    failed: dict[int, str] = {}
    for place, run in zip(waiting, results, strict=True):
        if isinstance(run, str):
            failed[place] = run
        else:
            runs[place] = run
        on_run(jobs[place])
    if failed:
        first = {failed[place]: jobs[place].name for place in sorted(failed, reverse=True)}
        told = " ".join(f"{name}: {message}" for message, name in reversed(first.items()))
        raise RuntimeError(f"{len(failed)} of {len(jobs)} runs failed, the others are done. {told}")
    return [runs[place] for place in range(len(jobs))]


def _try_job(source: TaskSource, job: Job) -> Run | str:
    """Make a run, or tell what went wrong: one that fails must not end the others."""
    try:
        return run_job(source, job)
    except Exception as error:  # whatever it is, it is told at the end
        return f"{type(error).__name__}: {error}"


def run_job(source: TaskSource, job: Job) -> Run:
    """Train one adapter, evaluate it, and write what its folder keeps."""
    with claimed(job.folder) if job.folder else nullcontext():
        done = job.folder and finished_run(job.folder, job.identity(source))
        return done or _make(source, job)


def _make(source: TaskSource, job: Job) -> Run:
    """Make a run in a folder that this process has claimed."""
    start = time.perf_counter()
    task = source.task(job.shots, job.seed).to(job.device)
    checkpoint = job.folder and job.folder / CHECKPOINT
    identity = job.identity(source)
    trained = train(
        task, job.method, checkpoint=checkpoint, identity=identity, follow_test=job.every
    )
    evaluation = evaluate(trained, task, every=job.every)
    headline = job.method.protocol
    adapter = adapter_under(trained, headline, evaluation.factors.get(headline))
    run = Run(
        method=job.method.title,
        preset=job.preset,
        dataset=source.dataset,
        backbone=source.backbone,
        data=source.data,
        shots=job.shots,
        seed=job.seed,
        headline=headline,
        accuracies=evaluation.accuracies,
        factors=evaluation.factors,
        hashes=task.hashes,
        images=_counts(task),
        metrics=more_metrics(adapter, task.test_features, task.test_labels),
        weights=source.weights,
        identity=identity,
        config=json.loads(json.dumps(asdict(job.method))),  # as it is read back
        log=trained.log,
        best_epoch=trained.best_val and trained.best_val.epoch,
        seconds=round(time.perf_counter() - start, 3),
    )
    if job.folder:
        write_run(job.folder, run, adapter, source.class_names)
    return run


def _counts(task: Task) -> dict[str, int]:
    """Count the images that the run saw, and the fewest that a class gave to the training."""
    per_class = task.train_labels.bincount(minlength=len(task.texts.normalized))
    return {
        "train": len(task.train_labels),
        "val": len(task.val_labels),
        "test": len(task.test_labels),
        "fewest_per_class": int(per_class.min()),
    }


@dataclass(frozen=True)
class Sweep:
    """Independent runs on the tasks of one data set, below the folder ``out``.

    ``presets``, ``tuned`` and ``overrides`` are those of :func:`vlm_adapters.config.load_methods`.
    """

    inputs: FeatureInputs
    presets: tuple[str, ...]
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    out: Path
    tuned: str | None = None
    overrides: tuple[str, ...] = ()
    every: bool = False

    @property
    def draws(self) -> list[tuple[int, int]]:
        """Return shots and seed of each task."""
        return [(shots, seed) for shots in self.shots for seed in self.seeds]

    def methods(self) -> dict[str, Method]:
        """Load the methods by preset name, with the values published for the data set."""
        return load_methods(
            self.presets, dataset=self.inputs.published, tuned=self.tuned, overrides=self.overrides
        )

    def jobs(self) -> list[Job]:
        """Plan one job for each run."""
        return plan_jobs(
            self.methods(),
            self.shots,
            self.seeds,
            folder=self.out,
            dataset=self.inputs.name,
            every=self.every,
            device=self.inputs.device,
        )

    def commands(self, threads: int = 1) -> list[str]:
        """Return one command for each run, ready for a cluster's job array."""
        presets = {Path(preset).stem: preset for preset in self.presets}
        return [
            shlex.join([*self._train(job, presets[job.preset]), f"--threads={threads}"])
            for job in self.jobs()
        ]

    def extract_command(self) -> str:
        """Return the command that extracts what all runs need, to be run before them."""
        shots, seeds = (",".join(map(str, values)) for values in (self.shots, self.seeds))
        draws = [f"--shots={shots}", f"--seeds={seeds}"]
        return shlex.join(["vlm-adapters", "extract", *draws, *self.inputs.arguments()])

    def _train(self, job: Job, preset: str) -> list[str]:
        family = {Path(member).stem for member in lineage(preset)}
        mine = [text for text in self.overrides if text.split(".")[0].strip() in family]
        return [
            *("vlm-adapters", "train", f"--method={preset}", f"--shots={job.shots}"),
            *(f"--seed={job.seed}", f"--out={job.folder}", *self.inputs.arguments()),
            *[f"--tuned={self.tuned}"] * bool(self.tuned),
            *[f"--set={text}" for text in mine],
            *["--every-protocol"] * self.every,
        ]

    def source(self, opened: OpenSource) -> TaskSource:
        """Open what the tasks are drawn from: extract what is missing, write the index lists."""
        source = opened(self.draws)
        source.write_index_lists(self.out / "few_shot", self.draws)
        return source
