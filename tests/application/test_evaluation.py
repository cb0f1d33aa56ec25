"""Accuracy and the search, against brute force."""

import dataclasses
import itertools

import pytest
import torch
from application.helpers import equal, method
from sklearn import metrics
from vlm_adapters import training
from vlm_adapters.adapters import build_adapter, tip_adapter
from vlm_adapters.adapters.tip_adapter import TipAdapterF
from vlm_adapters.config import AdapterOptions
from vlm_adapters.training import ORACLE, Trained, accuracy, evaluate, more_metrics, train

OPTIONS = AdapterOptions(kind="tip_adapter_f", search_sharpness=7.0, search_cache_weight=200.0)


@pytest.mark.parametrize("classes", [3, 9])
def test_more_metrics_are_scikit_learns(classes):
    logits = torch.randn(40, classes, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(40) % (classes - 1)
    labels += labels > 0  # class 1 has no image
    found = more_metrics(torch.nn.Identity(), logits, labels)
    top5 = 1.0
    if classes > 5:
        top5 = metrics.top_k_accuracy_score(labels, logits, k=5, labels=range(classes))
    present, guess = [0, *range(2, classes)], logits.argmax(1)
    mean = metrics.recall_score(labels, guess, labels=present, average="macro", zero_division=0)
    assert found == pytest.approx({"top5": 100 * top5, "mean_per_class": 100 * mean})


def test_grid_is_the_official_one(task):
    sharpnesses, cache_weights = TipAdapterF.build(task, OPTIONS).search_grid()
    assert len(sharpnesses) == 200
    assert len(cache_weights) == 20
    assert sharpnesses[:2] == pytest.approx([0.1, 0.1 + 6.9 / 200])
    assert cache_weights[-1] == pytest.approx(0.1 + 19 * 199.9 / 20)


@pytest.mark.parametrize("classes", [[0, 1, 2, 3, 4], [4, 1, 0]])
def test_search_equals_brute_force(task, classes, monkeypatch):
    monkeypatch.setattr(tip_adapter, "SHARPNESS_STEPS", 20)
    classes = torch.tensor(classes)
    adapter = TipAdapterF.build(task, OPTIONS).restrict(classes)
    kept = torch.isin(task.val_labels, classes)
    labels = (task.val_labels[kept, None] == classes).int().argmax(1)
    images = task.val_features[kept], labels
    found = adapter.search(*images)
    table = {
        factors: accuracy(adapter.with_factors(*factors), *images)
        for factors in itertools.product(*adapter.search_grid())
    }
    assert len(set(table.values())) > 2
    assert found == max(table, key=table.__getitem__)  # the first of equals
    monkeypatch.setattr(tip_adapter, "ROWS", 8)
    assert adapter.search(*images) == found


def test_search_leaves_the_adapter_alone(task):
    adapter = TipAdapterF.build(task, OPTIONS)
    before = adapter.keys.detach().clone()
    factors = adapter.search(task.val_features, task.val_labels)
    assert factors != (OPTIONS.sharpness, OPTIONS.cache_weight)
    assert adapter.options == OPTIONS
    equal(adapter.keys.detach(), before)


def test_protocols_of_an_adapter_without_training(task):
    plain = evaluate(Trained(adapter=build_adapter(task, AdapterOptions(kind="taskres"))), task)
    assert list(plain.accuracies) == ["last"]
    cache = Trained(adapter=build_adapter(task, OPTIONS))
    seen = evaluate(cache, task)
    assert list(seen.accuracies) == ["last", "last+val_search"]
    assert seen.accuracies["last"] != seen.accuracies["last+val_search"]
    blind = dataclasses.replace(task, test_labels=torch.zeros_like(task.test_labels))
    unseen = evaluate(cache, blind)  # the search reads validation images only
    assert seen.factors == unseen.factors
    assert seen.accuracies != unseen.accuracies


CHOSEN = {"taskres": 0.05, "tip_adapter_f": 0.05, "clip_adapter": 0.02}


@pytest.fixture
def trained(task, request):
    """A training that noted every epoch's tensors by the way."""
    preset, epochs = request.param, []

    def note_best(training, name, *images):
        if name == "best_val":
            tensors = training.adapter.state_dict().items()
            epochs.append({name: tensor.clone() for name, tensor in tensors})
        return real(training, name, *images)

    real = training._note_best
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "_note_best", note_best)
        chosen = method(preset, epochs=12, learning_rate=CHOSEN[preset])
        return train(task, chosen, follow_test=True), epochs


@pytest.mark.parametrize("trained", CHOSEN, indirect=True)
def test_the_best_epochs_are_the_first_of_equals(task, trained):
    trained, epochs = trained
    for best, images in (
        (trained.best_val, (task.val_features, task.val_labels)),
        (trained.best_test, (task.test_features, task.test_labels)),
    ):
        accuracies = [accuracy(trained.adapter.at(tensors), *images) for tensors in epochs]
        assert best.accuracy == max(accuracies)
        assert best.epoch == accuracies.index(max(accuracies))
        for name, tensor in best.tensors.items():
            equal(tensor, epochs[best.epoch][name])
    assert [entry["val_accuracy"] for entry in trained.log] == [
        accuracy(trained.adapter.at(tensors), task.val_features, task.val_labels)
        for tensors in epochs
    ]


@pytest.mark.parametrize("trained", ["tip_adapter_f"], indirect=True)
def test_every_protocol_of_a_cache_model(task, trained, monkeypatch):
    monkeypatch.setattr(tip_adapter, "SHARPNESS_STEPS", 20)
    trained, epochs = trained
    test, last = (task.test_features, task.test_labels), trained.adapter
    found = evaluate(trained, task, every=True)
    val = (task.val_features, task.val_labels)
    searches = {
        "last+val_search": (last, val),
        "last+all_val_search": (last, task.all_val),
        "oracle:best_test+test_search": (last.at(epochs[trained.best_test.epoch]), test),
    }
    expected = {"last": accuracy(last, *test)}
    expected["best_val"] = accuracy(last.at(epochs[trained.best_val.epoch]), *test)
    expected["oracle:best_test"] = trained.best_test.accuracy
    for name, (adapter, images) in searches.items():
        factors = adapter.search(*images)
        assert found.factors[name] == factors
        expected[name] = accuracy(adapter.with_factors(*factors), *test)
    assert found.accuracies == expected
    assert expected["oracle:best_test+test_search"] >= max(expected.values())
    oracles = {name for name in expected if name.startswith(ORACLE)}
    assert oracles == {"oracle:best_test", "oracle:best_test+test_search"}


@pytest.mark.parametrize("trained", ["tip_adapter_f", "taskres"], indirect=True)
def test_oracles_only_when_asked_for(task, trained, monkeypatch):
    monkeypatch.setattr(tip_adapter, "SHARPNESS_STEPS", 20)
    trained, _ = trained
    cache = trained.best_val.tensors.keys() == {"text", "keys", "cached_labels"}
    expected = {"last", "best_val"} | ({"last+val_search"} if cache else set())
    assert set(evaluate(trained, task).accuracies) == expected
    plain = dataclasses.replace(trained, best_test=None)
    without_split = dataclasses.replace(task, all_val=None)
    assert set(evaluate(plain, without_split, every=True).accuracies) == expected
    every = set(evaluate(trained, task, every=True).accuracies)
    assert {"oracle:best_test"} < every - expected or not cache
    assert "oracle:best_test" in every


def test_accuracy_in_parts(task, monkeypatch):
    adapter = build_adapter(task, AdapterOptions(kind="taskres"))
    whole = accuracy(adapter, task.test_features, task.test_labels)
    monkeypatch.setattr(training, "EVALUATED", 8)
    assert accuracy(adapter, task.test_features, task.test_labels) == whole
    assert accuracy(adapter, task.test_features[:0], task.test_labels[:0]) == 0
    found = adapter(task.test_features).argmax(1)
    half = torch.cat([found[:20], (found[20:] + 1) % 5])
    assert accuracy(adapter, task.test_features, half) == 50.0
