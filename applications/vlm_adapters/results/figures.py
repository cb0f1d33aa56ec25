"""Figures of runs, 8 cm wide, drawn without a display; PNG files that are whole or not there."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .._files import whole_file
from ..runs import Run
from . import TERMS, distinct, factor_series, gains, half_interval, seed_means

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 8 / 2.54  # inches: one column of a page
CHARACTERS = 46  # of a heading on one line
STYLE = Path(__file__).with_name("figures.mplstyle")
ERRORS: dict[str, Any] = {"capsize": 1.5, "elinewidth": 0.7, "capthick": 0.7}
# Okabe and Ito's palette; forms of one adapter share a colour.
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
LINES = {"zero_shot": ":"}
BARS = {
    "track coincidence alone": ("#56b4e9", ""),
    "perturbation alone": ("#e69f00", "////"),
    "both": ("#0072b2", "...."),
}
WORDS = dict(zip(((True, False), (False, True), (True, True)), BARS, strict=True))  # of two terms
PANELS = {
    "cross_entropy": "cross-entropy",
    "val_accuracy": "validation accuracy, %",
    "track_coincidence": "track coincidence",
    "deviating_perturbation": "deviating perturbation",
}
Style = dict[str, Any]


def save_accuracy_figure(path: Path, runs: Sequence[Run], title: str) -> None:
    """Draw headline accuracy over shots, mean with one standard deviation over seeds.

    Each of several data sets has a panel, and a last one shows their average.
    """
    table = distinct(runs)
    panels = dict(iter(table.groupby("dataset", sort=False)))
    panels = {**panels, f"average of {len(panels)}": table} if len(panels) > 1 else {"": table}
    columns = min(len(panels), 2)
    rows = math.ceil(len(panels) / columns)
    look = styles(table)
    height = (2.2 if columns == 1 else 1.15 * rows) + _legend_height(list(look)) + 0.6
    with figure_file(path, height) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in list(grid.flat)[len(panels) :]:
            axes.set_axis_off()
        for (name, shown), axes in zip(panels.items(), grid.flat, strict=False):
            means = seed_means(shown, ["method", "shots"]).dropna()
            methods, shots = shown["method"].unique(), sorted(shown["shots"].unique())
            step = min(0.04, 0.3 / len(methods))
            for place, method in enumerate(methods):
                line = means[means.index.get_level_values("method") == method]
                shift = 2 ** (step * (place - (len(methods) - 1) / 2))  # keeps error bars apart
                _draw_means(axes, line, "shots", look[method], shift, label=method)
            axes.set_xscale("log", base=2)
            axes.set_xticks(shots, [str(count) for count in shots])
            axes.minorticks_off()
            axes.set_title(name)
        finish(figure, grid, title, "images a class (shots)", "test accuracy, %")


def _draw_means(
    axes: Axes, values: pd.Series, by: str, look: Style, shift: float = 0.0, label: str = ""
) -> None:
    """Draw a line of means with one standard deviation, side by side or at shifted values."""
    cells = values.groupby(level=by).agg(["mean", "std"]).fillna(0.0)
    x = cells.index.to_numpy() * shift if shift else range(len(cells))
    axes.errorbar(x, cells["mean"], yerr=cells["std"], label=label, **ERRORS, **look)


def save_factor_figure(path: Path, runs: Sequence[Run], factor: str, title: str) -> None:
    """Draw accuracy over the values of one factor, mean with one standard deviation over seeds."""
    groups = factor_series(runs, factor).groupby("label", sort=False)
    colours = list(COLOURS.values())[::-1]
    with figure_file(path, 1.5 * len(groups) + 0.5) as figure:
        grid = figure.subplots(len(groups), 1, squeeze=False)
        for place, ((label, one), axes) in enumerate(zip(groups, grid[:, 0], strict=True)):
            values = one.set_index("value")["accuracy"]
            look = {"color": colours[place % 6], "marker": MARKERS[place % 6]}
            _draw_means(axes, values, "value", look)
            names = sorted(values.index.unique())
            axes.set_xticks(range(len(names)), [f"{value:g}" for value in names])
            axes.set_title(label)
        finish(figure, grid, title, f"constraint.{factor}", "test accuracy, %")


def term_gains(table: pd.DataFrame) -> pd.DataFrame:
    """Return what each choice of terms adds to its baseline, for each seed and shot count.

    Of methods with one adapter and the same terms the first counts. Data sets are averaged.
    """
    same = ["adapter.kind", "text.projection"]
    forms = table.drop_duplicates([*same, *TERMS])
    pairs = forms.merge(forms[~forms[TERMS].any(axis=1)], on=same, suffixes=("", "_baseline"))
    found = [pd.DataFrame(columns=["baseline", "terms", "shots", "accuracy"])]
    for pair in pairs[pairs[TERMS].any(axis=1)].to_dict("records"):
        points = gains(table, pair["method"], pair["method_baseline"])
        means = seed_means(points, ["shots"]).dropna().rename("accuracy").reset_index()
        terms = WORDS[pair[TERMS[0]], pair[TERMS[1]]]
        found.append(means.assign(baseline=pair["method_baseline"], terms=terms))
    return pd.concat(found[1:] or found, ignore_index=True)


def save_terms_figure(path: Path, runs: Sequence[Run], title: str) -> None:
    """Draw what each term of the constraint adds to its baseline, with 95 % intervals over seeds.

    Each adapter that was trained with and without the constraint has a panel.
    """
    table = distinct(runs)
    found = term_gains(table)
    shots = sorted(table["shots"].unique())
    groups = found.groupby("baseline", sort=False)
    with figure_file(path, 1.3 * len(groups) + 0.8) as figure:
        grid = figure.subplots(len(groups), 1, squeeze=False, sharex=True)
        for (baseline, mine), axes in zip(groups, grid[:, 0], strict=True):
            cells = mine.groupby(["terms", "shots"])["accuracy"].agg(["mean", half_interval])
            shown = [terms for terms in BARS if terms in cells.index.unique("terms")]
            width = 0.8 / len(shown)
            for place, terms in enumerate(shown):
                bars, (colour, hatch) = cells.loc[terms], BARS[terms]
                x = [shots.index(s) + (place - (len(shown) - 1) / 2) * width for s in bars.index]
                error = bars["half_interval"].fillna(0.0)
                look = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.3}
                axes.bar(
                    x, bars["mean"], 0.9 * width, yerr=error, label=terms, error_kw=ERRORS, **look
                )
            axes.axhline(0, color="black", linewidth=0.6)
            axes.set_xticks(range(len(shots)), [str(count) for count in shots])
            axes.grid(visible=False, axis="x")
            axes.set_title(f"difference to {baseline}")
        finish(figure, grid, title, "images a class (shots)", "points")


def save_training_figure(path: Path, runs: Sequence[Run], title: str) -> None:
    """Draw the log of some trainings: one line for each method, mean over seeds.

    The runs are on one data set at one shot count; untrained methods are left out. The terms are
    those that were trained, without their weights: a method without the constraint has none.
    """
    trained = distinct(runs)[[bool(run.log) for run in runs]]
    curves = training_curves(trained["method"], runs)
    look = styles(trained)
    others = [name for name in curves if name not in (*PANELS, "learning_rate")]
    panels = PANELS | {name: name.replace("_", " ") for name in others}
    if len(panels) % 2:
        panels["learning_rate"] = "learning rate"
    with figure_file(path, 1.5 * (len(panels) // 2) + _legend_height(list(look))) as figure:
        grid = figure.subplots(len(panels) // 2, 2, sharex=True, squeeze=False)
        for (name, label), axes in zip(panels.items(), grid.flat, strict=True):
            found = curves[name].unstack("epoch") if name in curves else pd.DataFrame()
            if name in list(PANELS)[2:]:
                found = found[found.any(axis=1)]
            for method, curve in found.reindex([m for m in look if m in found.index]).iterrows():
                curve = curve.dropna()
                marks = max(1, math.ceil(len(curve) / 5))
                axes.plot(
                    curve.index + 1, curve, label=method, markevery=marks, **look[str(method)]
                )
            if found.empty:
                axes.annotate("not trained", (0.5, 0.5), xycoords="axes fraction", ha="center")
            elif name == "cross_entropy" and 0 < 10 * found.min().min() < found.max().max():
                axes.set_yscale("log")
                axes.minorticks_off()
            axes.set_title(label)
        finish(figure, grid, title, "epoch", "")


def training_curves(methods: pd.Series, runs: Sequence[Run]) -> pd.DataFrame:
    """Average the log over seeds, by method and epoch; NaN where one of its trainings is over."""
    curves = {}
    for method, places in methods.groupby(methods).groups.items():
        curves[method] = sum(pd.DataFrame(runs[place].log) for place in places) / len(places)
    return pd.concat(curves, names=["method", "epoch"])


def styles(table: pd.DataFrame) -> dict[str, Style]:
    """Choose colours by adapter, lines by constraint, and other markers for each further method.

    Lines are solid with the constraint, dashed without, and dotted if nothing is trained.
    """
    methods = table.drop_duplicates("method")
    places = methods.groupby("adapter.kind").cumcount()
    return {
        run["method"]: {
            "color": COLOURS.get(run["adapter.kind"], OTHER),
            "linestyle": "-" if any(run[TERMS]) else LINES.get(run["adapter.kind"], "--"),
            "marker": MARKERS[place % len(MARKERS)],
        }
        for (_, run), place in zip(methods.iterrows(), places, strict=True)
    }


@contextmanager
def figure_file(path: Path, height: float) -> Iterator[Figure]:
    """Give a figure, so many inches high, that becomes a PNG if the block ends without an error."""
    with whole_file(path) as unfinished, matplotlib.rc_context(fname=STYLE):
        figure = Figure(figsize=(WIDTH, height), dpi=300, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(unfinished, format="png")


def finish(figure: Figure, grid: Any, title: str, xlabel: str, ylabel: str) -> None:
    """Add a heading, labels outside a grid of axes, and one legend for all of them."""
    figure.suptitle(textwrap.fill(title, CHARACTERS))
    if len(grid) == 1:
        grid[0, 0].set_ylabel(ylabel)
    else:
        figure.supylabel(ylabel)
    for column in grid.T:
        last = max(place for place, axes in enumerate(column) if axes.axison)
        column[last].set_xlabel(xlabel)
    pairs = [axes.get_legend_handles_labels() for axes in grid.flat]
    handles = {label: handle for pair in pairs for handle, label in zip(*pair, strict=True)}
    if handles:
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=_columns(handles)
        )


def _legend_height(labels: Sequence[str]) -> float:
    return 0.15 * math.ceil(len(labels) / _columns(labels))


def _columns(labels: Sequence[str] | dict[str, Any]) -> int:
    """Count the labels that fit side by side."""
    return 2 if max(map(len, labels)) <= CHARACTERS // 2 + 2 else 1
