"""A visual-semantic backbone made of two packages from PyPI, for machines without a model hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .._optional import require
from ._devise_parts import (
    CROP,
    MEAN,
    SCALE,
    file_hashes,
    load_cnn,
    load_preprocessing,
    load_sentence_encoder,
    package_versions,
)
from .base import Pixels, TextProjection
from .ridge import RidgeMap, fit_ridge

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Devise"]

PROMPT = "a photo of a {}."
RIDGE_STRENGTH = 0.5
"""Best of 0.1, 0.2, 0.5, 1, 2, 5, 10 by leave-one-out on the 1,000 ImageNet classes."""
LOGIT_SCALE = 26.5
"""Least zero-shot cross-entropy on Caltech-101's validation images, 512 coordinates."""


class Devise:
    """A frozen ImageNet CNN and a frozen sentence encoder, joined by a linear map.

    Images are mapped by EfficientNet-Lite0 to its 1,280 penultimate features. Texts are mapped by
    the sentence encoder all-MiniLM-L6-v2 and then by ridge regression, fitted to send the
    sentence of each of the 1,000 ImageNet class names to the CNN's classifier row of that class.
    A text of a class that ImageNet does not have thus becomes a plausible classifier row.

    Args:
        device: Where both encoders run.
        logit_scale: Factor that turns cosines into logits.

    Raises:
        ModuleNotFoundError: If the ``devise`` extra is not installed.

    Note:
        Much weaker than CLIP. Its numbers are not comparable with published ones.

    Source:
        Frome et al., "DeViSE: A Deep Visual-Semantic Embedding Model", NeurIPS 2013. There the map
        is trained with a ranking loss on images; here it has a closed form and needs no image.
    """

    name = "devise"
    pixels = Pixels(CROP, (MEAN, MEAN, MEAN), (SCALE, SCALE, SCALE))

    def __init__(
        self, *, device: torch.device | str = "cpu", logit_scale: float = LOGIT_SCALE
    ) -> None:
        self.device = torch.device(device)
        self.logit_scale = logit_scale
        self._preprocess = load_preprocessing()
        self._cnn = load_cnn().to(self.device)
        self._sentences = load_sentence_encoder(self.device)
        self._map: RidgeMap = fit_ridge(
            self._embed(self.imagenet_prompts()), self.classifier_rows, RIDGE_STRENGTH
        )

    @property
    def dimension(self) -> int:
        """Number of coordinates of the common space, that of the CNN's penultimate layer."""
        return self.classifier_rows.shape[1]

    @property
    def classifier_rows(self) -> Tensor:
        """The CNN's classifier without its bias, one row per ImageNet class, (1000, 1280)."""
        rows: Tensor = self._cnn._fc.weight.detach()
        return rows

    @property
    def text_projection(self) -> TextProjection:
        """The ridge regression, whose inputs are the centred sentence embeddings."""
        return TextProjection(self._map.weight, self._map.output_mean)

    @staticmethod
    def imagenet_prompts() -> list[str]:
        """The sentences to which the map was fitted, in ImageNet's order."""
        names: list[str] = require("open_clip", extra="vlm").IMAGENET_CLASSNAMES
        return [PROMPT.format(name) for name in names]

    def principal_directions(self, count: int) -> Tensor:
        """The directions in which the CNN's classifier rows spread most.

        They are the first right singular vectors of the rows, and so involve no image at all.

        Args:
            count: How many directions.

        Returns:
            Orthonormal columns. The sign of each makes its largest entry positive, so that two
            machines agree.

        Raises:
            ValueError: If there are fewer directions than ``count``.

        Shape:
            - Output: :math:`(1280, e)` for e directions.
        """
        rows = self.classifier_rows
        if not 1 <= count <= min(rows.shape):
            raise ValueError(f"`count` should lie from 1 to {min(rows.shape)}. Got {count}.")
        directions = torch.linalg.svd(rows.double(), full_matrices=False).Vh[:count]
        largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
        signed: Tensor = directions * largest.sign()
        return signed.T.to(rows.dtype).contiguous()

    def fingerprint(self) -> dict[str, str]:
        """Everything that the features depend on: packages, versions, weights, options."""
        return {
            "name": self.name,
            "preprocessing": " ".join(str(self._preprocess).split()),
            "prompt": PROMPT,
            "ridge_strength": str(RIDGE_STRENGTH),
            **file_hashes(),
            **package_versions(),
        }

    def preprocess(self, image: Image) -> Tensor:
        """Turn one image into a tensor of shape (3, 224, 224)."""
        return self._preprocess(image.convert("RGB"))

    def encode_image(self, images: Tensor) -> Tensor:
        """Features of shape (n, 1280) of a batch of preprocessed images, not normalised."""
        # Three times faster on a CPU than the default layout.
        images = images.to(self.device, memory_format=torch.channels_last)
        with torch.no_grad():
            maps: Tensor = self._cnn.extract_features(images)
        return maps.mean(dim=(2, 3))

    def encode_text(self, texts: list[str]) -> Tensor:
        """Features of shape (k, 1280) of k sentences, not normalised."""
        return self.text_projection(self.encode_text_hidden(texts))

    def encode_text_hidden(self, texts: list[str]) -> Tensor:
        """Centred sentence embeddings of shape (k, 384) of k sentences."""
        return self._embed(texts) - self._map.input_mean

    def _embed(self, texts: list[str]) -> Tensor:
        """Sentence embeddings of unit length, shape (k, 384)."""
        embeddings: Tensor = self._sentences.encode(
            texts, convert_to_tensor=True, show_progress_bar=False
        )
        # A copy, because the encoder returns inference tensors, which autograd refuses.
        return embeddings.clone()
