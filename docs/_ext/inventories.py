"""Inventories of other projects, written from lists of the names that the pages refer to.

A whole inventory is large and binary, and fetching it needs a network: the lists hold what is
used, one ``NAME DOMAIN:ROLE PAGE#ANCHOR`` a line under the address in the first line.
"""

from __future__ import annotations

import zlib
from pathlib import Path


def written_inventories(lists: Path, folder: Path) -> dict[str, tuple[str, str]]:
    """Write each list as an inventory that Sphinx reads.

    Args:
        lists: Folder of ``PROJECT.txt``.
        folder: Where ``PROJECT.inv`` are written.

    Returns:
        What ``intersphinx_mapping`` takes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for file in sorted(lists.glob("*.txt")):
        address, *lines = file.read_text(encoding="utf-8").splitlines()
        inventory = folder / f"{file.stem}.inv"
        inventory.write_bytes(_content(file.stem, lines))
        mapping[file.stem] = (address, str(inventory))
    return mapping


def _content(project: str, lines: list[str]) -> bytes:
    """Return an inventory of version 2."""
    header = (
        f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n"
        "# The remainder of this file is compressed using zlib.\n"
    )
    entries = (line.split() for line in lines if line.strip())
    body = "".join(f"{name} {role} 1 {place} -\n" for name, role, place in entries)
    return header.encode() + zlib.compress(body.encode())
