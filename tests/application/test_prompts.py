"""Templates and the two means over them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from vlm_adapters.prompts import TASKRES_IMAGENET_TEMPLATE, TEMPLATES, normalized_mean, raw_mean

NAMES = ["cat", "sea_horse"]
TWO = ["a {}.", "the big {}."]


def encode(texts: list[str]) -> Tensor:
    """Two features that differ between texts and are far from unit length."""
    return torch.tensor(
        [[float(len(text)), float(text.count("a") + text.count("_"))] for text in texts]
    )


def test_every_template_has_one_place_for_the_name() -> None:
    counts = {template.count("{}") for templates in TEMPLATES.values() for template in templates}
    assert counts == {1}


def test_the_eleven_data_sets_of_the_paper() -> None:
    assert sorted(TEMPLATES) == [
        "caltech101",
        "dtd",
        "eurosat",
        "fgvc_aircraft",
        "food101",
        "imagenet",
        "oxford_flowers",
        "oxford_pets",
        "stanford_cars",
        "sun397",
        "ucf101",
    ]


def test_imagenet_templates_equal_open_clip() -> None:
    open_clip = pytest.importorskip("open_clip")
    theirs = [template("{}") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES]
    assert list(TEMPLATES["imagenet"]) == theirs
    assert TASKRES_IMAGENET_TEMPLATE not in theirs


def test_raw_mean_is_the_mean_of_raw_features() -> None:
    expected = (
        encode(["a cat.", "a sea horse."]) + encode(["the big cat.", "the big sea horse."])
    ) / 2
    torch.testing.assert_close(raw_mean(NAMES, TWO, encode), expected)


def test_normalized_mean_normalises_twice() -> None:
    units = [
        torch.nn.functional.normalize(encode(texts), dim=1)
        for texts in (["a cat.", "a sea horse."], ["the big cat.", "the big sea horse."])
    ]
    mean = (units[0] + units[1]) / 2
    expected = mean / mean.norm(dim=1, keepdim=True)
    torch.testing.assert_close(normalized_mean(NAMES, TWO, encode), expected)


def test_modes_agree_in_direction_for_one_template() -> None:
    raw = torch.nn.functional.normalize(raw_mean(NAMES, TWO[:1], encode), dim=1)
    torch.testing.assert_close(raw, normalized_mean(NAMES, TWO[:1], encode))


@pytest.mark.parametrize("mean", [raw_mean, normalized_mean])
def test_underscores_can_stay(mean: Callable[..., Tensor]) -> None:
    seen: list[str] = []

    def remember(texts: list[str]) -> Tensor:
        seen.extend(texts)
        return encode(texts)

    mean(NAMES, ["{}!"], remember, replace_underscores=False)
    mean(NAMES, ["{}!"], remember)
    assert seen == ["cat!", "sea_horse!", "cat!", "sea horse!"]


def test_braces_in_a_class_name_stay() -> None:
    torch.testing.assert_close(raw_mean(["{0}"], ["{}"], encode), torch.tensor([[3.0, 0.0]]))


@pytest.mark.parametrize("template", ["a photo.", "{} and {}"])
def test_template_without_one_place(template: str) -> None:
    with pytest.raises(ValueError, match=r"`templates` should have one `\{\}` each"):
        raw_mean(NAMES, [template], encode)


def test_no_class() -> None:
    message = r"`class_names` should be a sequence of one or more strings\. Got \[\]\."
    with pytest.raises(ValueError, match=message):
        raw_mean([], TWO, encode)


def test_one_template_as_text() -> None:
    message = r"`templates` should be a sequence of one or more strings\. Got 'a \{\}\.'\."
    with pytest.raises(ValueError, match=message):
        normalized_mean(NAMES, "a {}.", encode)
