"""Balanced gradients, by hand."""

import pytest
import torch
from asserts import refused
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import SEEDS, gaussian
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from topreg import (
    TrackCoincidence,
    aggregated_backward,
    balanced_backward,
    balanced_linear_backward,
)

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


def linear(*coefficients):
    """Two parameters, and losses of given gradients in them; None where a loss misses one."""
    parameters = [torch.zeros(2, 2, requires_grad=True), torch.zeros(3, requires_grad=True)]
    losses = [
        sum((p * c).sum() for p, c in zip(parameters, parts, strict=True) if c is not None)
        for parts in coefficients
    ]
    return parameters, losses


def test_aggregated_gradients_are_the_aggregators():
    first = gaussian(0, 2, 2).float(), gaussian(1, 3).float()
    second = gaussian(2, 2, 2).float(), None
    parameters, losses = linear(first, second)
    parameters[0].grad = torch.ones(2, 2)
    seen = []

    def aggregator(jacobian):
        seen.append(jacobian)
        return 2 * jacobian[0] - jacobian[1]

    aggregated_backward(losses, parameters, aggregator)
    assert_close(seen[0][0], torch.cat([part.flatten() for part in first]))
    assert_close(seen[0][1], torch.cat([second[0].flatten(), torch.zeros(3)]))
    assert_close(parameters[0].grad, 1 + 2 * first[0] - second[0])
    assert_close(parameters[1].grad, 2 * first[1])


def test_the_sum_of_the_rows_is_the_gradient_of_the_sum():
    points, target = gaussian(0, 2, 9, 3).float()
    model = torch.nn.Linear(3, 3)

    def losses():
        rows = model(points)
        return [(rows - target).square().mean(), TrackCoincidence()(points, rows)]

    aggregated_backward(losses(), model.parameters(), lambda jacobian: jacobian.sum(0))
    found = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    sum(losses()).backward()
    assert_close(found, [p.grad for p in model.parameters()])


def test_aggregators_of_torchjd():
    aggregation = pytest.importorskip("torchjd.aggregation")
    conflict = (torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.zeros(3)), (
        torch.tensor([[-0.5, 1.0], [0.0, 0.0]]), torch.zeros(3),
    )  # fmt: skip
    parameters, losses = linear(*conflict)
    aggregated_backward(losses, parameters, aggregation.MGDA())
    for row, _ in conflict:  # no loss rises along the step
        assert float((parameters[0].grad * row).sum()) >= -1e-6


def test_parameters_of_several_dtypes_and_those_that_nothing_reaches():
    single, double = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    double.data = double.data.double()
    alone = torch.zeros(2, requires_grad=True)
    aggregated_backward(
        [single.sum(), 2 * double.sum()], [single, alone, double], lambda jacobian: jacobian.sum(0)
    )
    assert alone.grad is None
    assert (single.grad.dtype, double.grad.dtype) == (torch.float32, torch.float64)
    assert_close(double.grad, torch.full((2,), 2.0, dtype=torch.float64))


# Through a linear map

SIZES = st.integers(1, 7)


def both_passes(inputs, parameter, main, regularizer, **options):
    """What the two functions add, each with its own graph."""
    for linear in (False, True):
        leaf = parameter.clone().requires_grad_()
        outputs = inputs.to(leaf.dtype) @ leaf.T
        losses = main(outputs), regularizer(outputs)
        if linear:
            balanced_linear_backward(*losses, inputs, leaf, outputs, **options)
        else:
            balanced_backward(*losses, [leaf], **options)
        yield leaf.grad


@pytest.mark.parametrize("norm", NORMS)
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


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_linear_map_under_nonlinear_losses_that_share_a_graph(norm, dtype):
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


@pytest.mark.parametrize("norm", NORMS)
def test_nearly_dependent_inputs_of_a_linear_map(norm):
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


@pytest.mark.parametrize("norm", NORMS)
def test_a_regularizer_that_cancels_in_a_linear_map_adds_nothing(norm):
    inputs = gaussian(0, 3, 4).float().repeat_interleave(2, 0)  # every row twice
    signs = gaussian(1, 3, 5).float().repeat_interleave(2, 0)
    signs[1::2] *= -1
    g, w = gaussian(2, 6, 5).float(), gaussian(3, 5, 4).float()
    _, actual = both_passes(
        inputs, w, lambda y: (g * y).sum(), lambda y: (signs * y).sum(), weight=5.0, norm=norm
    )
    assert_close(actual, g.T @ inputs)


@pytest.mark.parametrize("norm", NORMS)
def test_a_linear_map_whose_losses_are_constant_or_zero(norm):
    inputs, w, g = gaussian(0, 3, 4), gaussian(1, 5, 4), gaussian(2, 3, 5)

    def loss(y):
        return (g * y).sum()

    nothing = (lambda y: y.detach().sum(), lambda y: 0 * y.sum())
    for none in nothing:
        _, actual = both_passes(inputs, w, loss, none, weight=5.0, norm=norm)
        assert_close(actual, g.T @ inputs)
        _, actual = both_passes(inputs, w, none, loss, weight=5.0, norm=norm)
        assert_close(actual, torch.zeros(5, 4, dtype=torch.float64))


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_of_a_linear_map_accumulate_in_place(norm):
    inputs, w = gaussian(0, 3, 4), gaussian(1, 5, 4).requires_grad_()
    g, h, before = gaussian(2, 3, 5), gaussian(3, 3, 5), gaussian(4, 5, 4)
    w.grad = own = before.clone()
    outputs = inputs @ w.T
    balanced_linear_backward(
        (g * outputs).sum(), (h * outputs).sum(), inputs, w, outputs, weight=0.5, norm=norm
    )
    assert w.grad is own
    assert_close(w.grad, before + by_hand([g.T @ inputs], [h.T @ inputs], 0.5, norm)[0])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("tiny", [1e-20, 1e-30, 1e-38])
def test_tiny_regularizers_of_a_linear_map_are_scaled_up(norm, tiny):
    inputs, w = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    expected, actual = both_passes(
        inputs, w, lambda y: y.sum(), lambda y: tiny * y.sum(), weight=0.2, norm=norm
    )
    assert_close(actual, 1.2 * inputs, rtol=1e-5, atol=0)
    assert_close(actual, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_linear_map_in_half_precision_and_under_autocast(dtype):
    inputs, w, target = gaussian(0, 6, 4).float(), gaussian(1, 5, 4).float(), gaussian(2, 6, 5)
    losses = (lambda y: (y - target).square().sum().float(), lambda y: y.sin().sum().float())
    options = {"weight": 0.5, "norm": "rowwise"}
    expected, _ = both_passes(inputs, w, *losses, **options)
    _, half = both_passes(inputs.to(dtype), w.to(dtype), *losses, **options)
    assert half.dtype == dtype
    assert_close(half.float(), expected, rtol=0.05, atol=0.1)
    leaf = w.clone().requires_grad_()
    with torch.autocast("cpu", dtype):
        outputs = inputs @ leaf.T
        assert outputs.dtype == dtype
        balanced_linear_backward(*(f(outputs) for f in losses), inputs, leaf, outputs, **options)
    assert_close(leaf.grad, expected, rtol=0.05, atol=0.1)


def test_a_linear_map_takes_one_large_product():
    inputs, w = gaussian(0, 8, 64).float(), gaussian(1, 100, 64).float().requires_grad_()
    outputs = inputs @ w.T
    losses = outputs.square().sum(), outputs.sin().sum()
    with CountProducts() as counter:
        balanced_linear_backward(*losses, inputs, w, outputs, weight=0.4, norm="rowwise")
    assert counter.sizes.count(8 * 64 * 100) == 1
    assert max(counter.sizes) == 8 * 64 * 100
    assert sum(counter.sizes) <= 8 * 100 * (64 + 2 * 8)


class CountProducts(TorchDispatchMode):
    """Multiplications of each product of matrices."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.mm.default:
            self.sizes.append(args[0].shape[0] * args[0].shape[1] * args[1].shape[1])
        return function(*args, **(kwargs or {}))


def test_aggregating_losses_that_reach_no_parameter_changes_nothing():
    x, y = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    aggregated_backward([x.sum(), 2 * x.sum()], [y], lambda jacobian: jacobian.sum(0))
    assert y.grad is None
    assert x.grad is None


def test_the_graphs_are_freed_after_the_last_pass_and_no_earlier():
    x = torch.ones(2, requires_grad=True)
    shared = x.exp()
    losses = [shared.square().sum(), shared.prod(), shared.sin().sum()]
    aggregated_backward(losses, [x], lambda jacobian: jacobian.sum(0))
    with pytest.raises(RuntimeError, match="second time"):
        losses[2].backward()
    inner = x.exp()
    main, regularizer = inner.square().sum(), inner.prod()
    balanced_backward(main, regularizer, [x], weight=1.0)
    with pytest.raises(RuntimeError, match="second time"):
        regularizer.backward()
    keys, images = torch.ones(2, 2, requires_grad=True), torch.ones(3, 2)
    outputs = images @ keys.T
    inner = outputs.exp()
    main, regularizer = inner.square().sum(), inner.sum()
    balanced_linear_backward(main, regularizer, images, keys, outputs, weight=1.0)
    with pytest.raises(RuntimeError, match="second time"):
        regularizer.backward()


def test_the_default_norm_is_global():
    found = []
    for options in ({}, {"norm": "global"}, {"norm": "rowwise"}):
        keys = torch.tensor([[1.0, 2.0], [0.0, 1.0]], requires_grad=True)
        images = torch.tensor([[1.0, -1.0], [2.0, 3.0]])
        outputs = images @ keys.T
        for again in (False, True):
            main, regularizer = outputs.square().sum(), outputs.sin().sum()
            if again:
                balanced_backward(main, regularizer, [keys], weight=0.5, **options)
            else:
                parts = main, regularizer, images, keys, outputs
                balanced_linear_backward(*parts, weight=0.5, **options)
                outputs = images @ keys.T
        found.append(keys.grad)
    assert_close(found[0], found[1])
    assert not torch.allclose(found[0], found[2])


def test_what_is_no_loss_is_named():
    x = torch.ones(2, requires_grad=True)
    for loss, kind, text in (
        ("text", TypeError, "`losses` should be a torch.Tensor. Got str."),
        (x * 2, ValueError, "`losses` should have shape (). Got (2,)."),
    ):  # fmt: skip
        with refused(kind, text):
            aggregated_backward([x.sum(), loss], [x], lambda jacobian: jacobian.sum(0))


def test_what_an_aggregator_returns_is_named():
    x = torch.ones(2, requires_grad=True)
    got = "`aggregator(jacobian)` should have shape (2,). Got list."
    with refused(ValueError, got):
        aggregated_backward([x.sum(), x.prod()], [x], lambda jacobian: [1.0, 2.0])


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


def test_half_precision_inputs_of_a_linear_map():
    keys, images = torch.eye(2).requires_grad_(), torch.tensor([[1.0, 2.0], [-3.0, 0.5]])
    outputs = (images @ keys.T).bfloat16()
    balanced_linear_backward(
        outputs.float().square().sum(), outputs.float().sum(), images.bfloat16(), keys, outputs,
        weight=0.0,
    )  # fmt: skip
    assert_close(keys.grad, (2 * images).T @ images)


@pytest.mark.parametrize(
    "backward",
    [
        lambda g, h, leaves: balanced_backward(g, h, leaves, weight=0.2),
        lambda g, h, leaves: aggregated_backward([g, h], leaves, torch.mean),
    ],
    ids=["balanced", "aggregated"],
)
def test_parameters_that_keep_no_gradient_are_refused(backward):
    x = torch.tensor([3.0, 4.0], requires_grad=True)
    for wrong in (x, [x[0]], [x, "x"], {"weight": x}.items()):
        with pytest.raises((TypeError, ValueError), match="`parameters` should be"):
            backward(x.square().sum() / 2, 100 * x[0], wrong)
    assert x.grad is None
