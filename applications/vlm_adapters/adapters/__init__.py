"""Adapters: classifiers on frozen features. None decides anything of topology."""

from __future__ import annotations

from ..options import AdapterOptions
from ..tasks import Task
from .base import Adapter, LinearMap, Step, Views
from .clip_adapter import CLIPAdapter
from .linear_probe import LinearProbe
from .taskres import TaskRes, ZeroShot
from .tip_adapter import SearchGrid, TipAdapter, TipAdapterF

ADAPTERS: dict[str, type[Adapter]] = {
    "zero_shot": ZeroShot,
    "linear_probe": LinearProbe,
    "taskres": TaskRes,
    "tip_adapter": TipAdapter,
    "tip_adapter_f": TipAdapterF,
    "clip_adapter": CLIPAdapter,
}

__all__ = [
    "ADAPTERS",
    "Adapter",
    "CLIPAdapter",
    "LinearMap",
    "LinearProbe",
    "SearchGrid",
    "Step",
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
