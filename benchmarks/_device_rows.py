"""What ``devices.py`` measures: the rows of its stages."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _clouds import cloud
from _timing import turns
from adapters import Run, Size, Variant, random_task
from torch import Tensor

from topreg import (
    PersistencePairs,
    RipsFiltration,
    deviating_perturbation,
    rtd_lite,
    signature_loss,
    total_persistence,
    track_coincidence,
)

ROOT = Path(__file__).parents[1]
RIPS = RipsFiltration(check_values=False)  # nothing waits for the device
TESTS, DIMENSION_0, LOSSES, STEPS = "tests", "dimension 0", "losses", "steps"  # by their value
MOST_ENTRIES = 2**26  # of the distance matrices of a batch: 256 MiB in single precision
METHODS = {
    "TaskRes": "taskres",
    "HC-TR": "hc_tr",
    "Tip-Adapter-F": "tip_adapter_f",
    "HC-TAF": "hc_taf",
}
Record = dict[str, Any]  # quartiles or counts, or why there are none
Calls = dict[str, Callable[[], object]]


class Grid(NamedTuple):
    """Sizes that are measured."""

    points: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024, 2048)
    batches: tuple[int, ...] = (1, 8, 64)
    losses: tuple[int, ...] = (256, 1024)
    steps: Size = Size()


TINY = Grid((4, 8), (1, 2), (16,), Size(classes=4, shots=2, width=8, batch=8))


class Row(NamedTuple):
    """One row of a stage; ``measure`` takes the seconds that it may spend."""

    stage: str
    name: str
    measure: Callable[[float], Record]


class Inputs(NamedTuple):
    """What the losses are given."""

    source: Tensor
    target: Tensor
    labels: Tensor
    pairs: PersistencePairs


def coincidence_of_pairs_found(given: Inputs) -> Tensor:
    """Selection and track coincidence; nothing waits for the device between them."""
    return track_coincidence(given.source, given.target, filtration=RIPS)


EACH_LOSS: dict[str, Callable[[Inputs], Tensor]] = {
    "track coincidence, pairs found": coincidence_of_pairs_found,
    "track coincidence, pairs given": lambda g: track_coincidence(
        g.source, g.target, pairs=g.pairs
    ),
    "deviating perturbation, pairs given": lambda g: deviating_perturbation(
        g.source, g.target, g.labels, pairs=g.pairs
    ),
    "signature": lambda g: signature_loss(g.source, g.target),
    "total persistence": lambda g: total_persistence(g.source),
    "RTD-Lite": lambda g: rtd_lite(g.source, g.target),
}


def rows(grid: Grid, device: torch.device, patience: float) -> Iterator[Row]:
    """All rows; the tests are stopped after ``patience`` seconds."""
    every = sorted((ROOT / "tests").rglob("test_*.py"))  # importing all of them takes a minute
    some = [str(file) for file in every if "@on_accelerator" in file.read_text(encoding="utf-8")]
    yield Row(TESTS, "marked gpu", lambda _: marked_tests(device, patience, some))
    for batch in grid.batches:
        for n in grid.points:
            if batch * n * n <= MOST_ENTRIES:
                call = partial(both_engines, n, batch, device)
                yield Row(DIMENSION_0, f"batch of {batch}, n = {n:,}", call)
    for n in grid.losses:
        for name in EACH_LOSS:
            call = partial(loss_and_gradients, name, n, device)
            yield Row(LOSSES, f"{name}, n = {n:,}", call)
    for name, preset in METHODS.items():
        yield Row(STEPS, name, partial(training_steps, preset, grid.steps, device))


def marked_tests(device: torch.device, patience: float, where: Sequence[str]) -> Record:
    """How many of the tests for accelerators pass."""
    if device.type == "cpu":
        return {"skipped": "the device is the CPU"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-rfE", *where],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "300"},  # reasons of failures are cut there
        capture_output=True,
        text=True,
        timeout=patience,
    )
    *lines, summary = done.stdout.strip().splitlines() or [""]
    found = re.findall(r"(\d+) (passed|failed|skipped|error)", summary)
    counts = {what: int(number) for number, what in found}
    if done.returncode == 0 and "passed" in counts:  # that all are skipped is not a result
        return {"counts": counts}
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    return {"counts": counts, "error": "; ".join(failed) or f"{summary} {done.stderr[-500:]}"}


def both_engines(n: int, batch: int, device: torch.device, seconds: float) -> Record:
    """Dimension 0 of clouds on the device, by its own engine and by the CPU's."""
    points = torch.stack([cloud("sphere", n, seed) for seed in range(batch)]).to(device)
    engines = {"boruvka there": "boruvka", "prim over the CPU": "prim"}
    calls: Calls = {
        title: partial(RipsFiltration(engine=engine, check_values=False).pairs, points)
        for title, engine in engines.items()
    }
    return {"n": n, "batch": batch, **timed(calls, device, seconds)}


def loss_and_gradients(name: str, n: int, device: torch.device, seconds: float) -> Record:
    """One loss forward and backward, on the device and on the CPU."""

    def on(place: torch.device | str) -> Callable[[], object]:
        source, target = (cloud("sphere", n, seed).to(place).requires_grad_() for seed in (0, 1))
        labels = (torch.arange(n) // 4).to(place)
        given = Inputs(source, target, labels, RIPS.pairs(source))
        loss = EACH_LOSS[name]
        return lambda: torch.autograd.grad(loss(given), [source, target], allow_unused=True)

    return timed({"there": on(device), "on the CPU": on("cpu")}, device, seconds)


def training_steps(preset: str, size: Size, device: torch.device, seconds: float) -> Record:
    """Steps of one method, on the device and on the CPU."""
    there, here = (
        Run(Variant(preset, preset), random_task(size, place), size) for place in (device, "cpu")
    )
    return timed({"there": there, "on the CPU": here}, device, seconds)


def timed(calls: Calls, device: torch.device, seconds: float) -> Record:
    """Quartiles of calls that take turns; the first round compiles and is left out."""

    def waited(call: Callable[[], object]) -> None:
        call()
        if device.type != "cpu":
            torch.accelerator.synchronize(device)

    waiting: list[Callable[[], object]] = [partial(waited, call) for call in calls.values()]
    for call in waiting:
        call()
    times = turns(waiting, seconds)
    quartiles = (statistics.quantiles(own, n=4) for own in times)
    return {"calls": len(times[0]), "ms": dict(zip(calls, quartiles, strict=True))}
