"""Runs over methods, shots and seeds: planned, dry or real, each resumable."""

from __future__ import annotations

import functools
import json
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch

from ._files import claimed, file_sha256, json_hash
from .adapters import adapter_class
from .config import Method, load_methods, overrides_of
from .plugs import plug_sha256, telling_parts
from .runs import ADAPTER, CHECKPOINT, RESULT, Run, finished_run, write_run
from .sources import Source
from .training import adapter_under, epochs_of, evaluate, more_metrics, train

if TYPE_CHECKING:
    from .cli.inputs import Inputs

T = TypeVar("T")
Advance = Callable[[int], None]  # told how many more epochs are done


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

    def identity(self, source: Source) -> str:
        """Hash everything that the run depends on."""
        features = source.identity(self.shots, self.seed)
        return json_hash(
            [method_identity(self.method, self.shots), features, self[2:4], self.every]
        )


def method_identity(method: Method, shots: int) -> list[Any]:
    """Return everything that a trained adapter depends on but its task, as JSON takes it."""
    packages = [version(name) for name in ("topreg", "torch")]
    file = method.text.file(shots)
    plugs = [plug_sha256(spec) for spec in (method.adapter.kind, method.regularizer.use)]
    return [asdict(method), plugs, file_sha256(file) if file else "", packages]


def plan_jobs(
    methods: Mapping[str, Method],
    shots: Sequence[int],
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
    for preset, method in methods.items():
        method.text.check(preset, shots)

    def place(preset: str, count: int, seed: int) -> Path | None:
        return folder and folder / preset / dataset / f"{count}shot" / f"seed{seed}"

    return [
        Job(preset, method, count, seed, place(preset, count, seed), every, device)
        for count in shots
        for seed in seeds
        for preset, method in methods.items()
    ]


def run_jobs(
    source: Source,
    jobs: Sequence[Job],
    *,
    processes: int = 1,
    threads: int = 1,
    index_lists: Path | None = None,
    on_epochs: Advance = lambda epochs: None,
) -> list[Run]:
    """Train and evaluate in so many processes; a job whose result is there is not run again.

    Returns the runs in the order of the jobs. If some fail, the others are made all the same.
    ``index_lists`` is the folder for the rows that the tasks draw.
    ``on_epochs`` is told how many more epochs are done: in this process after each, in others when
    a run has ended.
    """
    found: dict[int, Run | str] = {
        place: done
        for place, job in enumerate(jobs)
        if job.folder and (done := finished_run(job.folder, job.identity(source)))
    }
    if index_lists is not None:  # no result there is of other settings
        source.write_index_lists(index_lists, list(dict.fromkeys(job[2:4] for job in jobs)))
    for place in found:
        on_epochs(jobs[place].epochs)
    waiting = [place for place in range(len(jobs)) if place not in found]
    waiting.sort(key=lambda place: -jobs[place].epochs)  # the longest first
    function: Callable[..., Run | str] = run_job if len(jobs) == 1 else _try_job
    if processes == 1:
        function = functools.partial(function, on_epochs=on_epochs)
    todo = [jobs[place] for place in waiting]
    results = run_all(function, source, todo, jobs=processes, threads=threads)
    for place, result in zip(waiting, results, strict=True):
        found[place] = result
        if processes > 1:
            on_epochs(jobs[place].epochs)
    failed = {place: text for place, text in sorted(found.items()) if isinstance(text, str)}
    if failed:
        first = {text: jobs[place].name for place, text in reversed(failed.items())}
        told = " ".join(f"{name}: {text}" for text, name in reversed(first.items()))
        raise RuntimeError(f"{len(failed)} of {len(jobs)} runs failed, the others are done. {told}")
    return [run for _, run in sorted(found.items()) if isinstance(run, Run)]


def _try_job(source: Source, job: Job, on_epochs: Advance = lambda epochs: None) -> Run | str:
    """Make a run, or tell what went wrong: one that fails must not end the others."""
    try:
        return run_job(source, job, on_epochs)
    except Exception as error:  # whatever it is, it is told at the end
        return f"{type(error).__name__}: {error}"


def run_job(source: Source, job: Job, on_epochs: Advance = lambda epochs: None) -> Run:
    """Train one adapter, evaluate it, and write what its folder keeps."""
    if job.folder is None:
        return _make(source, job, on_epochs)
    job.folder.mkdir(parents=True, exist_ok=True)
    with claimed(job.folder, RESULT, ADAPTER, CHECKPOINT):
        return finished_run(job.folder, job.identity(source)) or _make(source, job, on_epochs)


@telling_parts()
def _make(source: Source, job: Job, on_epochs: Advance) -> Run:
    """Make a run in a folder whose files this process has claimed."""
    start = time.perf_counter()
    task = source.task(job.shots, job.seed).to(job.device)
    identity, headline = job.identity(source), job.method.protocol
    trained = train(
        task,
        job.method,
        checkpoint=job.folder and job.folder / CHECKPOINT,
        identity=identity,
        follow_test=job.every,
        on_epochs=on_epochs,
    )
    evaluation = evaluate(trained, task, every=job.every)
    adapter = adapter_under(trained, headline, evaluation.factors.get(headline))
    images = {name: len(getattr(task, f"{name}_labels")) for name in ("train", "val", "test")}
    if images["train"]:
        per_class = task.train_labels.bincount(minlength=len(task.texts.normalized))
        images["fewest_per_class"] = int(per_class.min())
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
        images=images,
        metrics=more_metrics(adapter, task.test_features, task.test_labels),
        weights=source.weights,
        features=source.features,
        identity=identity,
        config=json.loads(json.dumps(asdict(job.method))),  # as it is read back
        log=trained.log,
        best_epoch=trained.best_val and trained.best_val.epoch,
        seconds=round(time.perf_counter() - start, 3),
    )
    if job.folder:
        write_run(job.folder, run, adapter, source.class_names)
    return run


@dataclass(frozen=True)
class Sweep:
    """Independent runs on the tasks of one data set, below the folder ``out``.

    ``presets``, ``tuned`` and ``overrides`` are those of :func:`vlm_adapters.config.load_methods`.
    """

    inputs: Inputs
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

    def jobs(self) -> list[Job]:
        """Plan one job for each run, with the values published for the data set."""
        methods = load_methods(
            self.presets, dataset=self.inputs.published, tuned=self.tuned, overrides=self.overrides
        )
        return plan_jobs(
            methods,
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
        chosen = ((job, presets[job.preset]) for job in self.jobs())
        return [
            shlex.join(
                [
                    *("vlm-adapters", "train", f"--method={preset}", f"--shots={job.shots}"),
                    *(f"--seed={job.seed}", f"--out={job.folder}", *self.inputs.arguments()),
                    *[f"--tuned={self.tuned}"] * bool(self.tuned),
                    *[f"--set={text}" for text in overrides_of([preset], self.overrides)],
                    *["--every-protocol"] * self.every,
                    f"--threads={threads}",
                ]
            )
            for job, preset in chosen
        ]

    def extract_command(self) -> str:
        """Return the command that extracts what all runs need, to be run before them."""
        shots, seeds = (",".join(map(str, values)) for values in (self.shots, self.seeds))
        draws = [f"--shots={shots}", f"--seeds={seeds}"]
        return shlex.join(["vlm-adapters", "extract", *draws, *self.inputs.arguments()])


def run_all(
    function: Callable[[Any, Any], T],
    shared: Any,
    items: Iterable[Any],
    *,
    jobs: int = 1,
    threads: int = 1,
) -> Iterator[T]:
    """Yield ``function(shared, item)`` for each item, in order; ``jobs`` does not change results.

    The function is of a module's top level, and ``shared`` is small: it is sent with each call. One
    job runs in this process; several have one process each, because the matrices are small.
    """
    if jobs == 1:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield from (function(shared, item) for item in items)
        finally:
            torch.set_num_threads(before)
        return
    import joblib

    pool = joblib.Parallel(n_jobs=jobs, return_as="generator", batch_size=1)
    flush = float(torch.tensor(1e-40) * 0.5) == 0  # as this process does
    call = functools.partial(_call, os.getpid(), threads, flush, function, shared)
    yield from pool(joblib.delayed(call)(item) for item in items)


def _call(
    parent: int, threads: int, flush: bool, function: Callable[..., T], shared: Any, item: Any
) -> T:
    _end_with(parent)
    torch.set_num_threads(threads)
    torch.set_flush_denormal(flush)
    with telling_parts():  # here, because an error loses its places on its way to the parent
        return function(shared, item)


@functools.cache
def _end_with(parent: int) -> None:
    """End this process soon after its parent, however that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()
