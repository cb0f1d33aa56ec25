"""Who shares the work of one search: this process alone, or the ranks of a process group."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from topreg.persistence.large._lists import Raw


class Ranks(Protocol):
    """Processes that hold the same points and go through the same steps."""

    rank: int
    size: int

    def merged(self, raw: Raw, rows: slice) -> Raw:
        """The lists of some rows from what each process found about them."""

    def joined(self, *arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """The rows of each array, one process after the other."""


class Alone:
    """One process."""

    rank, size = 0, 1

    def merged(self, raw: Raw, rows: slice) -> Raw:
        """As they are."""
        return Raw(*(array[rows] for array in raw))

    def joined(self, *arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """As they are."""
        return arrays


def share(rank: int, ranks: int, rows: int) -> slice:
    """The rows of which one of the processes takes care."""
    return slice(rows * rank // ranks, rows * (rank + 1) // ranks)
