"""Thousands of training steps in one process: do memory and the time of a step stay flat?

Run ``python benchmarks/soak.py --out benchmarks/results/soak.md`` with ``vlm_adapters`` installed
or ``applications`` on the path. HC-TR (spanning trees, tracks, memory across batches) on the
demo's features at 16 shots, and a loss on loops whose cloud moves, so that the pairs change at
every step. A line is a block of steps: median time, resident memory, tensors alive.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _report import table
from vlm_adapters.cli.inputs import SHIPPED
from vlm_adapters.config import load_methods
from vlm_adapters.features.bundle import BundleSource
from vlm_adapters.training import one_step, start_training

from topreg import SignatureLoss

Step = Callable[[int], None]


def hc_tr() -> Step:
    """TaskRes with homology consistency; an epoch, and the memory with it, ends every 7 steps."""
    task = BundleSource(SHIPPED).task(16, 1)
    training = start_training(task, load_methods(["hc_tr"])["hc_tr"])
    generator = torch.Generator().manual_seed(1)
    batches: list[torch.Tensor] = []

    def step(_: int) -> None:
        if not batches:
            training.constraint.start_epoch()
            order = torch.randperm(len(task.train_labels), generator=generator)
            batches.extend(order.split(256))
        one_step(training, task, batches.pop())

    return step


def loops() -> Step:
    """Signature loss in dimensions 0 and 1 of a cloud that walks and is drawn to another."""
    generator = torch.Generator().manual_seed(1)
    angles = 2 * torch.pi * torch.rand(256, generator=generator)
    source = torch.stack([angles.cos(), angles.sin()], 1)
    codes = torch.randn(256, 8, generator=generator).requires_grad_()
    loss = SignatureLoss(dimensions=(0, 1), normalize=1.0)
    optimizer = torch.optim.Adam([codes], lr=1e-2)

    def step(_: int) -> None:
        moved = source + 0.1 * torch.randn(source.shape, generator=generator)
        optimizer.zero_grad()
        loss(moved, codes).backward()
        optimizer.step()

    return step


def resident() -> float:
    """Resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def tensors_alive() -> int:
    """Tensors that the garbage collector knows."""
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())


def soak(step: Step, steps: int, block: int) -> list[list[str]]:
    """Take the steps; a row for each block."""
    rows = []
    for start in range(0, steps, block):
        times = []
        for number in range(start, start + block):
            begin = time.perf_counter()
            step(number)
            times.append(1e3 * (time.perf_counter() - begin))
        low, middle, high = statistics.quantiles(times, n=4)
        rows.append(
            [
                f"{start + block:,}",
                f"{middle:.2f} ({low:.2f} to {high:.2f})",
                f"{resident():.0f}",
                str(tensors_alive()),
            ]
        )
    return rows


def main() -> None:
    """Both, in this order, in one process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--block", type=int, default=500)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    parts = [
        "# Soak",
        f"Printed by `python benchmarks/soak.py`: {platform.machine()}, {options.threads} thread, "
        f"torch {torch.__version__}; milliseconds a step, median (quartiles).",
    ]
    for title, make in (("HC-TR, 16 shots, 100 classes", hc_tr), ("Loops of 256 points", loops)):
        rows = soak(make(), options.steps, options.block)
        parts += [f"## {title}", table(["steps", "ms a step", "resident, MB", "tensors"], rows)]
    text = "\n\n".join(parts) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
