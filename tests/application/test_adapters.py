"""The adapters: logits and views against their formulas, and what holds for every kind."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch
from application.helpers import all_images, equal, in_double, randomised, refused, views_of
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import normalize
from torch.testing import assert_close
from vlm_adapters._files import read_tensors, write_tensors
from vlm_adapters.adapters import build_adapter, linear_probe
from vlm_adapters.adapters.linear_probe import PENALTIES, LinearProbe
from vlm_adapters.adapters.residual import CLIPAdapter, TaskRes
from vlm_adapters.adapters.tip_adapter import ClassSums, TipAdapter, TipAdapterF
from vlm_adapters.config import ADAPTERS, AdapterOptions
from vlm_adapters.features.views import CachedViews
from vlm_adapters.regularizers.grams import Grams
from vlm_adapters.training import accuracy

TIP = AdapterOptions(kind="tip_adapter_f", cache_weight=3.0, sharpness=1.5)
TASKRES = AdapterOptions(kind="taskres", residual_scale=0.5)
CLIP = AdapterOptions(kind="clip_adapter", residual_scale=0.2)


# Every kind


@pytest.fixture(params=ADAPTERS)
def adapter(request, task):
    options = {"residual_scale": 0.4, "cache_weight": 2.0, "sharpness": 1.3}
    return randomised(build_adapter(task, AdapterOptions(kind=request.param, **options)))


def test_round_trip_through_a_file(task, adapter, tmp_path):
    write_tensors(tmp_path / "adapter", adapter.state_dict())
    _, tensors = read_tensors(tmp_path / "adapter")
    again = type(adapter)(tensors, adapter.options, adapter.logit_scale)
    assert again.state_dict().keys() == adapter.state_dict().keys() == set(adapter.tensors)
    assert [name for name, _ in again.named_parameters()] == list(adapter.trainable)
    equal(again(task.test_features), adapter(task.test_features))
    for classes in (torch.tensor([4, 2, 0]), torch.arange(5)):
        part = again.restrict(classes)
        assert type(part) is type(adapter)
        assert_close(part(task.test_features), adapter(task.test_features)[:, classes])


def test_copies_share_no_parameters(task, adapter):
    """One of them may be trained on."""
    before = {name: tensor.clone() for name, tensor in adapter.state_dict().items()}
    logits = adapter(task.test_features).detach()
    moved = randomised(adapter.at(before))
    randomised(adapter.restrict(torch.arange(5)))
    assert ((moved(task.test_features) - logits).abs().max() > 1e-3) == bool(adapter.trainable)
    for name, tensor in adapter.state_dict().items():
        equal(tensor, before[name])  # neither the adapter nor what it was made from
    equal(adapter.at(adapter.state_dict())(task.test_features), logits)


def test_views_and_inner_products(task, adapter):
    images, labels = all_images(task), task.train_labels
    step = adapter.step(images)
    assert step.source.shape == step.target(labels).shape
    tip = isinstance(adapter, TipAdapter)
    assert (adapter.grams(step.source, labels) is not None) == tip
    assert (adapter.search(task.val_features, task.val_labels) is not None) == tip
    if step.linear is not None:
        inputs, parameter, outputs = step.linear
        equal(inputs @ parameter.T, outputs)


def test_tensors_of_another_kind(adapter):
    with pytest.raises(ValueError, match=r"The tensors should be .*, .*\. Got other\."):
        type(adapter)({"other": torch.zeros(2)}, adapter.options, 1.0)
    for name in {*adapter.tensors} - {*adapter.shared}:
        tensors = adapter.state_dict()
        if len(tensors) - len(adapter.shared) > 1:
            tensors[name] = tensors[name][:1]
            with refused(r"should have one row per class\. Got \{'.*\(1,\)"):
                type(adapter)(tensors, adapter.options, 1.0)


@pytest.mark.parametrize(
    ("options", "other"),
    [
        (TASKRES, "zero_shot"),
        (dataclasses.replace(CLIP, residual_scale=0.0), "zero_shot"),
        (TIP, "tip_adapter"),
    ],
)
def test_training_starts_at_a_simpler_adapter(task, options, other):
    adapters = [
        build_adapter(task, dataclasses.replace(options, kind=k)) for k in (options.kind, other)
    ]
    assert_close(*(adapter(task.test_features) for adapter in adapters))


# TaskRes


@pytest.mark.parametrize("lengths", ["both", "image"])
def test_taskres_logits_and_views(task, lengths):
    adapter = TaskRes.build(task, dataclasses.replace(TASKRES, normalize=lengths))
    torch.nn.init.normal_(adapter.residual, generator=torch.Generator().manual_seed(0))
    texts = [t + 0.5 * r for t, r in zip(task.texts.raw, adapter.residual, strict=True)]
    units = [text / text.norm() for text in texts]
    logits = adapter(task.test_features)
    for i in (0, 7):
        for k, unit in enumerate(units):
            assert_close(logits[i, k], task.logit_scale * torch.dot(task.test_features[i], unit))
    images = all_images(task)
    _, source, target, labels = views_of(adapter, images, task.train_labels)
    equal(source, images)
    rows = units if lengths == "both" else texts
    assert_close(target, torch.stack([rows[k] for k in labels.tolist()]))


# Tip-Adapter


def test_tip_adapter_logits(task):
    adapter = TipAdapter.build(task, TIP)
    logits = adapter(task.test_features)
    x = task.test_features[3]
    for k in range(len(task.texts.raw)):
        cache = sum(
            math.exp(-1.5 * (1 - float(x @ key)))
            for key, label in zip(task.train.keys(), task.train_labels, strict=True)
            if label == k
        )
        zero_shot = task.logit_scale * float(x @ task.texts.normalized[k])
        expected = zero_shot + 3.0 * task.logit_scale / 100 * cache
        assert float(logits[3, k]) == pytest.approx(expected, rel=1e-5)


LABELS = {
    "runs in order": [0, 0, 1, 1, 2, 2],
    "runs in another order": [2, 2, 0, 0, 1, 1],
    "runs of one": [1, 2, 0],
    "unequal runs": [0, 0, 0, 1, 2, 2],
    "equal but mixed": [0, 1, 2, 0, 1, 2],
    "a class twice": [0, 0, 1, 1, 0, 0],
    "a class missing": [0, 0, 2, 2],
    "without a vote": [0, -1, 1, 1, -1, 2],
    "runs without a vote": [-1, -1, 0, 0, 1, 1],
    "nothing": [],
}


@pytest.mark.parametrize("name", LABELS)
def test_class_sums_are_the_product_with_one_hot_labels(name):
    labels = torch.tensor(LABELS[name], dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, len(labels), dtype=torch.float64, generator=generator)
    values.requires_grad_()
    sums = ClassSums(labels, 3)
    one_hot = (labels[:, None] == torch.arange(3)).double()
    dense = values @ one_hot
    assert_close(sums(values), dense)
    weights = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    gradients = (torch.autograd.grad((weights * s).sum(), values) for s in (sums(values), dense))
    assert_close(*gradients)
    assert_close(sums.counts, one_hot.sum(0).long())
    assert bool(sums.run) == (name in ("runs in order", "runs in another order", "runs of one"))


ORDERS = [torch.arange(20), torch.arange(19, -1, -1), torch.randperm(20)]


@pytest.mark.parametrize("classes", [range(5), (3, 1)])
@pytest.mark.parametrize("order", ORDERS)
def test_grams_are_those_of_the_views(task, order, classes):
    task = dataclasses.replace(in_double(task), train_labels=task.train_labels[order])
    adapter = TipAdapterF.build(task, TIP).restrict(torch.tensor(classes))
    features, labels = all_images(task)[3:15], torch.arange(12) % len(classes)
    _, x, y, _ = views = views_of(adapter, features, labels)
    assert_close(adapter.grams(views.source, labels), Grams(x @ x.T, x @ y.T, y @ y.T))
    assert views.target.sum() == 12 * 4  # the images of other classes vote for none


# CLIP-Adapter


def test_clip_adapter_logits_and_views(task):
    task = in_double(task)
    adapter = CLIPAdapter.build(task, CLIP).double()
    x = task.test_features[4]
    inner = torch.stack([torch.dot(row, x).clamp(min=0) for row in adapter.down])
    outer = torch.stack([torch.dot(row, inner).clamp(min=0) for row in adapter.up])
    mixed = 0.2 * outer + 0.8 * x
    for k, text in enumerate(task.texts.normalized):
        expected = task.logit_scale * torch.dot(mixed / mixed.norm(), text)
        assert_close(adapter(task.test_features)[4, k], expected)
    images = all_images(task)
    _, source, target, labels = views_of(adapter, images, task.train_labels)
    assert_close(task.logit_scale * source @ adapter.text.T, adapter(images))
    assert_close(source.norm(dim=1), torch.ones(20).double())
    assert_close(target, task.texts.normalized[labels])
    assert (source.requires_grad, target.requires_grad) == (True, False)


def test_first_weights_are_bounded_as_those_of_linear_layers_and_follow_the_seed(task):
    torch.manual_seed(0)
    adapter = CLIPAdapter.build(task, CLIP)
    assert (adapter.down.shape, adapter.up.shape) == ((3, 12), (12, 3))
    for weight in adapter.parameters():
        bound = weight.shape[1] ** -0.5
        assert 0.8 * bound < weight.abs().max() < bound
        assert weight.min() < -0.5 * bound < 0.5 * bound < weight.max()
    torch.manual_seed(1)
    equal(adapter.down, CLIPAdapter.build(task, CLIP).down)
    other = CLIPAdapter.build(dataclasses.replace(task, seed=2), CLIP)
    assert (adapter.down - other.down).abs().max() > 0.01


# The linear probe, against scikit-learn


PROBE = AdapterOptions(kind="linear_probe")


def fits(task):
    """A regression and its validation accuracy for each penalty."""
    images, labels = task.train.keys().numpy(), task.train_labels.numpy()
    found = []
    for penalty in linear_probe.PENALTIES:
        fitted = LogisticRegression(C=penalty, max_iter=1000).fit(images, labels)
        predicted = fitted.predict(task.val_features.numpy())
        found.append((fitted, float(np.mean(predicted == task.val_labels.numpy()))))
    return found


def best_of(found):
    """The first of the regressions that are best on validation images."""
    return max(found, key=lambda fit: fit[1])


def same_probabilities(probe, fitted, images, classes):
    shares = probe(images).softmax(1)
    expected = torch.zeros_like(shares)
    expected[:, classes] = torch.from_numpy(fitted.predict_proba(images.numpy())).float()
    torch.testing.assert_close(shares, expected, rtol=1e-4, atol=1e-5)
    return shares


def test_the_shipped_penalties():
    assert PENALTIES == (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6)


def test_it_is_the_best_of_scikit_learns(task):
    noise = torch.randn(task.val_features.shape, generator=torch.Generator().manual_seed(0))
    task = dataclasses.replace(task, val_features=normalize(task.val_features + 0.2 * noise, dim=1))
    found = fits(task)
    assert len({score for _, score in found}) > 1
    best, score = best_of(found)
    probe = LinearProbe.build(task, PROBE)
    expected = best.decision_function(task.test_features.numpy())
    np.testing.assert_allclose(probe(task.test_features).numpy(), expected, rtol=1e-4, atol=1e-4)
    assert accuracy(probe, task.val_features, task.val_labels) == pytest.approx(100 * score)
    views = views_of(probe, task.train.keys(), task.train_labels)
    torch.testing.assert_close(views.source, task.train.keys())
    torch.testing.assert_close(views.target, probe.weight[task.train_labels])


def of_classes(task, classes):
    """The same task, training images of other classes left out."""
    kept = torch.isin(task.train_labels, torch.tensor(classes))
    return dataclasses.replace(
        task, train=CachedViews(task.train.units[kept]), train_labels=task.train_labels[kept]
    )


def test_two_classes(task):
    """There scikit-learn keeps one row of weights; probabilities say what the two should be."""
    raw, normalized = task.texts.raw[:2], task.texts.normalized[:2]
    seen = task.val_labels < 2
    two = dataclasses.replace(
        of_classes(task, [0, 1]),
        texts=dataclasses.replace(task.texts, raw=raw, normalized=normalized),
        val_features=task.val_features[seen],
        val_labels=task.val_labels[seen],
    )
    probe = LinearProbe.build(two, PROBE)
    assert probe.weight.shape == (2, 12)
    same_probabilities(probe, best_of(fits(two))[0], task.test_features, [0, 1])


@pytest.mark.parametrize("classes", [[0, 2, 3], [1, 4]])
def test_a_class_without_images_is_never_predicted(task, classes):
    few = of_classes(task, classes)
    probe = LinearProbe.build(few, PROBE)
    assert probe.weight.shape == (5, 12)
    shares = same_probabilities(probe, best_of(fits(few))[0], task.test_features, classes)
    assert sorted(shares.argmax(1).unique().tolist()) == classes


def test_a_fit_that_does_not_converge_is_no_warning(task, monkeypatch):
    fit = LogisticRegression.fit

    def stop_early(self, *arguments):
        self.max_iter = 1
        return fit(self, *arguments)

    monkeypatch.setattr(LogisticRegression, "fit", stop_early)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LinearProbe.build(task, PROBE)
