"""Everything that can be said of a folder of runs: a long CSV, Markdown, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from .._files import whole_file, write_text
from ..preset_names import place_of
from ..runs import Run
from .ablations import FACTORS, ablation_table
from .comparison import paper_comparison
from .comparison_rules import NOTES
from .differences import difference_table
from .grouping import by_setting, distinct_runs, unique
from .long_table import write_csv
from .pictures import Picture, pictures_of
from .tables import Table, accuracy_table, markdown, oracle_table, protocol_table
from .transfers import transfer_table

__all__ = ["write_run_report"]

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
    pairs: Mapping[str, str],
    *,
    compare_paper: int | None = None,
    transfers: Sequence[Run] = (),
) -> list[str]:
    """Write ``results.csv``, ``results.md`` and the figures that the runs allow.

    Args:
        folder: Existing folder.
        runs: Any runs; each backbone and kind of training data has tables of its own.
        pairs: Preset of the baseline for each preset with the constraint.
        compare_paper: Number of a table of the paper to set beside ours.
        transfers: The runs' accuracies on other data sets, from :func:`read_transfers`.

    Returns:
        Names of the files.

    Raises:
        ValueError: If there are no runs, a run is there twice, or the paper's table does not
            compare with the runs; nothing is written then.
        ModuleNotFoundError: If matplotlib is not installed.
    """
    if not runs:
        distinct_runs(runs)  # says so
    ordered = sorted(runs, key=_order)
    settings = by_setting(ordered)
    lines, pictures = [INTRODUCTION], list[Picture]()
    for (backbone, data), mine in settings.items():
        moved = [run for run in transfers if (run.backbone, run.data) == (backbone, data)]
        drawn = pictures_of(mine, alone=len(settings) == 1)
        lines += [f"## {backbone}, {data} views\n", *_tables(mine, pairs, moved)]
        lines += [f"![{picture.title}]({picture.name})\n" for picture in drawn]
        pictures += drawn
    if compare_paper is not None:
        lines += _comparison([*ordered, *transfers], compare_paper)
    names = ["results.csv", "results.md", *(picture.name for picture in pictures)]
    with ExitStack() as stack:  # a figure may fail: nothing gets its name before all is written
        csv, md, *files = (stack.enter_context(whole_file(folder / name)) for name in names)
        write_csv(csv, [*ordered, *transfers])
        write_text(md, "\n".join(lines))
        for picture, file in zip(pictures, files, strict=True):
            picture.draw(file)
    return names


def _tables(runs: Sequence[Run], pairs: Mapping[str, str], moved: Sequence[Run]) -> list[str]:
    """Headings and tables: of each data set, of the average, oracles last."""
    datasets = unique(run.dataset for run in runs)
    groups = {name: [run for run in runs if run.dataset == name] for name in datasets}
    if len(datasets) > 1:
        groups[f"Average over {len(datasets)} data sets"] = list(runs)
    lines, oracles = list[str](), list[str]()
    for name, mine in groups.items():
        tables = [difference_table(mine, pairs), protocol_table(mine), ablation_table(mine)]
        if name in datasets:
            tables += [ablation_table(mine, factor) for factor in FACTORS]
        lines += [f"### {name}\n", markdown(accuracy_table(mine)), *_filled(tables)]
        oracles += [f"{name}\n\n{text}" for text in _filled([oracle_table(mine)])]
    if moved:
        lines += ["### Other data sets, nothing tuned on them\n"]
        lines += [markdown(transfer_table(runs, moved))]
    return [*lines, ORACLES, *oracles] if oracles else lines


def _filled(tables: Sequence[Table]) -> list[str]:
    """Those tables that have rows, as Markdown."""
    return [markdown(table) for table in tables if len(table) > 1]


def _comparison(runs: Sequence[Run], table: int) -> list[str]:
    """The paper's table beside ours, for each kind of training data."""
    groups = {run.data: [r for r in runs if r.data == run.data] for run in runs}
    parts = groups.values() if table == 2 else by_setting(runs).values()
    tables = [markdown(paper_comparison(part, table)) for part in parts]
    return [f"## Beside table {table} of the paper\n", f"{NOTES[table]}\n", *tables]


def _order(run: Run) -> tuple[int, str, str, int, int]:
    """Shipped presets in their order, then others; data sets, shots and seeds."""
    return *place_of(run.preset), run.dataset, run.shots, run.seed
