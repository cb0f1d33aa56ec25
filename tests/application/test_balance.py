"""Balanced gradients through a linear map: equal to topreg's balanced_backward on its matrix."""

import pytest
import torch
from application.helpers import CountProducts
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import SEEDS, gaussian
from test_gradients import NORMS, by_hand
from torch.testing import assert_close
from vlm_adapters.adapters import LinearMap
from vlm_adapters.regularizers.grams import add_balanced_gradient

from topreg import TrackCoincidence, balanced_backward

SIZES = st.integers(1, 7)
every_norm = pytest.mark.parametrize("norm", NORMS)


def both_passes(inputs, parameter, main, regularizer, **options):
    """What the two functions add, each with its own graph."""
    for through_map in (False, True):
        leaf = parameter.clone().requires_grad_()
        outputs = inputs @ leaf.T
        losses = main(outputs), regularizer(outputs)
        if through_map:
            add_balanced_gradient(*losses, LinearMap(inputs, leaf, outputs), **options)
        else:
            balanced_backward(*losses, [leaf], **options)
        yield leaf.grad


def test_a_hand_computed_example():
    keys, images = torch.zeros(2, 2, requires_grad=True), torch.tensor([[3.0, 4.0]])
    y = images @ keys.T
    linear = LinearMap(images, keys, y)
    add_balanced_gradient(y[0, 0], 100 * y.sum(), linear, weight=0.5, norm="rowwise")
    assert_close(keys.grad, torch.tensor([[4.5, 6.0], [0.0, 0.0]]))


@every_norm
@given(SEEDS, SIZES, SIZES, SIZES, st.floats(-3, 3))
def test_a_linear_map_gets_the_same_gradient(norm, seed, n, k, d, weight):
    g, h = gaussian(seed, n, k), 100 * gaussian(seed + 1, n, k)
    inputs = gaussian(seed + 2, n, d)
    # a gradient that nearly cancels has few digits, whichever way it is computed
    assume(float(((h.T @ inputs).norm(dim=1) / (h.norm(dim=0) * inputs.norm())).min()) > 1e-2)
    h[:, :: max(k // 2, 2)] = 0  # some rows of the parameter have no regulariser
    expected, actual = both_passes(
        inputs,
        gaussian(seed + 3, k, d),
        lambda y: (g * y).sum(),
        lambda y: (h * y).sum(),
        weight=weight,
        norm=norm,
    )
    assert_close(actual, expected, rtol=1e-12, atol=1e-12 * float(expected.abs().max()))


@every_norm
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nonlinear_losses_that_share_a_graph(norm, dtype):
    def coincidence(y):
        return TrackCoincidence()(y, y.detach().roll(1, 0), geometry=y.detach())

    expected, actual = both_passes(
        gaussian(0, 9, 40).to(dtype),
        gaussian(1, 30, 40).to(dtype),
        lambda y: torch.nn.functional.cross_entropy(y, torch.arange(9)),
        coincidence,
        weight=0.4,
        norm=norm,
    )
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert actual.dtype == dtype
    assert_close(actual, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


@every_norm
def test_nearly_dependent_inputs(norm):
    inputs = 1 + 1e-3 * gaussian(0, 20, 50).float()  # one direction is 1e4 times the others
    signs = torch.tensor([1.0, -1.0]).repeat(10)[:, None]  # and the regulariser does not see it
    expected, actual = both_passes(
        inputs,
        gaussian(1, 8, 50).float(),
        lambda y: y.square().sum(),
        lambda y: (signs * y).sum(0).square().sum(),
        weight=0.4,
        norm=norm,
    )
    assert_close(actual, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@every_norm
def test_a_gradient_of_zero_adds_nothing(norm):
    inputs = gaussian(0, 3, 4).float().repeat_interleave(2, 0)  # every row twice
    signs = gaussian(1, 3, 5).float().repeat_interleave(2, 0)
    signs[1::2] *= -1
    g, w = gaussian(2, 6, 5).float(), gaussian(3, 5, 4).float()

    def zero(y):
        return 0 * y.sum()

    def loss(y):
        return (g * y).sum()

    for regularizer in (zero, lambda y: (signs * y).sum()):  # which cancels
        _, actual = both_passes(inputs, w, loss, regularizer, weight=5.0, norm=norm)
        assert_close(actual, g.T @ inputs)
    _, actual = both_passes(inputs, w, zero, loss, weight=5.0, norm=norm)
    assert_close(actual, torch.zeros(5, 4))


@every_norm
def test_gradients_accumulate(norm):
    inputs, w = gaussian(0, 3, 4), gaussian(1, 5, 4).requires_grad_()
    g, h, before = gaussian(2, 3, 5), gaussian(3, 3, 5), gaussian(4, 5, 4)
    w.grad = before.clone()
    outputs = inputs @ w.T
    linear = LinearMap(inputs, w, outputs)
    losses = (g * outputs).sum(), (h * outputs).sum()
    add_balanced_gradient(*losses, linear, weight=0.5, norm=norm)
    assert_close(w.grad, before + by_hand([g.T @ inputs], [h.T @ inputs], 0.5, norm)[0])


@every_norm
@pytest.mark.parametrize("tiny", [1e-20, 1e-30, 1e-38])
def test_tiny_regularizers_are_scaled_up(norm, tiny):
    inputs, w = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    expected, actual = both_passes(
        inputs, w, lambda y: y.sum(), lambda y: tiny * y.sum(), weight=0.2, norm=norm
    )
    assert_close(actual, 1.2 * inputs, rtol=1e-5, atol=0)
    assert_close(actual, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_squares_of_gradients_do_not_overflow(norm):
    w = torch.ones(3, 3, requires_grad=True)
    outputs = torch.eye(3) @ w.T
    losses = 1e25 * outputs.sum(), 1e24 * outputs.sum()
    add_balanced_gradient(*losses, LinearMap(torch.eye(3), w, outputs), weight=0.5, norm=norm)
    assert_close(w.grad, torch.full((3, 3), 1.5e25))


def test_one_large_product():
    inputs, w = gaussian(0, 8, 64).float(), gaussian(1, 100, 64).float().requires_grad_()
    outputs = inputs @ w.T
    losses = outputs.square().sum(), outputs.sin().sum()
    with CountProducts() as counter:
        linear = LinearMap(inputs, w, outputs)
        add_balanced_gradient(*losses, linear, weight=0.4, norm="rowwise")
    assert counter.sizes.count(8 * 64 * 100) == 1
    assert max(counter.sizes) == 8 * 64 * 100
    assert sum(counter.sizes) <= 8 * 100 * (64 + 2 * 8)
