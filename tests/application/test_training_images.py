"""Cached training views, and the processes that share an extraction."""

import pytest
import torch
from vlm_adapters.features import ranks
from vlm_adapters.features.training_images import CachedViews

VIEWS = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
ROWS = torch.tensor([2, 0, 2, 1])


def equal(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_keys_are_the_mean_of_the_views_as_they_come():
    means = [sum(views) / 3 for views in VIEWS]
    expected = torch.stack([mean / mean.norm() for mean in means])
    torch.testing.assert_close(CachedViews(VIEWS).keys(), expected)
    units = [sum(view / view.norm() for view in views) / 3 for views in VIEWS]
    assert (CachedViews(VIEWS).keys() - torch.stack(units)).abs().max() > 0.01


def test_a_draw_is_one_view_of_each_image_of_unit_length():
    images, seen = CachedViews(VIEWS), set()
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        for row, drawn in zip(ROWS.tolist(), images.draw(ROWS, generator), strict=True):
            matches = [
                view
                for view in range(3)
                if (drawn - VIEWS[row, view] / VIEWS[row, view].norm()).abs().max() < 1e-6
            ]
            assert len(matches) == 1
            seen.add((row, *matches))
    assert seen == {(row, view) for row in (0, 1, 2) for view in range(3)}
    assert len(images) == 4


def test_draws_follow_the_generator():
    images = CachedViews(VIEWS)
    draws = [images.draw(ROWS, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_one_view_takes_no_draw():
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    drawn = CachedViews(VIEWS[:, :1]).draw(ROWS, generator)
    equal(generator.get_state(), before)
    torch.testing.assert_close(drawn, torch.nn.functional.normalize(VIEWS[ROWS, 0], dim=1))


@pytest.mark.parametrize(("size", "calls"), [(None, []), ("1", []), ("2", ["gloo"])])
def test_a_group_is_joined_under_torchrun_only(monkeypatch, size, calls):
    joined = []
    monkeypatch.setattr(
        torch.distributed, "init_process_group", lambda kind, timeout: joined.append(kind)
    )
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if size is not None:
        monkeypatch.setenv("WORLD_SIZE", size)
    ranks.start()
    assert joined == calls
    assert ranks.share() == (0, 1)


def test_alone_an_error_is_its_own():
    with ranks.together():
        pass
    with pytest.raises(KeyError, match="mine"), ranks.together():
        raise KeyError("mine")


def test_each_rank_takes_an_accelerator_of_its_own(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert ranks.device("cuda") == "cuda"  # without a group
    monkeypatch.setattr(ranks, "share", lambda: (11, 16))
    assert ranks.device("cuda") == "cuda:3"
    assert ranks.device("cuda:1") == "cuda:1"
    assert ranks.device("cpu") == "cpu"
