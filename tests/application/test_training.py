"""Schedules, batches, optimisers, and one loop for all of them."""

import dataclasses
import math

import pytest
import torch
from accelerator import DEVICE, dtypes, on_accelerator
from application.helpers import all_images, in_double, method
from vlm_adapters.adapters import build_adapter
from vlm_adapters.adapters.residual import TaskRes
from vlm_adapters.config import AdapterOptions, TrainingOptions
from vlm_adapters.features.texts import ClassTexts
from vlm_adapters.features.views import CachedViews
from vlm_adapters.training import (
    _batches,
    accuracy,
    build_optimizer,
    learning_rate,
    one_step,
    start_training,
    train,
)

PRESETS = ("taskres", "hc_tr", "tip_adapter_f", "hc_taf", "clip_adapter", "hc_clip_adapter")


def test_taskres_schedule():
    options = TrainingOptions(schedule="epoch_cosine", learning_rate=2e-3)
    rates = [learning_rate(options, epoch, 100, 3, 7) for epoch in range(100)]
    assert rates[0] == 1e-5
    assert rates[1] == 2e-3
    assert rates[51] == pytest.approx(1e-3)
    assert rates[99] == pytest.approx(2e-3 * (1 + math.cos(math.pi * 98 / 100)) / 2)


def test_tip_adapter_schedule_is_torchs_cosine_by_steps():
    options = TrainingOptions(schedule="step_cosine", learning_rate=1e-3)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4 * 5)
    for epoch in range(4):
        for step in range(5):
            ours = learning_rate(options, epoch, 4, step, 5)
            assert ours == pytest.approx(scheduler.get_last_lr()[0], rel=1e-9, abs=1e-15)
            optimizer.step()
            scheduler.step()


@pytest.mark.parametrize(
    ("images", "drop_last", "sizes"),
    [(300, True, [256]), (300, False, [256, 44]), (100, True, [100]), (512, True, [256, 256])],
)
def test_batches(images, drop_last, sizes):
    options = TrainingOptions(drop_last=drop_last)
    batches = _batches(images, options, torch.Generator().manual_seed(0))
    assert [len(batch) for batch in batches] == sizes
    rows = torch.cat(batches)
    assert len(rows.unique()) == len(rows)


def test_weight_decay_is_in_the_gradient_for_adam_and_beside_it_for_adamw(task):
    # Without a gradient Adam's L2 penalty moves by the learning rate whatever its size; AdamW
    # shrinks by learning rate times decay.
    for optimizer, expected in (("adam", 1 - 1e-3), ("adamw", 1 - 1e-3 * 0.5)):
        tensors = {"text": torch.eye(3), "residual": torch.ones(3, 3)}
        adapter = TaskRes(tensors, AdapterOptions(kind="taskres"), 1.0)
        step = build_optimizer(
            adapter, TrainingOptions(optimizer=optimizer, learning_rate=1e-3, weight_decay=0.5)
        )
        adapter.residual.grad = torch.zeros(3, 3)
        step.step()
        torch.testing.assert_close(adapter.residual.detach(), torch.full((3, 3), expected))


@pytest.mark.parametrize("preset", PRESETS)
def test_training_learns_and_repeats(task, preset):
    chosen = method(preset, epochs=20, learning_rate=0.02 if "clip" in preset else 0.05)
    first, second = train(task, chosen), train(task, chosen)
    assert first.log == second.log
    assert first.log[-1]["cross_entropy"] < first.log[0]["cross_entropy"]
    images = all_images(task), task.train_labels
    before = accuracy(build_adapter(task, chosen.adapter), *images)
    assert accuracy(first.adapter, *images) > before
    pairs = zip(first.adapter.parameters(), second.adapter.parameters(), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@on_accelerator
@pytest.mark.parametrize("preset", PRESETS[:4])
def test_steps_on_an_accelerator_are_those_of_the_cpu(task, preset):
    dtype = dtypes()[-1]
    task = in_double(task)

    def on(device):
        texts = ClassTexts(*(t.to(device, dtype) for t in (task.texts.raw, task.texts.normalized)))
        images = CachedViews(all_images(task)[:, None].to(device, dtype))
        labels = task.train_labels.to(device)
        there = dataclasses.replace(task, train=images, texts=texts, train_labels=labels)
        training = start_training(there, method(preset, learning_rate=1e-3))
        (parameter,) = (p for p in training.adapter.parameters() if p.requires_grad)
        found = []
        for rows in torch.arange(20).view(2, 10).to(device):  # the second step has a memory
            found.append(torch.stack(list(one_step(training, there, rows).values())).cpu())
            found.append(parameter.grad.cpu())
        assert parameter.device == there.train_labels.device
        return [*found, parameter.detach().cpu()]

    tolerances = {"rtol": 1e-3, "atol": 1e-4} if dtype == torch.float32 else {}
    torch.testing.assert_close(on(DEVICE), on("cpu"), **tolerances)


def test_frozen_adapters_are_not_trained(task):
    trained = train(task, method("zero_shot"))
    assert (trained.log, trained.best_val, trained.best_test) == ([], None, None)
    assert trained.adapter.residual.abs().max() == 0


def test_a_loss_that_is_not_finite_stops_training(task):
    with pytest.raises(ValueError, match=r"The loss should be finite\. Got \{.*\} in epoch"):
        train(task, method("tip_adapter_f", learning_rate=1e20, epochs=3))


def test_a_task_without_its_test_images(task):
    blind = task.without_test()
    assert len(blind.test_features) == len(blind.test_labels) == 0
    assert blind.train is task.train
    assert blind.test_features.untyped_storage().nbytes() == 0  # not a view of them
    assert len(task.test_features) == len(task.test_labels) > 0
