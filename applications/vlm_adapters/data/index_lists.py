"""Few-shot index lists as files: which rows a task used, checked when they are read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._files import write_text
from .few_shot import FewShot, indices_hash

__all__ = ["IndexList", "read_index_list", "write_index_list", "write_index_lists"]

SCHEMA = "vlm_adapters.index_list"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class IndexList:
    """A few-shot task, and what its rows count in.

    Attributes:
        few_shot: The rows.
        dataset: Name of the data set.
        shots: Training rows per class.
        seed: Seed of the draw.
        split_sha256: Hash of the split whose rows these are.
    """

    few_shot: FewShot
    dataset: str
    shots: int
    seed: int
    split_sha256: str


def write_index_list(
    path: str | os.PathLike[str],
    few_shot: FewShot,
    *,
    dataset: str,
    shots: int,
    seed: int,
    split_sha256: str,
) -> None:
    """Write the rows of a few-shot task with their hashes.

    The file appears under its name only once it is complete. A list of other rows, to which other
    results belong, is not replaced.

    Args:
        path: File to write; its folder is made if need be.
        few_shot: The rows.
        dataset: Name of the data set.
        shots: Training rows per class.
        seed: Seed of the draw.
        split_sha256: Hash of the split whose rows these are.

    Raises:
        ValueError: If there is a list of other rows.
    """
    file = Path(path)
    _is_not_another(file, IndexList(few_shot, dataset, shots, seed, split_sha256))
    document = {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "dataset": dataset,
        "shots": shots,
        "seed": seed,
        "split_sha256": split_sha256,
        "val_from_train": few_shot.val_from_train,
        "train_hash": indices_hash(few_shot.train),
        "val_hash": indices_hash(few_shot.val),
        "train": [int(row) for row in few_shot.train],
        "val": [int(row) for row in few_shot.val],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(document) + "\n")


def write_index_lists(
    folder: Path,
    draws: Sequence[tuple[int, int]],
    draw: Callable[[int, int], FewShot],
    *,
    dataset: str,
    split_sha256: str,
) -> None:
    """Write the rows that some tasks draw, with their hashes.

    Args:
        folder: Where to; a file for each task.
        draws: Shots and seed of each task.
        draw: Gives the rows of a task.
        dataset: As in :func:`write_index_list`.
        split_sha256: As in :func:`write_index_list`.

    Raises:
        ValueError: If there is a list of other rows.
    """
    for shots, seed in draws:
        write_index_list(
            folder / f"{dataset}-{shots}shot-seed{seed}.json", draw(shots, seed),
            dataset=dataset, shots=shots, seed=seed, split_sha256=split_sha256,
        )  # fmt: skip


def read_index_list(path: str | os.PathLike[str], *, split_sha256: str | None = None) -> IndexList:
    """Read the rows of a few-shot task and check them.

    Args:
        path: File written by :func:`write_index_list`.
        split_sha256: Hash of the split that the rows should count in; None to accept any.

    Returns:
        The rows and what they count in.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, changed, no index list, a newer one, or that of another
            split.
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"`path` should be an index list. Got {str(file)!r}, which is no file. "
            "Draw the task again."
        )
    found = _fields(_document(file), file.name)
    if split_sha256 not in (None, found.split_sha256):
        raise ValueError(
            f"`{file.name}` should count rows of the split {str(split_sha256)[:16]}. Got rows of "
            f"{found.split_sha256[:16]} ({found.dataset}). Use the split that they were drawn from."
        )
    return found


def _is_not_another(file: Path, wanted: IndexList) -> None:
    """Refuse to replace a list of other rows; a damaged one may be replaced."""
    try:
        found = read_index_list(file)
    except (FileNotFoundError, ValueError):
        return
    if found != wanted:
        raise ValueError(
            f"`{file}` should hold the rows of this task. Got those of another split or draw, to "
            "which other results belong. Choose another folder."
        )


def _document(file: Path) -> dict[str, Any]:
    """The JSON object of an index list of this version."""
    try:
        document = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"`{file.name}` should be complete JSON. Got {error}. Copy it, or draw the task, again."
        ) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(
            f"`{file.name}` should be an index list. Got JSON without the schema `{SCHEMA}`. "
            "Is it another file?"
        )
    version = document.get("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"`{file.name}` should have schema version {SCHEMA_VERSION}. Got {version!r}. "
            "Upgrade topreg, or draw the task again."
        )
    return document


def _fields(document: dict[str, Any], file: str) -> IndexList:
    """Check the fields, and the rows against their hashes."""
    match document:
        case {
            "dataset": str(dataset), "shots": int(shots), "seed": int(seed),
            "split_sha256": str(sha256), "val_from_train": bool(from_train),
            "train": [*train], "val": [*val],
        } if all(type(n) is int for n in (shots, seed, *train, *val)) and all(
            row >= 0 for row in (*train, *val)
        ):  # fmt: skip
            pass
        case _:
            raise ValueError(
                f"`{file}` should have every field of an index list. Got one missing or of another "
                "type. Draw the task again."
            )
    for name, rows in (("train", train), ("val", val)):
        if indices_hash(rows) != document.get(f"{name}_hash"):
            raise ValueError(
                f"`{file}` should have rows under `{name}` that match their hash. Got "
                f"{indices_hash(rows)} and {document.get(f'{name}_hash')}. The file was changed: "
                "draw the task again."
            )
    return IndexList(FewShot(train, val, from_train), dataset, shots, seed, sha256)
