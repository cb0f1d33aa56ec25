"""Trials of a search: which is best, and their file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ._files import read_json, write_json
from .config import build
from .options import STRICT
from .search_plans import Values


@dataclass(frozen=True)
class Trial:
    """One point of a grid and its validation results, means over tasks.

    Attributes:
        preset: What was tried.
        stage: Of the plan.
        values: By ``section.key``.
        accuracy: In per cent; 0 if a training diverged.
        cross_entropy: 1e30 if a training diverged.
        identity: Hash of everything that the results depend on.
    """

    __pydantic_config__ = STRICT

    preset: str
    stage: str
    values: Values
    accuracy: float
    cross_entropy: float
    identity: str = ""


def best(trials: Sequence[Trial]) -> Trial:
    """Highest accuracy; of equals the lowest cross-entropy.

    Args:
        trials: Trials of one preset.

    Returns:
        The best of them.
    """
    return max(trials, key=lambda trial: (trial.accuracy, -trial.cross_entropy))


def read_trials(file: Path) -> list[Trial]:
    """The trials of a file, of whatever searches.

    Args:
        file: From :func:`write_trials`.

    Returns:
        The trials; none if there is no such file.

    Raises:
        ValueError: If it is damaged.
    """
    if not file.is_file():
        return []
    content = read_json(file)
    if not isinstance(content, list) or not all(isinstance(trial, dict) for trial in content):
        raise ValueError(f"`{file}` should hold trials. Got another document. Move it away.")
    return [build(Trial, trial, str(file)) for trial in content]


def write_trials(file: Path, found: Sequence[Trial], known: Sequence[Trial]) -> None:
    """Keep the trials of a search, and behind them those that were known.

    Args:
        file: Where to.
        found: What the search has.
        known: What the file had before.
    """
    there = {trial.identity for trial in found}
    others = [trial for trial in known if trial.identity not in there]
    write_json(file, [asdict(trial) for trial in (*found, *others)])
