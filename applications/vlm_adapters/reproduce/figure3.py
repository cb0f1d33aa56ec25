"""Figure 3: accuracy over shots on the eleven data sets, from the runs of table 5."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..cli._app import as_usage, run_app, writable_file
from ..results import read_runs, save_accuracy_figure


def figure3(
    runs: Annotated[Path, typer.Argument(help="Folder of the runs of table 5.")] = Path(
        "runs/table5"
    ),
    out: Annotated[Path, typer.Option(help="PNG file.")] = Path("figure3.png"),
) -> None:
    """Draw accuracy over shots, mean and deviation over seeds, and the average over data sets."""
    with as_usage():
        found = read_runs(runs)
    save_accuracy_figure(writable_file(out), found, "Accuracy over shots")
    typer.echo(f"Wrote {out}.")


if __name__ == "__main__":
    run_app(figure3)
