"""What every backbone offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Backbone", "Pixels", "TextProjection"]


@dataclass(frozen=True)
class Pixels:
    """What an augmentation needs to make tensors that an encoder takes.

    Attributes:
        size: Height and width.
        mean: Mean of each channel, subtracted from pixels in [0, 1].
        std: What each channel is divided by afterwards.
        interpolation: Name of torchvision's interpolation mode.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"


@dataclass(frozen=True, eq=False)
class TextProjection:
    """The last map of a text tower, ``hidden -> hidden @ weight + bias``.

    Attributes:
        weight: The linear part.
        bias: The constant part, zeros where the tower has none.

    Shape:
        - weight: :math:`(w, d)`. bias: :math:`(d)`.
    """

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
        ...

    @property
    def dimension(self) -> int:
        """Number of coordinates of the common space."""
        ...

    @property
    def logit_scale(self) -> float:
        """Factor that turns cosines into logits; 100 for CLIP."""
        ...

    @property
    def pixels(self) -> Pixels:
        """Size and scaling of the images that the encoder takes."""
        ...

    @property
    def text_projection(self) -> TextProjection:
        """The text tower's last map.

        Raises:
            ValueError: If the text tower does not end in a linear map.
        """
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
        """Features of shape (k, d) of k sentences: the projection of their hidden features."""
        ...

    def encode_text_hidden(self, texts: list[str]) -> Tensor:
        """Features of shape (k, w) of k sentences, before the text tower's last map."""
        ...


def weight_hashes(fingerprint: Mapping[str, Any]) -> dict[str, str]:
    """What a fingerprint says of the weights.

    Args:
        fingerprint: Of a backbone.

    Returns:
        Its hashes of files or tensors, by name; that of a configuration is none.
    """
    return {
        name: str(value)
        for name, value in fingerprint.items()
        if name.endswith("sha256") and not name.startswith("config")
    }


def check_weights(name: str, found: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Refuse weights other than those that an adapter was trained on.

    Args:
        name: The backbone's.
        found: Its hashes, from :func:`weight_hashes`.
        expected: Those of the adapter; empty where they were not known.

    Raises:
        ValueError: If a hash differs.
    """
    other = next((name for name in expected if found.get(name) != expected[name]), None)
    if other is not None:
        raise ValueError(
            f"`{name}` should have the weights that the adapter was trained on, {other} "
            f"{expected[other][:16]}. Got {found.get(other, 'none')[:16]}. Train again, or name "
            "those weights."
        )
