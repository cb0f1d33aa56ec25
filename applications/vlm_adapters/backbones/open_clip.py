"""Backbones of the package open_clip: CLIP and its relatives."""

from __future__ import annotations

import json
import os
import pickle
import warnings
from difflib import get_close_matches
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, NamedTuple

import open_clip
import torch
from torch import Tensor, nn

from .._files import file_sha256, json_hash, tensors_hash
from ..weights import is_torchscript, was_trained_with_quick_gelu
from . import Pixels, TextProjection

if TYPE_CHECKING:
    from PIL.Image import Image

FOLDER, HUB = "local-dir:", "hf-hub:"
CONFIG = "open_clip_config.json"
TWIN = "-quickgelu"
TEXTS_AT_ONCE = 256


class OpenClip:
    """A frozen model of open_clip in evaluation mode and float32.

    ``model`` is the name of a configuration, ``local-dir:FOLDER`` or ``hf-hub:OWNER/NAME``;
    ``weights`` a tag of open_clip, or a file of tensors only, for the first of these.

    OpenAI's weights, and some others, were trained with QuickGELU. Where the tag or the file
    tells so, a plain name such as ``RN50`` is taken as ``RN50-quickgelu``. A file that does not
    tell is refused under a name that has such a twin unless ``quick_gelu`` says it, because the
    wrong activation costs accuracy without any other sign.

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
    ) -> None:
        found = find_weights(model, weights)
        self.config, force = resolve_config(found, quick_gelu)
        found = _fetch(found)
        about = found.label if found.has_config else f"{self.config}/{found.label}"
        self.name = f"open_clip/{about}"
        self.device = torch.device(device)
        built, self._preprocess = _build(found, self.config, force)
        self._preprocessing: dict[str, Any] = built.visual.preprocess_cfg
        self._fingerprint = self._describe(built, found)
        self.logit_scale = float(built.logit_scale.exp())
        self._model = built.to(self.device)
        self._projection = take_text_projection(self._model)
        self._tokenizer = _load_tokenizer(self.config)
        self.dimension: int = self.encode_text([""]).shape[1]

    @property
    def pixels(self) -> Pixels:
        """Size and scaling of the images that the encoder takes; they should be square."""
        size = self._preprocessing["size"]
        sides = set(size) if isinstance(size, (list, tuple)) else {size}
        if len(sides) > 1:
            raise ValueError(f"`{self.name}` should take square images. Got {tuple(size)}.")
        mean, std = (tuple(map(float, self._preprocessing[key])) for key in ("mean", "std"))
        # open_clip itself takes "random" as bicubic where nothing is trained.
        mode = self._preprocessing["interpolation"].replace("random", "bicubic")
        return Pixels(int(sides.pop()), mean, std, mode)

    @property
    def text_projection(self) -> TextProjection:
        """The text tower's last map, if it is linear."""
        if self._projection is None:
            raise ValueError(
                f"`{self.name}` should have a linear map at the end of its text tower. Got none. "
                "Use another model to tune it."
            )
        return self._projection

    def fingerprint(self) -> dict[str, str]:
        """Return what the features depend on: weights, preprocessing, options."""
        return dict(self._fingerprint)

    def preprocess(self, image: Image) -> Tensor:
        """Turn one image into a tensor of shape (3, h, w), as the model's own evaluation does."""
        pixels: Tensor = self._preprocess(image.convert("RGB"))
        return pixels

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """Return features of shape (n, d) of a batch of preprocessed images, not normalised."""
        features: Tensor = self._model.encode_image(images.to(self.device), normalize=False)
        return features

    def encode_text(self, texts: list[str]) -> Tensor:
        """Return features of shape (k, d) of k sentences, not normalised."""
        hidden = self.encode_text_hidden(texts)
        return hidden if self._projection is None else self._projection(hidden)

    @torch.no_grad()
    def encode_text_hidden(self, texts: list[str]) -> Tensor:
        """Return features of shape (k, w) of k sentences, before the tower's last linear map."""
        tokens = self._tokenizer(texts).to(self.device).split(TEXTS_AT_ONCE)
        # The model has lost its projection.
        return torch.cat([self._model.encode_text(part, normalize=False) for part in tokens])

    def _describe(self, model: nn.Module, weights: Weights) -> dict[str, str]:
        """Take the fingerprint while the model is whole."""
        about = {"name": self.name, "config": weights.label if weights.has_config else self.config}
        if not self.config.startswith(HUB):
            config = open_clip.get_model_config(self.config)
            about["config sha256"] = json_hash(config)
        if weights.file is not None:
            about["file sha256"] = file_sha256(weights.file)
        else:
            about["tensors sha256"] = tensors_hash(model.state_dict())
        gelu = any(type(module).__name__ == "QuickGELU" for module in model.modules())
        return {
            **about,
            "quick_gelu": str(gelu),
            "preprocessing": json.dumps(self._preprocessing, sort_keys=True),
        }


class Weights(NamedTuple):
    """Where the weights of a model are; what is not known or does not apply is None."""

    model: str
    source: str | None  # a tag or file as open_clip takes it
    label: str
    quick_gelu: bool | None = None  # whether they were trained with it
    file: Path | None = None  # of a folder, open_clip chooses; of a hub, after the download
    remote: dict[str, Any] | None = None  # what open_clip downloads

    @property
    def has_config(self) -> bool:
        """Whether configuration and weights lie side by side, in a folder or on the hub."""
        return self.model.startswith((FOLDER, HUB))


def find_weights(model: str, weights: str | os.PathLike[str] | None) -> Weights:
    """Find where weights are, and check what can be checked without the network."""
    if model.startswith((FOLDER, HUB)):
        if weights is not None:
            raise ValueError(
                f"`weights` should be None for {model!r}, which brings its own. Got {weights!r}."
            )
        if model.startswith(HUB):
            remote = {"hf_hub": model.removeprefix(HUB).rstrip("/") + "/"}
            return Weights(model, None, model, remote=remote)
        folder = Path(model.removeprefix(FOLDER)).expanduser()
        try:
            _ = json.loads((folder / CONFIG).read_bytes())["model_cfg"]["text_cfg"]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            raise FileNotFoundError(
                f"`model` should be `{FOLDER}` and a folder of weights and `{CONFIG}`, JSON with "
                f"an object `model_cfg`. Got {str(folder)!r}. Copy both from the model's page."
            ) from None
        return Weights(f"{FOLDER}{folder}", None, f"{FOLDER}{folder.resolve().name}")
    if model not in open_clip.list_models():
        near = get_close_matches(model.replace("/", "-"), open_clip.list_models(), cutoff=0.5)
        raise ValueError(
            f"`model` should be a model of open_clip, `{FOLDER}FOLDER` or `{HUB}OWNER/NAME`. Got "
            f"{model!r}. " + (f"Did you mean {', '.join(near)}?" if near else "See its README.")
        )
    tag = open_clip.get_pretrained_cfg(model, str(weights))
    if tag:
        label = str(weights).lower().replace("-", "_")  # as open_clip compares tags
        return Weights(model, label, label, bool(tag.get("quick_gelu", False)), remote=tag)
    file = Path(weights or "").expanduser()
    if not file.is_file():
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "it has none"
        given = None if weights is None else str(weights)
        raise FileNotFoundError(
            f"`weights` should be a file or a tag of {model!r}: {tags}. Got {given!r}."
        )
    if is_torchscript(file):
        raise ValueError(
            f"`weights` should hold tensors only. Got the TorchScript archive {str(weights)!r}, "
            "which holds code. If you trust it, run "
            f"`vlm-adapters weights convert {weights} {file.with_suffix('.safetensors').name}`."
        )
    told = True if was_trained_with_quick_gelu(file) else None
    return Weights(model, str(file), file.name, told, file)


def resolve_config(weights: Weights, quick_gelu: bool | None) -> tuple[str, bool]:
    """Return the configuration with the activation that the weights were trained with.

    The second value says whether open_clip has to be told to use QuickGELU nevertheless.
    """
    model = weights.model
    if weights.has_config and quick_gelu is None:
        return model, False
    built_in = bool(open_clip.get_model_config(model).get("quick_gelu", False))
    known = built_in or weights.quick_gelu
    if None not in (quick_gelu, known) and quick_gelu != known:
        raise ValueError(
            f"`quick_gelu` should be {known} or None for {model!r} with {weights.label!r}. "
            f"Got {quick_gelu}."
        )
    wanted = known if quick_gelu is None else quick_gelu
    has_twin = not built_in and model + TWIN in open_clip.list_models()
    if wanted is None and has_twin:
        raise ValueError(
            f"`quick_gelu` should be given for {model!r} with {weights.label!r}, which does not "
            f"tell how it was trained. Got None. Name the model {model + TWIN!r} if these are "
            "OpenAI's weights, else pass `quick_gelu=False` (on the command line "
            "`?quick_gelu=false` after the file)."
        )
    if wanted and has_twin:
        return model + TWIN, False
    return model, bool(wanted) and not built_in


def take_text_projection(model: nn.Module) -> TextProjection | None:
    """Take the last map of the text tower out, if it is linear: then the tower gives its inputs."""
    text: Any = getattr(model, "text", model)
    for name, replacement in (("text_projection", None), ("proj", nn.Identity())):
        part = getattr(text, name, None)
        if isinstance(part, (nn.Linear, Tensor)):
            setattr(text, name, replacement)
            matrix = part.weight.T if isinstance(part, nn.Linear) else part
            bias = getattr(part, "bias", None)
            bias = torch.zeros_like(matrix[0]) if bias is None else bias
            return TextProjection(matrix.detach().contiguous(), bias.detach())
    return None


def _fetch(weights: Weights) -> Weights:
    """Return the same weights on this machine, from the cache or else from the hub."""
    if weights.remote is None:
        return weights
    try:
        file = open_clip.download_pretrained(weights.remote)
    except Exception as error:  # the hub's client and urllib have many kinds
        what = weights.model if weights.has_config else f"{weights.model}/{weights.label}"
        raise FileNotFoundError(
            f"`weights` should be on this machine or on a hub that it can reach. Got {what!r} and "
            f"no file of it: {_one_line(error)}. Copy the weights here and name their file, or "
            "their folder as `local-dir:FOLDER`."
        ) from error
    return weights._replace(file=Path(file))


def _build(weights: Weights, config: str, force_quick_gelu: bool) -> tuple[Any, Any]:
    """Build the frozen model in float32 on the CPU, and its transformation of images."""
    try:
        with warnings.catch_warnings():
            # The activation is settled; open_clip compares it with a tag that may not know it.
            warnings.filterwarnings("ignore", message="QuickGELU mismatch", category=UserWarning)
            model, transform = open_clip.create_model_from_pretrained(
                config,
                pretrained=weights.source,
                precision="fp32",
                force_quick_gelu=force_quick_gelu,
                weights_only=True,
            )
    except Exception as error:  # damaged files and foreign tensors raise many kinds
        reason, cure = _one_line(error), "Name the model that they belong to, or copy them again."
        if isinstance(error, (pickle.UnpicklingError, EOFError, KeyError, StopIteration)):
            # torch's own words on pickles would talk the user into running them.
            reason = "it is damaged, empty or holds more than tensors"
        if "input_resolution" in str(error):
            cure = "Run `vlm-adapters weights convert FILE OUT` on it first."
        raise ValueError(
            f"`weights` should hold the tensors of {config!r}. Got {weights.label!r}: "
            f"{reason}. {cure}"
        ) from error
    return model.float().eval().requires_grad_(False), transform


def _load_tokenizer(config: str) -> Any:
    """Load the model's tokenizer; CLIP's own is part of the package, others are on the hub."""
    try:
        return open_clip.get_tokenizer(config)
    except Exception as error:  # transformers and the hub's client have many kinds
        raise FileNotFoundError(
            f"`model` should have a tokenizer that this machine can reach. Got {config!r}: "
            f"{_one_line(error)}. Use a `local-dir:` folder that holds the tokenizer."
        ) from error


def _one_line(error: Exception) -> str:
    """Return the kind and the first words of another library's error."""
    words = shorten(str(error), 200).rstrip(".")
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
