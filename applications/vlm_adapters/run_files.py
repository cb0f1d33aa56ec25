"""What one run leaves in its folder, and reading it again."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import math
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ._files import read_json, read_tensors, write_json, write_tensors
from ._optional import require
from .adapters import Adapter, adapter_class
from .config import build
from .options import AdapterOptions
from .plugs import is_plug
from .preset_names import place_of
from .runs import Run

SCHEMA = 3
RESULT, ADAPTER, CHECKPOINT = "result.json", "adapter.safetensors", "checkpoint.safetensors"
LOCK = ".lock"
PACKAGES = ("topreg", "torch", "numpy", "numba", "safetensors", "open_clip_torch")

TYPES = {
    str: ("method", "preset", "dataset", "backbone", "data", "headline", "identity"),
    int: ("shots", "seed"),
    list: ("log",),
    dict: ("accuracies", "factors", "hashes", "weights", "config", "images"),
}


class SavedRun(NamedTuple):
    """A run read from its folder, with its adapter."""

    run: Run
    adapter: Adapter
    class_names: tuple[str, ...]


def write_run(folder: Path, run: Run, adapter: Adapter, class_names: Sequence[str]) -> None:
    """Write ``adapter.safetensors`` and ``result.json``, remove the checkpoint.

    Args:
        folder: Folder of the run; made if need be. The result comes last: it says that the run is
            done.
        run: The run.
        adapter: As the headline protocol evaluates it.
        class_names: By label.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / ADAPTER, adapter.state_dict())
    content = {
        "schema": SCHEMA,
        "command": ["vlm-adapters", *sys.argv[1:]],
        "run": run.as_record(),
        "adapter": {
            "options": dataclasses.asdict(adapter.options),
            "logit_scale": adapter.logit_scale,
            "class_names": list(class_names),
        },
        "environment": environment(),
    }
    write_json(folder / RESULT, content)
    (folder / CHECKPOINT).unlink(missing_ok=True)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Claim the folder of a run for this process; a claim ends with its process.

    Args:
        folder: Folder of the run; made if need be.

    Raises:
        RuntimeError: If another process makes the run.
    """
    filelock = require("filelock", extra="vlm")
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise RuntimeError(
            f"`{folder}` should be written by one process at a time. Got one that another is at "
            "work in. Wait until it has ended, or choose another folder with `--out`."
        ) from None
    try:
        yield
        (folder / LOCK).unlink(missing_ok=True)  # while it is held: nobody waits for it
    finally:
        lock.release()


def is_done(folder: Path) -> bool:
    """Return whether a folder has every file of a finished run."""
    return (folder / RESULT).is_file() and (folder / ADAPTER).is_file()


def finished_run(folder: Path, identity: str) -> Run | None:
    """The run of a folder, if it is done.

    Args:
        folder: Folder of the run.
        identity: Hash of everything that the run depends on.

    Returns:
        The run, or None.

    Raises:
        ValueError: If its result is damaged or was made with other settings.
    """
    if not is_done(folder):
        return None
    run = read_run(folder)
    if run.identity != identity:
        raise ValueError(
            f"`{folder}` should hold a run with these settings. Got a result of other settings, "
            "features or versions. Choose another folder with `--out`, or remove that one."
        )
    return run


def read_run(folder: Path) -> Run:
    """The result of a folder.

    Args:
        folder: Folder of the run.

    Returns:
        The run.

    Raises:
        FileNotFoundError: If there is no result.
        ValueError: If it is damaged or of another schema.
    """
    return _run(_content(folder / RESULT), folder / RESULT)


def read_runs(folder: Path) -> list[Run]:
    """The results below a folder.

    Args:
        folder: A run's folder, or one with many.

    Returns:
        The runs, by data set, then in the order of the shipped presets.

    Raises:
        FileNotFoundError: If there is no result.
        ValueError: If one is damaged or of another schema.
    """
    files = sorted(folder.rglob(RESULT))
    if not files:
        raise FileNotFoundError(
            f"`{folder}` should hold runs. Got no {RESULT} below it. "
            "Make some with `vlm-adapters train` or `vlm-adapters sweep`."
        )
    runs = [read_run(file.parent) for file in files]
    return sorted(runs, key=lambda run: (run.dataset, place_of(run.preset), run.shots, run.seed))


def read_saved_run(folder: Path, adapter_spec: str | None = None) -> SavedRun:
    """A run with its adapter.

    Args:
        folder: Folder of the run.
        adapter_spec: The adapter of the user that the run names, ``file.py:Name``. Without it no
            code that a run's file names is run.

    Returns:
        Run, adapter and class names.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If one is damaged.
    """
    content = _content(folder / RESULT)
    run = _run(content, folder / RESULT)
    _, tensors = read_tensors(folder / ADAPTER)
    try:
        saved = content["adapter"]
        options = build(AdapterOptions, saved["options"], "adapter")
        if is_plug(options.kind) and options.kind != adapter_spec:
            raise ValueError(
                f"its adapter is code of the user; give `--adapter {options.kind}` to run that code"
            )
        adapter = adapter_class(options.kind)(tensors, options, saved["logit_scale"])
        names = saved["class_names"]
        _check_adapter(adapter, names)
        return SavedRun(run, adapter, tuple(names))
    except (
        KeyError, TypeError, ValueError, RuntimeError, IndexError, OverflowError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"`{folder}` should hold a run with its adapter. Got {type(error).__name__}: {error}. "
            "Train it again."
        ) from None


def environment() -> dict[str, object]:
    """Versions and machine, as far as they may change a number."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return versions | {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }


def _content(file: Path) -> dict[str, Any]:
    """A result file with the schema of this version."""
    content = read_json(file)
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ValueError(
            f"`{file}` should be a result of schema {SCHEMA}. Got {schema!r}. "
            "Run it again with this version, into another folder."
        )
    return content  # type: ignore[no-any-return]


def _run(content: dict[str, Any], file: Path) -> Run:
    """The run of a result file."""
    try:
        run = Run(**content["run"])
        _check_types(run)
        factors = {name: tuple(map(float, found)) for name, found in run.factors.items()}
        run.accuracy  # noqa: B018 - is there
        return dataclasses.replace(run, factors=factors)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"`{file}` should hold a run. Got {error}. Remove the folder to run it again."
        ) from None


def _check_types(run: Run) -> None:
    """Refuse what tables and figures could not read."""
    for kind, names in TYPES.items():
        for name in names:
            if type(getattr(run, name)) is not kind:
                raise TypeError(f"`{name}` of type {type(getattr(run, name)).__name__}")
    epochs = [epoch.values() for epoch in run.log]
    best = () if run.best_epoch is None else (run.best_epoch,)
    numbers = [run.accuracies.values(), *epochs, best, (run.seconds,)]
    for number in itertools.chain.from_iterable(numbers):
        if type(number) not in (int, float) or not math.isfinite(number):
            raise TypeError(f"{number!r} in place of a number")


def _check_adapter(adapter: Adapter, class_names: object) -> None:
    """Refuse tensors that do not fit each other or the names."""
    if not isinstance(class_names, list) or not all(isinstance(n, str) for n in class_names):
        raise TypeError("`class_names` that are no list of texts")
    if not math.isfinite(adapter.logit_scale):
        raise ValueError(f"a `logit_scale` of {adapter.logit_scale}")
    tensors = adapter.state_dict()
    first = tensors.get("text", tensors.get("weight"))
    if first is None:  # an adapter of the user
        return
    with torch.no_grad():
        logits = adapter(torch.zeros(1, first.shape[-1]))
    if logits.shape != (1, len(class_names)):
        raise ValueError(f"logits of shape {tuple(logits.shape)} for {len(class_names)} classes")
