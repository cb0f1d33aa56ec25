"""What a run is once it is made, what it leaves in its folder, and reading it again."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic.dataclasses import dataclass

from ._files import file_sha256, json_hash, read_json, read_tensors, write_json, write_tensors
from .adapters import Adapter, adapter_class
from .config import STRICT, AdapterOptions, build, place_of
from .plugs import is_plug

SCHEMA = 4
RESULT, ADAPTER, CHECKPOINT = "result.json", "adapter.safetensors", "checkpoint.safetensors"
TRANSFERS = "transfer"
PACKAGES = ("topreg", "torch", "numpy", "numba", "safetensors", "open_clip_torch")


@dataclass(frozen=True, config=STRICT)
class Run:
    """One training and its test accuracies."""

    method: str  # its title
    preset: str
    dataset: str
    backbone: str
    data: str  # what a step saw of the training images: "cached" or "online" views
    shots: int
    seed: int  # of sample, batches and views
    headline: str  # the protocol whose number the tables show
    accuracies: dict[str, float]  # on test images in per cent, by protocol
    factors: dict[str, tuple[float, ...]] = field(default_factory=dict)  # that a search chose
    hashes: dict[str, str] = field(default_factory=dict)  # of split and index lists
    weights: dict[str, str] = field(default_factory=dict)  # hashes of the backbone's
    features: dict[str, str] = field(default_factory=dict)  # how they were made; older runs: empty
    identity: str = ""  # hash of everything that the run depends on
    config: dict[str, Any] = field(default_factory=dict)  # the method
    log: list[dict[str, float]] = field(default_factory=list)  # means of each epoch
    best_epoch: int | None = None  # of "best_val"
    seconds: float = 0.0
    # Numbers of training, validation and test images, and the fewest that a class gave to training.
    images: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)  # more of the headline, in per cent

    def __post_init__(self) -> None:
        """Raise if the headline has no accuracy."""
        if self.headline not in self.accuracies:
            raise ValueError(f"`accuracies` should have the headline {self.headline!r}. Got none.")

    @property
    def accuracy(self) -> float:
        """Return the test accuracy in per cent under the headline protocol."""
        return self.accuracies[self.headline]

    @property
    def published_pixels(self) -> bool:
        """Return whether images were read as the published codes do; older results do not tell."""
        return self.features.get("pixels") == "published"


class SavedRun(NamedTuple):
    """A run read from its folder, with its adapter."""

    run: Run
    adapter: Adapter
    class_names: tuple[str, ...]


def write_run(folder: Path, run: Run, adapter: Adapter, class_names: Sequence[str]) -> None:
    """Write the adapter, then the result, which says that the run is done; drop the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / ADAPTER, adapter.state_dict())
    content = {
        "schema": SCHEMA,
        "command": ["vlm-adapters", *sys.argv[1:]],
        "run": asdict(run),
        "adapter": {
            "options": asdict(adapter.options),
            "logit_scale": adapter.logit_scale,
            "class_names": list(class_names),
            "sha256": file_sha256(folder / ADAPTER),
        },
        "environment": environment(),
    }
    write_result(folder, content)
    (folder / CHECKPOINT).unlink(missing_ok=True)


def write_result(folder: Path, content: dict[str, Any]) -> None:
    """Write the result of a run, with a hash by which changes are noticed."""
    write_json(folder / RESULT, content | {"sha256": json_hash(content)})


def is_done(folder: Path) -> bool:
    """Return whether a folder has every file of a finished run, the adapter undamaged."""
    if not (folder / RESULT).is_file() or not (folder / ADAPTER).is_file():
        return False
    wanted = read_result(folder)["adapter"]["sha256"]
    return bool(wanted == file_sha256(folder / ADAPTER))


def finished_run(folder: Path, identity: str) -> Run | None:
    """Return the run of a folder if it is done; raise if it is damaged or has other settings."""
    if not is_done(folder):
        return None
    run = read_run(folder)
    if run.identity != identity:
        raise ValueError(
            f"`{folder}` should hold a run with these settings. Got a result of other settings, "
            "features or versions. Choose another folder with `--out`, or remove that one."
        )
    (folder / CHECKPOINT).unlink(missing_ok=True)  # of a process that was killed at its last step
    return run


def read_run(folder: Path) -> Run:
    """Read the run of a folder."""
    return build(Run, read_result(folder)["run"], "run")


def read_result(folder: Path) -> dict[str, Any]:
    """Read what the folder of a run says of it; raise if it is not as it was written."""
    file = folder / RESULT
    content = read_json(file)
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ValueError(
            f"`{file}` should be a result of schema {SCHEMA}. Got {schema!r}. "
            "Run it again with this version, into another folder."
        )
    if content.pop("sha256", None) != json_hash(content):
        raise ValueError(
            f"`{file}` should be as it was written. Got another content. "
            "Remove the folder to run it again."
        )
    found: dict[str, Any] = content
    return found


def read_runs(folder: Path) -> list[Run]:
    """Read the results in or below a folder, by data set, then as the presets are ordered."""
    files = sorted(folder.rglob(RESULT))
    if not files:
        raise FileNotFoundError(
            f"`{folder}` should hold runs. Got no {RESULT} below it. "
            "Make some with `vlm-adapters train` or `vlm-adapters sweep`."
        )
    runs = [read_run(file.parent) for file in files]
    return sorted(runs, key=lambda run: (run.dataset, place_of(run.preset), run.shots, run.seed))


def read_saved_run(folder: Path, adapter_spec: str | None = None) -> SavedRun:
    """Read a run with its adapter.

    Code that a run's file names is run only if ``adapter_spec`` names it too, ``file.py:Name``.
    """
    record, run = read_result(folder)["adapter"], read_run(folder)
    _, tensors = read_tensors(folder / ADAPTER)
    if file_sha256(folder / ADAPTER) != record["sha256"]:
        raise ValueError(f"`{folder}` should hold its adapter. Got another one. Train it again.")
    options, names = build(AdapterOptions, record["options"]), tuple(record["class_names"])
    if is_plug(options.kind) and options.kind != adapter_spec:
        raise ValueError(
            f"`{folder}` should hold a run with a shipped adapter. Got code of the user. "
            f"Give `--adapter {options.kind}` to run that code."
        )
    adapter = adapter_class(options.kind)(tensors, options, record["logit_scale"])
    return SavedRun(run, adapter, names)


def transfer_file(run: Path, target: str) -> Path:
    """Return where the folder of a run keeps its accuracy on another data set."""
    return run / TRANSFERS / f"{target}.json"


def read_transfers(folder: Path) -> list[Run]:
    """Read the accuracies on other data sets below a folder, each as a run on its target."""
    return [
        _transferred(read_run(file.parent.parent), file)
        for file in sorted(folder.rglob(f"{TRANSFERS}/*.json"))
        if (file.parent.parent / RESULT).is_file()
    ]


def _transferred(run: Run, file: Path) -> Run:
    content = read_json(file)
    try:
        trained, accuracy = content["run"], {run.headline: float(content["accuracy"])}
        features = run.features | {"test images": str(content.get("features", ""))}
        moved = replace(run, dataset=content["target"], accuracies=accuracy, log=[], metrics={})
        moved = replace(moved, features=features)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"`{file}` should hold the accuracy on a target. Got {type(error).__name__}: {error}. "
            "Make it again with `vlm-adapters evaluate`."
        ) from None
    if trained != run.identity:
        raise ValueError(
            f"`{file}` should belong to the run in its folder. Got the accuracy of another. "
            "Make it again with `vlm-adapters evaluate`."
        )
    return moved


def environment() -> dict[str, object]:
    """Return versions and machine, as far as they may change a number."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    return versions | {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
