"""Everything that can be said of a folder of runs: a long CSV, Markdown, JSON, figures."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

import pandas as pd

from .. import results
from .._files import whole_file, write_json, write_text
from ..config import place_of
from ..runs import SCHEMA, Run, environment
from . import figures, paper

Drawing = partial[None]
INTRODUCTION = """# Results

Accuracies are those of each method's headline protocol: mean ± sample standard deviation over
seeds. A difference is paired by task; its interval is for the mean over seeds. `results.csv` has
every number.
"""
ORACLES = """### Not results: what selection on test images would give

These numbers read test labels. They are here to be told from results.
"""


def write_run_report(
    folder: Path,
    runs: Sequence[Run],
    *,
    compare_paper: int | None = None,
    transfers: Sequence[Run] = (),
) -> list[str]:
    """Write ``results.csv``, ``.json`` and ``.md``, and what figures the runs allow; return names.

    Each backbone and kind of training data has tables of its own. ``transfers`` are the runs'
    accuracies on other data sets, ``compare_paper`` is the number of a table of the paper. If that
    does not compare with the runs, or a run is there twice, nothing is written.
    """
    if not runs:
        results.distinct(runs)  # raises
    ordered = sorted(runs, key=lambda run: (place_of(run.preset), run.dataset, run.shots, run.seed))
    settings = results.by_setting(ordered)
    text, drawings = [INTRODUCTION], dict[str, Drawing]()
    for (backbone, data), mine in settings.items():
        moved = [run for run in transfers if (run.backbone, run.data) == (backbone, data)]
        drawn = figures_of(mine, alone=len(settings) == 1)
        text += [f"## {backbone}, {data} views\n", *_tables(mine, moved)]
        text += [f"![{draw.keywords['title']}]({name})\n" for name, draw in drawn.items()]
        drawings |= drawn
    every = [*ordered, *transfers]
    if compare_paper is not None:
        kinds = {run.data: [other for other in every if other.data == run.data] for run in every}
        parts = kinds if compare_paper == 2 else results.by_setting(every)
        text += [
            f"## Beside table {compare_paper} of the paper\n",
            f"{paper.NOTES[compare_paper]}\n",
        ]
        text += [results.markdown(paper.paper_comparison(p, compare_paper)) for p in parts.values()]
    record = {
        "schema": SCHEMA,
        "command": ["vlm-adapters", *sys.argv[1:]],
        "environment": environment(),
        "runs": [asdict(run) for run in every],
    }
    files = {
        "results.csv": partial(results.write_csv, runs=every),
        "results.json": partial(write_json, content=record),
        "results.md": partial(write_text, text="\n".join(text)),
        **drawings,
    }
    with ExitStack() as stack:  # a figure may fail: nothing gets its name before all is written
        for name, write in files.items():
            write(stack.enter_context(whole_file(folder / name)))
    return list(files)


def _tables(runs: Sequence[Run], moved: Sequence[Run]) -> list[str]:
    """Write headings and tables: of each data set, of the average, oracles last."""
    datasets = dict.fromkeys(run.dataset for run in runs)
    groups = {name: [run for run in runs if run.dataset == name] for name in datasets}
    if len(datasets) > 1:
        groups[f"Average over {len(datasets)} data sets"] = list(runs)
    text, oracles = list[str](), list[str]()
    for name, mine in groups.items():
        tables = [results.difference_table(mine), results.protocol_table(mine)]
        tables += [results.terms_table(mine)]
        if name in datasets:
            tables += [results.factor_table(mine, factor) for factor in results.FACTORS]
        text += [f"### {name}\n", results.markdown(results.accuracy_table(mine)), *_filled(tables)]
        tables = [results.protocol_table(mine, oracles=True)]
        oracles += [f"{name}\n\n{table}" for table in _filled(tables)]
    if moved:
        text += ["### Other data sets, nothing tuned on them\n"]
        text += [results.markdown(results.transfer_table(runs, moved))]
    return [*text, ORACLES, *oracles] if oracles else text


def _filled(tables: Sequence[pd.DataFrame]) -> list[str]:
    """Write those tables that have rows."""
    return [results.markdown(table) for table in tables if len(table)]


def figures_of(runs: Sequence[Run], *, alone: bool) -> dict[str, Drawing]:
    """Return what draws the figures of one backbone and kind of data, by name of the file.

    Accuracies; terms of the constraint where there is a baseline; for each data set the factors
    that vary, and the trainings at the most shots. Names tell the setting if it is not alone.
    """
    backbone, data = runs[0].backbone, runs[0].data
    title, ending = f"{backbone}, {data} views", "" if alone else f"-{_slug(backbone)}-{data}"
    found = {f"accuracy{ending}.png": partial(figures.save_accuracy_figure, runs=runs, title=title)}
    if len(figures.term_gains(results.distinct(runs))):
        found[f"terms{ending}.png"] = partial(figures.save_terms_figure, runs=runs, title=title)
    datasets = list(dict.fromkeys(run.dataset for run in runs))
    for dataset in datasets:
        mine = [run for run in runs if run.dataset == dataset]
        name = ending if len(datasets) == 1 else f"{ending}-{_slug(dataset)}"
        draw = partial(figures.save_factor_figure, runs=mine, title=f"{dataset}, {title}")
        for factor in results.FACTORS:
            if len(results.factor_series(mine, factor)):
                found[f"{factor}{name}.png"] = partial(draw, factor=factor)
        most = max((run.shots for run in mine if run.log), default=0)
        trained = [run for run in mine if run.log and run.shots == most]
        if trained:
            heading = f"{dataset}, {title}, {most}-shot"
            found[f"training{name}.png"] = partial(
                figures.save_training_figure, runs=trained, title=heading
            )
    return found


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name)
