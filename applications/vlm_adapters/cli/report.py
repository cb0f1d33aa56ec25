"""``report``: tables and figures of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..preset_names import pairs_of
from ..results import (
    accuracy_table,
    by_setting,
    difference_table,
    read_runs,
    read_transfers,
    write_run_report,
)
from ._app import UsageError, as_usage, command, writable_folder
from ._tables import print_table


@command("report")
def report(
    runs: Annotated[Path, typer.Argument(help="Folder of runs.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the report; that of the runs if left out.")
    ] = None,
    compare: Annotated[
        str | None, typer.Option(help="`paper` sets the paper's values beside ours.")
    ] = None,
    table: Annotated[
        int | None,
        typer.Option(min=1, max=5, help="Table of the paper to compare with.", show_default="5"),
    ] = None,
) -> None:
    """Write results.csv, results.md and the figures of all runs below a folder."""
    if compare not in (None, "paper"):
        raise UsageError(f"`--compare` should be `paper`. Got {compare!r}.")
    if table is not None and compare is None:
        raise UsageError("`--table` should come with `--compare paper`. Got it alone.")
    with as_usage():
        found = read_runs(runs)
    folder = writable_folder(out or runs)
    pairs = pairs_of(run.preset for run in found)
    written = write_run_report(
        folder, found, pairs, compare_paper=(table or 5) if compare else None,
        transfers=read_transfers(runs),
    )  # fmt: skip
    for group in by_setting(found).values():
        print_table(accuracy_table(group))
        if pairs_of(run.preset for run in group):
            print_table(difference_table(group, pairs))
    typer.echo(f"Wrote {', '.join(written)} into {folder}.")
