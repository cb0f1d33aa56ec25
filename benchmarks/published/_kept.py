"""Results kept one by one in a JSON file, so that a stopped run goes on where it was."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "published"


class Kept:
    """Values by name in ``benchmarks/results/published/NAME.json``.

    Args:
        name: Of the file, without its ending.
        folder: Where the file is.
    """

    def __init__(self, name: str, *, folder: Path = RESULTS) -> None:
        self.file = folder / f"{name}.json"
        self.values = self._read()

    def _read(self) -> dict[str, dict[str, Any]]:
        text = self.file.read_text(encoding="utf-8") if self.file.is_file() else "{}"
        values: dict[str, dict[str, Any]] = json.loads(text)
        return values

    def compute(self, name: str, compute: Callable[[], Any], **facts: object) -> None:
        """Compute a value and keep it with its time, unless it is known."""
        self.values = self._read()
        if name in self.values:
            return
        start = time.perf_counter()
        value = compute()
        seconds = round(time.perf_counter() - start, 2)
        self._write({**self._read(), name: {"value": value, "seconds": seconds, **facts}})
        print(f"{name}: {seconds} s", file=sys.stderr)

    def forget(self, names: Collection[str]) -> None:
        """Drop some values, so that they are computed again."""
        self._write({name: part for name, part in self._read().items() if name not in names})

    def _write(self, values: dict[str, dict[str, Any]]) -> None:
        """Replace the file in one step, one value per line."""
        self.values = values
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(f".{os.getpid()}")
        lines = (f" {json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())
        draft.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        os.replace(draft, self.file)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Return a Markdown table; so many columns are words, to the left, the others to the right."""
    lines = [head, ["---"] * words + ["---:"] * (len(head) - words), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
