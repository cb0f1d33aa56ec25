"""Hashes of the contents of images, remembered as long as a file is unchanged."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from .._files import json_hash, write_text

__all__ = ["content_hashes"]

SETTLED = 2_000_000_000  # nanoseconds after which a change must show in the time stamps
DIGITS = 32

_State: TypeAlias = list[int]  # size, times of last modification and of last change, inode


def content_hashes(store: Path, root: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return a hash of the bytes of each image.

    An index in the store remembers the hash of each file with its size, its time stamps and its
    inode. Only files in which one of these has changed are read. A change within the resolution
    of the time stamps could be missed, so files that were changed just now are not remembered.

    Args:
        store: Folder of the feature store, where the index lies.
        root: Image folder.
        paths: Files below it.

    Returns:
        32 hexadecimal digits for each path.

    Raises:
        OSError: If a file is missing or cannot be read.
    """
    index = store / f"contents-{json_hash(os.fspath(root.resolve()))[:16]}.json"
    known = _read(index)
    states = {path: _state(root / path) for path in paths}
    changed = [path for path in states if known.get(path, ("", []))[1] != states[path]]
    with ThreadPoolExecutor(4) as pool:
        hashes = dict(zip(changed, pool.map(lambda path: _hash(root / path), changed), strict=True))
    now = time.time_ns()
    settled = {
        path: (hashes[path], states[path])
        for path in changed
        if now - max(states[path][1:3]) > SETTLED
    }
    if settled:
        with suppress(OSError):  # a store that is read-only is read, and the files are hashed again
            store.mkdir(parents=True, exist_ok=True)
            write_text(index, json.dumps(_read(index) | settled))
    return tuple(hashes.get(path) or known[path][0] for path in paths)


def _state(file: Path) -> _State:
    """What changes when a file does."""
    found = os.stat(file)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def _hash(file: Path) -> str:
    """The hash of a file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]


def _read(index: Path) -> dict[str, tuple[str, _State]]:
    """Hash and state by path; empty if there is no index or it is damaged."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        return {path: (str(digest), list(state)) for path, (digest, state) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
