"""
A cloud with the components and loops that you ask for
======================================================

Points are drawn at random and moved by the gradient of a topological loss alone, until they form the
number of components, and in them the number of loops, that was asked for. No other term could say it:
no point is told where to go.
"""

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from _data import Table, show
from _style import BLUE, GREY, WIDTH, use_style
from topreg import RipsFiltration, plot

# sphinx_gallery_thumbnail_number = 1

SEEDS = 5
STEPS = 400
POINTS = 60
GOALS = ((1, 1), (1, 2), (2, 1))  # components and loops
GAP = 0.8  # between components, at least; and the persistence of a loop
NOISE = 0.25  # what persists less than this is not counted

use_style()
torch.set_flush_denormal(True)
torch.set_num_threads(1)  # such small clouds gain nothing from more

# %%
# The loss
# --------
# The death of a component is the length of the edge that joins it to an older one. For k components
# the k - 1 longest of these edges should be at least as long as ``GAP``, and the others short. For l
# loops the l most persistent ones should persist for ``GAP``, and the others not at all.

filtration = RipsFiltration()


def shape_loss(points: Tensor, components: int, loops: int) -> Tensor:
    """How far a cloud (n, 2) is from its numbers of components and loops."""
    joins, rings = (
        filtration.diagram(pairs, points)
        for pairs in filtration.all_pairs(points, 1)
    )
    deaths = joins[:, 1].sort(descending=True).values
    persistence = (rings[:, 1] - rings[:, 0]).sort(descending=True).values
    wanted = torch.cat([deaths[: components - 1], persistence[:loops]])
    others = deaths[components - 1 :].square().sum() + persistence[loops:].sum()
    return 4 * (GAP - wanted).clamp(min=0).square().sum() + others


def counts(points: Tensor) -> tuple[int, int]:
    """Components and loops that persist."""
    joins, rings = (
        filtration.diagram(pairs, points)
        for pairs in filtration.all_pairs(points, 1)
    )
    apart, open_rings = joins[:, 1], rings[:, 1] - rings[:, 0]
    return 1 + int((apart > NOISE).sum()), int((open_rings > NOISE).sum())


def shaped(start: Tensor, components: int, loops: int) -> Tensor:
    """Points after descending on the loss."""
    points = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([points], lr=0.02)
    for _ in range(STEPS):
        optimizer.zero_grad()
        shape_loss(points, components, loops).backward()
        optimizer.step()
    return points.detach()


# %%
# Before and after
# ----------------
# One random start, and where each goal leads it. Below, the persistence diagrams: what lies far
# above the diagonal persists.

starts = [
    torch.rand(POINTS, 2, generator=torch.Generator().manual_seed(seed))
    for seed in range(SEEDS)
]
ends = {goal: [shaped(start, *goal) for start in starts] for goal in GOALS}


def words(components: int, loops: int) -> str:
    """A goal, in words."""
    names = ("component", components), ("loop", loops)
    return ",\n".join(f"{n} {name}{'s' * (n != 1)}" for name, n in names)


clouds = {"before": starts[0]} | {words(*goal): ends[goal][0] for goal in GOALS}
figure, axes = plt.subplots(2, len(clouds), figsize=(WIDTH, 4.2))
for (upper, lower), (name, points) in zip(axes.T, clouds.items(), strict=True):
    upper.scatter(
        *points.T, s=9, linewidths=0, color=GREY if name == "before" else BLUE
    )
    upper.set(
        title=name, aspect="equal", adjustable="datalim", xticks=[], yticks=[]
    )
    found = filtration.all_pairs(points, 1)
    by_name = dict(zip(("components", "loops"), found, strict=True))
    plot.diagram(
        {
            name: filtration.diagram(pairs, points)
            for name, pairs in by_name.items()
        },
        ax=lower,
    )
    lower.get_legend().remove()
names = axes[1, 0].get_legend_handles_labels()
figure.legend(*names, loc="outside lower center", ncols=2)
plt.show()

# %%
# How often it works
# ------------------
# From each random start, with the numbers that come out; a component or loop counts if it persists for
# more than ``NOISE``.

rows = []
for goal in GOALS:
    reached = [counts(points) for points in ends[goal]]
    found = sum(count == goal for count in reached)
    by_chance = sum(counts(start) == goal for start in starts)
    rows.append(
        [
            words(*goal).replace("\n", " "),
            f"{by_chance} of {SEEDS}",
            f"{found} of {SEEDS}",
        ]
    )
show(Table(["goal", "met before", "met after"], rows))

# %%
# What it shows
# -------------
# The loss shapes what it measures and nothing else: a component may be a single point, for it counts
# as much as a large one, and two loops share a side, for that is shorter. Another term has to say
# what else a component or a loop should look like.
