"""Prompt templates per data set and the two ways to average them into class texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = [
    "TASKRES_IMAGENET_TEMPLATE",
    "TEMPLATES",
    "check_templates",
    "normalized_mean",
    "prompts",
    "raw_mean",
]

EncodeText = Callable[[list[str]], Tensor]

TEMPLATES: dict[str, tuple[str, ...]] = {
    "caltech101": ("a photo of a {}.",),
    "dtd": ("{} texture.",),
    "eurosat": ("a centered satellite photo of {}.",),
    "fgvc_aircraft": ("a photo of a {}, a type of aircraft.",),
    "food101": ("a photo of {}, a type of food.",),
    "imagenet": (
        "itap of a {}.",
        "a bad photo of the {}.",
        "a origami {}.",
        "a photo of the large {}.",
        "a {} in a video game.",
        "art of the {}.",
        "a photo of the small {}.",
    ),
    "oxford_flowers": ("a photo of a {}, a type of flower.",),
    "oxford_pets": ("a photo of a {}, a type of pet.",),
    "stanford_cars": ("a photo of a {}.",),
    "sun397": ("a photo of a {}.",),
    "ucf101": ("a photo of a person doing {}.",),
}
"""Templates of TaskRes, CoOp and Tip-Adapter, by data set; one ``{}`` stands for the class name."""

TASKRES_IMAGENET_TEMPLATE = "a photo of a {}."
"""The template that TaskRes adds to the seven of ImageNet."""


def check_templates(templates: Sequence[str]) -> None:
    """Refuse templates that have no one place for the class name.

    Args:
        templates: Sentences with one ``{}`` each.

    Raises:
        ValueError: If there is no template, or one has no place or several for the name.
    """
    _check_texts("templates", templates)
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(
                "`templates` should have one `{}` each, where the class name goes. "
                f"Got {template!r}."
            )


def raw_mean(
    class_names: Sequence[str],
    templates: Sequence[str],
    encode_text: EncodeText,
    *,
    replace_underscores: bool = True,
) -> Tensor:
    """Class texts of TaskRes: the mean over templates of text features as they come.

    Args:
        class_names: One name per class, in the order of the labels.
        templates: Sentences with one ``{}`` each.
        encode_text: Maps ``k`` sentences to features of shape ``(k, d)``.
        replace_underscores: Write ``american bulldog`` for ``american_bulldog``. TaskRes's own code
            leaves the underscore in.

    Returns:
        One row per class, not normalised.

    Raises:
        ValueError: If there is no class or no template, or a template has no place for the name.

    Shape:
        - Output: :math:`(k, d)` for k classes.

    Source:
        Yu et al., "Task Residual for Tuning Vision-Language Models", CVPR 2023, and its code.

    Example:
        >>> import torch
        >>> def length(texts): return torch.tensor([[float(len(text))] for text in texts])
        >>> raw_mean(["cat", "sea_horse"], ["a {}.", "the {}."], length)
        tensor([[ 7.],
                [13.]])
    """
    lists = prompts(class_names, templates, replace_underscores)
    return torch.stack([encode_text(sentences) for sentences in lists]).mean(dim=0)


def normalized_mean(
    class_names: Sequence[str],
    templates: Sequence[str],
    encode_text: EncodeText,
    *,
    replace_underscores: bool = True,
) -> Tensor:
    """Class texts of Tip-Adapter: unit features per template, their mean, and again unit length.

    Args:
        class_names: One name per class, in the order of the labels.
        templates: Sentences with one ``{}`` each.
        encode_text: Maps ``k`` sentences to features of shape ``(k, d)``.
        replace_underscores: Write ``american bulldog`` for ``american_bulldog``.

    Returns:
        One row of unit length per class.

    Raises:
        ValueError: If there is no class or no template, or a template has no place for the name.

    Shape:
        - Output: :math:`(k, d)` for k classes.

    Source:
        Zhang et al., "Tip-Adapter", ECCV 2022, and its code.

    Example:
        >>> import torch
        >>> def length(texts): return torch.tensor([[float(len(text))] for text in texts])
        >>> normalized_mean(["cat", "sea_horse"], ["a {}.", "the {}."], length)
        tensor([[1.],
                [1.]])
    """
    lists = prompts(class_names, templates, replace_underscores)
    units = [torch.nn.functional.normalize(encode_text(sentences), dim=1) for sentences in lists]
    return torch.nn.functional.normalize(torch.stack(units).mean(dim=0), dim=1)


def prompts(
    class_names: Sequence[str], templates: Sequence[str], replace_underscores: bool
) -> list[list[str]]:
    """One list of sentences per template."""
    _check_texts("class_names", class_names)
    check_templates(templates)
    names = [name.replace("_", " ") if replace_underscores else name for name in class_names]
    return [[template.replace("{}", name) for name in names] for template in templates]


def _check_texts(argument: str, texts: Sequence[str]) -> None:
    """Refuse an empty sequence, and one string in place of a sequence."""
    if isinstance(texts, str) or len(texts) == 0:
        raise ValueError(
            f"`{argument}` should be a sequence of one or more strings. Got {texts!r}."
        )
