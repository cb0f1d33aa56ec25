"""Which of the paper's backbones a run has."""

from __future__ import annotations

import re

__all__ = ["paper_backbone"]

MODELS = {
    "RN50": "ResNet-50", "RN101": "ResNet-101", "ViT-B-32": "ViT-B/32", "ViT-B-16": "ViT-B/16",
}  # fmt: skip
REPOSITORIES = {
    "resnet50_clip.openai": "ResNet-50",
    "resnet101_clip.openai": "ResNet-101",
    "vit_base_patch32_clip_224.openai": "ViT-B/32",
    "vit_base_patch16_clip_224.openai": "ViT-B/16",
}
FILE = re.compile(r".*\.(safetensors|pt|pth|bin)(\?quick_gelu=true)?")


def paper_backbone(backbone: str) -> str | None:
    """The paper's name of a backbone.

    Args:
        backbone: As a run has it: ``open_clip/RN50/openai``, a file in the tag's place, or OpenAI's
            repositories, on the hub or as a folder of that name.

    Returns:
        For instance ``"ResNet-50"``; None if the paper has no such backbone. Weights in a file are
        taken at the user's word.
    """
    kind, _, rest = backbone.partition("/")
    if kind != "open_clip":
        return None
    if rest.startswith(("hf-hub:", "local-dir:")):
        place = rest.partition(":")[2].rstrip("/")
        return REPOSITORIES.get(place.rpartition("/")[2])
    model, _, weights = rest.partition("/")
    if weights != "openai" and not FILE.fullmatch(weights):
        return None
    return MODELS.get(model.removesuffix("-quickgelu"))
