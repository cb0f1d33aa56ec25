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
    """Which rows a few-shot task uses.

    Attributes:
        train: Rows of the training split.
        val: Rows of the validation split, or of the training split if ``val_from_train``.
        val_from_train: Whether ``val`` counts rows of the training split.
    """

    train: list[int]
    val: list[int]
    val_from_train: bool = False


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
    train_labels: Iterable[int],
    val_labels: Iterable[int],
    shots: int,
    seed: int,
    *,
    val_from_train: bool = False,
) -> FewShot:
    """Draw the few-shot training set and its validation set, at most 4 rows per class.

    Args:
        train_labels: Class of each row of the training split.
        val_labels: Class of each row of the validation split; empty if ``val_from_train``.
        shots: Training rows per class.
        seed: Seed of the one stream from which both sets are drawn, training first.
        val_from_train: Take the validation set from the training rows that are left. For data
            sets without a validation split, such as ImageNet.

    Returns:
        The rows of both sets.

    Raises:
        ValueError: If ``shots`` is less than 1, or if no row is left for validation.

    Source:
        The code of CoOp: ``random.seed(seed)``, then this. A generator of our own gives the same
        stream and leaves the global one alone. CoOp validates ImageNet on its test images;
        ``val_from_train`` is ours.

    Example:
        >>> few_shot_split([0, 0, 1, 1], [0, 1, 1], shots=1, seed=1)
        FewShot(train=[0, 2], val=[0, 1], val_from_train=False)
    """
    generator = random.Random(seed)
    val_shots = min(shots, MAX_VALIDATION_SHOTS)
    train_labels, val_labels = list(train_labels), list(val_labels)
    train = few_shot_indices(train_labels, shots, generator)
    if not val_from_train:
        return FewShot(train, few_shot_indices(val_labels, val_shots, generator))
    chosen = set(train)
    left = [row for row in range(len(train_labels)) if row not in chosen]
    _check_left(left, val_labels, shots)
    drawn = few_shot_indices([train_labels[row] for row in left], val_shots, generator)
    return FewShot(train, [left[row] for row in drawn], val_from_train=True)


def _check_left(left: Sequence[int], val_labels: Sequence[int], shots: int) -> None:
    """Refuse a validation set that would have two sources, or none."""
    if val_labels:
        raise ValueError(
            "`val_labels` should be empty with `val_from_train`. "
            f"Got {len(val_labels)} labels. Use one of the two."
        )
    if not left:
        raise ValueError(
            "`train_labels` should leave rows for validation. Got no class with more than "
            f"{shots} rows. Take fewer shots, or give the data set a validation split."
        )


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
