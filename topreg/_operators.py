"""Custom operators: one node each for torch.compile, export and fake tensors.

Registered directly: the wrapper of ``torch.library.custom_op`` imports the whole compiler at its
first call, which takes longer than everything else at a program's start.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

_LIBRARY = torch.library.Library("topreg", "FRAGMENT")
Function = TypeVar("Function", bound=Callable[..., Any])


def operator(
    fake: Callable[..., Any], vmap: Callable[..., Any] | None = None
) -> Callable[[Function], Function]:
    """Make a function the operator ``topreg::name``, where ``name`` is that of the function.

    Args:
        fake: Returns empty tensors of the right shapes.
        vmap: Batching rule, as ``torch.library.register_vmap`` takes it, but with the operator as
            an additional first argument, such as :func:`row_by_row`. Without a rule
            ``torch.func.vmap`` calls the operator once per element, with a warning.
    """

    def register(function: Function) -> Function:
        name = function.__name__.strip("_")
        _LIBRARY.define(name + torch.library.infer_schema(function, mutates_args=()))
        hidden = _hidden(function)
        _LIBRARY.impl(name, hidden, "CompositeExplicitAutograd")
        torch.library.register_fake(f"topreg::{name}", fake, lib=_LIBRARY)
        overload = getattr(torch.ops.topreg, name).default
        if vmap is not None:
            rule = partial(vmap, overload)
            torch.library.register_vmap(f"topreg::{name}", rule, lib=_LIBRARY)

        @functools.wraps(function)
        def call(*args: Any) -> Any:
            return hidden(*args) if is_plain(args[0]) else overload(*args)

        call.overload = overload  # type: ignore[attr-defined]
        return cast(Function, call)

    return register


def is_plain(tensor: Tensor) -> bool:
    """Return whether a tensor has values: without compiler, transform, fake mode or subclass.

    Then an operator's function is called directly, because dispatch costs more than a small search.
    """
    return (
        not torch.compiler.is_dynamo_compiling()
        and type(tensor) is Tensor
        and not tensor.is_meta
        and torch._C._functorch.peek_interpreter_stack() is None
        and torch._C._len_torch_dispatch_stack() == 0
    )


def _hidden(function: Function) -> Callable[..., Any]:
    """Return the function such that the compiler does not trace it between two graphs."""
    untraced: list[Callable[..., Any]] = []

    def call(*args: Any) -> Any:
        if "torch._dynamo" not in sys.modules:  # importing it takes seconds
            return function(*args)
        if not untraced:
            untraced.append(torch.compiler.disable(function))
        return untraced[0](*args)

    return call


def row_by_row(
    call: Callable[..., Tensor], info: Any, in_dims: Sequence[int | None], *args: Any
) -> tuple[Tensor, int]:
    """Batch an operator that treats rows independently: call it once on all rows."""
    joined = [
        with_batch(arg, dim, info.batch_size).flatten(0, 1) if isinstance(arg, Tensor) else arg
        for arg, dim in zip(args, in_dims, strict=False)
    ]
    return call(*joined, *args[len(joined) :]).unflatten(0, (info.batch_size, -1)), 0


def with_batch(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """Return a tensor with the batch as first axis; expand a tensor that has no batch axis."""
    return tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
