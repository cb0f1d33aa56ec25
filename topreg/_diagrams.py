"""Checks of diagrams that the user passes to distances and features."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from topreg import _checks
from topreg._conversions import conversion
from topreg.metrics import at_least_single


def check_two(first: Tensor, second: Tensor) -> None:
    """Raise unless two diagrams are on one device, and both or neither in double precision."""
    _checks.is_diagram("first", first)
    _checks.is_diagram("second", second)
    _checks.alike("first", first, "second", second)


def finite_part(name: str, diagram: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points (m, 2) of classes that die, and the births (e,) of those that do not.

    Reads values: synchronises the device.
    """
    _checks.have_no_nan(name, diagram)
    _checks.have_none(name, diagram[:, 0].isinf(), "have finite births", "infinite birth")
    impossible = diagram[:, 1] == -torch.inf
    _checks.have_none(name, impossible, "have deaths that are finite or +inf", "death", " of -inf")
    diagram = at_least_single(diagram)
    stays = diagram[:, 1] == torch.inf
    return diagram[~stays], diagram[stays, 0]


def each(diagram: Tensor | Sequence[Tensor], function: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the value of a diagram without essential classes, or those of several, stacked."""
    if not isinstance(diagram, Tensor | Sequence):
        raise TypeError(
            f"`diagram` should be a tensor or a sequence of them. Got {type(diagram).__name__}."
            f"{conversion(diagram)}"
        )
    diagrams = [diagram] if isinstance(diagram, Tensor) else list(diagram)
    if not diagrams:
        raise ValueError("`diagram` should hold at least one diagram. Got an empty sequence.")
    for one in diagrams:
        _checks.is_diagram("diagram", one)
    values = [function(finite_part("diagram", one)[0]) for one in diagrams]
    return values[0] if isinstance(diagram, Tensor) else torch.stack(values)


def check_range(name: str, ends: tuple[float, float]) -> tuple[float, ...]:
    """Return two numbers; raise unless they are finite and in order."""
    pair = isinstance(ends, Sequence) and len(ends) == 2 and not isinstance(ends, str)
    found = tuple([_checks.is_number(name, end) for end in ends]) if pair else ()
    if not pair or not -math.inf < ends[0] <= ends[1] < math.inf:
        raise ValueError(
            f"`{name}` should be a tuple (low, high) with finite low <= high. Got {ends}."
        )
    return found


def grid(ends: tuple[float, float], steps: int, like: Tensor) -> Tensor:
    """Return evenly spaced numbers, both ends included."""
    return torch.linspace(*ends, steps, dtype=like.dtype, device=like.device)
