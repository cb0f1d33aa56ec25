"""Templates and the two means over them."""

from pathlib import Path

import pytest
import torch
from application.helpers import refused
from torch.nn.functional import normalize
from vlm_adapters.data.datasets import DATASETS, TASKRES_IMAGENET_TEMPLATE
from vlm_adapters.data.splits import ImageDataset, listed_split
from vlm_adapters.features.texts import class_means, prompts

NAMES = ["cat", "sea_horse"]
TWO = ["a {}.", "the big {}."]
SENTENCES = (["a cat.", "a sea horse."], ["the big cat.", "the big sea horse."])


def encode(texts):
    """Two features that differ between texts and are far from unit length."""
    return torch.tensor(
        [[float(len(text)), float(text.count("a") + text.count("_"))] for text in texts]
    )


FEATURES = torch.stack([encode(texts) for texts in SENTENCES])


def test_imagenet_templates_equal_open_clip():
    open_clip = pytest.importorskip("open_clip")
    theirs = [template("{}") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES]
    assert list(DATASETS["imagenet"].templates) == theirs
    assert TASKRES_IMAGENET_TEMPLATE not in theirs


def test_raw_mean_is_the_mean_of_raw_features():
    expected = (encode(SENTENCES[0]) + encode(SENTENCES[1])) / 2
    torch.testing.assert_close(class_means(FEATURES, 1)[0], expected)


def test_normalized_mean_normalises_twice_the_first_templates():
    units = [normalize(encode(texts), dim=1) for texts in SENTENCES]
    mean = (units[0] + units[1]) / 2
    expected = mean / mean.norm(dim=1, keepdim=True)
    torch.testing.assert_close(class_means(FEATURES, 2)[1], expected)
    torch.testing.assert_close(class_means(FEATURES, 1)[1], units[0])


def test_prompts():
    assert prompts(NAMES, TWO) == list(SENTENCES)
    assert prompts(NAMES, ["{}!"], replace_underscores=False) == [["cat!", "sea_horse!"]]
    assert prompts(["{0}"], ["{}"]) == [["{0}"]]  # braces in a class name stay


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
        ImageDataset("a", Path(), listed_split((), (), (), NAMES), ("{}",), templates)
