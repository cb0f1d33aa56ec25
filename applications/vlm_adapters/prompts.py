"""Two ways to average prompts into the texts of classes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

EncodeText = Callable[[list[str]], Tensor]


def check_templates(templates: Sequence[str]) -> None:
    """Raise unless there are templates, each with one ``{}`` for the class name."""
    wrong = [text for text in templates if text.count("{}") != 1]
    if isinstance(templates, str) or not templates or wrong:
        raise ValueError(
            "`templates` should be a sequence of one or more strings with one `{}` each, where "
            f"the class name goes. Got {templates!r}."
        )


def raw_mean(
    class_names: Sequence[str],
    templates: Sequence[str],
    encode_text: EncodeText,
    *,
    replace_underscores: bool = True,
) -> Tensor:
    """Return the class texts of TaskRes: the mean over templates of text features as they come.

    ``encode_text`` maps k sentences to features of shape (k, d). TaskRes's own code leaves the
    underscores of class names in.

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
    """Return the class texts of Tip-Adapter: unit mean over templates of unit text features.

    Source:
        Zhang et al., "Tip-Adapter", ECCV 2022, and its code.
    """
    lists = prompts(class_names, templates, replace_underscores)
    units = [normalize(encode_text(sentences), dim=1) for sentences in lists]
    return normalize(torch.stack(units).mean(dim=0), dim=1)


def prompts(
    class_names: Sequence[str], templates: Sequence[str], replace_underscores: bool
) -> list[list[str]]:
    """Return one list of sentences per template."""
    check_templates(templates)
    names = [name.replace("_", " ") if replace_underscores else name for name in class_names]
    return [[template.replace("{}", name) for name in names] for template in templates]
