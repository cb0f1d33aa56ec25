"""Losses on images against slow twins, closed forms and derivatives."""

import image_oracles as oracles
import numpy as np
import pytest
import torch
from asserts import refused
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from topreg import (
    CubicalFiltration,
    betti_matching_loss,
    betti_prior_loss,
    diagram_matching_loss,
)
from topreg._scratch_kernels import with_scratch
from topreg.persistence.images._pixel_kernels import STEPS, compare_neighbours

LOSSES = {
    "betti matching": lambda x, y, **o: betti_matching_loss(x, y, **o),
    "diagram matching": lambda x, y, **o: diagram_matching_loss(x, y, **o),
    "betti prior": lambda x, y, **o: betti_prior_loss(x, betti_numbers=(2, 1), **o),
}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def joins_two(image, construction):
    """Whether no pixel joins three pieces, whose order is a tie."""
    framed = np.pad(image, 1, constant_values=np.inf)
    earlier = with_scratch(lambda block: compare_neighbours(block, framed).copy())
    return STEPS[int(construction == "T"), 1, earlier, 0].max() <= 2


@pytest.mark.parametrize("construction", ["T", "V"])
@given(seed=st.integers(0, 2**32 - 1), alike=st.booleans())
def test_betti_matching_is_that_of_matrices(construction, seed, alike):
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 8, 2)
    f, g = rng.random((2, *shape))
    if alike:
        base = rng.random(shape)
        f, g = 0.7 * base + 0.3 * f, 0.7 * base + 0.3 * g
    if not all(joins_two(image, construction) for image in (f, g, np.minimum(f, g))):
        return
    filtration = CubicalFiltration(construction=construction)
    expected = oracles.betti_matching(f, g, construction)
    for dimension, (matched, *alone) in enumerate(expected):
        value = sum(2 * ((a - c) ** 2 + (b - d) ** 2) for a, b, c, d in matched)
        value += sum((b - d) ** 2 for bars in alone for b, d in bars)
        value += 2 * (f.min() - g.min()) ** 2 if dimension == 0 else 0
        found = betti_matching_loss(
            torch.tensor(f), torch.tensor(g), filtration=filtration, dimensions=(dimension,)
        )
        assert_close(found, torch.tensor(value, dtype=torch.float64))


@every_loss
def test_gradients(loss):
    torch.manual_seed(0)
    image = torch.rand(2, 6, 7, dtype=torch.float64, requires_grad=True)
    mask = (torch.rand(2, 6, 7) > 0.5).double()
    for superlevel in (True, False):
        filtration = CubicalFiltration(superlevel=superlevel)
        assert torch.autograd.gradcheck(lambda x, f=filtration: loss(x, mask, filtration=f), image)


@every_loss
@pytest.mark.parametrize("image", [torch.zeros(5, 5), torch.ones(1, 4), torch.eye(6)])
def test_gradients_are_finite_at_ties(loss, image):
    image = image.clone().requires_grad_()
    value = loss(image, torch.eye(*image.shape))
    (gradient,) = torch.autograd.grad(value, image)
    assert value.isfinite()
    assert gradient.isfinite().all()


@every_loss
def test_reductions_logits_and_lists(loss):
    torch.manual_seed(0)
    image, mask = torch.randn(2, 3, 8, 9), torch.rand(2, 3, 8, 9) > 0.5
    every = loss(image, mask, logits=True, reduction="none")
    assert every.shape == (6,)
    probabilities = image.sigmoid().flatten(0, 1)
    single = [loss(x, y) for x, y in zip(probabilities, mask.flatten(0, 1), strict=True)]
    assert_close(every, torch.stack(single))
    assert_close(loss(list(probabilities), list(mask.flatten(0, 1))), every.mean())
    assert_close(loss(image, mask, logits=True, reduction="sum"), every.sum())
    empty = loss(image[:0].requires_grad_(), mask[:0], reduction="none")
    assert empty.shape == (0,)


@pytest.mark.parametrize("loss", [betti_matching_loss, diagram_matching_loss])
def test_the_background_can_be_left_out(loss):
    torch.manual_seed(0)
    image, mask = torch.rand(2, 3, 8, 9), torch.rand(2, 3, 8, 9) > 0.5
    found = loss(image, mask, include_background=False)
    assert_close(found, loss(image[:, 1:], mask[:, 1:]))
    with refused(
        ValueError,
        "`source` should have shape (b, c, ...) with two channels or more under "
        "`include_background=False`. Got (3, 8, 9).",
    ):
        loss(image[0], mask[0], include_background=False)


@pytest.mark.parametrize("loss", [betti_matching_loss, diagram_matching_loss])
def test_masks_of_integers_hold_0_and_1(loss):
    image, mask = torch.rand(3, 4), torch.tensor([[0, 1, 0, 1]] * 3)
    assert_close(loss(image, mask), loss(image, mask.float()))
    unchecked = CubicalFiltration(superlevel=True, check_values=False)
    for odd in (-1, 2):
        with pytest.raises(ValueError, match=f"`target` should hold 0 and 1 .* Got {odd}"):
            loss(image, mask.where(mask == 0, odd))
        loss(image, mask.where(mask == 0, odd), filtration=unchecked)


@pytest.mark.parametrize("loss", [betti_matching_loss, diagram_matching_loss])
def test_lists_of_images_of_other_shapes_are_told_by_the_first_that_differs(loss):
    images = [torch.rand(3, 4), torch.rand(5, 4)]
    told = "`source` and `target` should be images of the same shapes. Got (5, 4) and (4, 5)."
    with refused(ValueError, told):
        loss(images, [images[0], images[1].T])


@pytest.mark.parametrize("loss", [betti_matching_loss, diagram_matching_loss])
def test_components_that_are_true_are_raised_and_others_lowered(loss):
    image = torch.tensor([[0.9, 0.65, 0.7, 0.3, 0.8, 0.1, 0.6]], requires_grad=True)
    mask = torch.tensor([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]])
    (gradient,) = torch.autograd.grad(loss(image, mask, dimensions=(0,)), image)
    change = -gradient[0].sign()
    assert change[[0, 4, 6]].tolist() == [1, 1, 1]  # three true components
    assert change[2] == -1  # a false one
    assert change[[3, 5]].tolist() == [-1, -1]  # saddles between true ones


@given(seed=st.integers(0, 2**32 - 1), order=st.sampled_from([1, 2]), soft=st.booleans())
def test_diagram_matching_is_the_best_assignment(seed, order, soft):
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 9, 2))
    image, target = torch.tensor(rng.random((2, *shape)))
    target = target if soft else (target > 0.6).double()
    filtration = CubicalFiltration(superlevel=True)
    for dimension in (0, 1):
        x, y = (-filtration(data, dimension).numpy() for data in (image, target))
        m, k = len(x), len(y)
        costs = np.zeros((m + k, m + k))
        costs[:m, :k] = (np.abs(x[:, None] - y[None]) ** order).sum(2)
        costs[:m, k:] = (np.abs(x[:, :1] - x[:, 1:]) ** order) * 2 ** (1 - order)
        costs[m:, :k] = (np.abs(y[:, 0] - y[:, 1]) ** order) * 2 ** (1 - order)
        rows, columns = linear_sum_assignment(costs)
        expected = costs[rows, columns].sum()
        if dimension == 0:
            expected += float((image.max() - target.max()).abs() ** order)
        found = diagram_matching_loss(image, target, dimensions=(dimension,), order=order)
        assert_close(found, torch.tensor(expected))
        own = diagram_matching_loss(
            image, target, order=order, pairs=filtration.pairs(image, dimension)
        )
        assert_close(own, found)


def test_in_a_frame_of_foreground_components_match_as_in_padded_images():
    torch.manual_seed(0)
    image, mask = torch.rand(2, 7, 8), (torch.rand(2, 7, 8) > 0.5).float()
    closed = CubicalFiltration(superlevel=True, outside="foreground")
    found = betti_matching_loss(image, mask, filtration=closed, dimensions=(0,))
    padded = (torch.nn.functional.pad(x, (1, 1, 1, 1), value=1.0) for x in (image, mask))
    assert_close(found, betti_matching_loss(*padded, dimensions=(0,)))
    assert found > 0


def test_candidates_for_a_match_are_those_of_least_cost_besides_their_way_to_the_diagonal():
    image = torch.tensor([[1.0, 0.4, 1.0, 0.2, 0.75]])  # bars [1, 0.4] and [0.75, 0.2]
    mask = torch.tensor([[1.0, 0.0, 1.0, 1.0, 1.0]])  # [1, 0], which is matched with the second
    expected = torch.tensor(0.25**2 + 0.2**2 + 0.6**2 / 2)
    assert_close(diagram_matching_loss(image, mask, dimensions=(0,)), expected)


def test_the_prior_raises_the_essential_component_of_two_equal_ones():
    image = torch.tensor([[0.5, 0.0, 0.5]], requires_grad=True)
    (gradient,) = torch.autograd.grad(betti_prior_loss(image, betti_numbers=(1, 0)), image)
    assert gradient.tolist() == [[-1, -1, 1]]


def test_the_prior_counts_the_essential_component_first():
    image = torch.tensor([[0.5, 0.0, 0.4]])
    assert_close(betti_prior_loss(image, betti_numbers=(1, 0)), torch.tensor(0.75 + 0.16))
    assert_close(betti_prior_loss(image, betti_numbers=(2, 0)), torch.tensor(0.75 + 0.84))
    assert_close(betti_prior_loss(image, betti_numbers=(3, 1)), torch.tensor(0.75 + 0.84 + 2))


def test_dimensions_of_volumes():
    torch.manual_seed(0)
    volume, mask = torch.rand(4, 5, 6, requires_grad=True), torch.rand(4, 5, 6) > 0.5
    options = {"filtration": CubicalFiltration(ndim=3, superlevel=True), "dimensions": (0, 2)}
    for value in (
        diagram_matching_loss(volume, mask, **options),
        betti_prior_loss(volume, betti_numbers=(1, 0), **options),
    ):
        (gradient,) = torch.autograd.grad(value, volume)
        assert gradient.abs().sum() > 0
    with pytest.raises(ValueError, match="`filtration` should have `ndim=2` for Betti matching"):
        betti_matching_loss(volume, mask, **options)
