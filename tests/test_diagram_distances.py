"""Distances between diagrams and features of them: GUDHI, persim and POT as oracles."""

import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from asserts import gradients_are_right, refused, repr_round_trips
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import gaussian
from torch.testing import assert_close

from topreg import (
    PersistenceImage,
    PersistenceLandscape,
    SlicedWassersteinDistance,
    WassersteinDistance,
    persistence_image,
    persistence_landscape,
    sliced_wasserstein_distance,
    wasserstein_distance,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import gudhi.representations
    import gudhi.wasserstein

EMPTY = torch.zeros(0, 2, dtype=torch.float64)
NORMS = (1.0, 2.0, math.inf)
ORDERS = (1.0, 2.0, 3.0)


@st.composite
def diagrams(draw, max_size=7):
    """Births and deaths: generic, on a grid with ties, repeated, or none."""
    size = draw(st.integers(0, max_size))
    if draw(st.booleans()):
        births, lengths = gaussian(draw(st.integers(0, 10**6)), 2, size).abs()
    else:
        numbers = st.lists(st.integers(0, 3), min_size=size, max_size=size)
        births, lengths = torch.tensor([draw(numbers), draw(numbers)], dtype=torch.float64)
    diagram = torch.stack([births, births + lengths], dim=1)
    return torch.cat([diagram, diagram[: draw(st.integers(0, size))]])


@st.composite
def two_diagrams(draw):
    """Any two, equal ones among them."""
    first = draw(diagrams())
    return first, draw(st.one_of(diagrams(), st.just(first), st.just(first.flip(0))))


def with_essential(diagram, births):
    """The diagram and classes that never die."""
    stays = torch.tensor([[b, math.inf] for b in births], dtype=torch.float64).reshape(-1, 2)
    return torch.cat([diagram, stays])


# Wasserstein


@pytest.mark.parametrize("ground", NORMS)
@pytest.mark.parametrize("order", ORDERS)
@given(two=two_diagrams())
def test_wasserstein_equals_gudhi(order, ground, two):
    first, second = two
    expected = gudhi.wasserstein.wasserstein_distance(
        first.numpy(), second.numpy(), order=order, internal_p=ground
    )
    found = wasserstein_distance(first, second, order=order, ground=ground)
    assert float(found) == pytest.approx(float(expected), abs=1e-6, rel=1e-6)


@given(two_diagrams(), st.lists(st.integers(0, 4), max_size=3), st.data())
def test_essential_classes_equal_gudhi(two, births, data):
    size = len(births) if data.draw(st.booleans()) else data.draw(st.integers(0, 3))
    others = data.draw(st.lists(st.integers(0, 4), min_size=size, max_size=size))
    first, second = with_essential(two[0], births), with_essential(two[1], others)
    assume(len(two[0]) + len(two[1]) > 0)  # GUDHI 3.13 divides by zero else
    for order in (1.0, 2.0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of infinity
            expected = gudhi.wasserstein.wasserstein_distance(
                first.numpy(), second.numpy(), order=order, internal_p=np.inf
            )
        found = float(wasserstein_distance(first, second, order=order))
        assert found == pytest.approx(float(expected), abs=1e-6)


def brute_force(first, second, order, ground):
    """Every matching of up to three points each."""

    def norm(vector):
        return float(np.linalg.norm(vector, ord=ground))

    x, y = first.numpy(), second.numpy()
    best = math.inf
    for size in range(min(len(x), len(y)) + 1):
        for some in itertools.combinations(range(len(x)), size):
            for others in itertools.permutations(range(len(y)), size):
                total = sum(norm(x[i] - y[j]) ** order for i, j in zip(some, others, strict=True))
                alone = [x[i] for i in range(len(x)) if i not in some]
                alone += [y[j] for j in range(len(y)) if j not in others]
                total += sum(norm(p - np.full(2, p.mean())) ** order for p in alone)
                best = min(best, total)
    return best ** (1 / order)


@pytest.mark.parametrize("ground", NORMS)
@given(diagrams(max_size=3), diagrams(max_size=3), st.sampled_from(ORDERS))
def test_wasserstein_equals_every_matching(ground, first, second, order):
    first, second = first[:3], second[:3]
    found = wasserstein_distance(first, second, order=order, ground=ground)
    assert float(found) == pytest.approx(brute_force(first, second, order, ground), abs=1e-9)


def test_conventions_of_persim_and_pot():
    persim = pytest.importorskip("persim")
    first, second = (
        torch.stack([b, b + length], dim=1) for b, length in gaussian(0, 2, 2, 6).abs()
    )
    expected = persim.wasserstein(first.numpy(), second.numpy())
    found = wasserstein_distance(first, second, order=1.0, ground=2.0)
    assert float(found) == pytest.approx(expected, rel=1e-6)
    ot = pytest.importorskip("ot")
    costs = torch.cdist(first, second).square()
    diagonal = [(d[:, 1] - d[:, 0]).square() / 2 for d in (first, second)]
    matrix = torch.zeros(7, 7, dtype=torch.float64)
    matrix[:6, :6], matrix[:6, 6], matrix[6, :6] = costs, diagonal[0], diagonal[1]
    masses = np.array([1.0] * 6 + [6.0])
    squared = ot.emd2(masses, masses, matrix.numpy())
    found = wasserstein_distance(first, second, order=2.0, ground=2.0)
    assert float(found) ** 2 == pytest.approx(float(squared), rel=1e-6)


@settings(max_examples=1000)
@given(two_diagrams(), st.sampled_from(ORDERS), st.sampled_from(NORMS))
def test_gradients_are_finite_everywhere(two, order, ground):
    leaves = [diagram.clone().requires_grad_() for diagram in two]
    for distance in (
        wasserstein_distance(*leaves, order=order, ground=ground),
        sliced_wasserstein_distance(*leaves, directions=7),
    ):
        for leaf, gradient in zip(leaves, torch.autograd.grad(distance, leaves), strict=True):
            assert gradient.shape == leaf.shape
            assert bool(gradient.isfinite().all())
            if torch.equal(*two):
                assert not gradient.any()


@given(diagrams(), diagrams(), diagrams(), st.sampled_from(ORDERS))
def test_wasserstein_is_a_metric(a, b, c, order):
    def distance(x, y):
        return float(wasserstein_distance(x, y, order=order))

    assert distance(a, a) == 0
    assert distance(a, b) == pytest.approx(distance(b, a), abs=1e-9)
    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-9


@pytest.mark.parametrize("ground", NORMS)
@pytest.mark.parametrize("order", ORDERS)
def test_wasserstein_gradients(order, ground):
    first, second = (
        torch.stack([b, b + length], dim=1) for b, length in gaussian(3, 2, 2, 4).abs()
    )
    gradients_are_right(
        lambda x, y: wasserstein_distance(x, y, order=order, ground=ground), first, second
    )
    unequal = with_essential(first, [0.3, 2.0]), with_essential(second, [1.0, 0.5])
    leaves = [diagram.requires_grad_() for diagram in unequal]
    wasserstein_distance(*leaves, order=order, ground=ground).backward()
    assert all(bool(leaf.grad.isfinite().all()) for leaf in leaves)


def test_different_numbers_of_essential_classes_are_infinitely_far_apart():
    first = with_essential(EMPTY, [0.0]).requires_grad_()
    distance = wasserstein_distance(first, EMPTY)
    assert float(distance.detach()) == math.inf
    distance.backward()
    assert bool(first.grad.isfinite().all())


# Sliced Wasserstein


def slow_sliced(first, second, directions, last=None):
    """The mean over directions, or over those before ``last``."""
    total, count = 0.0, directions if last is None else last
    for k in range(count):
        angle = -math.pi / 2 + k * math.pi / directions
        line = (math.cos(angle), math.sin(angle))

        def project(points, other, line=line):
            own = [b * line[0] + d * line[1] for b, d in points]
            return sorted(own + [(b + d) / 2 * (line[0] + line[1]) for b, d in other])

        one = project(first.tolist(), second.tolist())
        two = project(second.tolist(), first.tolist())
        total += sum(abs(a - b) for a, b in zip(one, two, strict=True))
    return total / count


@given(two_diagrams(), st.integers(1, 12))
def test_sliced_equals_the_projections_one_by_one(two, directions):
    found = sliced_wasserstein_distance(*two, directions=directions)
    assert float(found) == pytest.approx(slow_sliced(*two, directions), abs=1e-9)


@given(diagrams(), diagrams())
def test_sliced_equals_persim_and_gudhi(first, second):
    persim = pytest.importorskip("persim")
    if len(first) and len(second):
        found = sliced_wasserstein_distance(first, second, directions=20)
        expected = persim.sliced_wasserstein(first.numpy(), second.numpy(), M=20)
        assert float(found) == pytest.approx(expected, abs=1e-4)
        expected = gudhi.representations.SlicedWassersteinDistance(num_directions=20)(
            first.numpy(), second.numpy()
        )
        assert slow_sliced(first, second, 20, last=19) == pytest.approx(expected, abs=1e-9)


def test_sliced_gradients_and_essential_classes():
    first, second = (
        torch.stack([b, b + length], dim=1) for b, length in gaussian(1, 2, 2, 4).abs()
    )
    gradients_are_right(sliced_wasserstein_distance, first, second)
    found = sliced_wasserstein_distance(with_essential(first, [1.0]), second)
    assert_close(found, sliced_wasserstein_distance(first, second))


# Features


@given(diagrams(), st.sampled_from([0, 1, 2]), st.floats(0.1, 2))
def test_image_equals_gudhi(diagram, power, bandwidth):
    found = persistence_image(
        diagram,
        bandwidth=bandwidth,
        birth_range=(0, 2),
        persistence_range=(0.5, 3),
        resolution=(7, 5),
        weight_power=power,
    )
    assert found.shape == (5, 7)
    if len(diagram):
        expected = gudhi.representations.PersistenceImage(
            bandwidth=bandwidth,
            weight=lambda x: x[1] ** power,
            resolution=[7, 5],
            im_range=[0, 2, 0.5, 3],
        ).fit_transform([diagram.numpy()])
        assert_close(found.flatten(), torch.from_numpy(expected[0]), rtol=1e-9, atol=1e-12)
    else:
        assert not found.any()


@given(diagrams(), st.integers(1, 5))
def test_landscape_equals_gudhi(diagram, count):
    found = persistence_landscape(diagram, sample_range=(0, 4), count=count, resolution=9)
    assert found.shape == (count, 9)
    if len(diagram):
        expected = gudhi.representations.Landscape(
            num_landscapes=count, resolution=9, sample_range=[0, 4]
        ).fit_transform([diagram.numpy()])
        assert_close(found.flatten(), torch.from_numpy(expected[0]), rtol=1e-9, atol=1e-12)
    else:
        assert not found.any()


IMAGE = {"bandwidth": 0.5, "birth_range": (0, 2), "persistence_range": (0, 2)}
FEATURES = {
    "image": (persistence_image, PersistenceImage, IMAGE),
    "landscape": (persistence_landscape, PersistenceLandscape, {"sample_range": (0, 4)}),
}
every = pytest.mark.parametrize(("function", "module", "options"), FEATURES.values(), ids=FEATURES)


@every
def test_features_of_batches_modules_and_essential_classes(function, module, options):
    births, lengths = gaussian(0, 2, 6).abs()
    diagram = torch.stack([births, births + lengths], dim=1)
    made = module(**options)
    repr_round_trips(made)
    alone = function(diagram, **options)
    assert_close(made([diagram, EMPTY]), torch.stack([alone, torch.zeros_like(alone)]))
    assert_close(function(with_essential(diagram, [0.0, 1.0]), **options), alone)
    assert function(diagram.bfloat16(), **options).dtype == torch.float32
    smaller = {"resolution": (4, 3)} if function is persistence_image else {"resolution": 7}
    gradients_are_right(lambda d: function(d, **options, **smaller), diagram)


@every
def test_feature_gradients_are_finite_at_zero_persistence(function, module, options):
    diagram = torch.tensor([[1.0, 1.0], [0.5, 0.5]], requires_grad=True)
    function(diagram, **options).sum().backward()
    assert bool(diagram.grad.isfinite().all())


@pytest.mark.parametrize(
    ("module", "function", "options"),
    [
        (WassersteinDistance, wasserstein_distance, {"order": 2.0, "ground": 2.0}),
        (SlicedWassersteinDistance, sliced_wasserstein_distance, {"directions": 9}),
    ],
)
def test_modules_of_distances(module, function, options):
    first, second = torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 3.0], [1.0, 2.0]])
    made = module(**options)
    repr_round_trips(made)
    assert_close(made(first, second), function(first, second, **options))


def test_messages():
    one = torch.zeros(1, 2)
    with refused(ValueError, "`order` should be at least 1. Got 0.5."):
        wasserstein_distance(one, one, order=0.5)
    with refused(ValueError, "`ground` should be 1, 2 or math.inf. Got 3."):
        WassersteinDistance(ground=3)
    with refused(ValueError, "`first` should be free of NaN. Got 1 row with NaN, first at row 0."):
        wasserstein_distance(one * math.nan, one)
    with refused(
        TypeError,
        "`first` and `second` should have one dtype. "
        "Got torch.float32 and torch.float64. Use `second.to(first.dtype)`.",
    ):
        sliced_wasserstein_distance(one, one.double())
    with refused(ValueError, "`directions` should be a positive integer. Got 0."):
        SlicedWassersteinDistance(directions=0)
    with refused(ValueError, "`diagram` should hold at least one diagram. Got an empty sequence."):
        persistence_landscape([], sample_range=(0, 1))
    with refused(
        ValueError,
        "`sample_range` should be a tuple (low, high) with finite low <= high. Got (1, 0).",
    ):
        persistence_landscape(one, sample_range=(1, 0))
    with refused(ValueError, "`bandwidth` should be positive. Got 0."):
        PersistenceImage(bandwidth=0, birth_range=(0, 1), persistence_range=(0, 1))
    with refused(ValueError, "`resolution` should be a positive integer. Got 0."):
        PersistenceImage(**IMAGE, resolution=(3, 0))


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("order", [2.0, 10.0, 50.0])
def test_large_orders_neither_overflow_nor_vanish(scale, order):
    first = torch.tensor([[0.0, 1.0], [0.0, 0.5]], requires_grad=True)
    distance = wasserstein_distance(scale * first, torch.zeros(0, 2), order=order)
    expected = scale * (0.5**order + 0.25**order) ** (1 / order)
    assert float(distance.detach()) == pytest.approx(expected, rel=1e-5)
    distance.backward()
    assert bool(first.grad.isfinite().all())


def test_points_that_are_far_apart_go_to_the_diagonal():
    first, second = torch.tensor([[0.0, 1.0]]), torch.tensor([[1e6, 1e6 + 1]])
    for order in (1.0, 8.0):
        expected = 0.5 * 2 ** (1 / order)
        assert float(wasserstein_distance(first, second, order=order)) == pytest.approx(expected)
    on_it = torch.tensor([[2.0, 2.0], [3.0, 3.0]])
    assert float(wasserstein_distance(on_it, on_it + 5, order=2.0)) == 0


def test_a_range_of_one_value():
    diagram = torch.tensor([[0.0, 3.0], [1.0, 2.0]])
    found = persistence_landscape(diagram, sample_range=(1.5, 1.5), count=2, resolution=3)
    wider = persistence_landscape(diagram, sample_range=(1.5, 2.0), count=2, resolution=3)
    assert_close(found, wider[:, :1].expand(2, 3))


def test_no_gradient_where_the_distance_is_infinite():
    leaves = [
        torch.tensor([[0.0, 1.0], [0.5, torch.inf]], requires_grad=True),
        torch.tensor([[0.0, 3.0]], requires_grad=True),
    ]
    distance = wasserstein_distance(*leaves)
    distance.backward()
    assert float(distance.detach()) == torch.inf
    for leaf in leaves:
        assert_close(leaf.grad, torch.zeros_like(leaf))


@pytest.mark.parametrize("order", [1.0, 2.0])
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch's own rules for forward mode
def test_derivatives_by_torch_func(order):
    first, second, direction = (
        gaussian(seed, n, 2).abs().cumsum(1) for seed, n in ((0, 5), (1, 4), (2, 5))
    )
    leaf = first.clone().requires_grad_()
    wasserstein_distance(leaf, second, order=order).backward()

    def distance(diagram):
        return wasserstein_distance(diagram, second, order=order)

    assert_close(torch.func.grad(distance)(first), leaf.grad)
    along = torch.func.jvp(distance, (first,), (direction,))[1]
    assert_close(along, (leaf.grad * direction).sum())


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_an_image_of_classes_whose_ends_have_changed_places_is_finite(power):
    """Given pairs, after the points have moved: a class counts by its size, as everywhere."""
    diagram = torch.tensor([[1.0, 0.5]], requires_grad=True)
    image = persistence_image(
        diagram,
        bandwidth=1.0,
        birth_range=(0, 1),
        persistence_range=(-1, 1),
        resolution=(2, 3),
        weight_power=power,
    )
    image.sum().backward()
    assert bool(image.gt(0).all())
    assert bool(diagram.grad.isfinite().all())


def test_large_deaths_and_other_numbers_of_essential_classes():
    first = with_essential(EMPTY, [0.0]).requires_grad_()
    second = torch.tensor([[0.0, torch.finfo(EMPTY.dtype).max]] * 3, dtype=EMPTY.dtype)
    distance = wasserstein_distance(first, second.requires_grad_())
    assert float(distance.detach()) == math.inf
    distance.backward()
    assert not first.grad.any()
    assert not second.grad.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [0, 1, 2, 4])
def test_classes_far_from_a_persistence_image_add_nothing(dtype, power):
    options = IMAGE | {"weight_power": power}
    near = torch.tensor([[0.2, 1.0]], dtype=dtype)
    far = torch.tensor([[0.0, 1e10], [0.0, 1e20], [0.0, 1e38], [-1e38, 1.0]], dtype=dtype)
    both = torch.cat([near, far]).requires_grad_()
    image = persistence_image(both, **options)
    assert_close(image, persistence_image(near, **options))
    image.sum().backward()
    assert bool(both.grad.isfinite().all())
    assert not both.grad[1:].any()
