"""Class sums against the dense product with one-hot labels, and the inner products of its views."""

import dataclasses

import pytest
import torch
from application.helpers import all_images, in_double, views_of
from vlm_adapters.adapters import TipAdapterF, build_adapter
from vlm_adapters.adapters.tip_adapter import ClassSums
from vlm_adapters.options import AdapterOptions
from vlm_adapters.regularizers.grams import Grams

from topreg import label_indicators

TIP = AdapterOptions(kind="tip_adapter_f", sharpness=1.5)
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


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_sums_are_the_product_with_one_hot_labels(labels):
    labels = torch.tensor(labels, dtype=torch.int64)
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, len(labels), dtype=torch.float64, generator=generator)
    values.requires_grad_()
    sums = ClassSums(labels, 3)
    dense = values @ (labels[:, None] == torch.arange(3)).double()
    torch.testing.assert_close(sums(values), dense)
    weights = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    (found,) = torch.autograd.grad((weights * sums(values)).sum(), values)
    (expected,) = torch.autograd.grad((weights * dense).sum(), values)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(sums.counts, (labels[:, None] == torch.arange(3)).sum(0))


def test_only_equal_runs_take_the_short_way():
    short = {name for name, labels in LABELS.items()
             if ClassSums(torch.tensor(labels, dtype=torch.int64), 3).run}  # fmt: skip
    assert short == {"runs in order", "runs in another order", "runs of one"}


def cached(task, order):
    return dataclasses.replace(task, train_labels=task.train_labels[order])


def literal(views):
    """All inner products of the two views."""
    x, y = views.source, views.target
    return Grams(x @ x.T, x @ y.T, y @ y.T)


@pytest.mark.parametrize("order", [torch.arange(20), torch.arange(19, -1, -1), torch.randperm(20)])
def test_grams_are_those_of_the_views(task, order):
    task = cached(in_double(task), order)
    adapter = TipAdapterF.build(task, TIP)
    features, labels = all_images(task)[3:15], task.train_labels[3:15]
    views = views_of(adapter, features, labels)
    torch.testing.assert_close(adapter.grams(views.source, labels), literal(views))
    torch.testing.assert_close(views.target, label_indicators(labels, task.train_labels).double())


def test_grams_of_a_restricted_cache(task):
    task = in_double(task)
    adapter = TipAdapterF.build(task, TIP).restrict(torch.tensor([3, 1]))
    features, labels = all_images(task)[:6], torch.tensor([0, 1, 1, 0, 0, 1])
    views = views_of(adapter, features, labels)
    assert views.target.sum() == 6 * 4  # four cached images of each class, the others vote for none
    torch.testing.assert_close(adapter.grams(views.source, labels), literal(views))


@pytest.mark.parametrize("kind", ["taskres", "zero_shot", "clip_adapter", "linear_probe"])
def test_other_adapters_have_views_only(task, kind):
    adapter = build_adapter(task, AdapterOptions(kind=kind))
    assert adapter.grams(all_images(task), task.train_labels) is None
