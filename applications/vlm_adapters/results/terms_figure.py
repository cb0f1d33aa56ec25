"""What each term of the constraint adds, after the paper's table 3."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..runs import Run
from .ablations import Terms, adapter_of, terms_of
from .differences import gains
from .drawing import add_legend, add_titles, figure_file
from .grouping import distinct_runs, shot_counts, unique
from .spread import interval, seed_means

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["save_terms_figure", "term_gains"]

NO_TERMS = Terms(track_coincidence=False, perturbation=False)
BARS = {
    Terms(track_coincidence=True, perturbation=False): ("track coincidence alone", "#56b4e9", ""),
    Terms(track_coincidence=False, perturbation=True): ("perturbation alone", "#e69f00", "////"),
    Terms(track_coincidence=True, perturbation=True): ("both", "#0072b2", "...."),
}
Gains = dict[tuple[str, Terms], dict[int, list[float]]]
"""Differences by baseline, terms and shots, one a seed."""


def save_terms_figure(path: Path, runs: Sequence[Run], title: str) -> None:
    """What each term of the constraint adds to its baseline, with 95 % intervals over seeds.

    Args:
        path: PNG file.
        runs: Runs of several methods; each adapter that was trained with and without the
            constraint has a panel. Several data sets are averaged. Of methods with one adapter and
            the same terms the first is shown.
        title: Heading of the figure.

    Raises:
        ValueError: If the runs do not belong in one figure, or no adapter was trained both with and
            without the constraint.
        ModuleNotFoundError: If matplotlib is not installed.
    """
    runs = distinct_runs(runs)
    found = term_gains(runs)
    if not found:
        raise ValueError(
            "`runs` should hold an adapter trained with and without the constraint. Got none."
        )
    baselines = unique(baseline for baseline, _ in found)
    with figure_file(path, 1.3 * len(baselines) + 0.8) as figure:
        grid = figure.subplots(len(baselines), 1, squeeze=False, sharex=True)
        for baseline, axes in zip(baselines, grid[:, 0], strict=True):
            mine = {terms: found[b, terms] for b, terms in found if b == baseline}
            _draw_bars(axes, mine, shot_counts(runs))
            axes.set_title(f"difference to {baseline}")
        add_titles(figure, grid, title, "images a class (shots)", "points")
        add_legend(figure, list(grid[:, 0]))


def term_gains(runs: Sequence[Run]) -> Gains:
    """Differences to the baseline by terms of the constraint.

    Args:
        runs: Distinct runs.

    Returns:
        One value for each seed, by baseline, terms and shots. Of methods with one adapter and the
        same terms the first counts.
    """
    forms: dict[tuple[str, str, Terms], str] = {}
    for run in runs:
        projection = run.config.get("text", {}).get("projection", "")
        forms.setdefault((adapter_of(run), projection, terms_of(run)), run.method)
    found: Gains = {}
    for (kind, projection, terms), method in forms.items():
        baseline = forms.get((kind, projection, NO_TERMS))
        if any(terms) and baseline is not None:
            found[baseline, terms] = _by_shots(runs, method, baseline)
    return found


def _by_shots(runs: Sequence[Run], method: str, baseline: str) -> dict[int, list[float]]:
    """Differences at each shot count, one a seed, averaged over data sets."""
    datasets = unique(run.dataset for run in runs)
    pairs = gains(runs, method, baseline)
    found = {}
    for shots in shot_counts(runs):
        at = {(d, seed): gain for ((d, count), seed), gain in pairs.items() if count == shots}
        found[shots] = list(seed_means(at, datasets).values())
    return found


def _draw_bars(
    axes: Axes, found: Mapping[Terms, Mapping[int, list[float]]], shots: Sequence[int]
) -> None:
    """Bars at each shot count, one for each choice of terms."""
    shown = [terms for terms in BARS if terms in found]
    width = 0.8 / len(shown)
    for place, terms in enumerate(shown):
        cells = {x: found[terms][count] for x, count in enumerate(shots) if found[terms][count]}
        means = [statistics.fmean(values) for values in cells.values()]
        ends = [interval(values) for values in cells.values()]
        label, colour, hatch = BARS[terms]
        axes.bar(
            [x + (place - (len(shown) - 1) / 2) * width for x in cells], means, 0.9 * width,
            yerr=[end.high - end.mean if end else 0.0 for end in ends],
            color=colour, hatch=hatch, edgecolor="white", linewidth=0.3, label=label,
            error_kw={"elinewidth": 0.7, "capsize": 1.5, "capthick": 0.7},
        )  # fmt: skip
    axes.axhline(0, color="black", linewidth=0.6)
    axes.set_xticks(range(len(shots)), [str(count) for count in shots])
    axes.grid(visible=False, axis="x")
