"""Feature bundles: checks, round trip, building, and the message for every damaged file."""

import json
import math
from dataclasses import replace

import pytest
import torch
from application.fake_backbone import WideBackbone
from application.helpers import BUNDLE, equal, rewritten
from PIL import Image
from safetensors.torch import load_file
from vlm_adapters.data.datasets import open_dataset
from vlm_adapters.features.bundle import (
    TENSORS,
    build_bundle,
    fit_logit_scale,
    load_bundle,
    save_bundle,
    zero_shot_accuracy,
)


@pytest.fixture
def file(tmp_path):
    save_bundle(BUNDLE, tmp_path / "new" / "b.safetensors")
    return tmp_path / "new" / "b.safetensors"


def test_round_trip(file):
    loaded = load_bundle(file)
    for name in TENSORS:
        equal(getattr(loaded, name), getattr(BUNDLE, name))
    for name in ("class_names", "logit_scale", "provenance"):
        assert getattr(loaded, name) == getattr(BUNDLE, name)


def test_features_are_stored_in_half_precision(file):
    third = replace(BUNDLE, features=BUNDLE.features / 3)
    save_bundle(third, file)  # over the old one
    assert load_file(file)["features"].dtype == torch.float16
    equal(load_bundle(file).features, third.features.half().float())
    assert list(file.parent.iterdir()) == [file]


def test_subsets_keep_their_order():
    features, labels = BUNDLE.subset("train")
    equal(features, BUNDLE.features[:3])
    assert labels.tolist() == [0, 1, 1]
    equal(BUNDLE.subset("val")[0], BUNDLE.features[3:4])
    assert BUNDLE.subset("test")[1].tolist() == [1, 0]


NAN_ROWS = torch.tensor([[1.0, 2.0, 3.0]] * 6)
NAN_ROWS[[2, 4], 1] = torch.tensor([math.nan, math.inf])


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("features", torch.zeros(5, 3), r"should have shape \(6, 3\)\. Got \(5, 3\)\."),
        ("features", torch.zeros(6, 3).int(), r"should be torch\.float32\. Got torch\.int32\."),
        ("features", NAN_ROWS, r"should be finite\. Got 2 rows .* first at row 2\."),
        ("labels", torch.zeros(6, 1).long(), r"should have shape \(6,\)\. Got \(6, 1\)\."),
        ("labels", torch.tensor([0, 1, 2, 0, 9, 0]), r"from 0 to 1\. Got 2 at row 2\."),
        ("subsets", torch.full((6,), 3), r"should lie from 0 to 2\. Got 3 at row 0\."),
        ("subsets", torch.tensor([0, 0, 0, 0, 2, 2]), r"should have images of .* Got none of val"),
        ("text_raw", torch.zeros(3, 3), r"should have shape \(2, 3\)\. Got \(3, 3\)\."),
        ("logit_scale", 0.0, r"should be positive .* Got 0\.0\."),
        ("logit_scale", math.nan, r"should be positive .* Got nan\."),
    ],
)
def test_a_tensor_that_does_not_fit(name, value, message):
    with pytest.raises(ValueError, match=rf"^`{name}` {message}|^`{name}` should lie {message}"):
        replace(BUNDLE, **{name: value})


def test_a_file_that_is_not_there_and_one_that_does_not_fit(file):
    with pytest.raises(FileNotFoundError, match=r"none` should be a safetensors file"):
        load_bundle(file.with_name("none"))
    file.write_bytes(rewritten(file.read_bytes(), features=NAN_ROWS))
    with pytest.raises(ValueError, match=r"^In `b\.safetensors`: `features` .*first at row 2"):
        load_bundle(file)


# Building


@pytest.fixture
def dataset(tmp_path):
    """Three classes in CoOp's layout; the last test image is mislabelled."""
    images = tmp_path / "caltech-101" / "101_ObjectCategories"
    images.mkdir(parents=True)
    split = {}
    for subset in ("train", "val", "test"):
        for label, name in enumerate(["R_R", "G", "B"]):
            colour = [255 * (label == channel) for channel in range(3)]
            Image.new("RGB", (4, 4), tuple(colour)).save(images / f"{subset}{label}.png")
            split.setdefault(subset, []).append([f"{subset}{label}.png", label, name])
    Image.new("RGB", (4, 4), (0, 0, 255)).save(images / "extra.png")
    split["test"].append(["extra.png", 1, "G"])
    (tmp_path / "caltech-101" / "split_zhou_Caltech101.json").write_text(json.dumps(split))
    return open_dataset("caltech101", tmp_path)


def test_bundle_of_a_data_set(dataset, tmp_path):
    bundle = build_bundle(WideBackbone(), dataset, coordinates=None)
    assert bundle.class_names == ("R_R", "G", "B")
    equal(bundle.subset("train")[0], torch.eye(3))
    assert bundle.subset("test")[1].tolist() == [0, 1, 2, 1]
    equal(bundle.text_raw, torch.diag(torch.tensor([2.0, 1.0, 1.0])))
    equal(bundle.text_normalized, torch.eye(3))
    assert bundle.logit_scale == fit_logit_scale(*bundle.subset("val"), bundle.text_normalized)
    assert bundle.provenance["zero_shot"] == {"coordinates": 3, "val": 100.0, "test": 75.0}
    save_bundle(bundle, tmp_path / "b.safetensors")
    assert load_bundle(tmp_path / "b.safetensors").provenance == bundle.provenance
    text = json.dumps(bundle.provenance)
    assert str(tmp_path) not in text
    for part in ("CC BY 4.0", "CaltechDATA", "split_sha256", '"name": "colour"', "pillow"):
        assert part in text


def test_projection_keeps_the_leading_coordinates(dataset):
    bundle = build_bundle(WideBackbone(), dataset, coordinates=2)
    equal(bundle.subset("train")[0], torch.eye(3)[:, :2])
    equal(bundle.text_raw, torch.tensor([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]]))
    assert bundle.provenance["zero_shot"] == {"coordinates": 2, "val": 66.67, "test": 50.0}


def test_accuracy_ignores_lengths():
    texts = torch.eye(2) * torch.tensor([[0.1], [9.0]])
    images = torch.tensor([[5.0, 4.0], [0.1, 0.2], [3.0, 1.0], [1.0, 2.0]])
    assert zero_shot_accuracy(images, torch.tensor([0, 1, 1, 1]), texts) == 75.0


def test_scale_equals_the_closed_form_of_two_classes():
    # Cosines are 0 and 1; a share of 0.8 is right, so the best logit difference is log(0.8 / 0.2).
    scale = fit_logit_scale(torch.eye(2)[[0, 0, 0, 0, 1]], torch.zeros(5).long(), torch.eye(2))
    assert scale == pytest.approx(math.log(4), rel=1e-4)


def test_scale_of_a_perfect_classifier_is_the_upper_bound():
    # Cosines differ by so little that the loss still falls at the bound.
    texts = torch.nn.functional.normalize(torch.tensor([[1.0, 0.001], [1.0, -0.001]]), dim=1)
    assert fit_logit_scale(texts, torch.tensor([0, 1]), texts) == pytest.approx(1000, rel=1e-4)
