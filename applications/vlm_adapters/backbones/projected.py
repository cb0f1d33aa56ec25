"""A backbone seen through an orthogonal projection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from .base import Backbone, Pixels, TextProjection

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ProjectedBackbone"]


class ProjectedBackbone:
    """Keeps some directions of another backbone's space.

    Args:
        backbone: The backbone to look through.
        directions: The directions to keep, one per column, orthonormal.
        logit_scale: Factor that turns cosines into logits; that of ``backbone`` by default.

    Raises:
        ValueError: If ``directions`` does not fit the backbone's space.

    Shape:
        - directions: :math:`(d, e)` for a backbone of d coordinates.
    """

    def __init__(
        self, backbone: Backbone, directions: Tensor, *, logit_scale: float | None = None
    ) -> None:
        if directions.ndim != 2 or len(directions) != backbone.dimension:
            raise ValueError(
                f"`directions` should have shape ({backbone.dimension}, e). "
                f"Got {tuple(directions.shape)}."
            )
        self.backbone = backbone
        self.directions = directions
        self.dimension = directions.shape[1]
        self.name = f"{backbone.name}-{self.dimension}"
        self.logit_scale = backbone.logit_scale if logit_scale is None else logit_scale

    @property
    def pixels(self) -> Pixels:
        """Those of the backbone."""
        return self.backbone.pixels

    @property
    def text_projection(self) -> TextProjection:
        """The backbone's, followed by the projection.

        Raises:
            ValueError: If the backbone's text tower does not end in a linear map.
        """
        inner = self.backbone.text_projection
        return TextProjection(inner.weight @ self.directions, inner.bias @ self.directions)

    def fingerprint(self) -> dict[str, str]:
        """That of the backbone, with the number of coordinates kept."""
        return {**self.backbone.fingerprint(), "coordinates": str(self.dimension)}

    def preprocess(self, image: Image) -> Tensor:
        """Turn one image into a tensor of shape (3, h, w)."""
        return self.backbone.preprocess(image)

    def encode_image(self, images: Tensor) -> Tensor:
        """Features of shape (n, e) of a batch of preprocessed images."""
        return self.backbone.encode_image(images) @ self.directions

    def encode_text(self, texts: list[str]) -> Tensor:
        """Features of shape (k, e) of k sentences."""
        return self.backbone.encode_text(texts) @ self.directions

    def encode_text_hidden(self, texts: list[str]) -> Tensor:
        """Features of shape (k, w) of k sentences, before the backbone's last map."""
        return self.backbone.encode_text_hidden(texts)
