"""CoOp's few-shot sampler, draw for draw, and its draws as files."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .._files import write_text

MAX_VALIDATION_SHOTS = 4


@dataclass(frozen=True)
class FewShot:
    """Rows of a few-shot task; those of ``val`` count training images if ``val_from_train``."""

    train: list[int]
    val: list[int]
    val_from_train: bool = False


def rows_by_class(labels: Iterable[int]) -> list[list[int]]:
    """Return the rows of each class, in order of first appearance.

    Classes are never sorted: in some splits the labels do not come in order, and sorting them
    would change every draw.
    """
    found: defaultdict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        found[int(label)].append(row)  # int(): each element of a tensor would be another key
    return list(found.values())


def draw_rows(classes: Iterable[list[int]], shots: int, generator: random.Random) -> list[int]:
    """Draw ``shots`` rows per class, or all of a smaller class, as CoOp's code (Dassl) does.

    >>> draw_rows([[0, 1, 2], [3, 4]], 1, random.Random(1))
    [0, 3]
    """
    if shots < 1:
        raise ValueError(f"`shots` should be 1 or more. Got {shots}.")
    drawn = (generator.sample(rows, shots) if len(rows) >= shots else rows for rows in classes)
    return [row for rows in drawn for row in rows]


def draw_task(
    train_rows: Sequence[list[int]],
    val_rows: Sequence[list[int]],
    shots: int,
    seed: int,
    *,
    val_from_train: bool = False,
) -> FewShot:
    """Draw the few-shot training set and its validation set, at most 4 rows per class.

    Both come from one stream, training first, as in CoOp after ``random.seed(seed)``; the global
    generator is left alone. The rows are those of each class. ``val_from_train`` draws validation
    rows from the training rows that are left, for data sets without a validation split such as
    ImageNet: this is ours, CoOp validates ImageNet on its test images.

    >>> draw_task([[0, 1], [2, 3]], [[0], [1, 2]], shots=1, seed=1)
    FewShot(train=[0, 2], val=[0, 1], val_from_train=False)
    """
    generator = random.Random(seed)
    val_shots = min(shots, MAX_VALIDATION_SHOTS)
    train = draw_rows(train_rows, shots, generator)
    if not val_from_train:
        return FewShot(train, draw_rows(val_rows, val_shots, generator))
    drawn = set(train)
    left = [[row for row in rows if row not in drawn] for rows in train_rows]
    left = sorted(filter(None, left))  # by first appearance among the rows that are left
    if not left:
        raise ValueError(
            "`train_labels` should leave rows for validation. Got no class with more than "
            f"{shots} rows. Take fewer shots, or give the data set a validation split."
        )
    return FewShot(train, draw_rows(left, val_shots, generator), val_from_train=True)


def indices_hash(indices: Sequence[int]) -> str:
    """Return the first 16 digits of the SHA-256 of the JSON text of a list of rows.

    >>> indices_hash([0, 2])
    '63cbaf561c188d36'
    """
    text = json.dumps([int(index) for index in indices])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_index_list(
    folder: Path, drawn: FewShot, shots: int, seed: int, dataset: str, split_sha256: str
) -> None:
    """Write the rows of a task, with their hashes and that of the split in which they count.

    A list of other rows, to which other results belong, is not replaced. A damaged one is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "schema": "vlm_adapters.index_list",
        "schema_version": 1,
        "dataset": dataset,
        "shots": shots,
        "seed": seed,
        "split_sha256": split_sha256,
        "val_from_train": drawn.val_from_train,
        "train_hash": indices_hash(drawn.train),
        "val_hash": indices_hash(drawn.val),
        "train": drawn.train,
        "val": drawn.val,
    }
    file = folder / f"{dataset}-{shots}shot-seed{seed}.json"
    try:
        found = json.loads(file.read_bytes())
        whole = all(indices_hash(found[name]) == found[f"{name}_hash"] for name in ("train", "val"))
    except (OSError, LookupError, TypeError, ValueError, OverflowError, RecursionError):
        whole = False
    if whole and found != document:
        raise ValueError(
            f"`{file}` should hold the rows of this task. Got those of another split or draw, "
            "to which other results belong. Choose another folder."
        )
    write_text(file, json.dumps(document) + "\n")
