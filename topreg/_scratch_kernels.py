"""Working memory that compiled loops use again.

Freed memory returns to the system when other code frees much at once. Each page of it must then be
fetched anew, which takes longer than a small search. Blocks of working memory are therefore kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from topreg._compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")
Block = NDArray[np.uint8]  # the first 8 bytes count the bytes asked for, these 8 included

LINE = 64  # bytes: arrays begin at multiples of it
SMALLEST, LARGEST = 1 << 16, 1 << 24  # bytes of a block that is kept

_spare: list[tuple[Block, memoryview, int]] = []  # with the count of bytes, and the size


def with_scratch(work: Callable[[Block], Result]) -> Result:
    """Return ``work(block)``; no array in the result may lie in the block.

    The block is not used again after an exception, since a loop may still write to it.
    """
    try:
        spare = _spare.pop()
    except IndexError:
        spare = _new(SMALLEST)
    block, asked, size = spare
    asked[0] = LINE
    result = work(block)
    if size < asked[0] and size < LARGEST:
        spare = _new(min(1 << (asked[0] - 1).bit_length(), LARGEST))
    _spare.append(spare)
    return result


def _new(size: int) -> tuple[Block, memoryview, int]:
    """Return a block, its counter as Python reads it fastest, and its size."""
    block = np.empty(size, np.uint8)
    return block, block.data[:8].cast("q"), size


@compiled
def _room(block, count, kind):
    """Count an array of ``count`` entries as asked for; return where it begins in the block.

    Return -1 if the block has no room for it.
    """
    asked, size = block[:8].view(np.int64), block[:0].view(kind).itemsize * count
    start, asked[0] = asked[0], asked[0] + (size + LINE - 1) // LINE * LINE
    return start if start + size <= block.size else -1


@compiled
def reserve(block, count, kind):
    """Return an array of ``count`` entries with any values, in the block if it has room."""
    start = _room(block, count, kind)
    if start < 0:
        return np.empty(count, kind)
    return block[start : start + block[:0].view(kind).itemsize * count].view(kind)


@compiled
def reserve_zeros(block, count, kind):
    """Return an array of ``count`` zeros, in the block if it has room.

    Zeros from the system cost nothing until they are touched.
    """
    start = _room(block, count, kind)
    if start < 0:
        return np.zeros(count, kind)
    zeros = block[start : start + block[:0].view(kind).itemsize * count].view(kind)
    for place in range(count):  # assigning to a slice takes long to compile
        zeros[place] = 0
    return zeros
