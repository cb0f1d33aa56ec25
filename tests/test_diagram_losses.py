"""Losses on the diagram of one space, each against the formula written out one class at a time."""

import inspect
import math
import warnings

import pytest
import torch
from asserts import gradients_are_right, harmless, refused, repr_round_trips
from hypothesis import given
from hypothesis import strategies as st
from strategies import distinct_clouds, gaussian, integer_clouds, regular_polygon, rotation
from torch.testing import assert_close

from topreg import (
    ConnectivityLoss,
    FlagFiltration,
    PersistenceEntropy,
    PersistencePairs,
    RipsFiltration,
    TotalPersistence,
    connectivity_loss,
    deviating_perturbation,
    most_persistent,
    persistence_between,
    persistence_entropy,
    total_persistence,
    track_coincidence,
)

RIPS = RipsFiltration()


def intervals(points, dimensions):
    """Births and deaths of each dimension."""
    return [RIPS.diagram(RIPS.pairs(points, p), points).tolist() for p in dimensions]


def slow_total(points, dimensions=(0,), power=1.0, midpoint_power=0.0):
    return math.fsum(
        (d - b) ** power * ((b + d) / 2) ** midpoint_power
        for diagram in intervals(points, dimensions)
        for b, d in diagram
        if d > b
    )


def slow_entropy(points, dimensions=(0,)):
    total = 0.0
    for diagram in intervals(points, dimensions):
        lengths = [d - b for b, d in diagram if d > b]
        total -= math.fsum(x / sum(lengths) * math.log(x / sum(lengths)) for x in lengths)
    return total


def slow_connectivity(points, scale):
    gaps = [abs(d - scale) for b, d in intervals(points, (0,))[0]]
    return math.fsum(gaps) / len(gaps) if gaps else 0.0


LOSSES = {
    "total": (total_persistence, TotalPersistence, slow_total, {}),
    "squares": (total_persistence, TotalPersistence, slow_total, {"power": 2.0}),
    "polynomial": (
        total_persistence,
        TotalPersistence,
        slow_total,
        {"power": 1.5, "midpoint_power": 0.5},
    ),
    "entropy": (persistence_entropy, PersistenceEntropy, slow_entropy, {}),
    "connectivity": (connectivity_loss, ConnectivityLoss, slow_connectivity, {"scale": 0.7}),
}
every = pytest.mark.parametrize(
    ("function", "module", "slow", "options"), LOSSES.values(), ids=LOSSES
)
any_cloud = st.one_of(distinct_clouds(), integer_clouds())


def choices(function):
    """Dimensions to try."""
    takes = "dimensions" in inspect.signature(function).parameters
    return [{"dimensions": d} for d in ((0,), (1,), (0, 1))] if takes else [{}]


@every
@given(points=any_cloud)
def test_the_formula_one_class_at_a_time(function, module, slow, options, points):
    for choice in choices(function):
        expected = torch.tensor(slow(points, **choice, **options), dtype=torch.float64)
        assert_close(function(points, **choice, **options), expected)


@every
def test_module_function_and_given_pairs_agree(function, module, slow, options):
    points = gaussian(0, 20, 3)
    for choice in choices(function):
        expected = function(points, **choice, **options)
        made = module(**choice, **options)
        repr_round_trips(made)
        assert_close(made(points), expected)
        pairs = [RIPS.pairs(points, p) for p in choice.get("dimensions", (0,))]
        assert_close(made(points, pairs=pairs), expected)
        assert_close(function(points, pairs=pairs, **options), expected)
        if len(pairs) == 1:
            assert_close(function(points, pairs=pairs[0], **options), expected)
            assert_close(made(points, pairs=pairs[0]), expected)


@every
def test_batches(function, module, slow, options):
    clouds = [gaussian(k, n, 3) for k, n in enumerate((9, 1, 14, 0))]
    for choice in choices(function):
        alone = torch.stack([function(cloud, **choice, **options) for cloud in clouds])
        assert_close(function(clouds, reduction="none", **choice, **options), alone)
        assert_close(function(clouds, **choice, **options), alone.mean())
        assert_close(function(clouds, reduction="sum", **choice, **options), alone.sum())
        one = function(clouds[0], reduction="none", **choice, **options)
        assert_close(one, alone[:1])
        none = function(gaussian(0, 0, 3, 2), reduction="none", **choice, **options)
        assert none.shape == (0,)
        for reduction in ("mean", "sum"):
            harmless(
                lambda x, r=reduction, c=choice: function(x, reduction=r, **c, **options),
                gaussian(0, 0, 3, 2),
            )


@every
def test_gradients(function, module, slow, options):
    points = gaussian(0, 9, 2)
    for choice in choices(function):
        pairs = [RIPS.pairs(points, p) for p in choice.get("dimensions", (0,))]
        gradients_are_right(lambda x, p=pairs: function(x, pairs=p, **options), points, second=True)


@every
@pytest.mark.parametrize(
    "points",
    [torch.zeros(0, 2), torch.zeros(1, 2), torch.ones(5, 2), torch.ones(2, 2)],
    ids=["none", "one", "five equal", "two equal"],
)
def test_degenerate_clouds(function, module, slow, options, points):
    expected = options.get("scale", 0.0) if len(points) > 1 else 0.0
    for choice in choices(function):
        harmless(lambda x, c=choice: function(x, **c, **options), points, expected=expected)


@every
@given(points=distinct_clouds(min_size=3), seed=st.integers(0, 99))
def test_motions_change_nothing(function, module, slow, options, points, seed):
    moved = points @ rotation(seed, points.shape[1]) + gaussian(seed, points.shape[1])
    assert_close(function(moved, **options), function(points, **options), rtol=1e-6, atol=1e-9)


@given(distinct_clouds(min_size=3), st.floats(0.1, 10))
def test_scaling(points, scale):
    assert_close(total_persistence(scale * points), scale * total_persistence(points))
    cubes = {"power": 2.0, "midpoint_power": 1.0}
    assert_close(
        total_persistence(scale * points, **cubes), scale**3 * total_persistence(points, **cubes)
    )
    assert_close(persistence_entropy(scale * points), persistence_entropy(points))
    assert_close(
        connectivity_loss(scale * points, scale=scale),
        scale * connectivity_loss(points, scale=1.0),
    )


@given(distinct_clouds(min_size=2))
def test_entropy_equals_gudhi(points):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from gudhi.representations import Entropy
    diagram = RIPS.diagram(RIPS.pairs(points), points)
    expected = Entropy(mode="scalar")(diagram.numpy())
    assert float(persistence_entropy(points)) == pytest.approx(float(expected[0]), rel=1e-9)


def test_known_values():
    polygon = regular_polygon(12)
    born, dies = 2 * math.sin(math.pi / 12), 2 * math.sin(4 * math.pi / 12)
    assert float(total_persistence(polygon, dimensions=(1,))) == pytest.approx(dies - born)
    assert float(persistence_entropy(polygon)) == pytest.approx(math.log(11))
    assert float(connectivity_loss(polygon, scale=born)) == pytest.approx(0, abs=1e-12)


def test_other_filtrations():
    births = torch.tensor([0.0, 0.5, 0.0])
    path = FlagFiltration(torch.tensor([[0, 1], [1, 2]]), 3, vertex_births=births)
    weights = torch.tensor([1.0, 3.0], requires_grad=True)
    # at 1 the vertex born at 0.5 dies, at 3 one of those born at 0
    assert float(total_persistence(weights.detach(), filtration=path)) == 3.5
    ConnectivityLoss(filtration=path, scale=2.0)(weights).backward()
    assert_close(weights.grad, torch.tensor([-0.5, 0.5]))
    manhattan = RipsFiltration(metric="manhattan")
    assert float(total_persistence(torch.eye(3), filtration=manhattan)) == 4


def test_half_precision_is_computed_in_single():
    points = gaussian(0, 12, 3).bfloat16()
    for function, _, _, options in LOSSES.values():
        assert function(points, **options).dtype == torch.float32


# Filters


def slow_most_persistent(diagram, count, clouds):
    keep = [False] * len(diagram)
    for cloud in set(clouds):
        members = [k for k, own in enumerate(clouds) if own == cloud]
        members.sort(key=lambda k: (-(diagram[k][1] - diagram[k][0]), k))
        for k in members[:count]:
            keep[k] = True
    return keep


intervals_with_ties = st.lists(st.tuples(st.integers(0, 3), st.integers(3, 6)), max_size=12)


@given(intervals_with_ties, st.integers(0, 5), st.data())
def test_most_persistent(drawn, count, data):
    diagram = torch.tensor(drawn, dtype=torch.float64).reshape(-1, 2)
    alone = most_persistent(diagram, count).tolist()
    assert alone == slow_most_persistent(drawn, count, [0] * len(drawn))
    clouds = data.draw(st.lists(st.integers(0, 2), min_size=len(drawn), max_size=len(drawn)))
    found = most_persistent(diagram, count, torch.tensor(clouds, dtype=torch.int64))
    assert found.tolist() == slow_most_persistent(drawn, count, clouds)


def test_of_many_equal_pairs_the_first_are_kept():
    diagram = torch.tensor([0.0, 1.0]).repeat(5000, 1)
    clouds = torch.arange(5000) % 2
    assert most_persistent(diagram, 7).nonzero().flatten().tolist() == list(range(7))
    kept = most_persistent(diagram, 7, clouds).nonzero().flatten().tolist()
    assert kept == list(range(14))


def test_entropy_of_pairs_whose_deaths_have_come_to_lie_below_their_births():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [4.0, 1.0]])
    backwards = PersistencePairs(
        1,
        torch.tensor([[0, 3], [0, 2]]),
        torch.tensor([[0, 1], [0, 3]]),
        torch.empty(0, 2, dtype=torch.int64),
        (4,),
    )
    lengths = (17**0.5 - 1, 17**0.5 - 2)
    shares = torch.tensor(lengths) / sum(lengths)
    assert_close(persistence_entropy(points, pairs=backwards), -(shares * shares.log()).sum())


@given(intervals_with_ties, st.integers(0, 6), st.integers(0, 6))
def test_persistence_between(drawn, low, width):
    diagram = torch.tensor(drawn, dtype=torch.float64).reshape(-1, 2)
    expected = [low <= d - b <= low + width for b, d in drawn]
    assert persistence_between(diagram, low, low + width).tolist() == expected
    assert persistence_between(diagram, low).tolist() == [low <= d - b for b, d in drawn]


def test_filters_select_pairs_of_a_batch():
    clouds = gaussian(0, 3, 9, 2)
    pairs = RIPS.pairs(clouds)
    kept = pairs.select(most_persistent(RIPS.diagram(pairs, clouds), 2, pairs.cloud()))
    assert [len(part) for part in kept.split()] == [2, 2, 2]
    assert float(total_persistence(clouds, pairs=kept)) < float(total_persistence(clouds))


def test_midpoints_below_zero():
    """Integer powers are the formula; others have no value there."""
    births = torch.full((3,), -3.0)
    path = FlagFiltration(torch.tensor([[0, 1], [1, 2]]), 3, vertex_births=births)
    weights = torch.tensor([-2.0, -1.5])
    for power, expected in ((1, -5.875), (2, 13.84375), (0.5, math.nan)):
        value = total_persistence(weights, filtration=path, midpoint_power=power)
        assert_close(value, torch.tensor(expected), equal_nan=True)


def test_messages():
    points = torch.eye(3)
    diagram = torch.zeros(2, 2)
    with refused(ValueError, "`power` should be positive. Got 0."):
        total_persistence(points, power=0)
    with refused(ValueError, "`midpoint_power` should be at least 0. Got -1."):
        TotalPersistence(midpoint_power=-1)
    with refused(ValueError, "`scale` should be at least 0. Got -1."):
        ConnectivityLoss(scale=-1)
    with refused(ValueError, '`reduction` should be "mean", "sum" or "none". Got \'max\'.'):
        persistence_entropy(points, reduction="max")
    with refused(ValueError, "`count` should be a non-negative integer. Got -1."):
        most_persistent(diagram, -1)
    with refused(ValueError, "`clouds` should have one entry per pair, shape (2,). Got (3,)."):
        most_persistent(diagram, 1, torch.zeros(3, dtype=torch.int64))
    with refused(ValueError, "`low` should be at most `high`. Got 2 and 1."):
        persistence_between(diagram, 2, 1)
    with refused(ValueError, "`diagram` should have shape (m, 2). Got (2,)."):
        persistence_between(diagram[0], 1)


@every
def test_nan_is_never_hidden(function, module, slow, options):
    pairs = RIPS.pairs(torch.tensor([[0.0], [1.0], [3.0]]))
    points = torch.tensor([[0.0], [math.nan], [3.0]])
    assert math.isnan(function(points, pairs=pairs, **options))


def test_nan_is_not_hidden_by_the_losses_of_the_paper():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    pairs, spoilt = RIPS.pairs(points), points.clone()
    spoilt[1] = math.nan
    assert math.isnan(track_coincidence(spoilt, points, pairs=pairs))
    labels = torch.tensor([0, 0, 1])
    assert math.isnan(deviating_perturbation(spoilt, points + 1, labels, pairs=pairs))


def test_entropy_of_shares_that_underflow():
    points = torch.tensor([[0.0], [1e-30], [1e20]], requires_grad=True)
    loss = persistence_entropy(points, filtration=RipsFiltration(metric="manhattan"))
    loss.backward()
    assert float(loss.detach()) == 0
    assert bool(points.grad.isfinite().all())


def test_pairs_measured_in_other_points_count_by_size():
    """A death may be shorter than its birth there; no power of it is NaN."""
    points = regular_polygon(8)
    (loop,) = RIPS.diagram(RIPS.pairs(points, 1), points).tolist()
    other = points.flip(0)[torch.randperm(8, generator=torch.Generator().manual_seed(0))]
    found = total_persistence(other, pairs=RIPS.pairs(points, 1), power=1.5)
    assert 0 <= float(found) < 2**1.5
    assert loop[0] < loop[1]


def test_connectivity_takes_pairs_of_dimension_0_as_a_sequence_too():
    points = gaussian(0, 7, 2)
    trees, loops = RIPS.all_pairs(points, 1)
    module, expected = ConnectivityLoss(scale=1.0), connectivity_loss(points, scale=1.0)
    for pairs in (trees, [trees]):
        assert_close(module(points, pairs=pairs), expected)
        assert_close(connectivity_loss(points, pairs=pairs, scale=1.0), expected)
    for pairs in (loops, [trees, loops]):
        with refused(ValueError, "`pairs` should be of dimension 0. Got 1."):
            module(points, pairs=pairs)
