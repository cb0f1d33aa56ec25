"""Accuracy and the search, against brute force."""

import pytest
import torch
from vlm_adapters.adapters import TipAdapterF, build_adapter, tip_adapter
from vlm_adapters.config import AdapterOptions
from vlm_adapters.evaluation import accuracy, evaluate, search

OPTIONS = AdapterOptions(kind="tip_adapter_f", search_sharpness=7.0, search_cache_weight=200.0)


def test_accuracy_is_in_percent():
    class Constant(torch.nn.Module):
        def forward(self, features):
            return torch.tensor([[0.0, 1.0]]).expand(len(features), 2)

    assert accuracy(Constant(), torch.zeros(4, 3), torch.tensor([1, 1, 1, 0])) == 75.0


def test_grid_is_the_official_one(task):
    grid = TipAdapterF.build(task, OPTIONS).search_grid()
    assert len(grid.sharpness) == 200
    assert len(grid.cache_weight) == 20
    assert grid.sharpness[:2] == pytest.approx((0.1, 0.1 + 6.9 / 200))
    assert grid.cache_weight[-1] == pytest.approx(0.1 + 19 * 199.9 / 20)


def test_search_equals_brute_force(task, monkeypatch):
    monkeypatch.setattr(tip_adapter, "SHARPNESS_STEPS", 20)
    adapter = TipAdapterF.build(task, OPTIONS)
    found = search(adapter, task.val_features, task.val_labels)
    grid, table = adapter.search_grid(), {}
    for sharpness in grid.sharpness:
        for weight in grid.cache_weight:
            adapter.sharpness, adapter.cache_weight = sharpness, weight
            table[sharpness, weight] = accuracy(adapter, task.val_features, task.val_labels)
    assert len(set(table.values())) > 2
    assert found == max(table, key=table.__getitem__)  # the first of equals


def test_search_leaves_the_adapter_alone(task):
    adapter = TipAdapterF.build(task, OPTIONS)
    search(adapter, task.val_features, task.val_labels)
    assert (adapter.sharpness, adapter.cache_weight) == (OPTIONS.sharpness, OPTIONS.cache_weight)


def test_protocols(task):
    plain = evaluate(build_adapter(task, AdapterOptions(kind="taskres")), task)
    cache = evaluate(build_adapter(task, OPTIONS), task)
    assert list(plain) == ["last"]
    assert list(cache) == ["last", "last+val_search"]
    assert cache["last"] != cache["last+val_search"]


def test_search_reads_validation_images_only(task):
    import dataclasses

    blind = dataclasses.replace(task, test_labels=torch.zeros_like(task.test_labels))
    results = [build_adapter(task, OPTIONS) for _ in range(2)]
    evaluate(results[0], task)
    evaluate(results[1], blind)
    assert results[0].sharpness == results[1].sharpness
    assert results[0].cache_weight == results[1].cache_weight
