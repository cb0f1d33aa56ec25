"""A backbone of a few means: quick, exact, and with everything that the protocol asks for."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import functional
from vlm_adapters.backbones import Pixels, TextProjection

SPEC = "application.fake_backbone:make"
LETTERS = "abcdefghijklmnopqrstuvwxyz_"
DIMENSION = 6
PIXELS = Pixels(8, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "bilinear")


def _projection() -> TextProjection:
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(len(LETTERS), DIMENSION, generator=generator)
    return TextProjection(weight, torch.randn(DIMENSION, generator=generator))


@dataclass(frozen=True)
class FakeBackbone:
    """Mean colours of the left and of the right half; a text's hidden features count letters."""

    name: str = "fake"
    dimension: int = DIMENSION
    logit_scale: float = 10.0
    pixels: Pixels = PIXELS
    text_projection: TextProjection = field(default_factory=_projection)

    def fingerprint(self) -> dict[str, str]:
        return {"name": self.name}

    def preprocess(self, image: Image.Image) -> Tensor:
        small = functional.resize(image, [self.pixels.size, self.pixels.size])
        return functional.normalize(functional.to_tensor(small), self.pixels.mean, self.pixels.std)

    def encode_image(self, images: Tensor) -> Tensor:
        return torch.cat([half.mean((2, 3)) for half in images.chunk(2, dim=3)], dim=1)

    def encode_text(self, texts: list[str]) -> Tensor:
        return self.text_projection(self.encode_text_hidden(texts))

    def encode_text_hidden(self, texts: list[str]) -> Tensor:
        return torch.tensor([[float(text.count(letter)) for letter in LETTERS] for text in texts])


class Unprojected(FakeBackbone):
    """One whose text tower ends in something else."""

    @property
    def text_projection(self) -> TextProjection:
        raise ValueError("`text_projection` should be linear.")

    @text_projection.setter
    def text_projection(self, value: TextProjection) -> None:
        pass

    def encode_text(self, texts: list[str]) -> Tensor:
        return _projection()(self.encode_text_hidden(texts))


def make() -> FakeBackbone:
    """What `SPEC` names."""
    return FakeBackbone()


@dataclass(frozen=True)
class ColourBackbone(FakeBackbone):
    """Mean colour of an image; a text's features count its letters R, G and B."""

    name: str = "colour"
    dimension: int = 3
    logit_scale: float = 7.0

    def preprocess(self, image: Image.Image) -> Tensor:
        return functional.to_tensor(image.resize((1, 1)))

    def encode_image(self, images: Tensor) -> Tensor:
        return images.flatten(1)

    def encode_text(self, texts: list[str]) -> Tensor:
        return torch.tensor([[float(text.count(letter)) for letter in "RGB"] for text in texts])


class WideBackbone(ColourBackbone):
    """One that can be projected: to its first coordinates."""

    def projected(self, count: int) -> WideBackbone:
        return WideBackbone(dimension=count)

    def project(self, features: Tensor) -> Tensor:
        return features[:, : self.dimension]

    def encode_text(self, texts: list[str]) -> Tensor:
        return self.project(super().encode_text(texts))
