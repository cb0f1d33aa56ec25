"""Draw the figure of the README and of the landing page, for light and dark.

Run ``python docs/figures/overview.py``.
"""

from __future__ import annotations

from pathlib import Path

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import cosine_similarity

from topreg import RipsFiltration, persistence_tracks, plot

FOLDER = Path(__file__).parents[1] / "_static"
INKS = {"light": "#333333", "dark": "#dddddd"}


def cloud() -> Tensor:
    """Return a noisy circle and a cluster next to it."""
    generator = torch.Generator().manual_seed(4)
    angles = torch.rand(34, generator=generator) * 2 * torch.pi
    circle = torch.stack([angles.cos(), angles.sin()], dim=1)
    circle = circle + 0.07 * torch.randn(circle.shape, generator=generator)
    cluster = torch.tensor([2.3, -0.5]) + 0.16 * torch.randn(12, 2, generator=generator)
    return torch.cat([circle, cluster])


def second_view(points: Tensor) -> Tensor:
    """Return the same samples in another space: bent, and noisy at the circle."""
    generator = torch.Generator().manual_seed(1)
    x, y = points.unbind(1)
    noise = 0.16 * torch.randn(points.shape, generator=generator) * (x < 1.6)[:, None]
    return torch.stack([x + 0.25 * y.square(), 0.8 * y + 0.15 * x.square()], dim=1) + noise


def draw() -> Figure:
    """Draw three panels: tree, barcode, the same edges in a second space."""
    points = cloud()
    other = second_view(points)
    filtration = RipsFiltration()
    components, loops = filtration.all_pairs(points, 1)
    figure = Figure(figsize=(9.6, 2.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.1, 0.8, 1.1])

    plot.spanning_tree(points, components, ax=left)
    left.set_title("edges that join components")
    plot.barcode(
        {
            "components": filtration.diagram(components, points),
            "loops": filtration.diagram(loops, points),
        },
        ax=middle,
    )
    middle.set_title("how long each class lives")
    tracks = [persistence_tracks(space, components) for space in (points, other)]
    plot.spanning_tree(other, components, values=cosine_similarity(*tracks), ax=right)
    right.collections[0].set_clim(-1, 1)
    right.set_title("the same edges in a second view: cosine")
    for axis in (left, right):
        axis.spines[:].set_visible(False)
    return figure


def main() -> None:
    """Write both files."""
    for name, ink in INKS.items():
        keys = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        style = dict.fromkeys(keys, ink) | {
            "axes.facecolor": "none",
            "legend.frameon": False,
            "font.size": 9,
            "axes.titlesize": 9.5,
            "svg.hashsalt": "topreg",
            "svg.fonttype": "path",
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
        with rc_context(style):
            figure = draw()
            figure.savefig(
                FOLDER / f"overview-{name}.svg", transparent=True, metadata={"Date": None}
            )


if __name__ == "__main__":
    main()
