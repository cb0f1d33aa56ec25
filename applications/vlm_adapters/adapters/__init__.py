"""Adapters: classifiers on frozen features. None decides anything of topology."""

from __future__ import annotations

from ..options import AdapterOptions
from ..plugs import is_plug, load_plug
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
    "adapter_class",
    "build_adapter",
]


def adapter_class(kind: str) -> type[Adapter]:
    """Find the class of an adapter.

    Args:
        kind: A shipped name, or ``file.py:Name`` or ``module:Name``, whose code runs.

    Returns:
        The class.

    Raises:
        ValueError: If a part of the user cannot be loaded, or is not an :class:`Adapter`.
    """
    if not is_plug(kind):
        return ADAPTERS[kind]
    found = load_plug(kind, "adapter.kind")
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        raise ValueError(
            f"`adapter.kind` should name a class below `vlm_adapters.adapters.Adapter`. "
            f"Got {kind!r}."
        )
    return found


def build_adapter(task: Task, options: AdapterOptions) -> Adapter:
    """The adapter that the options name, at its initial parameters.

    Args:
        task: Few-shot task.
        options: Kind and factors.

    Returns:
        The adapter.
    """
    return adapter_class(options.kind).build(task, options)
