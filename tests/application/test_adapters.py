"""The adapters' identities, and their logits against the formulas written out."""

import math

import pytest
import torch
from application.helpers import all_images, randomised, views_of
from torch.nn.functional import normalize
from vlm_adapters.adapters import (
    ADAPTERS,
    TaskRes,
    TipAdapter,
    TipAdapterF,
    ZeroShot,
    build_adapter,
)
from vlm_adapters.options import AdapterOptions

TIP = AdapterOptions(kind="tip_adapter_f", cache_weight=3.0, sharpness=1.5)


def test_taskres_without_a_residual_is_zero_shot(task):
    taskres = TaskRes.build(task, AdapterOptions(kind="taskres", residual_scale=0.5))
    zero_shot = ZeroShot.build(task, AdapterOptions(kind="zero_shot"))
    torch.testing.assert_close(taskres(task.test_features), zero_shot(task.test_features))


def test_taskres_logits(task):
    adapter = TaskRes.build(task, AdapterOptions(kind="taskres", residual_scale=0.5))
    torch.nn.init.normal_(adapter.residual, generator=torch.Generator().manual_seed(0))
    logits = adapter(task.test_features)
    for i in (0, 7):
        for k in range(len(task.texts.raw)):
            text = task.texts.raw[k] + 0.5 * adapter.residual[k]
            expected = task.logit_scale * torch.dot(task.test_features[i], text / text.norm())
            torch.testing.assert_close(logits[i, k], expected)


def test_tip_adapter_f_starts_as_tip_adapter(task):
    free = TipAdapter.build(task, TIP)
    trained = TipAdapterF.build(task, TIP)
    torch.testing.assert_close(
        trained(task.test_features), free(task.test_features), rtol=0, atol=0
    )
    assert list(free.parameters()) == []
    assert [name for name, _ in trained.named_parameters()] == ["keys"]


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
        assert float(logits[3, k]) == pytest.approx(
            zero_shot + 3.0 * task.logit_scale / 100 * cache, rel=1e-5
        )


def test_taskres_views(task):
    adapter = TaskRes.build(task, AdapterOptions(kind="taskres"))
    images = all_images(task)
    views = views_of(adapter, images, task.train_labels)
    torch.testing.assert_close(views.source, images)
    torch.testing.assert_close(views.target, normalize(task.texts.raw, dim=1)[task.train_labels])


def test_tip_adapter_views_are_affinities_and_labels_over_the_keys(task):
    adapter = TipAdapterF.build(task, TIP)
    features, labels = all_images(task)[:6], task.train_labels[:6]
    _, source, target, _ = views_of(adapter, features, labels)
    torch.testing.assert_close(source, torch.exp(-1.5 * (1 - features @ adapter.keys.T)))
    torch.testing.assert_close(target, (labels[:, None] == task.train_labels[None]).float())
    assert source.requires_grad
    assert not target.requires_grad


@pytest.mark.parametrize("kind", ADAPTERS)
def test_restricted_adapters_give_the_columns_of_their_classes(task, kind):
    adapter = randomised(build_adapter(task, AdapterOptions(kind=kind, cache_weight=2.0)))
    classes = torch.tensor([3, 0])
    torch.testing.assert_close(
        adapter.restrict(classes)(task.test_features), adapter(task.test_features)[:, classes]
    )


def test_restricted_zero_shot_stays_frozen(task):
    adapter = build_adapter(task, AdapterOptions(kind="zero_shot")).restrict(torch.tensor([1]))
    assert isinstance(adapter, ZeroShot)
    assert not adapter.trainable
