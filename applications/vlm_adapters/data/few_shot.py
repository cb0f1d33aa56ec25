"""CoOp's few-shot sampler, draw for draw, and its draws as files."""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError, model_validator

from .._files import write_text

MAX_VALIDATION_SHOTS = 4


@dataclass(frozen=True)
class FewShot:
    """Rows of a few-shot task; those of ``val`` count training images if ``val_from_train``."""

    train: list[int]
    val: list[int]
    val_from_train: bool = False


def few_shot_indices(labels: Iterable[int], shots: int, generator: random.Random) -> list[int]:
    """Draw ``shots`` rows per class, or all of a smaller class, in order of first appearance.

    Classes are never sorted: in some splits the labels do not come in order, and sorting them
    would change every draw. The code is that of CoOp (Dassl).

    >>> few_shot_indices([1, 1, 1, 0, 0], 1, random.Random(1))
    [0, 3]
    """
    return _draw(rows_by_class(labels), shots, generator)


def rows_by_class(labels: Iterable[int]) -> list[list[int]]:
    """Return the rows of each class, in order of first appearance."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        found[int(label)].append(row)  # int(): each element of a tensor would be another key
    return list(found.values())


def _draw(classes: Iterable[list[int]], shots: int, generator: random.Random) -> list[int]:
    if shots < 1:
        raise ValueError(f"`shots` should be 1 or more. Got {shots}.")
    drawn = (generator.sample(rows, shots) if len(rows) >= shots else rows for rows in classes)
    return [row for rows in drawn for row in rows]


def few_shot_split(
    train_labels: Iterable[int],
    val_labels: Iterable[int],
    shots: int,
    seed: int,
    *,
    val_from_train: bool = False,
) -> FewShot:
    """Draw the few-shot training set and its validation set, at most 4 rows per class.

    Both come from one stream, training first, as in CoOp after ``random.seed(seed)``; the global
    generator is left alone. ``val_from_train`` draws validation rows from the training rows that
    are left, for data sets without a validation split such as ImageNet: this is ours, CoOp
    validates ImageNet on its test images.

    >>> few_shot_split([0, 0, 1, 1], [0, 1, 1], shots=1, seed=1)
    FewShot(train=[0, 2], val=[0, 1], val_from_train=False)
    """
    rows = rows_by_class(train_labels), rows_by_class(val_labels)
    return split_rows(*rows, shots, seed, val_from_train=val_from_train)


def split_rows(
    train_rows: Sequence[list[int]],
    val_rows: Sequence[list[int]],
    shots: int,
    seed: int,
    *,
    val_from_train: bool = False,
) -> FewShot:
    """Draw as :func:`few_shot_split` does from the rows of each class, grouped once."""
    generator = random.Random(seed)
    val_shots = min(shots, MAX_VALIDATION_SHOTS)
    train = _draw(train_rows, shots, generator)
    if not val_from_train:
        return FewShot(train, _draw(val_rows, val_shots, generator))
    drawn = set(train)
    left = [[row for row in rows if row not in drawn] for rows in train_rows]
    left = sorted(filter(None, left))  # by first appearance among the rows that are left
    if not left:
        raise ValueError(
            "`train_labels` should leave rows for validation. Got no class with more than "
            f"{shots} rows. Take fewer shots, or give the data set a validation split."
        )
    return FewShot(train, _draw(left, val_shots, generator), val_from_train=True)


def indices_hash(indices: Sequence[int]) -> str:
    """Return the first 16 digits of the SHA-256 of the JSON text of a list of rows.

    >>> indices_hash([0, 2])
    '63cbaf561c188d36'
    """
    text = json.dumps([int(index) for index in indices])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class IndexList(BaseModel, strict=True, frozen=True):
    """A few-shot task as a file: its rows, their hashes, and the split whose rows these are."""

    kind: Literal["vlm_adapters.index_list"] = Field(alias="schema")
    schema_version: Literal[1]
    dataset: str
    shots: int
    seed: int
    split_sha256: str
    val_from_train: bool
    train_hash: str
    val_hash: str
    train: list[NonNegativeInt]
    val: list[NonNegativeInt]

    @model_validator(mode="after")
    def _check_hashes(self) -> IndexList:
        if (indices_hash(self.train), indices_hash(self.val)) != (self.train_hash, self.val_hash):
            raise ValueError("rows that do not match their hashes")
        return self

    @property
    def few_shot(self) -> FewShot:
        """The rows."""
        return FewShot(self.train, self.val, self.val_from_train)


def write_index_lists(
    folder: Path,
    draws: Iterable[tuple[int, int]],
    draw: Callable[[int, int], FewShot],
    *,
    dataset: str,
    split_sha256: str,
) -> None:
    """Write the rows that ``draw(shots, seed)`` gives, one file per task.

    A list of other rows, to which other results belong, is not replaced. A damaged one is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for shots, seed in draws:
        few_shot = draw(shots, seed)
        document = {
            "schema": "vlm_adapters.index_list",
            "schema_version": 1,
            "dataset": dataset,
            "shots": shots,
            "seed": seed,
            "split_sha256": split_sha256,
            "val_from_train": few_shot.val_from_train,
            "train_hash": indices_hash(few_shot.train),
            "val_hash": indices_hash(few_shot.val),
            "train": few_shot.train,
            "val": few_shot.val,
        }
        file = folder / f"{dataset}-{shots}shot-seed{seed}.json"
        try:
            found = read_index_list(file).model_dump(by_alias=True)
        except (FileNotFoundError, ValueError):
            found = document
        if found != document:
            raise ValueError(
                f"`{file}` should hold the rows of this task. Got those of another split or draw, "
                "to which other results belong. Choose another folder."
            )
        write_text(file, json.dumps(document) + "\n")


def read_index_list(path: str | os.PathLike[str], *, split_sha256: str | None = None) -> IndexList:
    """Read the rows of a few-shot task, and check that they count in the split of this hash."""
    file = Path(path)
    try:
        found = IndexList.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise ValueError(
            f"`{file.name}` should be an unchanged index list. Got {where}: {first['msg']}. "
            "Draw the task again."
        ) from error
    if split_sha256 not in (None, found.split_sha256):
        raise ValueError(
            f"`{file.name}` should count rows of the split {str(split_sha256)[:16]}. Got rows of "
            f"{found.split_sha256[:16]} ({found.dataset}). Use the split that they were drawn from."
        )
    return found
