"""CoOp's few-shot sampler, draw for draw."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["FewShot", "few_shot_indices", "few_shot_split", "indices_hash"]

MAX_VALIDATION_SHOTS = 4


@dataclass(frozen=True)
class FewShot:
    """Which rows of the training and of the validation split a few-shot task uses."""

    train: list[int]
    val: list[int]


def few_shot_indices(
    labels: Iterable[int], shots: int, generator: random.Random, *, repeat: bool = False
) -> list[int]:
    """Draw ``shots`` rows per class.

    Args:
        labels: Class of each row.
        shots: Rows per class.
        generator: Source of the draws; its state moves on.
        repeat: Draw with replacement from a class that has fewer than ``shots`` rows, as
            Tip-Adapter does. Otherwise take all its rows, as CoOp does.

    Returns:
        Row numbers, class after class in the order in which the classes first appear.

    Raises:
        ValueError: If ``shots`` is less than 1.

    Source:
        The code of CoOp (Dassl) and of Tip-Adapter. Classes are never sorted: in some splits the
        labels do not come in order, and sorting them would change every draw.

    Example:
        >>> few_shot_indices([1, 1, 1, 0, 0], 1, random.Random(1))
        [0, 3]
    """
    if shots < 1:
        raise ValueError(f"`shots` should be 1 or more. Got {shots}.")
    rows_by_label: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        # int(): elements of a tensor would each be a key of their own.
        rows_by_label.setdefault(int(label), []).append(row)
    chosen: list[int] = []
    for rows in rows_by_label.values():
        if len(rows) >= shots:
            chosen += generator.sample(rows, shots)
        else:
            chosen += generator.choices(rows, k=shots) if repeat else rows
    return chosen


def few_shot_split(
    train_labels: Iterable[int], val_labels: Iterable[int], shots: int, seed: int
) -> FewShot:
    """Draw the few-shot training set and its validation set, at most 4 rows per class.

    Args:
        train_labels: Class of each row of the training split.
        val_labels: Class of each row of the validation split.
        shots: Training rows per class.
        seed: Seed of the one stream from which both sets are drawn, training first.

    Returns:
        The rows of both sets.

    Raises:
        ValueError: If ``shots`` is less than 1.

    Source:
        The code of CoOp: ``random.seed(seed)``, then this. A generator of our own gives the same
        stream and leaves the global one alone.

    Example:
        >>> few_shot_split([0, 0, 1, 1], [0, 1, 1], shots=1, seed=1)
        FewShot(train=[0, 2], val=[0, 1])
    """
    generator = random.Random(seed)
    train = few_shot_indices(train_labels, shots, generator)
    val = few_shot_indices(val_labels, min(shots, MAX_VALIDATION_SHOTS), generator)
    return FewShot(train=train, val=val)


def indices_hash(indices: Sequence[int]) -> str:
    """Short name of a list of rows: the first 16 digits of the SHA-256 of its JSON text.

    Args:
        indices: Row numbers; their order counts.

    Returns:
        Sixteen hexadecimal digits.

    Example:
        >>> indices_hash([0, 2])
        '63cbaf561c188d36'
    """
    text = json.dumps([int(index) for index in indices])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
