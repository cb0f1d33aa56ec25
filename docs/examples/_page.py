"""Writes ``docs/examples.md``: what each example says of itself and what it prints.

Run ``python docs/examples/_page.py`` after a change; it takes about two minutes on two cores.
"""

from __future__ import annotations

import ast
import platform
import subprocess
import sys
import time
from pathlib import Path

import torch

FOLDER = Path(__file__).parent
# What the tables show, written after they were read; the tables are the examples' own
READ = {
    "topological_autoencoder": "With a small weight distances are kept better at nearly the same "
    "trustworthiness and continuity; with a large one distances are kept better still, and "
    "neighbourhoods worse than without the term. The term keeps the scale of the data, not who is "
    "whose neighbour.",
    "connected_classes": "The weight that validation chose brings less than half a point on test "
    "images, half of the spread over seeds: no clear gain.",
    "paired_views": "The term did not help: the gain on validation pairs was noise of the choice.",
    "layers_by_rtd": "Both divergences find the same layer of the other network far more often "
    "than chance, and say much the same: RTD-Lite is the cheaper one.",
}


def section(path: Path) -> str:
    """Title, text, command, output and reading of one example."""
    title, _, text = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n\n")
    start = time.perf_counter()
    run = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    return (
        f"## {title}\n\n{text}\n\n{run.stdout.strip()}\n\n{READ[path.stem]} "
        f"({seconds:.0f} s; [source](examples/{path.name}))"
    )


def main() -> None:
    """Run all examples and write the page."""
    sections = [section(path) for path in sorted(FOLDER.glob("[!_]*.py"))]
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    head = (
        "# Worked examples\n\nOn scikit-learn's digits. Printed by `python docs/examples/_page.py` "
        f"on {machine}; means and standard deviations over seeds, differences paired by seed."
    )
    (FOLDER.parent / "examples.md").write_text("\n\n".join([head, *sections]) + "\n")


if __name__ == "__main__":
    main()
