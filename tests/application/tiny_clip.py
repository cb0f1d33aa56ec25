"""A CLIP of 1.9 million random parameters, made in a second, for tests without weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
import torch
from safetensors.torch import save_file

MODEL = "tiny-clip"
CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
PREPROCESSING = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def write_tiny_clip(folder: Path) -> dict[str, Path]:
    """Write configuration and weights of the tiny model, and make its name known to open_clip.

    Only this process knows the name; another one can load ``local_dir``.

    Returns:
        Files ``config``, ``safetensors`` and ``pt``, and the folder ``local_dir``.
    """
    config = register(folder, MODEL, CONFIG)
    state = tensors(CONFIG)
    files = {"safetensors": folder / f"{MODEL}.safetensors", "pt": folder / f"{MODEL}.pt"}
    save_file(state, files["safetensors"])
    torch.save(state, files["pt"])
    local = write_local_dir(folder / "local_dir", CONFIG, PREPROCESSING)
    return {"config": config, **files, "local_dir": local}


def register(folder: Path, name: str, config: dict[str, Any]) -> Path:
    """Write a configuration and make its name known to open_clip."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    file.write_text(json.dumps(config))
    open_clip.add_model_config(file)
    return file


def write_local_dir(
    folder: Path,
    config: dict[str, Any],
    preprocessing: dict[str, Any] | None = None,
    *,
    seed: int = 0,
) -> Path:
    """Write a folder that open_clip loads as ``local-dir:``."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"model_cfg": config, "preprocess_cfg": preprocessing or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(document))
    save_file(tensors(config, seed=seed), folder / "open_clip_model.safetensors")
    return folder


def tensors(config: dict[str, Any], *, seed: int = 0) -> dict[str, torch.Tensor]:
    """State dict of a model with random parameters, the same for the same seed."""
    return dict(_tensors(json.dumps(config), seed))


@cache
def _tensors(config: str, seed: int) -> dict[str, torch.Tensor]:
    options = json.loads(config)
    custom = options.pop("custom_text", False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**options)
        _calibrate(model)
    return {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}


def _calibrate(model: torch.nn.Module) -> None:
    """Make image features depend on the image: a new ResNet skips its blocks and scales nothing."""
    norms = [part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    if not norms:
        return
    for norm in norms:
        torch.nn.init.ones_(norm.weight)
        norm.momentum = None  # statistics of all batches alike
    with torch.no_grad():
        model.train().visual(torch.randn(64, 3, 32, 32))
