"""Weights of CLIP as safetensors files."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from ._files import write_tensors

ENTRIES = ("input_resolution", "context_length", "vocab_size")
"""Numbers that OpenAI's archives hold among the tensors."""
MARK = {"vlm_adapters.quick_gelu": "true"}


def convert_weights(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write the tensors of a TorchScript archive or a state dict as a safetensors file.

    OpenAI publishes CLIP as TorchScript archives. Such an archive holds **code** next to the
    tensors, and reading it may run that code: convert only files that you trust. A state dict, or
    a checkpoint with a ``state_dict``, is read as tensors only, with nothing run.

    Floating-point tensors become float32. Numbers that describe OpenAI's models are left out;
    where they were there, the file remembers that its weights were trained with QuickGELU, and
    :class:`~vlm_adapters.backbones.open_clip.OpenClip` uses it. ``target`` appears only once it is
    complete.
    """
    origin, file = Path(source), Path(target)
    if not origin.is_file():
        raise FileNotFoundError(
            f"`source` should be a file of weights. Got no file {str(origin)!r}."
        )
    if file.suffix != ".safetensors":
        raise ValueError(f"`target` should end in `.safetensors`. Got {str(file)!r}.")
    tensors = _tensors(origin)
    openai = any(name in tensors for name in ENTRIES)
    kept = {
        # Cloned, because safetensors takes no tensors that share memory.
        name: (tensor.float() if tensor.is_floating_point() else tensor).detach().clone()
        for name, tensor in tensors.items()
        if name not in ENTRIES
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(file, kept, MARK if openai else None)


def was_trained_with_quick_gelu(file: Path) -> bool:
    """Tell whether a file of :func:`convert_weights` says that its weights are OpenAI's."""
    try:
        with safetensors.safe_open(file, framework="pt") as archive:
            return MARK.items() <= (archive.metadata() or {}).items()
    except safetensors.SafetensorError:  # another kind of file
        return False


def is_torchscript(file: Path) -> bool:
    """Tell whether a file is a TorchScript archive; nothing of it is run."""
    with suppress(Exception), zipfile.ZipFile(file) as archive:  # what is damaged is none
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
    return False


def _tensors(file: Path) -> dict[str, Tensor]:
    """Return names and tensors of an archive, a state dict or a checkpoint."""
    try:
        if is_torchscript(file):
            with warnings.catch_warnings():
                # OpenAI's files are what they are.
                warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is ")
                content = torch.jit.load(str(file), map_location="cpu").state_dict()
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
        if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
            content = content["state_dict"]
        if not isinstance(content, Mapping) or not content:
            raise TypeError(f"a {type(content).__name__} without tensors")
        for name, value in content.items():
            if not isinstance(name, str) or not isinstance(value, Tensor):
                raise TypeError(f"a {type(value).__name__} under {name!r}")
    except Exception as error:  # damaged and foreign files raise many kinds
        got = str(error) if type(error) is TypeError else "a damaged file, or one of other things"
        raise ValueError(
            f"`source` should be a TorchScript archive or a state dict of tensors. Got "
            f"{str(file)!r}: {got}. Download it again, or save `model.state_dict()` with "
            "`torch.save`."
        ) from error
    # What torch's data-parallel wrappers put before every name.
    wrapped = all(name.startswith("module.") for name in content)
    return {name.removeprefix("module.") if wrapped else name: content[name] for name in content}
