"""Import a package that only an extra brings."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, *, extra: str) -> Any:
    """Import ``module``, or say which extra of topreg installs it.

    Args:
        module: Dotted name of the module.
        extra: Name of the extra that brings it.

    Returns:
        The module. Its type is unknown to the type checker: these packages carry no annotations.

    Raises:
        ModuleNotFoundError: If the module, or one that it imports, is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"`{module}` should be installed with the `{extra}` extra. Got no module named "
            f'`{error.name}`. Run `pip install "topreg[{extra}]"`.',
            name=error.name,
        ) from error
