"""Adapters: classifiers on frozen features. None knows anything of topology."""

from __future__ import annotations

from ..config import AdapterOptions
from ..tasks import Task
from .base import Adapter, SearchGrid, Views
from .taskres import TaskRes, ZeroShot
from .tip_adapter import TipAdapter, TipAdapterF

ADAPTERS: dict[str, type[Adapter]] = {
    "zero_shot": ZeroShot,
    "taskres": TaskRes,
    "tip_adapter": TipAdapter,
    "tip_adapter_f": TipAdapterF,
}

__all__ = [
    "ADAPTERS",
    "Adapter",
    "SearchGrid",
    "TaskRes",
    "TipAdapter",
    "TipAdapterF",
    "Views",
    "ZeroShot",
    "build_adapter",
]


def build_adapter(task: Task, options: AdapterOptions) -> Adapter:
    """The adapter that the options name, at its initial parameters.

    Args:
        task: Few-shot task.
        options: Kind and factors.

    Returns:
        The adapter.
    """
    return ADAPTERS[options.kind].build(task, options)
