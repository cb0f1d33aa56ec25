"""Custom operators: one node each for torch.compile, export and fake tensors.

Registered directly: the wrapper of ``torch.library.custom_op`` imports the whole compiler at its
first call, which takes longer than everything else at a program's start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch

_LIBRARY = torch.library.Library("topreg", "FRAGMENT")
Function = TypeVar("Function", bound=Callable[..., Any])


def operator(
    fake: Callable[..., Any], vmap: Callable[..., Any] | None = None
) -> Callable[[Function], Function]:
    """Make a function the operator ``topreg::`` and its name.

    Args:
        fake: Gives shapes alone.
        vmap: Batching rule, as ``torch.library.register_vmap`` takes it. Without one
            ``torch.func.vmap`` calls the operator once per element, with a warning.
    """

    def register(function: Function) -> Function:
        name = function.__name__.strip("_")
        _LIBRARY.define(name + torch.library.infer_schema(function, mutates_args=()))
        _LIBRARY.impl(name, _hidden(function), "CompositeExplicitAutograd")
        torch.library.register_fake(f"topreg::{name}", fake, lib=_LIBRARY)
        if vmap is not None:
            torch.library.register_vmap(f"topreg::{name}", vmap, lib=_LIBRARY)
        overload: Function = getattr(torch.ops.topreg, name).default
        return overload

    return register


def _hidden(function: Function) -> Callable[..., Any]:
    """The function, which the compiler does not trace where it runs between two graphs."""
    untraced: list[Callable[..., Any]] = []

    def call(*args: Any) -> Any:
        if "torch._dynamo" not in sys.modules:  # importing it takes seconds
            return function(*args)
        if not untraced:
            untraced.append(torch.compiler.disable(function))
        return untraced[0](*args)

    return call
