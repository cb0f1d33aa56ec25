"""Files that are there whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..experiments import Run

COLUMNS = ("method", "shots", "seed", "protocol", "accuracy")


def write_csv(path: Path, runs: Sequence[Run]) -> None:
    """One row for each run and protocol, accuracy in per cent.

    Args:
        path: Where to write.
        runs: What to write.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in runs:
        for protocol, value in run.accuracies.items():
            writer.writerow((run.method, run.shots, run.seed, protocol, f"{value:.4f}"))
    write_text(path, text.getvalue())


def write_json(path: Path, content: Any) -> None:
    """JSON with an indent.

    Args:
        path: Where to write.
        content: What to write.
    """
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write beside the target, then rename.

    Args:
        path: Where to write.
        text: What to write.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
