"""The base class of the losses' module forms."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from operator import attrgetter
from typing import Any, ClassVar

from torch import nn

from topreg._repr import constructor_call


class Loss(nn.Module, ABC):
    """A loss that holds its options, checks them once, and calls its function with them.

    A subclass names the check in ``_check``, lists its options in ``__init__``, and calls its
    function with ``self._options()`` in ``forward``.
    """

    _check: ClassVar[Callable[..., object]]

    def __init__(self, **options: Any) -> None:
        super().__init__()
        type(self)._check(**options)
        for name, value in options.items():
            setattr(self, name, tuple(value) if name == "dimensions" else value)
        self._names = tuple(options)

    def _options(self) -> dict[str, Any]:
        """Return the options by name."""
        return dict(zip(self._names, attrgetter(*self._names, "training")(self), strict=False))

    def __repr__(self) -> str:
        """Return the call that makes an equal module."""
        return constructor_call(self)
