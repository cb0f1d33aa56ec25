"""Prompts, the two means over templates, the tuned text projection, and which texts a task has."""

import dataclasses
import math
import re
from pathlib import Path

import pytest
import torch
from application.helpers import all_images, equal, method, refused
from torch.nn.functional import cross_entropy, normalize
from vlm_adapters.backbones import TextProjection
from vlm_adapters.config import TextOptions
from vlm_adapters.data.datasets import DATASETS, TASKRES_IMAGENET_TEMPLATE
from vlm_adapters.data.splits import ImageDataset, listed_split
from vlm_adapters.features.texts import (
    ClassTexts,
    HiddenTexts,
    class_means,
    prompts,
    tune_projection,
    with_texts,
)
from vlm_adapters.training import train

TEMPLATES, TIP_TEMPLATES, HIDDEN = 3, 2, 8
TUNED = TextOptions(projection="tuned", learning_rate=0.01, epochs=5, batch_size=8)


@pytest.fixture
def task(task):
    """The task with texts of three templates, from before a linear map with a bias."""
    generator = torch.Generator().manual_seed(2)
    classes, width = task.texts.raw.shape

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    projection = TextProjection(randn(HIDDEN, width), randn(width))
    wanted = task.texts.raw @ torch.linalg.pinv(projection.weight)
    hidden = HiddenTexts(
        wanted + 0.1 * randn(TEMPLATES, classes, HIDDEN), projection, TIP_TEMPLATES
    )
    texts = ClassTexts(hidden.raw(projection.weight), hidden.normalized(projection.weight), hidden)
    return dataclasses.replace(task, texts=texts)


def test_the_means_are_those_over_templates_of_each_kind(task):
    hidden = task.texts.hidden
    weight = torch.randn(HIDDEN, 12, generator=torch.Generator().manual_seed(4))
    each = [features @ weight + hidden.projection.bias for features in hidden.features]
    texts = task.texts.projected(weight)
    torch.testing.assert_close(texts.raw, (each[0] + each[1] + each[2]) / 3)
    units = [normalize(part, dim=1) for part in each[:TIP_TEMPLATES]]
    torch.testing.assert_close(texts.normalized, normalize((units[0] + units[1]) / 2, dim=1))
    assert texts.hidden is hidden


def loss(task, texts):
    logits = task.logit_scale * all_images(task) @ normalize(texts.raw, dim=1).T
    return float(cross_entropy(logits, task.train_labels))


def test_tuning_lowers_the_cross_entropy_and_repeats(task):
    first, second = (with_texts(task, TUNED) for _ in range(2))
    assert loss(task, first.texts) < loss(task, task.texts) - 0.1
    equal(first.texts.raw, second.texts.raw)
    equal(first.texts.normalized, second.texts.normalized)
    other = with_texts(dataclasses.replace(task, seed=2), TUNED)
    assert (other.texts.raw - first.texts.raw).abs().max() > 1e-5


def test_tuning_leaves_the_task_alone(task):
    def tensors():
        hidden = task.texts.hidden
        texts = task.texts.raw, task.texts.normalized, hidden.features, hidden.projection.weight
        return [tensor.clone() for tensor in (*texts, all_images(task))]

    before = tensors()
    tuned = with_texts(task, TUNED)
    for a, b in zip(before, tensors(), strict=True):
        equal(a, b)
    assert tuned.train is task.train
    assert not tuned.texts.raw.requires_grad


def test_one_step_is_adams(task):
    options = dataclasses.replace(TUNED, epochs=1, batch_size=256)
    hidden = task.texts.hidden
    weight = hidden.projection.weight.clone().requires_grad_()
    logits = task.logit_scale * all_images(task) @ normalize(hidden.raw(weight), dim=1).T
    (gradient,) = torch.autograd.grad(cross_entropy(logits, task.train_labels), weight)
    expected = weight.detach() - 0.01 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(tune_projection(task, options), expected, rtol=1e-4, atol=1e-6)


def test_the_rate_is_a_cosine_over_the_epochs(task, monkeypatch):
    rates, step = [], torch.optim.Adam.step

    def watched(self, *arguments):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    tune_projection(task, dataclasses.replace(TUNED, epochs=4, batch_size=10))
    expected = [
        0.01 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in (0, 0, 1, 1, 2, 2, 3, 3)
    ]
    assert rates == pytest.approx(expected)


def test_its_draws_are_not_those_of_the_adapters_training(task):
    orders = []

    class Watched:
        def __init__(self, images):
            self.images = images

        def draw(self, rows, generator):
            orders.append(rows.tolist())
            return self.images.draw(rows, generator)

        def keys(self):
            return self.images.keys()

    watched = dataclasses.replace(task, train=Watched(task.train))
    chosen = dataclasses.replace(
        method("taskres", epochs=1, batch_size=8), text=dataclasses.replace(TUNED, epochs=1)
    )
    train(watched, chosen)
    assert len(orders) == 5  # three batches of 20 images, then two that are full
    assert orders[:2] != orders[3:]


@pytest.mark.parametrize("preset", ["taskres_star", "tip_adapter_f_star", "zero_shot_star"])
def test_adapters_start_from_the_tuned_texts(task, preset):
    tuned = with_texts(task, method(preset).text).texts
    adapter = train(task, method(preset, epochs=1)).adapter
    equal(adapter.text, tuned.raw if preset == "taskres_star" else tuned.normalized)


def test_underscores(task):
    hidden = task.texts.hidden
    other = dataclasses.replace(hidden, features=hidden.features + 0.5)
    kept = ClassTexts(task.texts.raw + 1, task.texts.normalized, other)
    both = dataclasses.replace(task, texts_kept=kept)
    assert with_texts(both, TextOptions()) is both
    assert with_texts(both, TextOptions(underscores="kept")).texts is kept
    tuned = dataclasses.replace(TUNED, underscores="kept")
    assert with_texts(both, tuned).texts.hidden is other
    with refused(r"\"kept\"` should have class texts with underscores\. Got features without them"):
        with_texts(task, TextOptions(underscores="kept"))


# Checkpoints of TaskRes's enhanced bases


def checkpoint(folder, content):
    file = folder / "model.pth.tar"
    torch.save(content, file)
    return dataclasses.replace(TUNED, checkpoint=str(file))


def test_a_checkpoint_of_taskres_for_each_number_of_shots(task, tmp_path):
    draws = torch.randn(2, 12, HIDDEN, generator=torch.Generator().manual_seed(6)).half()
    for shots, weight in zip((task.shots, task.shots + 1), draws, strict=True):
        (tmp_path / f"{shots}shots").mkdir()
        checkpoint(tmp_path / f"{shots}shots", {"state_dict": {"weight": weight}, "epoch": 50})
    options = dataclasses.replace(TUNED, checkpoint=str(tmp_path / "{shots}shots/model.pth.tar"))
    equal(with_texts(task, options).texts.raw, task.texts.projected(draws[0].float().T).raw)
    assert options.file(5) == tmp_path / "5shots" / "model.pth.tar"
    assert TUNED.file(1) is None
    with refused(r"`text\.checkpoint` should be a file\. Got '.*99s"):
        options.file(99)


@pytest.mark.parametrize("shape", [(12, 9), (11, HIDDEN), (HIDDEN, 12), (12,)])
def test_a_checkpoint_of_another_backbone(task, tmp_path, shape):
    options = checkpoint(tmp_path, {"state_dict": {"weight": torch.zeros(shape)}})
    got = re.escape(str(tuple(reversed(shape))))
    text = rf"`weight` should have the shape of the text projection, \(8, 12\)\. Got {got}\."
    with pytest.raises(ValueError, match=text):
        with_texts(task, options)


# Prompts


NAMES = ["cat", "sea_horse"]
TWO = ["a {}.", "the big {}."]
SENTENCES = (["a cat.", "a sea horse."], ["the big cat.", "the big sea horse."])


def encode(texts):
    """Two features that differ between texts and are far from unit length."""
    return torch.tensor(
        [[float(len(text)), float(text.count("a") + text.count("_"))] for text in texts]
    )


FEATURES = torch.stack([encode(texts) for texts in SENTENCES])


def test_imagenet_templates_equal_open_clip():
    open_clip = pytest.importorskip("open_clip")
    theirs = [template("{}") for template in open_clip.SIMPLE_IMAGENET_TEMPLATES]
    assert list(DATASETS["imagenet"].templates) == theirs
    assert TASKRES_IMAGENET_TEMPLATE not in theirs


def test_means_of_raw_features_and_of_the_first_templates_normalised_twice():
    raw, normalized = class_means(FEATURES, 2)
    first, second = map(encode, SENTENCES)
    torch.testing.assert_close(raw, (first + second) / 2)
    units = normalize(first, dim=1), normalize(second, dim=1)
    torch.testing.assert_close(normalized, normalize(units[0] + units[1], dim=1))
    torch.testing.assert_close(class_means(FEATURES, 1)[1], units[0])


def test_prompts():
    assert prompts(NAMES, TWO) == list(SENTENCES)
    assert prompts(NAMES, ["{}!"], replace_underscores=False) == [["cat!", "sea_horse!"]]
    assert prompts(["{0}"], ["{}"]) == [["{0}"]]  # braces in a class name stay


@pytest.mark.parametrize(
    ("templates", "got"),
    [
        (["a photo."], r"\['a photo\.'\]"),
        (["{}", "{} and {}"], r"\['\{\}', '\{\} and \{\}'\]"),
        ("a {}.", r"'a \{\}\.'"),
        ([], r"\[\]"),
    ],
)
def test_templates_of_another_form(templates, got):
    with refused(rf"`templates` should be a sequence of .* with one `\{{\}}` each.* Got {got}\."):
        ImageDataset("a", Path(), listed_split((), (), (), NAMES), ("{}",), templates)
