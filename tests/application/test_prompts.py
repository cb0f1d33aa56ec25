"""Templates and the two means over them."""

import pytest
import torch
from application.helpers import refused
from torch.nn.functional import normalize
from vlm_adapters.data.datasets import DATASETS, TASKRES_IMAGENET_TEMPLATE
from vlm_adapters.features.texts import normalized_mean, raw_mean

NAMES = ["cat", "sea_horse"]
TWO = ["a {}.", "the big {}."]
SENTENCES = (["a cat.", "a sea horse."], ["the big cat.", "the big sea horse."])


def encode(texts):
    """Two features that differ between texts and are far from unit length."""
    return torch.tensor(
        [[float(len(text)), float(text.count("a") + text.count("_"))] for text in texts]
    )


def test_imagenet_templates_equal_open_clip():
    open_clip = pytest.importorskip("open_clip")
    theirs = [template("{}") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES]
    assert list(DATASETS["imagenet"].templates) == theirs
    assert TASKRES_IMAGENET_TEMPLATE not in theirs


def test_raw_mean_is_the_mean_of_raw_features():
    expected = (encode(SENTENCES[0]) + encode(SENTENCES[1])) / 2
    torch.testing.assert_close(raw_mean(NAMES, TWO, encode), expected)


def test_normalized_mean_normalises_twice():
    units = [normalize(encode(texts), dim=1) for texts in SENTENCES]
    mean = (units[0] + units[1]) / 2
    expected = mean / mean.norm(dim=1, keepdim=True)
    torch.testing.assert_close(normalized_mean(NAMES, TWO, encode), expected)
    one = normalize(raw_mean(NAMES, TWO[:1], encode), dim=1)
    torch.testing.assert_close(one, normalized_mean(NAMES, TWO[:1], encode))


@pytest.mark.parametrize("mean", [raw_mean, normalized_mean])
def test_underscores_can_stay(mean):
    seen = []

    def remember(texts):
        seen.extend(texts)
        return encode(texts)

    mean(NAMES, ["{}!"], remember, replace_underscores=False)
    mean(NAMES, ["{}!"], remember)
    assert seen == ["cat!", "sea_horse!", "cat!", "sea horse!"]


def test_braces_in_a_class_name_stay():
    torch.testing.assert_close(raw_mean(["{0}"], ["{}"], encode), torch.tensor([[3.0, 0.0]]))


@pytest.mark.parametrize(
    ("templates", "got"),
    [
        (["a photo."], r"\['a photo\.'\]"),
        (["{}", "{} and {}"], r"\['\{\}', '\{\} and \{\}'\]"),
        ("a {}.", r"'a \{\}\.'"),
        ([], r"\[\]"),
    ],
)
def test_templates_of_another_form(templates, got):
    with refused(rf"`templates` should be a sequence of .* with one `\{{\}}` each.* Got {got}\."):
        raw_mean(NAMES, templates, encode)
