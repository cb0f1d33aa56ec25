"""
A growing complex, its loop, and the gradient of the loop
=========================================================

This example shows what persistent homology finds in a few points. It needs no topology: grow a graph,
write down when components merge and when holes open and close, and differentiate these numbers.
"""

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from torch import Tensor

from _style import BLUE, GREEN, GREY, ORANGE, RED, WIDTH, use_style
from topreg import RipsFiltration, pairwise_distances, plot

POINTS = 26
NOISE = 0.12
STEPS = 60  # of the ascent at the end
RATE = 0.05

use_style()

# %%
# Points
# ------
# The points are a circle with noise. Nothing below uses that knowledge.

generator = torch.Generator().manual_seed(14)
angles = 2 * torch.pi * torch.rand(POINTS, generator=generator)
points = torch.stack([angles.cos(), angles.sin()], dim=1)
points = points + NOISE * torch.randn(POINTS, 2, generator=generator)

# %%
# What is born and what dies
# --------------------------
# Choose a scale, join all points that are no farther apart, and fill every triangle whose three sides
# exist. Then let the scale grow. At first each point is a *component*; an edge that joins two
# components ends one of them. An edge that closes a ring starts a *loop*; the edge that completes the
# last triangle inside fills it, and the loop ends. ``topreg`` finds these edges.

filtration = RipsFiltration()
components, loops = filtration.all_pairs(points, 1)
merges = filtration.diagram(components, points)
rings = filtration.diagram(loops, points)
longest = int((rings[:, 1] - rings[:, 0]).argmax())
born, filled = rings[longest].tolist()

print(f"{POINTS} points, {len(components)} merges")
print(f"{len(loops)} loops; the longest from {born:.2f} to {filled:.2f}")

# %%
# Four scales
# -----------
# The scales are: after half of the merges; at the last merge, in orange; at the edge that closes the
# ring, in red; at the edge that fills it, in green. A blue edge has merged two components: together
# these edges are the minimum spanning tree.

distances = pairwise_distances(points)


def full_triangles(near: Tensor) -> list[Path]:
    """Return the triangles whose three sides exist, all with the same orientation."""
    found = []
    for corners in torch.combinations(torch.arange(POINTS), 3):
        if near[corners][:, corners].all():
            a, b, c = points[corners]
            turn = torch.linalg.det(torch.stack([b - a, c - a]))
            found.append(Path(torch.stack([a, b, c] if turn > 0 else [a, c, b])))
    return found


def draw(ax: Axes, scale: float) -> None:
    """Draw points, edges no longer than a scale, and triangles of such edges."""
    near = distances <= scale * (1 + 1e-6)
    edges = near.triu(1).nonzero()
    joined = components.death_edges[merges[:, 1] <= scale * (1 + 1e-6)]
    if full := full_triangles(near):
        area = Path.make_compound_path(*full)
        ax.add_patch(PathPatch(area, color=GREY, alpha=0.3, lw=0))
    ax.add_collection(LineCollection(points[edges], color=GREY, lw=0.6, alpha=0.6))
    ax.add_collection(LineCollection(points[joined], color=BLUE, lw=1.6, zorder=2))
    ax.scatter(*points.T, s=16, color=GREY, zorder=3)
    ax.set(title=f"scale {scale:.2f}", aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def mark(ax: Axes, edge: Tensor, colour: str, text: str) -> None:
    """Draw one edge with its end points, and write its effect below the panel."""
    ax.plot(*points[edge].T, color=colour, lw=3, marker="o", ms=5, zorder=4)
    ax.set_xlabel(text, color=colour)


half, last = float(merges[len(merges) // 2, 1]), float(merges[-1, 1])
figure, axes = plt.subplots(1, 4, figsize=(WIDTH, 2.5), sharex=True, sharey=True)
for ax, scale in zip(axes, (half, last, born, filled), strict=True):
    draw(ax, scale)
axes[0].set_xlabel("some have merged", color=BLUE)
mark(axes[1], components.death_edges[-1], ORANGE, "the last merge")
mark(axes[2], loops.birth_edges[longest], RED, "a loop is born")
mark(axes[3], loops.death_edges[longest], GREEN, "the loop is filled")
plt.show()

# %%
# Barcode and diagram
# -------------------
# A bar goes from the scale where a component or loop begins to the scale where it ends; in the diagram
# the same two numbers are a point. One component never ends. Long bars, which are points far from the
# diagonal, are the shape; short ones are noise. Dotted lines are the four scales.

classes = {"components": merges, "loops": rings}
essential = {"components": torch.zeros(1), "loops": torch.empty(0)}
figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), width_ratios=(3, 2))
left, right = axes
plot.barcode(classes, essential=essential, ax=left)
for scale, colour in ((half, BLUE), (last, ORANGE), (born, RED), (filled, GREEN)):
    left.axvline(scale, color=colour, linestyle=":", linewidth=1.2)
plot.diagram(classes, essential=essential, ax=right)
plt.show()

# %%
# The gradient
# ------------
# Birth and death are lengths of edges, and lengths have gradients. To make the loop last longer,
# ascend its persistence, death minus birth: the ends of the red edge move together, the ends of
# the green one apart. No other point moves: the gradient is sparse.

moving = points.clone().requires_grad_()
birth, death = filtration.diagram(loops, moving)[longest]
(death - birth).backward()
step = 4 * RATE * moving.grad  # four times as long as below, to be seen
print(f"points that move: {int((step.norm(dim=1) > 0).sum())} of {POINTS}")

# %%
# These edges may change with every step. So the ascent finds them again each time: then other
# points move, and the ring becomes rounder and wider.

path = [points]
persistence = []
for _ in range(STEPS):
    current = path[-1].clone().requires_grad_()
    diagram = filtration.diagram(filtration.pairs(current, 1), current)
    lasts = (diagram[:, 1] - diagram[:, 0]).max()
    persistence.append(lasts.item())
    lasts.backward()
    path.append(path[-1] + RATE * current.grad)
before, after = persistence[0], persistence[-1]
print(f"persistence of the loop: {before:.2f} before, {after:.2f} after")

# %%
# The left panel shows one step, the right panel the paths of all points and the ring at the end.

figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.8), sharex=True, sharey=True)
left, right = axes
for edge, colour in ((loops.birth_edges, RED), (loops.death_edges, GREEN)):
    left.plot(*points[edge[longest]].T, color=colour, linewidth=1.5, zorder=1)
left.scatter(*points.T, s=16, color=GREY, zorder=2)
moved = step.norm(dim=1) > 0
arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.009}
left.quiver(*points[moved].T, *step[moved].T, color=ORANGE, zorder=3, **arrows)
left.set_title("one step")
ways = torch.stack(path, dim=1)
right.add_collection(LineCollection(ways.numpy(), color=ORANGE, linewidths=1))
right.scatter(*path[0].T, s=10, color=GREY)
right.scatter(*path[-1].T, s=18, color=ORANGE, zorder=3)
right.set_title(f"{STEPS} steps")
for ax in (left, right):
    ax.set(aspect="equal", xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
plt.show()

# %%
# What it shows
# -------------
# A pair of edges represents each component and each loop. Finding the pairs only depends on the order
# of the edges and has no gradient; the lengths of the few selected edges have one. All losses of
# ``topreg`` are built on this.
