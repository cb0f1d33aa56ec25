"""The shipped methods, and what each is compared with."""

from __future__ import annotations

import sys
from importlib import resources

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_file = resources.files(__package__) / "presets" / "methods.toml"
METHODS = tomllib.loads(_file.read_text(encoding="utf-8"))
PRESETS = tuple(METHODS)
BASELINES = {n: table.pop("baseline") for n, table in METHODS.items() if "baseline" in table}


def place_of(preset: str) -> tuple[int, str]:
    """Return the sort key of a preset: the shipped ones in their order, then others by name."""
    return (PRESETS.index(preset) if preset in PRESETS else len(PRESETS), preset)
