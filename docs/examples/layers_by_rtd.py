"""Layers of networks compared by RTD and RTD-Lite.

Two networks learn digits from different starts. A layer should be nearer to the same layer of the
other network than to its other layers; a divergence between representations that cannot tell is of
little use. Run ``python docs/examples/layers_by_rtd.py``.
"""

from __future__ import annotations

import argparse
import statistics

import torch
from _data import digits, table
from torch import Tensor, nn

from topreg import rtd, rtd_lite

LAYERS = 4


def layers(images: Tensor, labels: Tensor, some: Tensor, seed: int, steps: int) -> list[Tensor]:
    """Points of some images after each hidden layer of a trained network."""
    torch.manual_seed(seed)
    blocks = [nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(LAYERS)]
    model = nn.Sequential(*blocks, nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(steps):
        batch = torch.randint(0, len(images), (128,))
        loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    points, found = images[some], []
    with torch.no_grad():
        for block in blocks:
            points = block(points)
            found.append(points)
    return found


def main() -> None:
    """Print, for each divergence, layers of one network by layers of the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4, help="pairs of networks")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--points", type=int, default=200)
    options = parser.parse_args()
    torch.set_flush_denormal(True)
    images, labels = digits()
    some = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[: options.points]
    nets = [layers(images, labels, some, s, options.steps) for s in range(2 * options.seeds)]
    for name, divergence in (("RTD", rtd), ("RTD-Lite", rtd_lite)):
        values = [
            [
                [float(divergence(a, b, normalize=True)) for b in nets[2 * k + 1]]
                for a in nets[2 * k]
            ]
            for k in range(options.seeds)
        ]
        means = [
            [statistics.mean(value[i][j] for value in values) for j in range(LAYERS)]
            for i in range(LAYERS)
        ]
        right = sum(row[i] == min(row) for value in values for i, row in enumerate(value))
        rows = [[f"layer {i + 1}", *(f"{v:.2f}" for v in row)] for i, row in enumerate(means)]
        print(table([name, *(f"layer {j + 1}" for j in range(LAYERS))], rows))
        print(
            f"\nThe same layer of the other network is the nearest in {right} of "
            f"{options.seeds * LAYERS} cases (by chance {options.seeds}).\n"
        )


if __name__ == "__main__":
    main()
