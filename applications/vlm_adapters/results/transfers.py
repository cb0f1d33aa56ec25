"""Trained adapters on the test images of other data sets: domain generalisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._files import read_json
from ..run_files import RESULT, read_run
from ..runs import Run
from .grouping import distinct_runs, unique
from .spread import mean_and_deviation, seed_means
from .tables import Table

__all__ = ["read_transfers", "transfer_file", "transfer_table"]

FOLDER = "transfer"


def transfer_file(run: Path, target: str) -> Path:
    """Where a run keeps its accuracy on another data set.

    Args:
        run: Folder of the run.
        target: Name of the data set.

    Returns:
        Path of the file.
    """
    return run / FOLDER / f"{target}.json"


def read_transfers(folder: Path) -> list[Run]:
    """What ``vlm-adapters evaluate`` left in the runs below a folder.

    Args:
        folder: A run's folder, or one with many.

    Returns:
        A run for each target data set, under its name, with the target's accuracy alone.

    Raises:
        ValueError: If a file is damaged or of another run.
    """
    return [
        _transferred(read_run(file.parent.parent), read_json(file), file)
        for file in sorted(folder.rglob(f"{FOLDER}/*.json"))
        if (file.parent.parent / RESULT).is_file()
    ]


def transfer_table(runs: Sequence[Run], transfers: Sequence[Run]) -> Table:
    """Accuracy on the source and on each target, and the average over targets.

    Args:
        runs: Runs on the source data sets.
        transfers: The same on targets, from :func:`read_transfers`.

    Returns:
        A header, then a row for each method and shot count that was transferred; the header alone
        if none was.

    Raises:
        ValueError: If the runs do not belong in one table.
    """
    targets = unique(run.dataset for run in transfers)
    sources = unique(run.dataset for run in runs)
    columns = [*sources, *targets]
    named = distinct_runs([*runs, *transfers])
    moved = [run for run in named if run.dataset in targets]
    table = [["accuracy, %, trained on " + ", ".join(sources), *columns, "average of targets"]]
    for method, shots in dict.fromkeys((run.method, run.shots) for run in moved):
        mine = [run for run in named if (run.method, run.shots) == (method, shots)]
        values = {(run.dataset, run.seed): run.accuracy for run in mine}
        places = [[column] for column in columns] + [targets]
        cells = [
            seed_means({k: v for k, v in values.items() if k[0] in place}, place)
            for place in places
        ]
        most = max(map(len, cells))
        shown = [mean_and_deviation(list(cell.values()), most) for cell in cells]
        table.append([f"{method}, {shots}-shot", *shown])
    return table


def _transferred(run: Run, content: Any, file: Path) -> Run:
    """The run with the accuracy that a file holds."""
    try:
        trained = content["run"]
        target, accuracy = str(content["target"]), float(content["accuracy"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"`{file}` should hold the accuracy on a target. Got {type(error).__name__}: {error}. "
            "Make it again with `vlm-adapters evaluate`."
        ) from None
    if trained != run.identity:
        raise ValueError(
            f"`{file}` should belong to the run in its folder. Got the accuracy of another. "
            "Make it again with `vlm-adapters evaluate`."
        )
    return replace(run, dataset=target, accuracies={run.headline: accuracy}, log=[])
