"""The AdamW of the official float16 codes, against its arithmetic written out."""

import dataclasses

import numpy as np
import pytest
import torch
from accelerator import DEVICE, on_accelerator
from application.helpers import method
from torch.nn.functional import cross_entropy, normalize, one_hot
from vlm_adapters.optimizers import HalfAdamW
from vlm_adapters.training import one_step, start_training

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
def test_steps_on_an_accelerator_are_those_of_the_cpu():
    gradients = 1e-2 * torch.randn(10, 8, 4, generator=torch.Generator().manual_seed(1))

    def on(device):
        parameter = torch.nn.Parameter(torch.linspace(-1, 1, 32, device=device).view(8, 4))
        optimizer = HalfAdamW([parameter], lr=LR, weight_decay=DECAY, eps=EPS)
        for gradient in gradients:
            parameter.grad = gradient.to(device)
            optimizer.step()
        return parameter.detach().cpu()

    torch.testing.assert_close(on(DEVICE), on("cpu"), rtol=4e-3, atol=1e-3)
