"""Modules that hold the options of a function, and printing of objects as the call that makes them.

A subclass lists its options once, as annotated fields. The constructor is made from these fields,
as that of a dataclass, so that editors see its signature. Their texts in the class's docstring are
those of the function.
"""

from __future__ import annotations

import inspect
import math
import re
from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from operator import attrgetter
from typing import Any, ClassVar

from torch import nn
from typing_extensions import dataclass_transform


@dataclass_transform(kw_only_default=True, eq_default=False)
class FunctionModule(nn.Module, ABC):
    """A module that holds the options of a function, checks them once, and calls it with them.

    Class arguments name the function and the check of its options, which returns the dimensions as
    a tuple if there are any. ``forward`` calls the function with ``self._options()``.
    """

    _names: ClassVar[tuple[str, ...]]

    def __init_subclass__(
        cls, function: Callable[..., object] | None = None, check: Callable[..., Any] = dict
    ) -> None:
        super().__init_subclass__()
        if function is None:  # a subclass of a user
            return
        dataclass(kw_only=True, eq=False, repr=False)(cls)
        cls._names = tuple(field.name for field in fields(cls))  # type: ignore[arg-type]
        for name in set(cls._names) & set(vars(cls)):
            delattr(cls, name)  # the default would hide a filtration, which is a submodule
        cls.__doc__ = _with_options(cls.__doc__ or "", function, cls._names)
        set_options = cls.__init__

        @wraps(set_options)
        def initialise(self: FunctionModule, **options: Any) -> None:
            nn.Module.__init__(self)
            set_options(self, **options)
            dimensions = check(**self._options())
            if "dimensions" in cls._names:
                self.dimensions = dimensions

        cls.__init__ = initialise  # type: ignore[assignment, method-assign]

    def _options(self) -> dict[str, Any]:
        """Return the options by name."""
        values = attrgetter(*self._names, "training")(self)  # two names at least: a tuple
        return dict(zip(self._names, values[:-1], strict=True))

    def __repr__(self) -> str:
        """Return the call that makes an equal module."""
        return constructor_call(self)


def constructor_call(instance: object) -> str:
    """Return the class name with the arguments that differ from their defaults.

    Every argument must be stored under its own name. Evaluating the result, with the names of
    ``topreg``, ``math`` and ``torch`` imported, gives an equal object. Exceptions are arguments
    that are functions, and a ``FlagFiltration``, whose edges are not printed.
    """
    parameters = inspect.signature(type(instance)).parameters.values()
    stated = [
        f"{p.name}={_literal(getattr(instance, p.name))}"
        for p in parameters
        if p.default is inspect.Parameter.empty or getattr(instance, p.name) != p.default
    ]
    return f"{type(instance).__name__}({', '.join(stated)})"


def _literal(value: object) -> str:
    """Return the value as a Python expression."""
    return "math.inf" if value == math.inf else repr(value)


def _with_options(docstring: str, function: Callable[..., object], names: tuple[str, ...]) -> str:
    """Return a docstring with the function's texts of some arguments after its first paragraph."""
    _, _, rest = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    texts = re.split(r"\n(?=    \w)", rest.partition("\n\n")[0])
    chosen = [text for text in texts if text.strip().partition(":")[0] in names]
    first, gap, other = inspect.cleandoc(docstring).partition("\n\n")
    return "\n".join([first, "", "Args:", *chosen]) + gap + other
