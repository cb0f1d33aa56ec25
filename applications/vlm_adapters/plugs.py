"""Parts of the user: an object of a Python file or an importable module, by name."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._files import file_sha256

if TYPE_CHECKING:
    from types import ModuleType

OURS = Path(__file__).resolve().parent  # whose errors are not the user's
_specs: dict[str, dict[str, None]] = {}  # parts that were asked for, by the file of their code
_hashes: dict[str, str] = {}  # of the source from which a module of the user was last run


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
            f"import. Got {spec!r}: {type(error).__name__}: {error}{_place(error)[1]}."
        ) from error


@contextmanager
def telling_parts() -> Iterator[None]:
    """Tell an error within code of the user with the part, the kind of error, file and line."""
    try:
        yield
    except Exception as error:  # the user's code may fail in any way
        specs, place = _place(error)
        if not specs:
            raise
        raise RuntimeError(
            f"`{'` or `'.join(specs)}` should run without an error. "
            f"Got {type(error).__name__}: {error}{place}."
        ) from error


def _place(error: Exception) -> tuple[list[str], str]:
    """Return the parts whose code an error passed through last, and its file and line there."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if specs := _specs.get(os.path.abspath(frame.filename)):
            return list(specs), f" in {frame.filename}, line {frame.lineno}"
    return [], ""


def plug_sha256(spec: str) -> str:
    """Hash the source of a part, so that a run notices when it changes; "" if there is none."""
    file = _source(spec)
    return file_sha256(Path(file)) if file and Path(file).is_file() else ""


def _source(spec: str) -> str | None:
    """Return the file with the code of a part."""
    origin, named, _ = spec.rpartition(":")
    if origin.endswith(".py") or not named:
        return origin or None
    try:
        with _first_on_path(os.getcwd()):
            found = importlib.util.find_spec(origin)  # runs the packages above it
    except Exception:  # loading it says so
        return None
    return found.origin if found else None


@lru_cache
def _load(spec: str, sha256: str) -> Any:
    """Load an object once for each content of its file."""
    origin, _, name = spec.rpartition(":")
    file = _source(spec)
    if file is not None and OURS not in Path(file).resolve().parents:
        _specs.setdefault(os.path.abspath(file), {})[spec] = None
    module = _run(origin, sha256) if origin.endswith(".py") else _imported(origin, sha256)
    return getattr(module, name)


def _run(file: str, sha256: str) -> ModuleType:
    """Run a file, beside which it may import others, as a module that no other one can be."""
    name = f"{Path(file).stem} {sha256}"  # with a space none is imported
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None  # noqa: PT018
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with _first_on_path(str(Path(file).resolve().parent)):
        spec.loader.exec_module(module)
    return module


def _imported(name: str, sha256: str) -> ModuleType:
    """Import a module, again if its source has changed since this was done last."""
    with _first_on_path(os.getcwd()):
        module = importlib.import_module(name)
        if _hashes.get(name, sha256) != sha256:
            module = importlib.reload(module)
    _hashes[name] = sha256
    return module


@contextmanager
def _first_on_path(folder: str) -> Iterator[None]:
    """Let Python look for modules in a folder first, as ``python -m`` does."""
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):  # the code may have taken it out, or put others before it
            sys.path.remove(folder)
