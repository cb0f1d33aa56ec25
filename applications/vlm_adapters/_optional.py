"""Import a package that only an extra brings."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, *, extra: str) -> Any:
    """Import ``module``, or say which extra of topreg installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"`{module}` should be installed with the `{extra}` extra. Got no module named "
            f'`{error.name}`. Run `pip install "topreg[{extra}]"`.',
            name=error.name,
        ) from error
