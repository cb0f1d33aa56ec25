"""Where the weights of an open_clip model are, and what can be told about them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten
from typing import Any

from .._optional import require
from ..weights import is_torchscript, was_trained_with_quick_gelu

FOLDER = "local-dir:"
HUB = "hf-hub:"
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
CONFIG = "open_clip_config.json"


@dataclass(frozen=True)
class Weights:
    """Weights of a model.

    Attributes:
        model: The model's name.
        source: Tag or file, as open_clip takes it; None where the model's name says it all.
        label: Short name of the weights.
        quick_gelu: Whether they were trained with QuickGELU; None if that cannot be told.
        file: Their file; None for a folder, in which open_clip chooses, and before a download.
        remote: What open_clip downloads, if anything.
    """

    model: str
    source: str | None
    label: str
    quick_gelu: bool | None = None
    file: Path | None = None
    remote: dict[str, Any] | None = None

    @property
    def has_schema(self) -> bool:
        """Whether configuration and weights lie side by side, in a folder or on the hub."""
        return self.model.startswith((FOLDER, HUB))


def find_weights(model: str, weights: str | os.PathLike[str] | None) -> Weights:
    """Say where weights are, and check what can be checked without the network."""
    if model.startswith((FOLDER, HUB)):
        if weights is not None:
            raise ValueError(
                f"`weights` should be None for {model!r}, which brings its own. Got {weights!r}."
            )
        return _folder(model) if model.startswith(FOLDER) else _hub(model)
    open_clip = require("open_clip", extra="vlm")
    if model not in open_clip.list_models():
        raise ValueError(_unknown_model(model, open_clip.list_models()))
    if weights is None:
        raise ValueError(f"`weights` should be a tag or a file for {model!r}. Got None.")
    tag = open_clip.get_pretrained_cfg(model, str(weights))
    if not tag:
        return _file(model, Path(weights).expanduser(), str(weights))
    label = str(weights).lower().replace("-", "_")  # as open_clip compares tags
    return Weights(model, label, label, bool(tag.get("quick_gelu", False)), remote=tag)


def fetch(weights: Weights, cache_dir: str | None) -> Weights:
    """The same weights on this machine, from the cache or else from the hub."""
    if weights.remote is None:
        return weights
    open_clip = require("open_clip", extra="vlm")
    try:
        file = open_clip.download_pretrained(weights.remote, cache_dir=cache_dir)
    except Exception as error:  # the hub's client and urllib have many kinds
        what = weights.model if weights.has_schema else f"{weights.model}/{weights.label}"
        raise FileNotFoundError(
            f"`weights` should be on this machine or on a hub that it can reach. Got {what!r} and "
            f"no file of it: {one_line(error)}. Copy the weights here and name their file, or "
            "their folder as `local-dir:FOLDER`."
        ) from error
    return replace(weights, file=Path(file))


def _folder(model: str) -> Weights:
    """Weights in a folder, beside their configuration."""
    folder = Path(model.removeprefix(FOLDER)).expanduser()
    file = folder / CONFIG
    if not file.is_file():
        raise FileNotFoundError(
            f"`model` should be `{FOLDER}` and a folder with `{CONFIG}`. Got {str(folder)!r} "
            "without it. Copy it there from the model's page."
        )
    if not _is_config(file):
        raise ValueError(
            f"`{CONFIG}` should be JSON with an object `model_cfg`. Got another content in "
            f"{str(folder)!r}. Copy it again from the model's page."
        )
    if not any(part.suffix in (".safetensors", ".bin", ".pth") for part in folder.iterdir()):
        raise FileNotFoundError(
            f"{str(folder)!r} should hold weights as `.safetensors`, `.bin` or `.pth`. Got none. "
            f"Copy them beside `{CONFIG}`."
        )
    return Weights(f"{FOLDER}{folder}", None, f"{FOLDER}{folder.resolve().name}")


def _is_config(file: Path) -> bool:
    """Whether a file is JSON with a model's configuration."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        return False
    return isinstance(config, dict) and isinstance(config.get("model_cfg"), dict)


def _hub(model: str) -> Weights:
    """Weights on the hub, beside their configuration."""
    return Weights(model, None, model, remote={"hf_hub": model.removeprefix(HUB).rstrip("/") + "/"})


def _file(model: str, file: Path, weights: str) -> Weights:
    """Weights in a file of the user's."""
    if not file.is_file():
        if file.suffix in SUFFIXES or len(file.parts) > 1:
            raise FileNotFoundError(
                f"`weights` should be a tag or a file. Got no file {weights!r}."
            )
        tags = require("open_clip", extra="vlm").list_pretrained_tags_by_model(model)
        raise ValueError(
            f"`weights` should be a file or a tag of {model!r}: {', '.join(tags) or 'it has none'}."
            f" Got {weights!r}."
        )
    if is_torchscript(file):
        raise ValueError(
            f"`weights` should hold tensors only. Got the TorchScript archive {weights!r}, which "
            "holds code. If you trust it, run "
            f"`vlm-adapters weights convert {weights} {file.with_suffix('.safetensors').name}`."
        )
    told = True if was_trained_with_quick_gelu(file) else None
    return Weights(model, str(file), file.name, told, file)


def _unknown_model(model: str, known: list[str]) -> str:
    """What to say of a model that open_clip does not have."""
    near = get_close_matches(model.replace("/", "-"), known, n=3, cutoff=0.5)
    return (
        f"`model` should be a model of open_clip, `{FOLDER}FOLDER` or `{HUB}OWNER/NAME`. Got "
        f"{model!r}. " + (f"Did you mean {', '.join(near)}?" if near else "See its README.")
    )


def one_line(error: Exception) -> str:
    """Kind and first words of another library's error."""
    words = shorten(str(error), 200).rstrip(".")
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
