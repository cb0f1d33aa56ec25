"""What every backbone offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Backbone"]


class Backbone(Protocol):
    """A frozen pair of encoders that maps images and texts into one space.

    Features come as they are, not normalised: what to do with their lengths is the adapter's
    choice.
    """

    @property
    def name(self) -> str:
        """Short name, as on the command line."""
        ...

    @property
    def dimension(self) -> int:
        """Number of coordinates of the common space."""
        ...

    @property
    def logit_scale(self) -> float:
        """Factor that turns cosines into logits; 100 for CLIP."""
        ...

    def fingerprint(self) -> dict[str, str]:
        """Everything that the features depend on: packages, versions, weights, options."""
        ...

    def preprocess(self, image: Image) -> Tensor:
        """Turn one image into a tensor of shape (3, h, w)."""
        ...

    def encode_image(self, images: Tensor) -> Tensor:
        """Features of shape (n, d) of a batch of preprocessed images (n, 3, h, w)."""
        ...

    def encode_text(self, texts: list[str]) -> Tensor:
        """Features of shape (k, d) of k sentences."""
        ...
