"""All that training an adapter needs of a data set and a backbone, in one value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..data.splits import SUBSETS

__all__ = ["FeatureBundle", "Provenance"]

Provenance: TypeAlias = "Mapping[str, str | int | float | Provenance]"


@dataclass(frozen=True, eq=False)
class FeatureBundle:
    """Frozen features of every image of a data set, and of its classes' texts.

    Attributes:
        features: Image features, not normalised, one row per image.
        labels: Class of each image.
        subsets: 0 for training, 1 for validation, 2 for test images. Within a subset the images
            keep the order of the split file, so that few-shot indices fit.
        text_raw: Class texts as TaskRes averages them.
        text_normalized: Class texts as Tip-Adapter averages them, of unit length.
        class_names: Name of each class, by label.
        logit_scale: Factor that turns cosines into logits.
        provenance: What the features were made from and with.

    Raises:
        ValueError: If a tensor has another shape or dtype, or values that make no sense.

    Shape:
        - features: :math:`(n, d)`, float32. labels, subsets: :math:`(n)`, int64.
        - text_raw, text_normalized: :math:`(k, d)` for k classes, float32.
    """

    features: Tensor
    labels: Tensor
    subsets: Tensor
    text_raw: Tensor
    text_normalized: Tensor
    class_names: tuple[str, ...]
    logit_scale: float
    provenance: Provenance

    def __post_init__(self) -> None:
        """Check everything once, so that no later step has to."""
        rows = len(self.labels) if self.labels.ndim else 0
        classes = len(self.class_names)
        width = self.features.shape[-1] if self.features.ndim else 0
        _check_tensor("features", self.features, (rows, width), torch.float32)
        _check_tensor("labels", self.labels, (rows,), torch.int64)
        _check_tensor("subsets", self.subsets, (rows,), torch.int64)
        _check_tensor("text_raw", self.text_raw, (classes, width), torch.float32)
        _check_tensor("text_normalized", self.text_normalized, (classes, width), torch.float32)
        _check_range("labels", self.labels, classes)
        _check_range("subsets", self.subsets, len(SUBSETS))
        empty = [name for k, name in enumerate(SUBSETS) if not (self.subsets == k).any()]
        if empty:
            raise ValueError(
                f"`subsets` should have images of each of {', '.join(SUBSETS)}. "
                f"Got none of {empty[0]}."
            )
        if not (math.isfinite(self.logit_scale) and self.logit_scale > 0):
            raise ValueError(
                f"`logit_scale` should be positive and finite. Got {self.logit_scale}."
            )

    def subset(self, name: str) -> tuple[Tensor, Tensor]:
        """Features and labels of the ``"train"``, ``"val"`` or ``"test"`` images.

        Args:
            name: Which subset.

        Returns:
            Features of shape (m, d) and labels of shape (m,), in the order of the split.

        Raises:
            ValueError: If there is no such subset.
        """
        if name not in SUBSETS:
            raise ValueError(f"`name` should be one of {', '.join(SUBSETS)}. Got {name!r}.")
        rows = self.subsets == SUBSETS.index(name)
        return self.features[rows], self.labels[rows]


def _check_tensor(name: str, tensor: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Shape, dtype and, for features, finite values."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"`{name}` should have shape {shape}. Got {tuple(tensor.shape)}.")
    if tensor.dtype != dtype:
        raise ValueError(f"`{name}` should be {dtype}. Got {tensor.dtype}.")
    if tensor.is_floating_point() and not tensor.isfinite().all():
        bad = (~tensor.isfinite()).any(dim=1).nonzero().flatten()
        raise ValueError(
            f"`{name}` should be finite. Got {len(bad)} rows with NaN or infinity, "
            f"first at row {int(bad[0])}. Extract the features again."
        )


def _check_range(name: str, indices: Tensor, size: int) -> None:
    """Every index from 0 to ``size - 1``."""
    bad = ((indices < 0) | (indices >= size)).nonzero().flatten()
    if len(bad):
        row = int(bad[0])
        raise ValueError(
            f"`{name}` should lie from 0 to {size - 1}. Got {int(indices[row])} at row {row}."
        )
