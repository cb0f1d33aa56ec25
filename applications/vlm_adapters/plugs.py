"""Parts of the user: an object of a Python file or an importable module, by name."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from ._files import file_sha256


def is_plug(spec: str) -> bool:
    """Tell a part of the user, ``file.py:Name`` or ``module:Name``, from a shipped name."""
    return ":" in spec


def load_plug(spec: str, option: str) -> Any:
    """Load an object of the user's. This runs the code of its file or module.

    Args:
        spec: ``file.py:Name`` or ``module:Name``.
        option: What messages call it.

    Returns:
        The object.

    Raises:
        ValueError: If there is no such file, module or name, or the code fails on import.
    """
    try:
        return _load(spec, plug_sha256(spec))
    except Exception as error:  # the user's code may fail in any way
        raise ValueError(
            f"`{option}` should be `file.py:Name` or `module:Name` of a part that Python can "
            f"import. Got {spec!r}: {type(error).__name__}: {error}."
        ) from error


@lru_cache
def _load(spec: str, sha256: str) -> Any:
    """Load an object once for each content of its file."""
    origin, _, name = spec.rpartition(":")
    if _is_file(origin):
        return getattr(_load_file(Path(origin)), name)
    sys.path.insert(0, os.getcwd())  # as ``python -m`` does
    try:
        return getattr(importlib.import_module(origin), name)
    finally:
        sys.path.pop(0)


def plug_sha256(spec: str) -> str:
    """Hash the source of a part, so that a run notices when it changes.

    Args:
        spec: As in :func:`load_plug`; a shipped name has no hash.

    Returns:
        64 digits; none for a shipped name, or a module without a file.
    """
    if not is_plug(spec):
        return ""
    origin = spec.rpartition(":")[0]
    if _is_file(origin):
        return file_sha256(Path(origin)) if Path(origin).is_file() else ""
    try:
        found = importlib.util.find_spec(origin)
    except (ImportError, ValueError):
        return ""  # loading it says so
    return file_sha256(Path(found.origin)) if found and found.has_location and found.origin else ""


def _is_file(origin: str) -> bool:
    """Whether the first part of a spec is a file, not a module."""
    return origin.endswith(".py")


def _load_file(file: Path) -> Any:
    """Run a Python file as a module of its own name."""
    if not file.is_file():
        raise FileNotFoundError("no such file")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None  # noqa: PT018 - it ends in .py
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
