"""Tuned values as the TOML that ``load_methods`` lays over presets."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from .config import override_tables
from .trials import Trial, best


def tuned_values(
    trials: Sequence[Trial],
    origin: str,
    *,
    dataset: str = "",
    also: Mapping[str, Sequence[str]] | None = None,
    overrides: Sequence[str] = (),
) -> str:
    """The best values of each preset, as the TOML that ``load_methods`` lays over presets.

    Args:
        trials: Trials of several presets.
        origin: What the values were chosen on, in words.
        dataset: Name of the data set, for which alone the values hold.
        also: Presets that take the values of a preset too.
        overrides: What all trials had, ``preset.section.key=value`` each.

    Returns:
        Text of the file.
    """
    lines = [
        "# Written by `vlm-adapters tune`: chosen on few-shot validation images.",
        f"# {origin}",
    ]
    tables = defaultdict[str, dict[str, Any]](dict, _overridden(overrides))
    for preset in dict.fromkeys(trial.preset for trial in trials):
        mine = [trial for trial in trials if trial.preset == preset]
        winner = best(mine)
        lines.append(
            f"# {preset}: best of {len(mine)} trials, validation accuracy "
            f"{winner.accuracy:.2f} %, cross-entropy {winner.cross_entropy:.4f}"
        )
        for name in (preset, *(also or {}).get(preset, ())):
            for path, value in winner.values.items():
                section, _, key = path.partition(".")
                tables[f"{name}.{section}"][key] = _number(value)
    lines += [f"dataset = {json.dumps(dataset)}"] if dataset else []
    for table, values in tables.items():
        lines += ["", f"[{table}]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _overridden(overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Overrides by the header of their table."""
    tables = defaultdict[str, dict[str, Any]](dict)
    for override in overrides:
        [(preset, content)] = override_tables(override).items()
        for name, value in content.items():
            if isinstance(value, Mapping):
                tables[f"{preset}.{name}"].update(value)
            else:
                tables[preset][name] = value
    return tables


def _number(value: float) -> float | int:
    """Four digits; whole where it was written so."""
    return value if isinstance(value, int) else float(f"{value:.4g}")
