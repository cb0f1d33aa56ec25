"""Views of images: their distribution and determinism, their features, and what a step sees."""

import math
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from application.fake_backbone import ColourBackbone, FakeBackbone
from application.helpers import equal, refused
from PIL import Image
from scipy.stats import kstest
from torchvision.transforms import InterpolationMode, RandomResizedCrop, functional
from vlm_adapters.features.views import (
    Augmentation,
    CachedViews,
    Centre,
    crop_box,
    extract_features,
)

BACKBONE = FakeBackbone()


def noise(width=40, height=30):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_a_view_depends_on_path_seed_and_number_alone():
    image = noise()
    whole = Augmentation(views=6)(image, BACKBONE, "a/1.jpg")
    assert whole.shape == (6, 3, 8, 8)
    equal(Augmentation(views=2)(image, BACKBONE, "a/1.jpg"), whole[:2])
    equal(Augmentation(views=3, first=3)(image, BACKBONE, "a/1.jpg"), whole[3:])
    other_seed = Augmentation(views=6, seed=2)(image, BACKBONE, "a/1.jpg")
    views = [whole, other_seed, Augmentation(views=6)(image, BACKBONE, "a/2.jpg")]
    different = torch.cat(views).flatten(1).unique(dim=0)
    assert len(different) == 18


def test_global_generators_neither_matter_nor_move():
    image = noise()
    random.seed(1)
    torch.manual_seed(1)
    first, states = Augmentation()(image, BACKBONE, "x"), (random.getstate(), torch.get_rng_state())
    assert random.getstate() == states[0]
    equal(torch.get_rng_state(), states[1])
    random.seed(2)
    torch.manual_seed(2)
    equal(Augmentation()(image, BACKBONE, "x"), first)


def test_threads_and_order_change_nothing():
    images = {f"{k}.png": noise(20 + k, 30) for k in range(12)}
    view = Augmentation(views=3)
    alone = {path: view(image, BACKBONE, path) for path, image in images.items()}
    with ThreadPoolExecutor(4) as pool:
        futures = {
            path: pool.submit(view, images[path], BACKBONE, path) for path in reversed(images)
        }
        for path, future in futures.items():
            equal(future.result(), alone[path])


@pytest.mark.parametrize("seed", [1, 7])
def test_a_view_is_torchvisions_on_the_same_box(seed):
    image, flips = noise(), []
    for view in range(8):
        stream = random.Random(f"{seed}/a.jpg/{view}")
        box = crop_box(*image.size, stream, (0.2, 0.9))
        crop = functional.resized_crop(image, *box, [8, 8], InterpolationMode.BILINEAR)
        flips.append(stream.random() < 0.5)
        crop = functional.hflip(crop) if flips[-1] else crop
        expected = functional.normalize(
            functional.to_tensor(crop), BACKBONE.pixels.mean, BACKBONE.pixels.std
        )
        ours = Augmentation(views=1, scale=(0.2, 0.9), seed=seed, first=view)
        equal(ours(image, BACKBONE, "a.jpg")[0], expected)
    assert 0 < sum(flips) < 8


def boxes(count, size=(400, 300), scale=(0.08, 1.0)):
    return [crop_box(*size, random.Random(k), scale) for k in range(count)]


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.5, 1.0), (0.3, 0.31)])
def test_the_scale_and_the_ratio_are_respected(scale):
    for top, left, height, width in boxes(300, scale=scale):
        assert 0 <= top <= 300 - height
        assert 0 <= left <= 400 - width
        assert scale[0] * 120_000 - 400 <= height * width <= scale[1] * 120_000 + 400
        assert 0.74 < width / height < 1.35


def test_boxes_are_distributed_as_torchvisions():
    ours = torch.tensor(boxes(2000), dtype=torch.float64)
    torch.manual_seed(0)
    image = torch.empty(3, 300, 400)
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(image, [0.08, 1.0], [3 / 4, 4 / 3]) for _ in range(2000)],
        dtype=torch.float64,
    )
    for one, other in zip(ours.T, theirs.T, strict=True):
        assert kstest(one.numpy(), other.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((100, 10), (0, 43, 10, 13)),  # too wide: the height whole, 4/3 of it, in the middle
        ((10, 100), (43, 0, 13, 10)),  # too high
        ((12, 10), (0, 0, 10, 12)),  # itself a permitted shape
        ((1, 1), (0, 0, 1, 1)),
        ((1, 50), (24, 0, 1, 1)),
    ],
)
def test_fallback_is_torchvisions(size, expected, monkeypatch):
    from vlm_adapters.features import views

    monkeypatch.setattr(views, "ATTEMPTS", 0)
    assert crop_box(*size, random.Random(0), (0.5, 1.0)) == expected
    torch.manual_seed(0)
    # A share of the area that no draw can have sends torchvision to its fallback.
    theirs = RandomResizedCrop.get_params(
        torch.empty(3, size[1], size[0]), [1e6, 1e6], [3 / 4, 4 / 3]
    )
    assert theirs == expected


@pytest.mark.parametrize("size", [(1, 1), (1, 60), (60, 1), (2, 3)])
def test_tiny_and_narrow_images(size):
    views = Augmentation(views=4, scale=(0.08, 1.0))(noise(*size), BACKBONE, "tiny")
    assert views.shape == (4, 3, 8, 8)
    assert views.isfinite().all()


def test_the_centre_view_is_the_backbones_own():
    image = noise()
    equal(Centre()(image, BACKBONE, "x"), BACKBONE.preprocess(image)[None])
    assert Centre().describe() == {"kind": "centre", "published": False}


def test_descriptions_hold_every_option():
    assert Augmentation(2, (0.1, 1.0), 3, 4).describe() == {
        **{"kind": "augmented", "views": 2, "scale": [0.1, 1.0]},
        **{"seed": 3, "first": 4, "published": False},
    }


@pytest.mark.parametrize("scale", [(0.0, 1.0), (-0.1, 1.0), (0.5, 1.1), (0.9, 0.5), (math.nan, 1)])
def test_options_that_make_no_views(scale):
    with refused(r"`scale` should be two shares .* high <= 1\. Got \("):
        Augmentation(scale=scale)


# Features


COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (51, 102, 153)]
PATHS = [f"{i}.png" for i in range(len(COLOURS))]
VIEWS = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
ROWS = torch.tensor([2, 0, 2, 1])


@pytest.fixture
def folder(tmp_path):
    for path, colour in zip(PATHS, COLOURS, strict=True):
        Image.new("RGB", (6, 4), colour).save(tmp_path / path)
    return tmp_path


def extract(folder, paths=PATHS, **options):
    return extract_features(ColourBackbone(), folder, paths, **options)


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 3), (2, 1), (5, 3), (64, 1)])
def test_one_row_per_path_in_order(folder, batch_size, num_workers):
    features = extract(folder, PATHS[::-1], batch_size=batch_size, num_workers=num_workers)
    torch.testing.assert_close(features, torch.tensor(COLOURS[::-1]) / 255)
    assert extract(folder, []).shape == (0, 3)


def test_result_can_be_trained_on(folder):
    features = extract(folder)
    weight = torch.ones(3, requires_grad=True)
    (features @ weight).sum().backward()
    torch.testing.assert_close(weight.grad, features.sum(dim=0))


def test_progress_counts_images(folder):
    calls = []
    extract(folder, batch_size=2, progress=lambda *call: calls.append(call))
    assert calls == [(2, 5), (4, 5), (5, 5)]


def test_images_that_cannot_be_read(folder):
    Image.effect_noise((64, 64), 50).save(folder / "cut.jpg")
    content = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    with refused(r"`cut\.jpg` should be a readable image\. Got: .*truncated.*Copy the file"):
        extract(folder, ["cut.jpg", *PATHS], batch_size=2)
    with refused(r"should hold every image of the split\. Got no file 'cat/9\.png'\."):
        extract(folder, [*PATHS, "cat/9.png"], batch_size=2)


# Cached views


def test_keys_are_the_mean_of_the_views_as_they_come():
    means = [sum(views) / 3 for views in VIEWS]
    expected = torch.stack([mean / mean.norm() for mean in means])
    torch.testing.assert_close(CachedViews(VIEWS.clone()).keys(), expected)
    units = [sum(view / view.norm() for view in views) / 3 for views in VIEWS]
    assert (CachedViews(VIEWS.clone()).keys() - torch.stack(units)).abs().max() > 0.01


def test_a_draw_is_one_view_of_each_image_of_unit_length():
    images, seen = CachedViews(VIEWS.clone()), set()
    units = torch.nn.functional.normalize(VIEWS, dim=2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        for row, drawn in zip(ROWS.tolist(), images.draw(ROWS, generator), strict=True):
            [view] = ((units[row] - drawn).abs().amax(1) < 1e-6).nonzero().flatten().tolist()
            seen.add((row, view))
    assert seen == {(row, view) for row in (0, 1, 2) for view in range(3)}
    assert CachedViews(views := VIEWS.clone()).units.data_ptr() == views.data_ptr()  # no copy


def test_draws_follow_the_generator_which_one_view_does_not_move():
    images = CachedViews(VIEWS.clone())
    draws = [images.draw(ROWS, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    drawn = CachedViews(VIEWS[:, :1].clone()).draw(ROWS, generator)
    equal(generator.get_state(), before)
    torch.testing.assert_close(drawn, torch.nn.functional.normalize(VIEWS[ROWS, 0], dim=1))
