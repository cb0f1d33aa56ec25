"""What the figures share: size, letters, colours, and files without a display."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .._files import whole_file
from .._optional import require
from ..runs import Run
from .ablations import adapter_of, terms_of
from .grouping import unique

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "MARKERS",
    "Style",
    "add_legend",
    "add_titles",
    "figure_file",
    "legend_height",
    "styles",
]

WIDTH = 8 / 2.54  # inches: one column of a page
CHARACTERS = 46  # of a heading on one line
LETTERS = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.titlepad": 3,
    "axes.labelsize": 7,
    "figure.titlesize": 8,
    "legend.fontsize": 6.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
}
# Okabe and Ito's palette; forms of one adapter share a colour, then lighter and darker ones.
COLOURS = {
    "zero_shot": "#7f7f7f",
    "linear_probe": "#000000",
    "clip_adapter": "#009e73",
    "taskres": "#0072b2",
    "tip_adapter": "#cc79a7",
    "tip_adapter_f": "#d55e00",
}
OTHER = "#56b4e9"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SHADES = (0.0, 0.55, -0.5, 0.3, -0.25)  # towards white, or towards black


class Style(NamedTuple):
    """How a method is drawn: solid with the constraint, dashed without; dotted if untrained."""

    color: tuple[float, ...]
    linestyle: str
    marker: str


def styles(runs: Sequence[Run]) -> dict[str, Style]:
    """A style for each method: colour by adapter, line by constraint, marker and shade otherwise.

    Args:
        runs: Distinct runs.

    Returns:
        Styles by title.
    """
    found: dict[str, Style] = {}
    forms: list[tuple[str, str]] = []
    for method in unique(run.method for run in runs):
        run = next(run for run in runs if run.method == method)
        kind = adapter_of(run) or run.preset
        line = "-" if any(terms_of(run)) else ":" if kind == "zero_shot" else "--"
        shade = SHADES[forms.count((kind, line)) % len(SHADES)]
        used = sum(form[0] == kind for form in forms)
        colour = _shaded(COLOURS.get(kind, OTHER), shade)
        found[method] = Style(colour, line, MARKERS[used % len(MARKERS)])
        forms.append((kind, line))
    return found


@contextmanager
def figure_file(path: Path, height: float) -> Iterator[Figure]:
    """A figure, 8 cm wide, that becomes a PNG when the block ends without an error.

    Args:
        path: Where to write.
        height: In inches.

    Yields:
        The figure.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed.
    """
    matplotlib = require("matplotlib", extra="vlm")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with whole_file(path) as unfinished, matplotlib.rc_context(LETTERS):
        figure = Figure(figsize=(WIDTH, height), dpi=300, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(unfinished, format="png")


def add_titles(figure: Figure, grid: Any, title: str, xlabel: str, ylabel: str = "") -> None:
    """Heading, and labels outside a grid of axes."""
    figure.suptitle(textwrap.fill(title, CHARACTERS))
    if len(grid) == 1:
        grid[0, 0].set_ylabel(ylabel)
    else:
        figure.supylabel(ylabel, fontsize=7)
    for column in grid.T:
        last = max(place for place, axes in enumerate(column) if axes.axison)
        column[last].set_xlabel(xlabel)


def add_legend(figure: Figure, grid: Sequence[Axes]) -> None:
    """One legend for all axes, below them."""
    pairs = [pair for axes in grid for pair in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in pairs}
    columns = _legend_columns(list(handles))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)


def legend_height(labels: Sequence[str]) -> float:
    """Height in inches of a legend."""
    return 0.15 * -(-len(labels) // _legend_columns(labels))


def _legend_columns(labels: Sequence[str]) -> int:
    """As many as fit side by side."""
    return 2 if max(map(len, labels)) <= CHARACTERS // 2 + 2 else 1


def _shaded(colour: str, shade: float) -> tuple[float, ...]:
    """A colour mixed with white, or with black."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    end = 1.0 if shade > 0 else 0.0
    return tuple(part + abs(shade) * (end - part) for part in parts)
