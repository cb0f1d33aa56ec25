"""Printing of modules and filtrations as the call that makes them."""

from __future__ import annotations

import inspect
import math


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
