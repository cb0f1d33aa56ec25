"""Balanced gradients, by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, gaussian
from torch.testing import assert_close

from topreg import balanced_backward

NORMS = ("global", "per_parameter", "rowwise")


def losses(g, h):
    """Parameters on which two linear losses have the gradients ``g`` and ``h``."""
    parameters = [torch.zeros_like(part).requires_grad_() for part in g]
    main = sum((p * part).sum() for p, part in zip(parameters, g, strict=True))
    regularizer = sum((p * part).sum() for p, part in zip(parameters, h, strict=True))
    return parameters, main, regularizer


def ratio(g, h):
    """|g| / |h|, 0 where h is zero."""
    length = h.double().square().sum().sqrt()
    return float(g.double().square().sum().sqrt() / length) if length > 0 else 0.0


def by_hand(g, h, weight, norm):
    """The balanced gradients, one norm at a time."""
    if norm == "global":
        factor = ratio(torch.cat([x.flatten() for x in g]), torch.cat([x.flatten() for x in h]))
        return [a + weight * factor * b for a, b in zip(g, h, strict=True)]
    if norm == "per_parameter":
        return [a + weight * ratio(a, b) * b for a, b in zip(g, h, strict=True)]
    results = []
    for a, b in zip(g, h, strict=True):
        rows_a, rows_b = (x.reshape(-1, x.shape[-1] if x.ndim else 1) for x in (a, b))
        rows = [x + weight * ratio(x, y) * y for x, y in zip(rows_a, rows_b, strict=True)]
        results.append(torch.stack(rows).reshape(a.shape))
    return results


@pytest.mark.parametrize("norm", NORMS)
@given(SEEDS, st.floats(-3, 3))
def test_equals_the_formula(norm, seed, weight):
    shapes = ((3, 4), (5,), (), (2, 3, 2))
    g = [gaussian(seed + k, *shape) for k, shape in enumerate(shapes)]
    h = [100 * gaussian(seed + 9 + k, *shape) for k, shape in enumerate(shapes)]
    h[0][1], h[3][1, 2] = 0, 0
    parameters, main, regularizer = losses(g, h)
    balanced_backward(main, regularizer, parameters, weight=weight, norm=norm)
    for p, expected in zip(parameters, by_hand(g, h, weight, norm), strict=True):
        assert_close(p.grad, expected)


def test_a_hand_computed_example_of_each_norm():
    g = [torch.tensor([[3.0, 4], [0, 0]]), torch.tensor([12.0])]
    h = [torch.tensor([[0.0, 2], [1, 0]]), torch.tensor([2.0])]
    expected = {
        "global": [[[3, 4 + 2 * 13 / 3], [13 / 3, 0]], [12 + 2 * 13 / 3]],
        "per_parameter": [[[3, 4 + 2 * 5**0.5], [5**0.5, 0]], [24.0]],
        "rowwise": [[[3.0, 9], [0, 0]], [24.0]],
    }
    for norm, values in expected.items():
        parameters, main, regularizer = losses(g, h)
        balanced_backward(main, regularizer, parameters, weight=1.0, norm=norm)
        for p, value in zip(parameters, values, strict=True):
            assert_close(p.grad, torch.tensor(value))


@pytest.mark.parametrize("norm", NORMS)
def test_the_added_part_has_the_length_of_the_main_gradient_times_the_weight(norm):
    g, h = [gaussian(0, 4, 3)], [1e3 * gaussian(1, 4, 3)]
    parameters, main, regularizer = losses(g, h)
    balanced_backward(main, regularizer, parameters, weight=0.2, norm=norm)
    added = parameters[0].grad - g[0]
    axis = 1 if norm == "rowwise" else None
    length = torch.linalg.vector_norm
    assert_close(length(added, dim=axis), 0.2 * length(g[0], dim=axis))


@pytest.mark.parametrize("norm", NORMS)
def test_nonlinear_losses_that_share_a_graph(norm):
    weight = gaussian(0, 3, 2).requires_grad_()
    points = gaussian(1, 5, 3)

    def both(w):
        shared = (points @ w).tanh()
        return shared.square().sum(), shared.exp().mean()

    g, h = (torch.autograd.grad(both(weight)[k], weight)[0] for k in (0, 1))
    main, regularizer = both(weight)
    balanced_backward(main, regularizer, [weight], weight=0.5, norm=norm)
    assert_close(weight.grad, by_hand([g], [h], 0.5, norm)[0])


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_regularizer_adds_nothing(norm):
    g = [gaussian(0, 3, 2)]
    parameters, main, regularizer = losses(g, [torch.zeros_like(g[0])])
    balanced_backward(main, regularizer, parameters, weight=5.0, norm=norm)
    assert_close(parameters[0].grad, g[0], rtol=0, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_main_loss_adds_nothing(norm):
    h = [gaussian(0, 3, 2)]
    parameters, main, regularizer = losses([torch.zeros_like(h[0])], h)
    balanced_backward(main, regularizer, parameters, weight=5.0, norm=norm)
    assert_close(parameters[0].grad, torch.zeros_like(h[0]), rtol=0, atol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_a_constant_regularizer_adds_nothing(norm):
    x = gaussian(0, 3).requires_grad_()
    balanced_backward(x.square().sum(), torch.tensor(2.0), [x], weight=5.0, norm=norm)
    assert_close(x.grad, 2 * x.detach())


@pytest.mark.parametrize("norm", NORMS)
def test_a_constant_main_loss_adds_nothing(norm):
    x = gaussian(0, 3).requires_grad_()
    balanced_backward(torch.tensor(2.0), x.square().sum(), [x], weight=5.0, norm=norm)
    assert_close(x.grad, torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("norm", NORMS)
def test_parameters_that_a_loss_does_not_reach(norm):
    only_main, only_regularizer, both, neither = (
        gaussian(k, 2, 2).requires_grad_() for k in range(4)
    )
    main = only_main.square().sum() + both.square().sum()
    regularizer = only_regularizer.pow(4).sum() + both.pow(4).sum()
    parameters = [only_main, only_regularizer, both, neither]
    zero = torch.zeros(2, 2, dtype=torch.float64)
    g = [2 * only_main.detach(), zero, 2 * both.detach(), zero]
    h = [zero, 4 * only_regularizer.detach() ** 3, 4 * both.detach() ** 3, zero]
    balanced_backward(main, regularizer, parameters, weight=0.5, norm=norm)
    assert neither.grad is None
    for p, expected in zip(parameters[:3], by_hand(g, h, 0.5, norm)[:3], strict=True):
        assert_close(p.grad, expected)


def test_constant_parameters_are_left_alone_and_a_generator_is_fine():
    frozen, x = torch.ones(2), torch.ones(2, requires_grad=True)
    main, regularizer = (frozen * x).sum(), x.square().sum()
    balanced_backward(main, regularizer, (p for p in (frozen, x)), weight=1.0)
    assert frozen.grad is None
    assert_close(x.grad, torch.full((2,), 2.0))


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_accumulate(norm):
    g, h = [gaussian(0, 3, 2)], [gaussian(1, 3, 2)]
    parameters, main, regularizer = losses(g, h)
    before = gaussian(2, 3, 2)
    parameters[0].grad = before.clone()
    balanced_backward(main, regularizer, parameters, weight=0.5, norm=norm)
    assert_close(parameters[0].grad, before + by_hand(g, h, 0.5, norm)[0])


def test_new_gradients_share_no_memory():
    x, y = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    balanced_backward((x + y).sum(), torch.tensor(0.0), [x, y], weight=1.0)
    x.grad.add_(1)
    assert_close(y.grad, torch.ones(2))
    assert not x.grad.requires_grad


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("tiny", [1e-20, 1e-30, 1e-38, 1e-43])
def test_tiny_regularizers_are_scaled_up(norm, tiny):
    g, h = [torch.tensor([[3.0, 4]])], [torch.tensor([[tiny, 0]])]
    parameters, main, regularizer = losses(g, h)
    balanced_backward(main, regularizer, parameters, weight=0.2, norm=norm)
    assert_close(parameters[0].grad, torch.tensor([[4.0, 4]]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("large", "small"), [(1e30, 1e-30), (1e-30, 1e30), (1e-42, 1.0)])
def test_norms_neither_overflow_nor_underflow(norm, large, small):
    g, h = [torch.tensor([[3.0, 4]]) * large], [torch.tensor([[0.0, small]])]
    parameters, main, regularizer = losses(g, h)
    balanced_backward(main, regularizer, parameters, weight=1.0, norm=norm)
    expected = torch.tensor([[3.0, 9]], dtype=torch.float64) * large
    assert_close(parameters[0].grad.double(), expected, rtol=1e-2, atol=0)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradients_keep_the_dtype(norm, dtype):
    g, h = [gaussian(0, 3, 4).to(dtype)], [1e-3 * gaussian(1, 3, 4).to(dtype)]
    parameters, main, regularizer = losses(g, h)
    balanced_backward(main, regularizer, parameters, weight=0.5, norm=norm)
    assert parameters[0].grad.dtype == dtype
    expected = by_hand([g[0].double()], [h[0].double()], 0.5, norm)[0]
    assert_close(parameters[0].grad.double(), expected, rtol=2e-2, atol=2e-2)


def test_only_the_listed_parameters_get_gradients():
    x, y = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    balanced_backward((x * y).sum(), (x + y).sum(), [x], weight=1.0)
    assert y.grad is None
    assert_close(x.grad, torch.full((2,), 2.0))


def test_the_graphs_are_freed_after_the_last_pass_and_no_earlier():
    x = torch.ones(2, requires_grad=True)
    inner = x.exp()
    main, regularizer = inner.square().sum(), inner.prod()
    balanced_backward(main, regularizer, [x], weight=1.0)
    with pytest.raises(RuntimeError, match="second time"):
        regularizer.backward()


def test_the_default_norm_is_global():
    found = []
    for options in ({}, {"norm": "global"}, {"norm": "rowwise"}):
        keys = torch.tensor([[1.0, 2.0], [0.0, 1.0]], requires_grad=True)
        images = torch.tensor([[1.0, -1.0], [2.0, 3.0]])
        outputs = images @ keys.T
        main, regularizer = outputs.square().sum(), outputs.sin().sum()
        balanced_backward(main, regularizer, [keys], weight=0.5, **options)
        found.append(keys.grad)
    assert_close(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


@pytest.mark.parametrize("norm", NORMS)
def test_norms_beyond_half_precision(norm):
    g, h = torch.full((1, 4), 0.5).half(), torch.full((1, 4), 6e4).half()
    (leaf,), main, regularizer = losses([g], [h])
    balanced_backward(main, regularizer, [leaf], weight=2.0, norm=norm)
    assert_close(leaf.grad, torch.full((1, 4), 1.5).half())


def test_scalars_and_vectors_have_one_row():
    g, h = [torch.tensor(3.0), torch.tensor([3.0, 4.0])], [torch.tensor(-5.0), torch.ones(2)]
    parameters, main, regularizer = losses(g, h)
    balanced_backward(main, regularizer, parameters, weight=0.1, norm="rowwise")
    assert_close(parameters[0].grad, torch.tensor(2.7))
    assert_close(parameters[1].grad, g[1] + 0.5 / 2**0.5)


def test_parameters_that_keep_no_gradient_are_refused():
    x = torch.tensor([3.0, 4.0], requires_grad=True)
    for wrong in (x, [x[0]], [x, "x"], {"weight": x}.items()):
        with pytest.raises((TypeError, ValueError), match="`parameters` should be"):
            balanced_backward(x.square().sum() / 2, 100 * x[0], wrong, weight=0.2)
    assert x.grad is None
