"""What ``devices.py`` measures: the rows of its stages."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _clouds import cloud
from _libraries import call_on
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
from topreg.persistence.dense import _device

ROOT = Path(__file__).parents[1]
RIPS = RipsFiltration(check_values=False)  # nothing waits for the device
# stages, by their value
TESTS, DIMENSION_0, STEPS, USE, LOSSES, WARPS = (
    "tests",
    "dimension 0",
    "steps",
    "use of the device",
    "losses",
    "warps",
)
THERE, OVER_THE_CPU = "there", "over the CPU"
ENGINES = {THERE: "auto", "boruvka there": "boruvka", OVER_THE_CPU: "prim"}
PEER = "torch-topological"
MOST_ENTRIES = 2**26  # of the distance matrices of a batch: 256 MiB in single precision
METHODS = {
    "TaskRes": "taskres",
    "HC-TR": "hc_tr",
    "Tip-Adapter-F": "tip_adapter_f",
    "HC-TAF": "hc_taf",
}
ACTIVITIES = {
    "cuda": torch.profiler.ProfilerActivity.CUDA,
    "xpu": torch.profiler.ProfilerActivity.XPU,
}
PROFILED = 5  # calls
Record = dict[str, Any]  # quartiles or counts, or why there are none
Call = Callable[[], object]
Calls = dict[str, Call]


class Grid(NamedTuple):
    """Sizes that are measured."""

    points: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024, 2048)
    batches: tuple[int, ...] = (1, 8, 64)
    losses: tuple[int, ...] = (256, 1024)
    steps: Size = Size()
    warps: tuple[int, ...] = (64, 256, 1024)


TINY = Grid((4, 8), (1, 2), (16,), Size(classes=4, shots=2, width=8, batch=8), (16,))


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
                call = partial(each_engine, n, batch, device)
                yield Row(DIMENSION_0, f"batch of {batch}, n = {n:,}", call)
    for name, preset in METHODS.items():
        yield Row(STEPS, name, partial(training_steps, preset, grid.steps, device))
    for name, prepare in used(grid, device).items():
        yield Row(USE, name, partial(use, prepare, device))
    for n in grid.losses:
        for name in EACH_LOSS:
            call = partial(loss_and_gradients, name, n, device)
            yield Row(LOSSES, f"{name}, n = {n:,}", call)
    batch = grid.batches[-1]
    for n in grid.warps:
        yield Row(WARPS, f"batch of {batch}, n = {n:,}", partial(each_warps, n, batch, device))


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


def spheres(n: int, batch: int, device: torch.device) -> Tensor:
    """A batch of clouds without structure."""
    return torch.stack([cloud("sphere", n, seed) for seed in range(batch)]).to(device)


def each_engine(n: int, batch: int, device: torch.device, seconds: float) -> Record:
    """Dimension 0 of clouds on the device, by each engine; single ones also by another library."""
    points = spheres(n, batch, device)
    calls: Calls = {
        title: partial(RipsFiltration(engine=engine, check_values=False).pairs, points)
        for title, engine in ENGINES.items()
    }
    if batch == 1 and importlib.util.find_spec("torch_topological"):
        calls[PEER] = call_on(PEER, points[0].cpu(), 0, "points", False)
    return {"n": n, "batch": batch, **timed(calls, device, seconds)}


def each_warps(n: int, batch: int, device: torch.device, seconds: float) -> Record:
    """The one launch by numbers of warps in a program, of which the library takes ``warps``."""
    if not _device.compiles(device):
        return {"skipped": "Triton does not compile for this device"}
    matrices = torch.cdist(*2 * [spheres(n, batch, device)]).flatten()
    usual, calls = _device.warps(_device.lanes(n)), {}
    for warps in (1, 2, 4, 8, 16):
        title = f"{warps} (usual)" if warps == usual else str(warps)
        calls[title] = partial(_device.in_one_launch, matrices, [n] * batch, math.inf, True, warps)
    return timed(calls, device, seconds)


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


def used(grid: Grid, device: torch.device) -> dict[str, Callable[[], Call]]:
    """What the use of the device is looked at for: each makes a call."""
    n = min(256, grid.points[-1])
    trees = {
        f"batch of {batch}, n = {n:,}": lambda batch=batch: partial(
            RIPS.pairs, spheres(n, batch, device)
        )
        for batch in (grid.batches[0], grid.batches[-1])
    }
    steps = {
        f"step of {name}": lambda preset=preset: Run(
            Variant(preset, preset), random_task(grid.steps, device), grid.steps
        )
        for name, preset in METHODS.items()
    }
    return trees | steps


def use(prepare: Callable[[], Call], device: torch.device, seconds: float) -> Record:
    """Launches and milliseconds of a call on the device, and the share of the time that it works.

    The time is that of calls without the profiler.
    """
    if device.type not in ACTIVITIES:
        return {"skipped": "the profiler does not see this device"}
    call = prepare()
    (quartiles,) = timed({"call": call}, device, seconds)["ms"].values()
    with torch.profiler.profile(activities=[ACTIVITIES[device.type]]) as profile:
        for _ in range(PROFILED):
            call()
        torch.accelerator.synchronize(device)
    launches, busy = work_of(profile.events() or [], device.type.upper())
    busy, launches = busy / PROFILED, launches / PROFILED
    return {
        "ms": {"call": quartiles, "device": 3 * [busy]},
        "counts": {"launches": round(launches), "% busy": round(100 * busy / quartiles[1])},
    }


def work_of(events: Iterable[Any], kind: str) -> tuple[int, float]:
    """Number and milliseconds of a profile's events that ran on a kind of device."""
    there = [
        event
        for event in events
        if event.device_type.name == kind and not getattr(event, "is_user_annotation", False)
    ]
    return len(there), sum(event.time_range.elapsed_us() for event in there) / 1e3


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
