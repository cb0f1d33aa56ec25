"""Where few-shot tasks come from: a feature bundle, a feature store, or images at every step."""

from __future__ import annotations

from .bundle import BundleSource, few_shot_task
from .extraction import Extraction
from .online import OnlineSource
from .stored import Part, StoredSource

__all__ = [
    "BundleSource",
    "Extraction",
    "OnlineSource",
    "Part",
    "StoredSource",
    "few_shot_task",
]
