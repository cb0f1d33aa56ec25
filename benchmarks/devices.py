"""From which size dimension 0 is faster on a device than over the CPU; prints Markdown.

Run ``python benchmarks/devices.py`` on a machine with an accelerator (``--device cpu`` compares
the two engines on the CPU). The last line is what ``OVER_THE_CPU`` in ``topreg.persistence`` should
say for that type of device. Medians of the public call from points, the device waited for.
"""

from __future__ import annotations

import argparse

import torch
from _clouds import cloud
from _timing import medians

from topreg import RipsFiltration

SIZES = [16, 32, 64, 128, 256, 512, 1024, 2048]


def default_device() -> str:
    """The accelerator that is present, else the CPU."""
    accelerator = torch.accelerator.current_accelerator()
    return "cpu" if accelerator is None else accelerator.type


def waited(filtration: RipsFiltration, points: torch.Tensor) -> None:
    """One call, and the end of its work on the device of the points."""
    filtration.pairs(points, check_values=False)
    if points.device.type != "cpu":
        torch.accelerator.synchronize()


def main() -> None:
    """Print one table and the constant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default=default_device())
    parser.add_argument("--batch", type=int, default=1, help="clouds in a batch")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each row")
    options = parser.parse_args()
    print(f"{options.device}, batches of {options.batch}, torch {torch.__version__}\n")
    print("| n | boruvka there, ms | prim over the CPU, ms |\n| ---: | ---: | ---: |")
    slower = 0
    for n in SIZES:
        clouds = [cloud("sphere", n, seed) for seed in range(options.batch)]
        points = torch.stack(clouds).to(options.device)
        there, over = medians(
            [
                lambda p=points: waited(RipsFiltration(engine="boruvka"), p),
                lambda p=points: waited(RipsFiltration(engine="prim"), p),
            ],
            options.seconds,
            block=5,
        )
        print(f"| {n:,} | {there:.3f} | {over:.3f} |")
        slower = n if over < there else slower
    print(f"\nFaster over the CPU up to n = {slower}.")


if __name__ == "__main__":
    main()
