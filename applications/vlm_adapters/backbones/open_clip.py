"""Backbones of the package open_clip: CLIP and its relatives."""

from __future__ import annotations

import json
import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._files import json_hash
from .._optional import require
from ._open_clip_model import (
    build_model,
    hash_weights,
    read_pixels,
    resolve_config,
    take_text_projection,
    uses_quick_gelu,
)
from ._open_clip_weights import HUB, Weights, fetch, find_weights, one_line
from .base import Pixels, TextProjection

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["OpenClip"]

PACKAGES = ("open_clip_torch", "torch", "torchvision")
TEXTS_AT_ONCE = 256


class OpenClip:
    """A frozen model of open_clip in evaluation mode and float32.

    OpenAI's weights, and some others, were trained with QuickGELU. Where the tag or the file
    tells so, a plain name such as ``RN50`` is taken as ``RN50-quickgelu``. A file that does not
    tell is refused under a name that has such a twin, because the wrong activation costs accuracy
    without any other sign.

    Args:
        model: Name of a configuration, ``local-dir:FOLDER`` or ``hf-hub:OWNER/NAME``.
        weights: Tag of open_clip, ``.safetensors`` file, or ``.pt`` file of tensors only; None
            for a folder and for the hub, which have both.
        quick_gelu: Whether the weights were trained with QuickGELU; None if the model's name, the
            tag or the file says it.
        device: Where the model runs.
        cache_dir: Where open_clip keeps what it downloads; its own choice by default.

    Raises:
        FileNotFoundError: If there are no such weights, or they are on a hub out of reach.
        ValueError: If the weights do not fit the model, or are no plain tensors.
        ModuleNotFoundError: If the ``vlm`` extra is not installed.

    Note:
        A bare file says nothing of preprocessing: OpenAI's is taken. A folder has its own.
        ``logit_bias``, which SigLIP has, is left out; it changes no ranking.
    """

    def __init__(
        self,
        model: str,
        weights: str | os.PathLike[str] | None = None,
        *,
        quick_gelu: bool | None = None,
        device: torch.device | str = "cpu",
        cache_dir: str | None = None,
    ) -> None:
        found = find_weights(model, weights)
        self.config, force = resolve_config(found, quick_gelu)
        found = fetch(found, cache_dir)
        about = found.label if found.has_schema else f"{self.config}/{found.label}"
        self.name = f"open_clip/{about}"
        self.device = torch.device(device)
        built, self._preprocess = build_model(found, self.config, force, cache_dir)
        self._preprocessing: dict[str, Any] = built.visual.preprocess_cfg
        self._fingerprint = self._describe(built, found)
        self.logit_scale = float(built.logit_scale.exp())
        self._model = built.to(self.device)
        self._projection = take_text_projection(self._model)
        self._tokenizer = _load_tokenizer(self.config, cache_dir)
        self.dimension: int = self.encode_text([""]).shape[1]

    @property
    def pixels(self) -> Pixels:
        """Size and scaling of the images that the encoder takes.

        Raises:
            ValueError: If they are not square.
        """
        return read_pixels(self._preprocessing, self.name)

    @property
    def text_projection(self) -> TextProjection:
        """The text tower's last map.

        Raises:
            ValueError: If the text tower does not end in a linear map.
        """
        if self._projection is None:
            raise ValueError(
                f"`{self.name}` should have a linear map at the end of its text tower. Got none. "
                "Use another model to tune it."
            )
        return self._projection

    def fingerprint(self) -> dict[str, str]:
        """Everything that the features depend on: packages, versions, weights, options."""
        return dict(self._fingerprint)

    def preprocess(self, image: Image) -> Tensor:
        """Turn one image into a tensor of shape (3, h, w), as the model's own evaluation does."""
        pixels: Tensor = self._preprocess(image.convert("RGB"))
        return pixels

    def encode_image(self, images: Tensor) -> Tensor:
        """Features of shape (n, d) of a batch of preprocessed images, not normalised."""
        with torch.no_grad():
            features: Tensor = self._model.encode_image(images.to(self.device), normalize=False)
        return features

    def encode_text(self, texts: list[str]) -> Tensor:
        """Features of shape (k, d) of k sentences, not normalised."""
        hidden = self.encode_text_hidden(texts)
        return hidden if self._projection is None else self._projection(hidden)

    def encode_text_hidden(self, texts: list[str]) -> Tensor:
        """Features of shape (k, w) of k sentences, before the text tower's last linear map."""
        tokens = self._tokenizer(texts).to(self.device).split(TEXTS_AT_ONCE)
        with torch.no_grad():
            # The model has lost its projection.
            return torch.cat([self._model.encode_text(part, normalize=False) for part in tokens])

    def _describe(self, model: Any, weights: Weights) -> dict[str, str]:
        """The fingerprint, taken while the model is whole."""
        about = {"name": self.name, "config": weights.label if weights.has_schema else self.config}
        if not self.config.startswith(HUB):
            config = require("open_clip", extra="vlm").get_model_config(self.config)
            about["config sha256"] = json_hash(config)
        return {
            **about,
            **hash_weights(model, weights.file),
            "quick_gelu": str(uses_quick_gelu(model)),
            "preprocessing": json.dumps(self._preprocessing, sort_keys=True),
            **{package: version(package) for package in PACKAGES},
        }


def _load_tokenizer(config: str, cache_dir: str | None) -> Any:
    """The model's tokenizer; CLIP's own is part of the package, others are on the hub."""
    try:
        return require("open_clip", extra="vlm").get_tokenizer(config, cache_dir=cache_dir)
    except Exception as error:  # transformers and the hub's client have many kinds
        raise FileNotFoundError(
            f"`model` should have a tokenizer that this machine can reach. Got {config!r}: "
            f"{one_line(error)}. Use a `local-dir:` folder that holds the tokenizer."
        ) from error
