"""The linear probe against scikit-learn, with two classes, and with a class that has no image."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from application.helpers import views_of
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import normalize
from vlm_adapters.adapters import linear_probe
from vlm_adapters.adapters.linear_probe import PENALTIES, LinearProbe
from vlm_adapters.config import AdapterOptions
from vlm_adapters.features.views import CachedViews
from vlm_adapters.training import accuracy

OPTIONS = AdapterOptions(kind="linear_probe")


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
    probe = LinearProbe.build(task, OPTIONS)
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
    probe = LinearProbe.build(two, OPTIONS)
    assert probe.weight.shape == (2, 12)
    same_probabilities(probe, best_of(fits(two))[0], task.test_features, [0, 1])


@pytest.mark.parametrize("classes", [[0, 2, 3], [1, 4]])
def test_a_class_without_images_is_never_predicted(task, classes):
    few = of_classes(task, classes)
    probe = LinearProbe.build(few, OPTIONS)
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
        LinearProbe.build(task, OPTIONS)
