"""Files that are there whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """A text file in UTF-8.

    Args:
        path: Where to write.
        text: What to write.
    """
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to it when the block ends without an error.

    Args:
        path: Where the file shall be.

    Yields:
        Where to write it.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
