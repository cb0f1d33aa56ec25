"""Whether there is room for a search: sizes are looked at before anything large is allocated."""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

import torch

SMALL = 1 << 28  # bytes that are not worth a look at what is free
WAY_OUT = (
    "Choose landmarks with `farthest_point_sampling`, filter a graph of nearest neighbours with "
    '`FlagFiltration`, or find dimension 0 of points with `RipsFiltration(engine="tiled")`.'
)


def free_memory() -> int | None:
    """Bytes that processes can still get; all of the memory, or None, where that is not told."""
    try:
        told = pathlib.Path("/proc/meminfo").read_text()
        return 1024 * sum(
            int(kib)
            for kib in re.findall(r"^(?:MemAvailable|SwapFree): *(\d+)", told, re.MULTILINE)
        )
    except OSError:
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, OSError, ValueError):
            return None


def bytes_of_matrices(sizes: Sequence[int], dtype: torch.dtype, matrices: int = 1) -> int:
    """Memory of some matrices for each cloud, in at least single precision."""
    return matrices * max(4, dtype.itemsize) * sum(n * n for n in sizes)


def check_room(
    needed: int, sizes: Sequence[int], name: str = "points", *, of_images: bool = False
) -> None:
    """Raise if something needs more bytes than are free. Compiled programs do not look."""
    if torch.compiler.is_compiling() or needed < SMALL:
        return
    free = free_memory()
    if free is not None and needed > free:
        told = f"need at least {_gigabytes(needed)}; {_gigabytes(free)} are free"
        if of_images:
            raise MemoryError(
                f"`{name}` should be small enough that their pairs fit into memory. "
                f"Got {sum(sizes):,} pixels, which {told}. Split the batch, or crop the images."
            )
        raise MemoryError(_text(name, sizes, told))


@contextlib.contextmanager
def room_for(needed: int, sizes: Sequence[int], name: str = "points") -> Iterator[None]:
    """Say what may take ``needed`` bytes, and what to do, where an allocation fails."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch raises the latter
        text = str(error)
        by_torch = "allocate memory" in text or "not enough memory" in text
        if text.startswith("`") or (isinstance(error, RuntimeError) and not by_torch):
            raise
        told = f"may need {_gigabytes(needed)}; an allocation failed"
        raise MemoryError(_text(name, sizes, told)) from error


def _text(name: str, sizes: Sequence[int], told: str) -> str:
    """The message about clouds that are too large."""
    clouds = f" in {len(sizes)} clouds" if len(sizes) > 1 else ""
    return (
        f"`{name}` should be few enough that their distances fit into memory. "
        f"Got {sum(sizes):,} vertices{clouds}, which {told}. {WAY_OUT}"
    )


def _gigabytes(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / 1e9:.3g} GB"
