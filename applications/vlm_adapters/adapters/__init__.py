"""Adapters: classifiers on frozen features. None decides anything of topology."""

from __future__ import annotations

from ..options import AdapterOptions
from ..plugs import is_plug, load_plug
from ..tasks import Task
from .base import Adapter, LinearMap, Step
from .linear_probe import LinearProbe
from .residual import CLIPAdapter, TaskRes, ZeroShot
from .tip_adapter import TipAdapter, TipAdapterF

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
    "Step",
    "TaskRes",
    "TipAdapter",
    "TipAdapterF",
    "ZeroShot",
    "adapter_class",
    "build_adapter",
]


def adapter_class(kind: str) -> type[Adapter]:
    """Find a class by a shipped name, or load ``file.py:Name`` or ``module:Name``."""
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
    """Return the adapter that the options name, before its training."""
    return adapter_class(options.kind).build(task, options)
