"""Figures, drawn without a display."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from ..experiments import Run
from .store import whole_file

# Okabe and Ito's palette; a baseline and its constrained form share a colour.
STYLES = {
    "zero_shot": ("#7f7f7f", ":", "."),
    "taskres": ("#0072b2", "--", "s"),
    "hc_tr": ("#0072b2", "-", "o"),
    "tip_adapter_f": ("#d55e00", "--", "s"),
    "hc_taf": ("#d55e00", "-", "o"),
}


def save_accuracy_figure(path: Path, runs: Sequence[Run], title: str) -> None:
    """Headline accuracy over shots, mean with one standard deviation over seeds.

    Args:
        path: PNG file.
        runs: Runs of several methods.
        title: Heading of the figure.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shots = list(dict.fromkeys(run.shots for run in runs))
    presets = list(dict.fromkeys(run.preset for run in runs))
    for place, preset in enumerate(presets):
        mine = [run for run in runs if run.preset == preset]
        values = [[run.accuracy for run in mine if run.shots == count] for count in shots]
        colour, line, marker = STYLES.get(preset, ("black", "-", "x"))
        shift = 2 ** (0.05 * (place - (len(presets) - 1) / 2))  # keeps error bars apart
        axes.errorbar(
            [count * shift for count in shots],
            [statistics.fmean(v) for v in values],
            yerr=[statistics.stdev(v) if len(v) > 1 else 0.0 for v in values],
            label=mine[0].method, color=colour, linestyle=line, marker=marker,
            markersize=4, capsize=2, linewidth=1.4,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, [str(count) for count in shots])
    axes.minorticks_off()
    axes.set_xlabel("training images a class (shots)")
    axes.set_ylabel("test accuracy, %")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with whole_file(path) as unfinished:
        figure.savefig(unfinished, format="png")
