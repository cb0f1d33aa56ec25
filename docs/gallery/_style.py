"""Style of the gallery's figures: page width, readable on a white and on a black page."""

import statistics
from collections.abc import Mapping, Sequence

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes

GREY = "#808080"  # text, ticks and frames: as far from white as from black
BLUE, ORANGE, GREEN, RED, PURPLE = (
    "#4a8fd4",
    "#e07b2a",
    "#35a56c",
    "#dc5653",
    "#9b72d2",
)
COLOURS = (
    BLUE,
    ORANGE,
    GREEN,
    RED,
    PURPLE,
    "#a97c60",
    "#d76ab2",
    "#8f9a2b",
    "#2aa5b5",
    "#8a8a8a",
)
WIDTH = 7.3  # inches: the width of a page's text


def use_style() -> None:
    """Set matplotlib's defaults; sphinx-gallery resets them before each script."""
    grey = (
        "text.color",
        "axes.labelcolor",
        "axes.titlecolor",
        "axes.edgecolor",
        "xtick.color",
        "ytick.color",
        "legend.labelcolor",
        "grid.color",
    )
    clear = (
        "figure.facecolor",
        "axes.facecolor",
        "savefig.facecolor",
        "legend.facecolor",
    )
    mpl.rcParams.update(
        dict.fromkeys(grey, GREY)
        | dict.fromkeys(clear, "none")
        | {
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 10,
            "figure.constrained_layout.use": True,
            "figure.dpi": 150,
            "figure.figsize": (WIDTH, 3.0),
            "font.size": 9.5,
            "legend.edgecolor": "none",
            "legend.fontsize": 9,
            "savefig.dpi": 150,
            "savefig.transparent": True,
        }
    )


def by_seed(
    ax: Axes, groups: Mapping[float, Sequence[float]], chosen: float | None
) -> None:
    """Draw a column of dots per weight, one dot per seed, with the mean; lines join equal seeds."""
    columns = list(groups.values())
    ax.plot(
        range(len(columns)), columns, color=GREY, linewidth=0.8, alpha=0.6, zorder=1
    )
    for place, (weight, values) in enumerate(groups.items()):
        colour = BLUE if weight == 0 else ORANGE if weight == chosen else GREY
        mean = statistics.mean(values)
        ax.scatter(
            [place] * len(values), values, s=22, color=colour, alpha=0.8, zorder=2
        )
        ax.plot(
            [place - 0.18, place + 0.18], [mean, mean], color=colour, linewidth=2.5
        )
    ax.set_xticks(range(len(columns)), [f"{weight:g}" for weight in groups])
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_xlabel("weight of the term")
