"""Everything that a sweep over shots and seeds leaves in its folder."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..config import Method
from ..experiments import Run
from .figures import save_accuracy_figure
from .store import whole_file, write_csv, write_json, write_text
from .tables import accuracy_table, difference_table, markdown

SCHEMA = 1
PACKAGES = ("topreg", "torch", "numpy", "numba", "safetensors", "matplotlib")


def write_report(
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
        "environment": _environment(),
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


def _environment() -> dict[str, object]:
    """Versions and machine, as far as they may change a number."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return versions | {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
