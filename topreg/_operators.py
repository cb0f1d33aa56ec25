"""Custom operators: one node each for torch.compile, export and fake tensors.

Registered directly: the wrapper of ``torch.library.custom_op`` imports the whole compiler at its
first call, which takes longer than everything else at a program's start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

_LIBRARY = torch.library.Library("topreg", "FRAGMENT")
Function = TypeVar("Function", bound=Callable[..., Any])


def operator(fake: Callable[..., Any], *, rowwise: bool = False) -> Callable[[Function], Function]:
    """Make a function the operator ``topreg::`` and its name; ``fake`` gives shapes alone.

    What is ``rowwise`` treats each row by itself, so that ``vmap`` may join the rows of a batch.
    """

    def register(function: Function) -> Function:
        name = function.__name__.strip("_")
        _LIBRARY.define(name + torch.library.infer_schema(function, mutates_args=()))
        _LIBRARY.impl(name, _hidden(function), "CompositeExplicitAutograd")
        torch.library.register_fake(f"topreg::{name}", fake, lib=_LIBRARY)
        if rowwise:
            torch.library.register_vmap(f"topreg::{name}", _over_batches(function), lib=_LIBRARY)
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


def _over_batches(function: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, int]]:
    """The rule of ``vmap`` for a rowwise function: the rows of all members of the batch as one."""

    def rule(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> tuple[Tensor, int]:
        joined = [
            _with_batch(arg, dim, info.batch_size).flatten(0, 1) if isinstance(arg, Tensor) else arg
            for arg, dim in zip(args, in_dims, strict=True)
        ]
        return function(*joined).unflatten(0, (info.batch_size, -1)), 0

    return rule


def _with_batch(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """The batch as the first axis; a tensor without it is the same for every member."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
