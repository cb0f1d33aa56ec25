"""Tables of accuracies over shots, and of every protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..evaluation import ORACLE
from ..runs import Run
from .grouping import distinct_runs, shot_counts, unique
from .spread import counted, mean_and_deviation, seed_means

__all__ = ["Table", "accuracy_table", "fewer_images", "markdown", "oracle_table", "protocol_table"]

ESCAPES = str.maketrans({"*": r"\*", "|": r"\|"})  # names such as HC*-TR are no emphasis
Table = list[list[str]]


def accuracy_table(runs: Sequence[Run]) -> Table:
    """Mean and standard deviation over seeds of the headline accuracy.

    Args:
        runs: Runs of several methods. Of several data sets the average is shown, for the seeds
            that have them all.

    Returns:
        A header, then a row for each method.

    Raises:
        ValueError: If the runs do not belong in one table.
    """
    runs = distinct_runs(runs)
    shots = shot_counts(runs)
    cells = {
        method: [seed_accuracies(runs, method, count) for count in shots]
        for method in unique(run.method for run in runs)
    }
    most = max(len(cell) for row in cells.values() for cell in row)
    table = [[heading(runs, most), *(f"{count}-shot" for count in shots)]]
    for method, row in cells.items():
        table.append([method, *(mean_and_deviation(list(cell.values()), most) for cell in row)])
    return table


def fewer_images(runs: Sequence[Run]) -> list[str]:
    """Say where a class gave fewer training images than the shots that a table is headed by.

    Args:
        runs: The runs of the table.

    Returns:
        A sentence for each data set and shot count where that is so.
    """
    fewest: dict[tuple[str, int], int] = {}
    for run in runs:
        given = run.images.get("fewest_per_class", run.shots)
        key = run.dataset, run.shots
        fewest[key] = min(given, fewest.get(key, run.shots))
    return [
        f"{dataset} at {shots} shots: a class has no more than {given} training images."
        for (dataset, shots), given in sorted(fewest.items())
        if given < shots
    ]


def protocol_table(runs: Sequence[Run]) -> Table:
    """Accuracy under each protocol that a user without test labels can follow.

    Args:
        runs: Runs of several methods. Of several data sets the average is shown.

    Returns:
        A header, then a row for each method and shot count.

    Raises:
        ValueError: If the runs do not belong in one table.
    """
    return _protocols(runs, lambda protocol: not protocol.startswith(ORACLE), "{}")


def oracle_table(runs: Sequence[Run]) -> Table:
    """Accuracy under protocols that read test labels, beside the headline's.

    Args:
        runs: Runs of several methods. Of several data sets the average is shown.

    Returns:
        A header, then a row for each method and shot count that has such a protocol; the header
        alone if none has.

    Raises:
        ValueError: If the runs do not belong in one table.
    """
    title = "NOT RESULTS: selected on test labels; {}"
    return _protocols(runs, lambda protocol: protocol.startswith(ORACLE), title)


def markdown(table: Table) -> str:
    """A table as GitHub reads it.

    Args:
        table: Header and rows.

    Returns:
        Lines, each ended.
    """
    cells = [[cell.translate(ESCAPES) for cell in line] for line in table]
    lines = [cells[0], ["---"] + ["---:"] * (len(cells[0]) - 1), *cells[1:]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def seed_accuracies(
    runs: Sequence[Run], method: str, shots: int, protocol: str | None = None
) -> dict[int, float]:
    """Accuracy of one method at one shot count by seed, averaged over the data sets of all runs.

    Args:
        runs: Distinct runs.
        method: Title.
        shots: Shot count.
        protocol: Whose accuracy; the headline's if left out.

    Returns:
        One value for each seed that has all data sets.
    """
    values = {
        (run.dataset, run.seed): run.accuracies[protocol or run.headline]
        for run in runs
        if (run.method, run.shots) == (method, shots)
        and (protocol or run.headline) in run.accuracies
    }
    return seed_means(values, unique(run.dataset for run in runs))


def heading(runs: Sequence[Run], seeds: int) -> str:
    """What the numbers of a table are."""
    datasets = len({run.dataset for run in runs})
    what = "accuracy" if datasets == 1 else f"average accuracy on {datasets} data sets"
    return f"{what}, %, {counted(seeds, 'seed')}"


def _protocols(runs: Sequence[Run], wanted: Callable[[str], bool], title: str) -> Table:
    """Headline beside the protocols that are wanted."""
    runs = distinct_runs(runs)
    protocols = [name for name in unique(p for run in runs for p in run.accuracies) if wanted(name)]
    rows = {}
    for method in unique(run.method for run in runs):
        mine = [run for run in runs if run.method == method]
        for shots in shot_counts(mine):
            cells = [seed_accuracies(runs, method, shots, p) for p in protocols]
            if any(cells):
                headline = seed_accuracies(runs, method, shots)
                name = ", ".join(unique(run.headline for run in mine))
                rows[f"{method}, {shots}-shot"] = name, [headline, *cells]
    most = max((len(cell) for _, cells in rows.values() for cell in cells), default=0)
    table = [[title.format(heading(runs, most)), "headline protocol", "headline", *protocols]]
    for label, (name, cells) in rows.items():
        shown = [mean_and_deviation(list(cell.values()), most) for cell in cells]
        table.append([label, name, *shown])
    return table
