"""Class texts, in the two ways of averaging, with what a tuned text projection needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..backbones.base import Backbone, TextProjection
from ..prompts import normalized_mean, prompts, raw_mean

__all__ = ["ClassTexts", "HiddenTexts", "encode_classes"]


@dataclass(frozen=True, eq=False)
class HiddenTexts:
    """Text features before the backbone's last linear map.

    Attributes:
        features: One for each template and class, TaskRes's templates.
        projection: The map.
        templates: How many templates Tip-Adapter uses, the first ones.

    Shape:
        - features: (s, k, w) for s templates, k classes.
    """

    features: Tensor
    projection: TextProjection
    templates: int

    def raw(self, weight: Tensor) -> Tensor:
        """TaskRes's mean over templates (k, d) under another weight of the map, differentiable."""
        return TextProjection(weight, self.projection.bias)(self.features).mean(0)

    def normalized(self, weight: Tensor) -> Tensor:
        """Tip-Adapter's mean over templates (k, d) under another weight of the map."""
        projected = TextProjection(weight, self.projection.bias)(self.features[: self.templates])
        return normalize(normalize(projected, dim=2).mean(0), dim=1)


@dataclass(frozen=True, eq=False)
class ClassTexts:
    """Texts of the classes.

    Attributes:
        raw: TaskRes's mean over templates, not normalised.
        normalized: Tip-Adapter's, of unit length.
        hidden: What a tuned projection needs; None where the backbone has no linear one.

    Shape:
        - raw, normalized: (k, d).
    """

    raw: Tensor
    normalized: Tensor
    hidden: HiddenTexts | None = None

    def to(self, device: torch.device | str) -> ClassTexts:
        """Return the texts on a device."""
        hidden = self.hidden and HiddenTexts(
            self.hidden.features.to(device),
            TextProjection(
                self.hidden.projection.weight.to(device), self.hidden.projection.bias.to(device)
            ),
            self.hidden.templates,
        )
        return ClassTexts(self.raw.to(device), self.normalized.to(device), hidden)

    def projected(self, weight: Tensor) -> ClassTexts:
        """The same texts under a tuned weight of the text projection.

        Args:
            weight: (w, d).

        Returns:
            The texts; they keep what they were made from.

        Raises:
            ValueError: If the backbone has no linear text projection, or one of another shape.
        """
        hidden = self.require_hidden()
        if weight.shape != hidden.projection.weight.shape:
            raise ValueError(
                "`weight` should have the shape of the text projection, "
                f"{tuple(hidden.projection.weight.shape)}. Got {tuple(weight.shape)}. "
                "Is it that of another backbone?"
            )
        return ClassTexts(hidden.raw(weight), hidden.normalized(weight), hidden)

    def require_hidden(self) -> HiddenTexts:
        """What a tuned projection needs.

        Raises:
            ValueError: If it is not there.
        """
        if self.hidden is None:
            raise ValueError(
                '`text.projection = "tuned"` should have text features before a linear projection. '
                "Got features without them. Use features that `vlm-adapters extract` made from a "
                "backbone whose text tower ends in a linear map."
            )
        return self.hidden


def encode_classes(
    backbone: Backbone,
    class_names: Sequence[str],
    templates: Sequence[str],
    taskres_templates: Sequence[str],
    *,
    replace_underscores: bool = True,
) -> ClassTexts:
    """Encode the classes' prompts.

    Args:
        backbone: Frozen encoder.
        class_names: By label.
        templates: Tip-Adapter's templates.
        taskres_templates: TaskRes's, which begin with Tip-Adapter's.
        replace_underscores: As in :func:`vlm_adapters.prompts.raw_mean`.

    Returns:
        The texts, on the CPU.
    """
    options = {"replace_underscores": replace_underscores}
    with torch.no_grad():
        raw = raw_mean(class_names, taskres_templates, backbone.encode_text, **options)
        normalized = normalized_mean(class_names, templates, backbone.encode_text, **options)
        sentences = prompts(class_names, taskres_templates, replace_underscores)
        try:
            projection = backbone.text_projection
        except ValueError:  # the text tower does not end in a linear map
            return ClassTexts(raw.cpu(), normalized.cpu())
        features = torch.stack([backbone.encode_text_hidden(part) for part in sentences]).cpu()
    cpu = TextProjection(projection.weight.cpu(), projection.bias.cpu())
    return ClassTexts(raw.cpu(), normalized.cpu(), HiddenTexts(features, cpu, len(templates)))
