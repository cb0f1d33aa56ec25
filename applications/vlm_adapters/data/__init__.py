"""Data sets: splits and few-shot samples."""

from __future__ import annotations

from .few_shot import FewShot, few_shot_indices, few_shot_split, indices_hash
from .splits import Sample, Split, read_split

__all__ = [
    "FewShot",
    "Sample",
    "Split",
    "few_shot_indices",
    "few_shot_split",
    "indices_hash",
    "read_split",
]
