"""Which runs belong together: settings, and variants of one method."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..runs import Run

__all__ = ["by_setting", "distinct_runs", "unique"]


def distinct_runs(runs: Sequence[Run]) -> list[Run]:
    """Runs that may stand in one table, each row under a title of its own.

    Where a method was run on a data set with several options, the titles say which.

    Args:
        runs: Runs of one backbone and one kind of training data.

    Returns:
        The runs in their order, some under longer titles.

    Raises:
        ValueError: If there are none, if backbones or kinds of data differ, or if a run is there
            twice.
    """
    if not runs:
        raise ValueError("`runs` should hold a run. Got none.")
    settings = by_setting(runs)
    if len(settings) > 1:
        found = ", ".join(f"{backbone} ({data})" for backbone, data in settings)
        raise ValueError(
            f"`runs` should share one backbone and one kind of training data. Got {found}. "
            "Make one table for each."
        )
    named = titled(runs)
    _refuse_doubles(named)
    return named


def titled(runs: Sequence[Run]) -> list[Run]:
    """The runs, variants of one method on one data set told apart in their titles."""
    differing = _differing_options(runs)
    return [replace(run, method=_title(run, differing[run.method])) for run in runs]


def by_setting(runs: Iterable[Run]) -> dict[tuple[str, str], list[Run]]:
    """The runs of each backbone and kind of training data.

    Args:
        runs: Any runs.

    Returns:
        Runs by backbone and data.
    """
    settings = defaultdict[tuple[str, str], list[Run]](list)
    for run in runs:
        settings[run.backbone, run.data].append(run)
    return dict(settings)


def unique(values: Iterable[str]) -> list[str]:
    """Each value once, in the order in which they come."""
    return list(dict.fromkeys(values))


def shot_counts(runs: Iterable[Run]) -> list[int]:
    """Shot counts in ascending order."""
    return sorted({run.shots for run in runs})


def flat_options(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Options of nested tables by dotted name, their values as JSON has them."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield from flat_options(value, f"{prefix}{key}.")
        elif prefix or key != "title":
            yield f"{prefix}{key}", json.dumps(value).strip('"')


def _differing_options(runs: Sequence[Run]) -> dict[str, list[str]]:
    """For each title, the options that differ among its runs on one data set."""
    configs = defaultdict[tuple[str, str], dict[str, Mapping[str, Any]]](dict)
    for run in runs:
        configs[run.method, run.dataset][json.dumps(run.config, sort_keys=True)] = run.config
    found = defaultdict[str, list[str]](list)
    for (method, _), several in configs.items():
        options = [dict(flat_options(config)) for config in several.values()]
        for key in unique(key for one in options for key in one):
            if len({one.get(key) for one in options}) > 1 and key not in found[method]:
                found[method].append(key)
    return found


def _title(run: Run, keys: Sequence[str]) -> str:
    """A run's title with some of its options."""
    if not keys:
        return run.method
    options = dict(flat_options(run.config))
    parts = [f"{key.removeprefix('constraint.')}={options.get(key)}" for key in keys]
    return f"{run.method} ({', '.join(parts)})"


def _refuse_doubles(runs: Sequence[Run]) -> None:
    """Refuse two runs of the same method on the same task."""
    seen = set[tuple[str, str, int, int]]()
    for run in runs:
        place = run.method, run.dataset, run.shots, run.seed
        if place in seen:
            raise ValueError(
                f"`runs` should hold each run once. Got {run.method} on {run.dataset} at "
                f"{run.shots} shots with seed {run.seed} twice. Give one of them another `title`."
            )
        seen.add(place)
