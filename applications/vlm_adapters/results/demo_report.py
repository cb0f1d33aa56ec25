"""Everything that the demo's sweep leaves in its folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .._files import whole_file, write_json, write_text
from ..options import Method
from ..run_files import environment
from ..runs import Run
from .accuracy_figure import save_accuracy_figure
from .differences import difference_table
from .long_table import write_csv
from .tables import accuracy_table, markdown

__all__ = ["write_demo_report"]

SCHEMA = 1


def write_demo_report(
    folder: Path,
    runs: Sequence[Run],
    methods: Mapping[str, Method],
    pairs: Mapping[str, str],
    provenance: Mapping[str, Any],
    title: str,
) -> None:
    """Write ``results.csv``, ``results.json``, ``results.md`` and ``accuracy.png``.

    Args:
        folder: Existing folder.
        runs: Runs of all methods.
        methods: Methods by preset name.
        pairs: Preset of the baseline for each preset with the constraint.
        provenance: What the features are and come from.
        title: Heading of the figure.
    """
    content = {
        "schema": SCHEMA,
        "command": ["vlm-adapters", *sys.argv[1:]],
        "methods": {name: asdict(method) for name, method in methods.items()},
        "features": dict(provenance),
        "environment": environment(),
        "runs": [run.as_record() for run in runs],
    }
    tables = markdown(accuracy_table(runs)) + "\n" + markdown(difference_table(runs, pairs))
    with ExitStack() as stack:  # the figure may fail: nothing gets its name before all is written
        csv, json, md, png = (
            stack.enter_context(whole_file(folder / name))
            for name in ("results.csv", "results.json", "results.md", "accuracy.png")
        )
        write_csv(csv, runs)
        write_json(json, content)
        write_text(md, tables)
        save_accuracy_figure(png, runs, title)
