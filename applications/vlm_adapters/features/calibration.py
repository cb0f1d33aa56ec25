"""Zero-shot accuracy, and the logit scale of a backbone that has none of its own."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

__all__ = ["fit_logit_scale", "zero_shot_accuracy"]

SCALE_RANGE = (1.0, 1000.0)


def zero_shot_accuracy(image_features: Tensor, labels: Tensor, text_features: Tensor) -> float:
    """Share of images, in per cent, whose nearest class text by cosine is their own.

    Args:
        image_features: One row per image.
        labels: Class of each image.
        text_features: One row per class.

    Returns:
        Accuracy in [0, 100].

    Shape:
        - image_features: :math:`(n, d)`. labels: :math:`(n)`. text_features: :math:`(k, d)`.
    """
    predictions = _cosines(image_features, text_features).argmax(dim=1)
    return 100 * float((predictions == labels).double().mean())


def fit_logit_scale(image_features: Tensor, labels: Tensor, text_features: Tensor) -> float:
    """The factor on the cosines that gives the least cross-entropy.

    Args:
        image_features: One row per image; validation images, so that test labels stay unseen.
        labels: Class of each image.
        text_features: One row per class.

    Returns:
        The factor, from 1 to 1000.

    Shape:
        - image_features: :math:`(n, d)`. labels: :math:`(n)`. text_features: :math:`(k, d)`.

    Note:
        Cross-entropy is convex in the factor, so a golden-section search finds the minimum.
    """
    cosines = _cosines(image_features, text_features)

    def loss(log_scale: float) -> float:
        return float(cross_entropy(math.exp(log_scale) * cosines, labels))

    return math.exp(_golden_section(loss, *map(math.log, SCALE_RANGE)))


def _cosines(image_features: Tensor, text_features: Tensor) -> Tensor:
    """Cosine of every image with every class, in float64."""
    return normalize(image_features.double(), dim=1) @ normalize(text_features.double(), dim=1).T


def _golden_section(
    function: Callable[[float], float], low: float, high: float, *, tolerance: float = 1e-6
) -> float:
    """The minimum of a function with one valley between ``low`` and ``high``."""
    ratio = (math.sqrt(5) - 1) / 2
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > tolerance:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = function(right)
    return (low + high) / 2
