"""A backbone from what is written on the command line."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .base import Backbone
from .devise import Devise
from .open_clip import OpenClip
from .projected import ProjectedBackbone

__all__ = ["load_backbone"]

FORMS = (
    "`devise`, `devise-N`, `open_clip/MODEL/TAG`, `open_clip/MODEL/FILE`, "
    "`open_clip/local-dir:FOLDER`, `open_clip/hf-hub:OWNER/NAME` or `MODULE:FACTORY`"
)
OPTION = "?quick_gelu="


def load_backbone(spec: str, *, device: torch.device | str = "cpu") -> Backbone:
    """Load the backbone that a specification names.

    ========================================  ====================================================
    ``devise``                                :class:`~vlm_adapters.backbones.Devise`
    ``devise-N``                              its first N principal directions
    ``open_clip/MODEL/TAG``                   :class:`~vlm_adapters.backbones.OpenClip`
    ``open_clip/MODEL/FILE``                  the same from a file, whose path may have slashes;
                                              ``?quick_gelu=true`` or ``false`` may follow
    ``open_clip/local-dir:FOLDER``            the same from a folder of configuration and weights
    ``open_clip/hf-hub:OWNER/NAME``           the same from the hub
    ``MODULE:FACTORY``                        what ``FACTORY()`` of a Python module returns, found
                                              in the current folder or wherever Python looks
    ========================================  ====================================================

    Args:
        spec: One of the forms above.
        device: Where the backbone runs; a factory decides for itself.

    Returns:
        The backbone.

    Raises:
        ValueError: If ``spec`` has none of the forms, or what it names cannot be had.
        TypeError: If a factory does not return a backbone.
        FileNotFoundError: If there are no such weights.
    """
    if spec.startswith("open_clip/"):
        return _load_open_clip(spec, device)
    if spec == "devise":
        return Devise(device=device)
    if directions := re.fullmatch(r"devise-(\d+)", spec):
        whole = Devise(device=device)
        return ProjectedBackbone(whole, whole.principal_directions(int(directions[1])))
    if re.fullmatch(r"[\w.]+:\w+", spec):
        return _load_factory(spec)
    raise _unknown(spec)


def _load_open_clip(spec: str, device: torch.device | str) -> Backbone:
    """What follows ``open_clip/``."""
    rest, option, value = spec.removeprefix("open_clip/").partition(OPTION)
    if option and value not in ("true", "false"):
        raise ValueError(f"`{OPTION}` should be followed by true or false. Got {spec!r}.")
    quick_gelu = value == "true" if option else None
    if rest.startswith(("local-dir:", "hf-hub:")):
        return OpenClip(rest, quick_gelu=quick_gelu, device=device)
    model, _, weights = rest.partition("/")
    if not model or not weights:
        raise _unknown(spec)
    return OpenClip(model, weights, quick_gelu=quick_gelu, device=device)


def _load_factory(spec: str) -> Backbone:
    """Import a module of the user's and call its factory."""
    module, _, name = spec.partition(":")
    with _current_folder_first():
        try:
            found = importlib.import_module(module)
        except ImportError as error:
            raise ValueError(
                f"`spec` should name a module that Python can import. Got {spec!r}: {error}. "
                "Run the command in the module's folder, or add it to PYTHONPATH."
            ) from error
        factory = getattr(found, name, None)
        if not callable(factory):
            raise ValueError(
                f"`spec` should name a function of the module. Got {spec!r}, which is none. "
                "Write MODULE:FUNCTION."
            )
        return _checked(factory(), spec)


def _checked(made: Backbone, spec: str) -> Backbone:
    """Refuse what lacks a part of the protocol."""
    parts = [name for name in vars(Backbone) if not name.startswith("_")]
    missing = [name for name in parts if not _has(made, name)]
    if missing:
        raise TypeError(
            f"`{spec}` should return a backbone. Got {type(made).__name__} without "
            f"{', '.join(f'`{name}`' for name in missing)}. See `vlm_adapters.backbones.Backbone`."
        )
    return made


def _has(made: object, name: str) -> bool:
    """Whether an attribute is there; a backbone may refuse to give it."""
    try:
        getattr(made, name)
    except AttributeError:
        return False
    except ValueError:
        return True
    return True


@contextmanager
def _current_folder_first() -> Iterator[None]:
    """Let imports look into the current folder, as ``python -m`` does."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(folder)


def _unknown(spec: str) -> ValueError:
    """The error for none of the forms."""
    return ValueError(f"`spec` should be {FORMS}. Got {spec!r}.")
