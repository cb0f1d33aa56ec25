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
    """Load an object of the user, which runs the code of its file or module.

    Modules of the current folder come first. Messages name the option that holds the spec.
    """
    try:
        return _load(spec, plug_sha256(spec))
    except Exception as error:  # the user's code may fail in any way
        raise ValueError(
            f"`{option}` should be `file.py:Name` or `module:Name` of a part that Python can "
            f"import. Got {spec!r}: {type(error).__name__}: {error}."
        ) from error


def plug_sha256(spec: str) -> str:
    """Hash the source of a part, so that a run notices when it changes; "" if there is none."""
    origin, named, _ = spec.rpartition(":")
    file = origin if origin.endswith(".py") else None
    if named and file is None:
        try:
            found = importlib.util.find_spec(origin)
        except (ImportError, ValueError):  # loading it says so
            found = None
        file = found.origin if found and found.has_location else None
    return file_sha256(Path(file)) if file and Path(file).is_file() else ""


@lru_cache
def _load(spec: str, sha256: str) -> Any:
    """Load an object once for each content of its file."""
    origin, _, name = spec.rpartition(":")
    if origin.endswith(".py"):
        spec_of_file = importlib.util.spec_from_file_location(Path(origin).stem, origin)
        assert spec_of_file is not None and spec_of_file.loader is not None  # noqa: PT018
        module = importlib.util.module_from_spec(spec_of_file)
        spec_of_file.loader.exec_module(module)
        return getattr(module, name)
    sys.path.insert(0, os.getcwd())  # as ``python -m`` does
    importlib.invalidate_caches()
    try:
        return getattr(importlib.import_module(origin), name)
    finally:
        sys.path.pop(0)
