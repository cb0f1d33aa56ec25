"""Frozen encoders of images and texts: what each offers, and how one is loaded by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ..plugs import load_plug

if TYPE_CHECKING:
    from PIL.Image import Image


class Pixels(NamedTuple):
    """How tensors are made for an encoder: height and width, pixels minus mean over std, mode."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"


@dataclass(frozen=True, eq=False)
class TextProjection:
    """The last map of a text tower, ``hidden -> hidden @ weight + bias``, of (w, d) and (d)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, hidden: Tensor) -> Tensor:
        """Map hidden features of shape (..., w) to text features of shape (..., d)."""
        return hidden @ self.weight + self.bias


class Backbone(Protocol):
    """A frozen pair of encoders that maps images and texts into one space.

    Features come as they are, not normalised: what to do with their lengths is the adapter's
    choice.
    """

    @property
    def name(self) -> str:
        """Short name, much as on the command line."""

    @property
    def dimension(self) -> int:
        """Number of coordinates of the common space."""

    @property
    def logit_scale(self) -> float:
        """Factor that turns cosines into logits; 100 for CLIP."""

    @property
    def pixels(self) -> Pixels:
        """Size and scaling of the images that the encoder takes."""

    @property
    def text_projection(self) -> TextProjection:
        """The text tower's last map.

        Raises:
            ValueError: If the text tower does not end in a linear map.
        """

    def fingerprint(self) -> dict[str, str]:
        """Return what the features depend on: weights, preprocessing, options.

        Versions of packages are recorded apart: another version makes no other features.
        """

    def preprocess(self, image: Image) -> Tensor:
        """Turn one image into a tensor of shape (3, h, w)."""

    def encode_image(self, images: Tensor) -> Tensor:
        """Return features of shape (n, d) of a batch of preprocessed images (n, 3, h, w)."""

    def encode_text(self, texts: list[str]) -> Tensor:
        """Return features of shape (k, d) of k sentences: the projection of their hidden ones."""

    def encode_text_hidden(self, texts: list[str]) -> Tensor:
        """Return features of shape (k, w) of k sentences, before the text tower's last map."""


def load_backbone(spec: str, *, device: torch.device | str = "cpu") -> Backbone:
    """Load the backbone that a specification names.

    This is ``devise``, or ``devise-N`` for its first N principal directions;
    ``open_clip/MODEL/TAG`` or ``open_clip/MODEL/FILE``, after which ``?quick_gelu=true`` or
    ``false`` may follow; ``open_clip/local-dir:FOLDER`` or ``open_clip/hf-hub:OWNER/NAME`` for
    weights with their configuration; ``MODULE:FACTORY`` or ``FILE.py:FACTORY`` for the
    :class:`Backbone` that a function returns, which decides on its device.
    """
    if directions := re.fullmatch(r"devise(?:-(\d+))?", spec):
        from .devise import Devise

        whole = Devise(device=device)
        return whole.projected(int(directions[1])) if directions[1] else whole
    if match := re.fullmatch(r"open_clip/(.+?)(?:\?quick_gelu=(.*))?", spec):
        if match[2] not in (None, "true", "false"):
            raise ValueError(f"`?quick_gelu=` should be followed by true or false. Got {spec!r}.")
        from .open_clip import FOLDER, HUB, OpenClip

        quick_gelu = None if match[2] is None else match[2] == "true"
        if match[1].startswith((FOLDER, HUB)):
            return OpenClip(match[1], quick_gelu=quick_gelu, device=device)
        model, _, weights = match[1].partition("/")
        if weights:
            return OpenClip(model, weights, quick_gelu=quick_gelu, device=device)
    elif re.fullmatch(r"([\w.]+|[^:]+\.py):\w+", spec):
        factory = load_plug(spec, "--backbone")
        if callable(factory):
            return _checked(factory, spec)
    raise ValueError(
        "`--backbone` should be `devise`, `devise-N`, `open_clip/MODEL/TAG`, "
        "`open_clip/MODEL/FILE`, `open_clip/local-dir:FOLDER`, `open_clip/hf-hub:OWNER/NAME`, "
        f"or `MODULE:FACTORY` or `FILE.py:FACTORY` with a function. Got {spec!r}."
    )


def _checked(factory: Any, spec: str) -> Backbone:
    """Call a factory, and raise if what it returns lacks a part of the protocol."""
    made: Backbone = factory()
    missing = [name for name in vars(Backbone) if name[0] != "_" and not _has(made, name)]
    if missing:
        raise TypeError(
            f"`{spec}` should return a backbone. Got {type(made).__name__} without "
            f"`{'`, `'.join(missing)}`. See `vlm_adapters.backbones.Backbone`."
        )
    return made


def _has(made: object, name: str) -> bool:
    """Tell whether an attribute is there; a backbone may refuse to give its text projection."""
    try:
        return hasattr(made, name)
    except ValueError:
        return True


def weight_hashes(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """Return the hashes of files or tensors of weights in a fingerprint, by name."""
    names = (n for n in fingerprint if n.endswith("sha256") and not n.startswith("config"))
    return {name: str(fingerprint[name]) for name in names}


def check_weights(backbone: Backbone, expected: Mapping[str, str]) -> None:
    """Raise if a backbone has other hashes of weights than those an adapter was trained on."""
    found = weight_hashes(backbone.fingerprint())
    for other in (name for name in expected if found.get(name) != expected[name]):
        raise ValueError(
            f"`{backbone.name}` should have the weights that the adapter was trained on, {other} "
            f"{expected[other][:16]}. Got {found.get(other, 'none')[:16]}. Train again, or name "
            "those weights."
        )
