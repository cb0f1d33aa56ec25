"""Every number of every run, one a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from .._files import write_text
from ..evaluation import ORACLE
from ..runs import Run

__all__ = ["COLUMNS", "write_csv"]

COLUMNS = (
    "method", "preset", "dataset", "backbone", "data", "shots", "seed",
    "protocol", "oracle", "accuracy",
)  # fmt: skip


def write_csv(path: Path, runs: Sequence[Run]) -> None:
    """One row for each run and protocol, accuracy in per cent; equal runs give equal bytes.

    Args:
        path: Where to write.
        runs: What to write. ``oracle`` is 1 where a protocol reads test labels.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in runs:
        about = (
            run.method, run.preset, run.dataset, run.backbone, run.data, run.shots, run.seed,
        )  # fmt: skip
        for protocol, value in run.accuracies.items():
            oracle = int(protocol.startswith(ORACLE))
            writer.writerow((*about, protocol, oracle, f"{value:.4f}"))
    write_text(path, text.getvalue())
