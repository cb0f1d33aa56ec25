"""Draws the chart of speed of the README, for light and dark, from the benchmarks' results.

Run ``python docs/figures/speed.py``.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from overview import FOLDER, INKS

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
COLOURS = {  # of Okabe and Ito
    "topreg": "#D55E00",
    "persist0": "#E69F00",
    "giotto-ph": "#0072B2",
    "ripser.py": "#009E73",
    "gudhi": "#56B4E9",
    "redzed": "#999999",
    "cripser": "#CC79A7",
}
Times = dict[str, dict[int, float]]  # milliseconds by library and size


def of_components() -> Times:
    """Dimension 0 from a distance matrix."""
    rows = json.loads((RESULTS / "dimension0.json").read_text())["Pairs from a distance matrix"]
    return {
        library: {int(n): row[f"{library}, ms"] for n, row in rows.items()}
        for library in ("topreg", "persist0", "giotto-ph")
    }


def of_loops() -> Times:
    """Dimensions 0 and 1 of clusters from a distance matrix, call by call."""
    times: Times = {library: {} for library in COLOURS}
    for row in json.loads((RESULTS / "peers.json").read_text())["rows"]:
        wanted = ("call by call", 1, "distances", False, "clusters")
        if tuple(row[k] for k in ("turns", "dimension", "source", "backward", "kind")) == wanted:
            for library, time in row["cells"].items():
                if library in times and isinstance(time, float):
                    times[library][row["n"]] = time
    return times


def of_images() -> Times:
    """Both dimensions of an image of noise."""
    times: Times = {"topreg": {}, "gudhi": {}, "cripser": {}}
    names: list[str] = []
    for line in (RESULTS / "images.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells[:2] == ["", "topreg"]:
            names = cells
        found = re.match(r"\| (\d+) x \d+, noise ", line)
        for name, cell in zip(names, cells, strict=True) if found else ():
            if name in times:
                times[name][int(found[1])] = float(cell.split()[0])
    return times


def draw_panel(axis: Axes, times: Times, title: str, unit: str) -> None:
    """Time over size on log axes, each line with its name."""
    for library, line in times.items():
        if line:
            ours = library == "topreg"
            width, order = (2.6, 3) if ours else (1.3, 2)
            sizes = sorted(line)
            axis.plot(
                sizes,
                [line[n] for n in sizes],
                color=COLOURS[library],
                linewidth=width,
                zorder=order,
                marker="o",
                markersize=3.5 if ours else 2.5,
                label=library,
            )
    axis.set(xscale="log", yscale="log", title=title, xlabel=unit)
    ticks = sorted(times["topreg"])[:: max(1, len(times["topreg"]) // 4)]
    axis.set_xticks(ticks, [f"{n:,}" for n in ticks], minor=False)
    axis.minorticks_off()
    axis.grid(alpha=0.25)
    axis.legend(fontsize=7.5, handlelength=1.2, borderpad=0.2)


def draw() -> Figure:
    """Three panels: components, loops, images."""
    figure = Figure(figsize=(9.6, 2.7), layout="constrained")
    axes = figure.subplots(1, 3)
    draw_panel(axes[0], of_components(), "components", "points")
    draw_panel(axes[1], of_loops(), "components and loops", "points")
    draw_panel(axes[2], of_images(), "components and holes", "pixels a side")
    axes[0].set_ylabel("time, ms")
    return figure


def main() -> None:
    """Write both files."""
    for name, ink in INKS.items():
        keys = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        style = {
            **dict.fromkeys(keys, ink),
            "axes.facecolor": "none",
            "legend.frameon": False,
            "font.size": 9,
            "axes.titlesize": 9.5,
            "grid.color": ink,
            "svg.hashsalt": "topreg",
            "svg.fonttype": "path",
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
        with rc_context(style):
            file = FOLDER / f"speed-{name}.svg"
            draw().savefig(file, transparent=True, metadata={"Date": None})


if __name__ == "__main__":
    main()
