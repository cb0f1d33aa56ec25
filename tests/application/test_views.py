"""Augmented views: their distribution, their determinism, and torchvision on the same box."""

import math
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from application.fake_backbone import FakeBackbone
from application.helpers import equal
from PIL import Image
from scipy.stats import kstest
from torchvision.transforms import InterpolationMode, RandomResizedCrop, functional
from vlm_adapters.features.views import Augmentation, Centre, crop_box

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


def test_half_of_the_views_are_mirrored():
    ramp = Image.fromarray(np.tile(np.arange(0, 240, 8, dtype=np.uint8), (30, 1))).convert("RGB")
    views = Augmentation(views=400, scale=(0.5, 1.0))(ramp, BACKBONE, "ramp")
    left, right = (half.mean((1, 2, 3)) for half in views.chunk(2, dim=3))
    assert 160 < int((left > right).sum()) < 240


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
def test_a_scale_that_is_no_share(scale):
    with pytest.raises(ValueError, match=r"`scale` should be two shares .* high <= 1\. Got \("):
        Augmentation(scale=scale)
