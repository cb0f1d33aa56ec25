"""CLIP-Adapter's formula, its first weights, and its views."""

import dataclasses

import pytest
import torch
from application.helpers import all_images, in_double, method, views_of
from vlm_adapters.adapters import CLIPAdapter
from vlm_adapters.evaluation import accuracy
from vlm_adapters.options import AdapterOptions
from vlm_adapters.training import train

OPTIONS = AdapterOptions(kind="clip_adapter", residual_scale=0.2)


def test_logits_are_the_papers_formula(task):
    task = in_double(task)
    adapter = CLIPAdapter.build(task, OPTIONS).double()
    x = task.test_features[4]
    inner = torch.stack([torch.dot(row, x).clamp(min=0) for row in adapter.down])
    outer = torch.stack([torch.dot(row, inner).clamp(min=0) for row in adapter.up])
    mixed = 0.2 * outer + 0.8 * x
    for k, text in enumerate(task.texts.normalized):
        expected = task.logit_scale * torch.dot(mixed / mixed.norm(), text)
        torch.testing.assert_close(adapter(task.test_features)[4, k], expected)


def test_a_share_of_zero_is_zero_shot(task):
    adapter = CLIPAdapter.build(task, dataclasses.replace(OPTIONS, residual_scale=0.0))
    expected = task.logit_scale * task.test_features @ task.texts.normalized.T
    torch.testing.assert_close(adapter(task.test_features), expected)


def test_first_weights_are_bounded_as_those_of_linear_layers(task):
    adapter = CLIPAdapter.build(task, OPTIONS)
    assert adapter.down.shape == (3, 12)
    assert adapter.up.shape == (12, 3)
    for weight in adapter.parameters():
        bound = weight.shape[1] ** -0.5
        assert weight.abs().max() < bound
        assert weight.abs().max() > 0.8 * bound
        assert weight.min() < -0.5 * bound < 0.5 * bound < weight.max()


def test_first_weights_follow_the_seed_of_the_task(task):
    torch.manual_seed(0)
    first = CLIPAdapter.build(task, OPTIONS)
    torch.manual_seed(1)
    again = CLIPAdapter.build(task, OPTIONS)
    other = CLIPAdapter.build(dataclasses.replace(task, seed=2), OPTIONS)
    torch.testing.assert_close(first.down, again.down, rtol=0, atol=0)
    assert (first.down - other.down).abs().max() > 0.01


def test_views_are_adapted_images_and_texts(task):
    adapter = CLIPAdapter.build(task, OPTIONS)
    images = all_images(task)
    _, source, target, _ = views_of(adapter, images, task.train_labels)
    torch.testing.assert_close(task.logit_scale * source @ adapter.text.T, adapter(images))
    torch.testing.assert_close(source.norm(dim=1), torch.ones(20))
    torch.testing.assert_close(target, task.texts.normalized[task.train_labels])
    assert source.requires_grad
    assert not target.requires_grad


@pytest.mark.parametrize("preset", ["clip_adapter", "hc_clip_adapter"])
def test_training_learns(task, preset):
    before = accuracy(CLIPAdapter.build(task, OPTIONS), all_images(task), task.train_labels)
    trained = train(task, method(preset, epochs=20, learning_rate=0.02))
    assert trained.log[-1]["cross_entropy"] < trained.log[0]["cross_entropy"] - 0.2
    assert accuracy(trained.adapter, all_images(task), task.train_labels) > before
    assert (trained.log[-1]["track_coincidence"] > 0) == (preset == "hc_clip_adapter")
