"""Schedules, batches, optimisers, and one loop for all of them."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from accelerator import DEVICE, dtypes, on_accelerator
from application.helpers import all_images, equal, in_double, method
from torch.nn.functional import cross_entropy, normalize, one_hot
from vlm_adapters.adapters import build_adapter
from vlm_adapters.adapters.residual import TaskRes
from vlm_adapters.config import AdapterOptions, TrainingOptions
from vlm_adapters.features.texts import ClassTexts
from vlm_adapters.features.views import CachedViews
from vlm_adapters.optimizers import HalfAdamW
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
        equal(a, b)


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


# The AdamW of the official float16 codes, against its arithmetic written out


LR, DECAY, EPS, BETAS = 1e-3, 0.01, 1e-4, (0.9, 0.999)


def half(values):
    """Round to float16, in which every intermediate result of the official step lives."""
    return np.asarray(values, np.float32).astype(np.float16).astype(np.float32)


def float16_adamw(parameter, gradient, first, second, step):
    """Loshchilov and Hutter's algorithm 2 with each line rounded to float16."""
    parameter = half(parameter * (1 - LR * DECAY))
    first = half(first + (1 - BETAS[0]) * (gradient - first))
    second = half(half(second * BETAS[1]) + (1 - BETAS[1]) * gradient**2)
    denominator = half(half(half(np.sqrt(second)) / np.sqrt(1 - BETAS[1] ** step)) + half(EPS))
    return half(parameter - LR / (1 - BETAS[0] ** step) * first / denominator), first, second


@pytest.mark.parametrize("size", [1e-4, 1e-3, 1e-2, 1.0])
def test_each_step_is_that_of_float16_arithmetic(size):
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(normalize(torch.randn(40, 32)))
    optimizer = HalfAdamW([parameter], lr=LR, weight_decay=DECAY, eps=EPS)
    first = second = np.zeros((40, 32), np.float32)
    for step in range(1, 31):
        before = parameter.detach().clone().numpy()
        parameter.grad = size * torch.randn(40, 32)
        gradient = half(parameter.grad.numpy())
        optimizer.step()
        expected, first, second = float16_adamw(before, gradient, first, second, step)
        [state] = optimizer.state.values()
        # A fused product ends on the other side of a tie, rarely.
        assert (parameter.detach().numpy() == expected).mean() > 0.999
        first, second = (state[name].clone().numpy() for name in ("exp_avg", "exp_avg_sq"))


def official_step(keys, optimizer, features, labels, text, cached, adapter):
    """One step of Tip-Adapter-F's ``main.py`` with keys, features and losses in float16."""
    options = adapter.options
    affinity = features.half() @ keys.T
    cache = (-options.sharpness * (1 - affinity)).exp() @ one_hot(cached, len(text)).half()
    logits = 100.0 * features.half() @ text.half().T + options.cache_weight * cache
    optimizer.zero_grad()
    cross_entropy(logits.float(), labels).half().backward()
    optimizer.step()


def test_training_keeps_step_with_the_official_float16_code(task):
    task = dataclasses.replace(task, logit_scale=100.0)
    trainings = [
        start_training(task, method("tip_adapter_f_official", optimizer=optimizer))
        for optimizer in ("adamw_half", "adamw")
    ]
    half_keys, full_keys = (training.adapter.keys for training in trainings)
    start = half_keys.detach().clone()
    keys = torch.nn.Parameter(start.half())
    official = torch.optim.AdamW([keys], lr=LR, eps=EPS)  # its decay of 0.01 is torch's default
    for rows in torch.arange(20).view(4, 5).repeat(5, 1):
        features = task.train.draw(rows, torch.Generator())
        official_step(
            keys,
            official,
            features,
            task.train_labels[rows],
            task.texts.normalized,
            task.train_labels,
            trainings[0].adapter,
        )
        for training in trainings:
            one_step(training, task, rows)
        moved = (keys.detach().float() - start).norm()
        assert (keys.detach().float() - half_keys.detach()).norm() < 0.1 * moved
    assert (keys.detach().float() - full_keys.detach()).norm() > 0.3 * moved


@on_accelerator
def test_half_steps_on_an_accelerator_are_those_of_the_cpu():
    gradients = 1e-2 * torch.randn(10, 8, 4, generator=torch.Generator().manual_seed(1))

    def on(device):
        parameter = torch.nn.Parameter(torch.linspace(-1, 1, 32, device=device).view(8, 4))
        optimizer = HalfAdamW([parameter], lr=LR, weight_decay=DECAY, eps=EPS)
        for gradient in gradients:
            parameter.grad = gradient.to(device)
            optimizer.step()
        return parameter.detach().cpu()

    torch.testing.assert_close(on(DEVICE), on("cpu"), rtol=4e-3, atol=1e-3)
