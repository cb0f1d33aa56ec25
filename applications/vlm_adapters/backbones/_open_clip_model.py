"""Build an open_clip model with its weights, and take its last text map out."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._files import file_sha256
from .._optional import require
from ._open_clip_weights import Weights, one_line
from .base import Pixels, TextProjection

TWIN = "-quickgelu"


def resolve_config(weights: Weights, quick_gelu: bool | None) -> tuple[str, bool]:
    """The configuration with the activation that the weights were trained with.

    Returns:
        Its name, and whether open_clip has to be told to use QuickGELU nevertheless.
    """
    open_clip, model = require("open_clip", extra="vlm"), weights.model
    if weights.has_schema and quick_gelu is None:
        return model, False
    if None not in (quick_gelu, weights.quick_gelu) and quick_gelu != weights.quick_gelu:
        raise ValueError(
            f"`quick_gelu` should be {weights.quick_gelu} or None for {weights.label!r}, which was "
            f"trained so. Got {quick_gelu}."
        )
    wanted = weights.quick_gelu if quick_gelu is None else quick_gelu
    built_in = bool(open_clip.get_model_config(model).get("quick_gelu", False))
    has_twin = not built_in and model + TWIN in open_clip.list_models()
    if wanted is None and has_twin:
        raise ValueError(
            f"`quick_gelu` should be given for {model!r} with {weights.label!r}, which does not "
            f"tell how it was trained. Got None. Name the model {model + TWIN!r} if these are "
            "OpenAI's weights, else pass `quick_gelu=False` (on the command line "
            "`?quick_gelu=false` after the file)."
        )
    if quick_gelu is False and built_in:
        raise ValueError(f"`quick_gelu` should be True or None for {model!r}. Got False.")
    if wanted and has_twin:
        return model + TWIN, False
    return model, bool(wanted) and not built_in


def build_model(
    weights: Weights, config: str, force_quick_gelu: bool, cache_dir: str | None
) -> tuple[Any, Any]:
    """The frozen model in float32 on the CPU, and its transformation of images."""
    open_clip = require("open_clip", extra="vlm")
    try:
        with warnings.catch_warnings():
            # The activation is settled; open_clip compares it with a tag that may not know it.
            warnings.filterwarnings("ignore", message="QuickGELU mismatch", category=UserWarning)
            model, transform = open_clip.create_model_from_pretrained(
                config, pretrained=weights.source, precision="fp32", cache_dir=cache_dir,
                force_quick_gelu=force_quick_gelu, weights_only=True,
            )  # fmt: skip
    except Exception as error:  # damaged files and foreign tensors raise many kinds
        raise ValueError(
            f"`weights` should hold the tensors of {config!r}. Got {weights.label!r}: "
            f"{_reason(error)}. {_cure(error)}"
        ) from error
    return model.float().eval().requires_grad_(False), transform


def uses_quick_gelu(model: nn.Module) -> bool:
    """Whether any layer of the model is QuickGELU."""
    return any(type(module).__name__ == "QuickGELU" for module in model.modules())


def take_text_projection(model: nn.Module) -> TextProjection | None:
    """Remove the last map of the text tower, so that the model gives hidden text features.

    Returns:
        The map, or None, and an unchanged model, if there is none or it is not linear.
    """
    text = getattr(model, "text", model)
    for name, replacement in (("text_projection", None), ("proj", nn.Identity())):
        projection = _as_projection(getattr(text, name, None))
        if projection is not None:
            setattr(text, name, replacement)
            return projection
    return None


def read_pixels(preprocessing: dict[str, Any], name: str) -> Pixels:
    """What a configuration of open_clip says of the images that the model takes."""
    size, interpolation = preprocessing["size"], preprocessing["interpolation"]
    sides = set(size) if isinstance(size, (list, tuple)) else {size}
    if len(sides) > 1:
        raise ValueError(f"`{name}` should take square images. Got {tuple(size)}.")
    (mean, std) = (tuple(float(value) for value in preprocessing[key]) for key in ("mean", "std"))
    # open_clip itself takes "random" as bicubic where nothing is trained.
    return Pixels(
        int(sides.pop()),
        (mean[0], mean[1], mean[2]),
        (std[0], std[1], std[2]),
        "bicubic" if interpolation == "random" else interpolation,
    )


def hash_weights(model: nn.Module, file: Path | None) -> dict[str, str]:
    """SHA-256 of the file, or else of the model's tensors in the order of their names."""
    if file is not None:
        return {"file sha256": file_sha256(file)}
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().numpy().tobytes())
    return {"tensors sha256": digest.hexdigest()}


def _as_projection(part: Any) -> TextProjection | None:
    """A matrix or a linear layer as a map, detached."""
    if isinstance(part, nn.Linear):
        weight: Tensor = part.weight.detach().T.contiguous()
        bias = torch.zeros_like(weight[0]) if part.bias is None else part.bias.detach()
        return TextProjection(weight, bias)
    if isinstance(part, Tensor):
        return TextProjection(part.detach(), torch.zeros_like(part[0]))
    return None


def _reason(error: Exception) -> str:
    """What went wrong; torch's own words on pickles would talk the user into running them."""
    if isinstance(error, (pickle.UnpicklingError, EOFError, KeyError, StopIteration)):
        return "it is damaged, empty or holds more than tensors"
    return one_line(error)


def _cure(error: Exception) -> str:
    """What to do about it."""
    if "input_resolution" in str(error):
        return "Run `vlm-adapters weights convert FILE OUT` on it first."
    return "Name the model that they belong to, or copy the file again."
