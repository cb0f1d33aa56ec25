"""The linear probe against scikit-learn, with two classes, and with a class that has no image."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from application.helpers import views_of
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import normalize
from vlm_adapters.adapters import LinearProbe, linear_probe
from vlm_adapters.adapters.linear_probe import PENALTIES
from vlm_adapters.evaluation import accuracy
from vlm_adapters.features.training_images import CachedViews
from vlm_adapters.options import AdapterOptions

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


def test_the_shipped_penalties():
    assert PENALTIES == (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6)


def test_it_is_the_best_of_scikit_learns(task):
    noise = torch.randn(task.val_features.shape, generator=torch.Generator().manual_seed(0))
    task = dataclasses.replace(task, val_features=normalize(task.val_features + 0.2 * noise, dim=1))
    found = fits(task)
    scores = [score for _, score in found]
    assert len(set(scores)) > 1
    best, score = found[scores.index(max(scores))]  # the first of equals
    probe = LinearProbe.build(task, OPTIONS)
    expected = best.decision_function(task.test_features.numpy())
    np.testing.assert_allclose(probe(task.test_features).numpy(), expected, rtol=1e-4, atol=1e-4)
    assert accuracy(probe, task.val_features, task.val_labels) == pytest.approx(100 * score)


def of_classes(task, classes):
    """The same task, training images of other classes left out."""
    kept = torch.isin(task.train_labels, torch.tensor(classes))
    return dataclasses.replace(
        task, train=CachedViews(task.train.units[kept]), train_labels=task.train_labels[kept]
    )


def test_two_classes(task):
    """There scikit-learn keeps one row of weights; probabilities say what the two should be."""
    two = of_classes(task, [0, 1])
    texts = dataclasses.replace(
        task.texts, raw=task.texts.raw[:2], normalized=task.texts.normalized[:2]
    )
    seen = task.val_labels < 2
    two = dataclasses.replace(
        two, texts=texts, val_features=task.val_features[seen], val_labels=task.val_labels[seen]
    )
    probe = LinearProbe.build(two, OPTIONS)
    assert probe.weight.shape == (2, 12)
    found = fits(two)
    scores = [score for _, score in found]
    best = found[scores.index(max(scores))][0]
    np.testing.assert_allclose(
        probe(task.test_features).softmax(1).numpy(),
        best.predict_proba(task.test_features.numpy()), rtol=1e-4, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("classes", [[0, 2, 3], [1, 4]])
def test_a_class_without_images_is_never_predicted(task, classes):
    probe = LinearProbe.build(of_classes(task, classes), OPTIONS)
    assert probe.weight.shape == (5, 12)
    shares = probe(task.test_features).softmax(1)
    assert sorted(shares.argmax(1).unique().tolist()) == classes
    best = max(fits(of_classes(task, classes)), key=lambda fit: fit[1])[0]
    np.testing.assert_allclose(
        shares[:, classes].numpy(), best.predict_proba(task.test_features.numpy()),
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    assert shares.isfinite().all()


def test_a_fit_that_does_not_converge_is_no_warning(task, monkeypatch):
    fit = LogisticRegression.fit

    def stop_early(self, *arguments):
        self.max_iter = 1
        return fit(self, *arguments)

    monkeypatch.setattr(LogisticRegression, "fit", stop_early)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LinearProbe.build(task, OPTIONS)


def test_views_are_images_and_weights(task):
    probe = LinearProbe.build(task, OPTIONS)
    images = task.train.keys()
    views = views_of(probe, images, task.train_labels)
    torch.testing.assert_close(views.source, images)
    torch.testing.assert_close(views.target, probe.weight[task.train_labels])
