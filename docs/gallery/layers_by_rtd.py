"""
Layers of networks compared by RTD and RTD-Lite
===============================================

Two networks learn digits from different initial parameters. A layer should be nearer to the same layer
of the other network than to its other layers. A divergence that cannot tell this is of
little use. Can RTD (Barannikov et al., ICML 2022) and RTD-Lite, and are they better than a plain
comparison of all distances?
"""

import time

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from _data import Table, digits, show
from _style import WIDTH, use_style
from topreg import pairwise_distances, rtd, rtd_lite

NETWORKS = 4  # pairs of them
STEPS = 400
POINTS = 200
LAYERS = 4

use_style()
torch.set_flush_denormal(True)
torch.set_num_threads(1)  # such small networks gain nothing from more

# %%
# Networks
# --------
# The networks have four hidden layers of 64 units. The representation of a layer is a cloud: its
# outputs for the same 200 images, row by row.

images, labels = digits()
generator = torch.Generator().manual_seed(0)
some = torch.randperm(len(images), generator=generator)[:POINTS]


def layers(seed: int) -> list[Tensor]:
    """Return the outputs for some images of each hidden layer of a trained network."""
    torch.manual_seed(seed)
    blocks = [nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(LAYERS)]
    model = nn.Sequential(*blocks, nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(STEPS):
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


networks = [layers(seed) for seed in range(2 * NETWORKS)]

# %%
# Divergences
# -----------
# Compare every layer of one network of a pair with every layer of the other. RTD follows loops of a
# graph that joins both clouds; RTD-Lite only needs spanning trees; the plain comparison has no topology.


def distances(one: Tensor, other: Tensor, normalize: float = 1.0) -> Tensor:
    """Root mean square of the differences of all distances, divided by a quantile."""
    a, b = (pairwise_distances(points) for points in (one, other))
    scales = (matrix.flatten().quantile(normalize) for matrix in (a, b))
    a, b = (matrix / scale for matrix, scale in zip((a, b), scales, strict=True))
    return (a - b).square().mean().sqrt()


DIVERGENCES = {"RTD": rtd, "RTD-Lite": rtd_lite, "all distances": distances}
values, seconds = {}, {}
for name, divergence in DIVERGENCES.items():
    divergence(*networks[0][:2])  # compiles what is compiled on first use
    start = time.perf_counter()
    values[name] = [
        [[float(divergence(a, b, normalize=1.0)) for b in other] for a in one]
        for one, other in zip(networks[::2], networks[1::2], strict=True)
    ]
    seconds[name] = time.perf_counter() - start

# %%
# The figure shows means over the pairs of networks: layers of one by layers of the other. A frame marks
# the nearest layer of the other network.

means = {
    name: torch.tensor(found, dtype=torch.float64).mean(0).tolist()
    for name, found in values.items()
}
names = [f"layer {i + 1}" for i in range(LAYERS)]
figure, axes = plt.subplots(1, len(means), figsize=(WIDTH, 2.9))
for ax, (name, matrix) in zip(axes, means.items(), strict=True):
    shown = ax.imshow(matrix, cmap="viridis")
    for i, row in enumerate(matrix):
        for j, value in enumerate(row):
            ink = "black" if shown.norm(value) > 0.55 else "white"
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", color=ink)
        nearest = row.index(min(row))
        corner = nearest - 0.46, i - 0.46
        ax.add_patch(
            plt.Rectangle(corner, 0.92, 0.92, fill=False, ec="white", lw=2)
        )
    ax.set_xticks(range(LAYERS), names)
    ax.set_yticks(range(LAYERS), names, rotation=90, va="center")
    ax.set(title=name, xlabel="the other network", ylabel="one network")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
plt.show()

# %%
# How often they are right
# ------------------------
# Chance would find the same layer once in four times.

rows = []
for name, found in values.items():
    by_layer = enumerate(zip(*found, strict=True))
    right = [sum(row[i] == min(row) for row in of_one) for i, of_one in by_layer]
    counts = [f"{count} of {NETWORKS}" for count in right]
    total = f"{sum(right)} of {NETWORKS * LAYERS}"
    rows.append([name, *counts, total, f"{seconds[name]:.2f}"])
show(Table(["the same layer is the nearest", *names, "all", "seconds"], rows))

# %%
# What it shows
# -------------
# Both divergences find the same layer of the other network far more often than chance, and their
# matrices are similar: the first layer differs from all others. Later layers are alike, and the errors
# are among them. RTD-Lite takes less time. All distances, compared without topology, take as little
# time and err more often in the later layers.
