"""Tensors that autograd may keep for a backward pass, even if made in inference mode."""

from __future__ import annotations

import torch
from torch import Tensor


def plain_tensor(tensor: Tensor) -> Tensor:
    """Return the tensor, or if it was made in inference mode a copy that autograd may keep.

    Compiled programs cannot leave inference mode: there the tensor stays as it is.
    """
    if torch.compiler.is_compiling() or not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()
