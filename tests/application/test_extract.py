"""Features of synthetic image files, and what a training step sees of them."""

import pytest
import torch
from application.fake_backbone import ColourBackbone
from application.helpers import equal
from PIL import Image
from vlm_adapters.features.views import CachedViews, extract_features

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
    message = r"should hold every image of the split\. Got no file 'cat/9\.png'\."
    with pytest.raises(FileNotFoundError, match=message):
        extract(folder, [*PATHS, "cat/9.png"], batch_size=2)
    Image.effect_noise((64, 64), 50).save(folder / "cut.jpg")
    content = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    message = r"`cut\.jpg` should be a readable image\. Got: .*truncated.*Copy the file"
    with pytest.raises(ValueError, match=message):
        extract(folder, ["cut.jpg", *PATHS], batch_size=2)
    (folder / "page.jpg").write_text("<html>")
    message = r"`page\.jpg` should be a readable image\. Got: cannot identify"
    with pytest.raises(ValueError, match=message):
        extract(folder, ["page.jpg"])


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
