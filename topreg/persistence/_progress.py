"""Progress of a long search: a function of the user, or a bar."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Progress = Callable[[str, int, int], None]  # stage, done, total
PATIENCE = 1.0  # seconds after which a search is long enough for a bar
WIDTH = 40  # characters of a full bar


@contextlib.contextmanager
def report_to(progress: Progress | bool | None) -> Iterator[Progress | None]:
    """Yield the function that reports progress: the given one, a bar for ``True``, or None."""
    if not isinstance(progress, bool):
        yield progress
        return
    bar = _Bar() if progress else None
    try:
        yield bar
    finally:
        if bar is not None:
            bar.close()


class _Bar:
    """One line on standard error, overwritten as the search goes on; nothing if it is short."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._line = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show the stage, a bar and the percentage, if they have changed."""
        if time.monotonic() - self._start < PATIENCE:
            return
        part = done / max(total, 1)
        line = f"{stage:<10} |{'#' * int(WIDTH * part):<{WIDTH}}| {part:4.0%}"
        if line != self._line:
            self._line = line
            print(f"\r{line}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the line if there is one."""
        if self._line:
            print(file=sys.stderr)
