"""Training steps of the adapters at the size of 16-shot ImageNet, with and without the constraint.

Run ``python benchmarks/adapters.py`` on a quiet machine, with ``vlm_adapters`` installed or
``applications`` on the path; prints Markdown and, with ``--out``, writes it. Random features of
unit length, the application's own adapters, presets and training step. Variants take turns in one
process, step by step on the same batches; times are medians with quartiles, ratios are medians over
the turns.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from _timing import spread
from torch import Tensor
from torch.nn.functional import normalize
from vlm_adapters.adapters import Step
from vlm_adapters.adapters.tip_adapter import TipAdapterF
from vlm_adapters.config import load_methods
from vlm_adapters.training import Training, one_step, start_training

MEBIBYTE = 1 << 20
Change = Callable[[Training], None]
Clock = Callable[[], float]


class Variant(NamedTuple):
    """One line of a table."""

    title: str
    preset: str
    overrides: tuple[str, ...] = ()
    change: Change = lambda training: None


class Size(NamedTuple):
    """Of the random task: classes, shots, coordinates and images a step."""

    classes: int = 1000
    shots: int = 16
    width: int = 1024
    batch: int = 256


def dense_one_hot(training: Training) -> None:
    """The product of affinities and one-hot labels, as the official code writes it."""
    adapter: Any = training.adapter
    labels = adapter.cached_labels
    values = torch.zeros(len(labels), len(adapter.text)).scatter_(1, labels[:, None], 1.0)
    adapter.class_sums = lambda affinity: affinity @ values


class FromRows(TipAdapterF):
    """Hides what makes the constraint cheap: losses from rows, one gradient of the keys each."""

    def step(self, features: Tensor) -> Step:
        """Without its linear map."""
        return super().step(features)._replace(linear=None)

    def grams(self, source: Tensor, labels: Tensor) -> None:  # type: ignore[override]
        """None."""


def from_rows(training: Training) -> None:
    """The losses on rows, and one backward pass to the keys for each of the two gradients."""
    training.adapter.__class__ = FromRows


TASKRES = (
    Variant("TaskRes", "taskres"),
    Variant("HC-TR", "hc_tr", ("hc_tr.constraint.memory_batches=0",)),
    Variant("HC-TR, memory of one batch", "hc_tr"),
)
TIP_ADAPTER = (
    Variant("Tip-Adapter-F, class sums", "tip_adapter_f"),
    Variant("Tip-Adapter-F, dense one-hot labels", "tip_adapter_f", change=dense_one_hot),
    Variant("HC-TAF", "hc_taf", ("hc_taf.constraint.memory_batches=0",)),
    Variant("HC-TAF, memory of one batch", "hc_taf"),
    Variant(
        "HC-TAF, from rows, two gradients",
        "hc_taf",
        ("hc_taf.constraint.memory_batches=0",),
        from_rows,
    ),
)


def random_task(size: Size, device: torch.device | str = "cpu") -> Any:
    """What a training asks of a task, filled with random rows of unit length."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size.classes * size.shots, size.width, generator=generator)
    texts = torch.randn(size.classes, size.width, generator=generator)
    images, texts = (normalize(rows, dim=1).to(device) for rows in (images, texts))
    return SimpleNamespace(
        shots=size.shots,
        seed=1,
        logit_scale=100.0,
        train_labels=torch.arange(size.classes).repeat_interleave(size.shots).to(device),
        train=SimpleNamespace(keys=lambda: images, draw=lambda rows, generator: images[rows]),
        texts=SimpleNamespace(raw=texts, normalized=texts),
    )


class Run:
    """Steps of one variant; every call takes the next batch."""

    def __init__(self, variant: Variant, task: Any, size: Size) -> None:
        method = load_methods([variant.preset], overrides=variant.overrides)[variant.preset]
        self.training = start_training(task, method)
        variant.change(self.training)
        self.task, self.batch = task, size.batch
        self.generator = torch.Generator().manual_seed(2)

    def __call__(self) -> None:
        """One step."""
        order = torch.randperm(len(self.task.train_labels), generator=self.generator)
        one_step(self.training, self.task, order[: self.batch].to(self.task.train_labels.device))

    def held_bytes(self) -> int:
        """Bytes of parameters and of the optimiser's state, which stay from step to step."""
        state = self.training.optimizer.state
        return sum(
            p.nbytes + sum(t.nbytes for t in tensors.values()) for p, tensors in state.items()
        )


def turns(steps: list[Run], rounds: int, clock: Clock) -> list[list[float]]:
    """Milliseconds of steps that take turns; the first two rounds are left out."""
    times: list[list[float]] = [[] for _ in steps]
    for number in range(rounds + 2):
        for step, kept in zip(steps, times, strict=True):
            start = clock()
            step()
            if number > 1:
                kept.append(1e3 * (clock() - start))
    return times


def peak_bytes(step: Run) -> int:
    """Most bytes of tensors at one time during a step."""
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        step()
    events: Any = profile.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = peak = step.held_bytes()
    for _, change in changes:
        now += change
        peak = max(peak, now)
    return peak


def table(
    variants: tuple[Variant, ...], references: int, size: Size, rounds: int, clock: Clock
) -> str:
    """Times, memory, and both as multiples of those of the first variants."""
    task = random_task(size)
    steps = [Run(variant, task, size) for variant in variants]
    times = turns(steps, rounds, clock)
    peaks = [peak_bytes(step) for step in steps]
    head = [f"times {variant.title}" for variant in variants[:references]]
    head = ["step", "ms", *head, "peak, MiB", head[0]]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for variant, own, peak in zip(variants, times, peaks, strict=True):
        ratios = [
            spread([a / b for a, b in zip(own, other, strict=True)], 2)
            for other in times[:references]
        ]
        memory = f"{peak / MEBIBYTE:,.0f}", f"{peak / peaks[0]:.2f}"
        lines.append([variant.title, spread(own, 1), *ratios, *memory])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="steps of each variant")
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument(
        "--one-thread",
        action="store_true",
        help="processor time of one thread, for a machine that is not quiet",
    )
    parser.add_argument("--out", type=Path, help="file that the Markdown is written to")
    options = parser.parse_args()
    torch.set_flush_denormal(True)  # a saturated step has gradients that slow it down fourfold
    size = Size(classes=options.classes)
    clock, what = time.perf_counter, "wall time"
    if options.one_thread:
        torch.set_num_threads(1)
        clock, what = time.process_time, "processor time"
    tables = [
        table(variants, references, size, options.rounds, clock)
        for variants, references in ((TASKRES, 1), (TIP_ADAPTER, 2))
    ]
    text = (
        f"{platform.machine()}, {torch.get_num_threads()} threads, {what}; torch "
        f"{torch.__version__}; {size.classes:,} classes, {size.shots} shots, {size.width:,} "
        f"coordinates, batches of {size.batch}, float32; {options.rounds} steps each\n\n"
        + "\n\n".join(tables)
        + "\n"
    )
    print(text)
    if options.out:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
