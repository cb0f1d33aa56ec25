"""Zero-shot accuracy and the fitted logit scale."""

from __future__ import annotations

import math

import pytest
import torch
from vlm_adapters.features.bundle import fit_logit_scale, zero_shot_accuracy


def test_accuracy_ignores_lengths() -> None:
    texts = torch.eye(2) * torch.tensor([[0.1], [9.0]])
    images = torch.tensor([[5.0, 4.0], [0.1, 0.2], [3.0, 1.0], [1.0, 2.0]])
    assert zero_shot_accuracy(images, torch.tensor([0, 1, 1, 1]), texts) == 75.0


def test_scale_equals_the_closed_form_of_two_classes() -> None:
    # Cosines are 0 and 1; a share of 0.8 is right, so the best logit difference is log(0.8 / 0.2).
    images = torch.eye(2)[[0, 0, 0, 0, 1]]
    labels = torch.zeros(5, dtype=torch.int64)
    scale = fit_logit_scale(images, labels, torch.eye(2))
    assert scale == pytest.approx(math.log(4), rel=1e-4)


def test_scale_of_a_perfect_classifier_is_the_upper_bound() -> None:
    # Cosines differ by so little that the loss still falls at the bound.
    texts = torch.nn.functional.normalize(torch.tensor([[1.0, 0.001], [1.0, -0.001]]), dim=1)
    scale = fit_logit_scale(texts, torch.tensor([0, 1]), texts)
    assert scale == pytest.approx(1000, rel=1e-4)


def test_scale_beats_its_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    texts = torch.randn(5, 8, generator=generator)
    labels = torch.arange(5).repeat(20)
    images = texts[labels] + 2 * torch.randn(100, 8, generator=generator)
    cosines = torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=2)

    def loss(scale: float) -> float:
        return float(torch.nn.functional.cross_entropy(scale * cosines, labels))

    scale = fit_logit_scale(images, labels, texts)
    assert loss(scale) < min(loss(0.99 * scale), loss(1.01 * scale))
