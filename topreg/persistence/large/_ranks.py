"""Processes that share the work of one search: this one alone, or the ranks of a group."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from topreg.persistence.large._lists import Raw


class Ranks(Protocol):
    """Processes that hold the same points and take the same steps."""

    rank: int
    size: int

    def merge(self, raw: Raw, rows: slice) -> Raw:
        """Merge what all processes found about some rows into one list per row."""

    def concatenate(self, *arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Concatenate the rows of each array, one process after the other."""


class Alone:
    """One process."""

    rank, size = 0, 1

    def merge(self, raw: Raw, rows: slice) -> Raw:
        """Return the lists of some rows."""
        return Raw(*(array[rows] for array in raw))

    def concatenate(self, *arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Return the arrays unchanged."""
        return arrays


def share(rank: int, ranks: int, rows: int) -> slice:
    """Return the rows that one of the processes handles."""
    return slice(rows * rank // ranks, rows * (rank + 1) // ranks)
