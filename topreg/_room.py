"""Checks that a search fits into memory, before anything large is allocated."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

import torch

SMALL = 1 << 28  # fewer bytes than this are not checked
WAY_OUT = (
    "Choose landmarks with `farthest_point_sampling`, filter a graph of nearest neighbours with "
    '`FlagFiltration`, or find dimension 0 of points with `RipsFiltration(engine="tiled")`.'
)


def free_memory() -> int | None:
    """Return the free bytes, or all bytes where the system does not say, or None if unknown."""
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
    """Return the bytes of some matrices per cloud, in at least single precision."""
    return matrices * max(4, dtype.itemsize) * sum(n * n for n in sizes)


def check_room(
    needed: int, sizes: Sequence[int], name: str = "points", *, of_images: bool = False
) -> None:
    """Raise if more bytes are needed than are free; compiled programs skip this."""
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
    """Explain a failed allocation: what needs the memory, and what to do."""
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
    """Return the message about clouds that are too large."""
    clouds = f" in {len(sizes)} clouds" if len(sizes) > 1 else ""
    return (
        f"`{name}` should be few enough that their distances fit into memory. "
        f"Got {sum(sizes):,} vertices{clouds}, which {told}. {WAY_OUT}"
    )


def _gigabytes(count: int) -> str:
    """Return bytes as gigabytes, for messages."""
    return f"{count / 1e9:.3g} GB"
