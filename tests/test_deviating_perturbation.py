"""Deviating perturbation: equation 6."""

import contextlib
import importlib
import itertools
import math

import oracles
import pytest
import torch
from asserts import (
    gradients_are_right,
    harmless,
    in_loss_range,
    repr_round_trips,
    rotation_invariant,
)
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    SEEDS,
    fewer_examples,
    gaussian,
    labelled_views,
    repeated_clouds,
    rotation,
)
from test_tracks import random_pairs
from torch.testing import assert_close

from topreg import (
    DeviatingPerturbation,
    PersistencePairs,
    RipsFiltration,
    deviating_perturbation,
)

RIPS = RipsFiltration()
MODULE = importlib.import_module("topreg.losses.deviating_perturbation")
OPTIONS = [
    {"related": related, "match_norms": match_norms}
    for related, match_norms in itertools.product(("endpoints", "all"), (False, True))
]
TIGHT = {"rtol": 1e-10, "atol": 1e-10}

every_option = pytest.mark.parametrize("options", OPTIONS)


def close(loss, expected):
    """Within 1e-10 in float64."""
    assert loss.dtype == torch.float64
    assert_close(loss, torch.tensor(expected, dtype=torch.float64), **TIGHT)


@contextlib.contextmanager
def listed_at_cost(cost):
    """Relatives are listed below this cost: 0 always, infinity never."""
    before, MODULE.LISTED_COST = MODULE.LISTED_COST, cost
    try:
        yield
    finally:
        MODULE.LISTED_COST = before


def both_ways(*args, **options):
    """The loss from listed relatives and from products of matrices."""
    for cost in (0, math.inf):
        with listed_at_cost(cost):
            yield deviating_perturbation(*args, **options)


def classes(n, k=2):
    """Labels 0, 1, ..., k - 1, 0, 1, ..."""
    return torch.arange(n) % k


# The equation


@every_option
@fewer_examples
@given(labelled_views(), st.data())
def test_equals_the_literal_loop(options, drawn, data):
    source, target, labels = drawn
    pairs = RIPS.pairs(source)
    kept = data.draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    pairs = pairs.select(torch.tensor(kept, dtype=torch.bool))
    expected = oracles.deviating_perturbation(source, target, labels, pairs, **options)
    for loss in both_ways(source, target, labels, pairs=pairs, **options):
        close(loss, expected)
        in_loss_range(loss)


@every_option
@fewer_examples
@given(labelled_views(), SEEDS)
def test_equals_the_literal_loop_with_class_prototypes(options, drawn, seed):
    source, _, labels = drawn
    target = gaussian(seed, 3, source.shape[1])[labels]
    pairs = RIPS.pairs(source).between(labels)
    expected = oracles.deviating_perturbation(source, target, labels, pairs, **options)
    for loss in both_ways(source, target, labels, pairs=pairs, **options):
        close(loss, expected)


@every_option
@fewer_examples
@given(repeated_clouds(max_width=4), st.data())
def test_equals_the_literal_loop_with_coincident_points(options, drawn, data):
    source, _ = drawn
    n = len(source)
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    # some offsets vanish: the counterpart of a sample is the sample itself
    own = torch.tensor(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    target = torch.where(own[:, None], source, gaussian(n, *source.shape))
    pairs = RIPS.pairs(source)
    eps = 1e-6  # what remains of a zero in a Gram matrix is shorter
    options = options | {"eps": eps}
    expected = oracles.deviating_perturbation(source, target, labels, pairs, **options)
    for loss in both_ways(source, target, labels, pairs=pairs, **options):
        close(loss, expected)


def test_offsets_are_taken_from_the_target_of_the_sample():
    source = torch.tensor([[1.0, 0], [0, 2]], dtype=torch.float64)
    target = torch.tensor([[0.0, 0], [0, 1]], dtype=torch.float64)
    pairs = RIPS.pairs(source)
    # i = 0: (1, 0) and (0, 2), cosine 0; i = 1: (0, 1) and (1, -1), cosine -1 / sqrt 2
    loss = deviating_perturbation(source, target, torch.tensor([4, 4]), pairs=pairs)
    close(loss, 1 + 0.5 / 2**0.5)


def test_related_endpoints_or_all():
    source = torch.tensor([[0.0, 1], [3, 3], [2, 3], [-5, 0]], dtype=torch.float64)
    target = torch.zeros(4, 2, dtype=torch.float64)
    labels = torch.tensor([0, 1, 0, 0])
    pairs = RIPS.pairs(source)
    pairs = pairs.select(torch.tensor([True, False, False]))  # (1, 2) alone
    assert pairs.death_edges.tolist() == [[1, 2]]
    close(deviating_perturbation(source, target, labels, pairs=pairs), 0.0)
    cosines = 3 / 13**0.5, -2 / 13**0.5  # of sample 2 with samples 0 and 3
    expected = 1 - sum(cosines) / 2
    close(deviating_perturbation(source, target, labels, pairs=pairs, related="all"), expected)


def test_match_norms_rescales_the_source_to_the_target():
    source = torch.tensor([[2.0, 0], [0, 3]], dtype=torch.float64)
    target = torch.tensor([[0.0, 1], [1, 0]], dtype=torch.float64)
    labels, pairs = torch.zeros(2, dtype=torch.int64), RIPS.pairs(source)
    # at length 1: i = 0: (1, -1) and (0, 0); i = 1: (-1, 1) and (0, 0)
    close(deviating_perturbation(source, target, labels, pairs=pairs, match_norms=True), 1.0)
    # i = 0: (2, -1) and (0, 2); i = 1: (-1, 3) and (1, 0)
    expected = 1 + (2 / (2 * 5**0.5) + 1 / 10**0.5) / 2
    close(deviating_perturbation(source, target, labels, pairs=pairs), expected)


def test_eps_is_a_length_and_an_offset_as_long_as_it_has_no_direction():
    source = torch.tensor([[2.0], [3.0]], dtype=torch.float64)
    target = torch.zeros(2, 1, dtype=torch.float64)
    labels, pairs = torch.zeros(2, dtype=torch.int64), RIPS.pairs(source)
    close(deviating_perturbation(source, target, labels, pairs=pairs), 0.0)
    close(deviating_perturbation(source, target, labels, pairs=pairs, eps=1.99), 0.0)
    close(deviating_perturbation(source, target, labels, pairs=pairs, eps=2.0), 1.0)


def test_match_norms_leaves_rows_no_longer_than_eps():
    source = torch.tensor([[0.5, 0], [0, 3], [1, 1]], dtype=torch.float64)
    target = gaussian(0, 3, 2)
    labels, pairs = torch.zeros(3, dtype=torch.int64), RIPS.pairs(source)
    options = {"match_norms": True, "eps": 0.5}
    loss = deviating_perturbation(source, target, labels, pairs=pairs, **options)
    close(loss, oracles.deviating_perturbation(source, target, labels, pairs, **options))


def test_match_norms_with_zero_targets_is_finite():
    source, labels = gaussian(0, 4, 3), classes(4)
    pairs = RIPS.pairs(source)
    harmless(
        lambda s, t: deviating_perturbation(s, t, labels, pairs=pairs, match_norms=True),
        source,
        torch.zeros(4, 3, dtype=torch.float64),
        expected=1.0,
    )


@every_option
@fewer_examples
@given(labelled_views(min_size=1, classes=6), st.data())
def test_undefined_zero_equals_the_literal_loop(options, drawn, data):
    source, target, labels = drawn
    pairs = RIPS.pairs(source)
    kept = data.draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    pairs = pairs.select(torch.tensor(kept, dtype=torch.bool))
    options = options | {"undefined": "zero"}
    expected = oracles.deviating_perturbation(source, target, labels, pairs, **options)
    for loss in both_ways(source, target, labels, pairs=pairs, **options):
        close(loss, expected)
    close(DeviatingPerturbation(**options)(source, target, labels, pairs=pairs), expected)


def test_undefined_zero_counts_every_end_point():
    source, target = gaussian(0, 2, 6, 3)
    labels = torch.tensor([0, 0, 0, 1, 2, 3])
    pairs = RIPS.pairs(source)
    skip = deviating_perturbation(source, target, labels, pairs=pairs)
    zero = deviating_perturbation(source, target, labels, pairs=pairs, undefined="zero")
    assert_close(6 * zero, 3 * skip)
    lonely = torch.arange(6)
    harmless(
        lambda s, t: deviating_perturbation(s, t, lonely, pairs=pairs, undefined="zero"),
        source,
        target,
    )


def test_undefined_zero_over_clouds():
    sizes = (5, 0, 1, 4)
    source, target = ([gaussian(n + k, n, 3) for n in sizes] for k in (0, 50))
    labels = [torch.arange(n) // 2 for n in sizes]
    pairs = RIPS.pairs(source)
    options = {"undefined": "zero", "related": "all"}
    parts = list(zip(source, target, labels, pairs.split(), strict=True))
    each = torch.tensor(
        [oracles.deviating_perturbation(*part, **options) for part in parts], dtype=torch.float64
    )
    none = deviating_perturbation(source, target, labels, pairs=pairs, reduction="none", **options)
    assert_close(none, each, **TIGHT)
    mean = deviating_perturbation(source, target, labels, pairs=pairs, **options)
    close(mean, math.fsum(each.tolist()) / 4)


# Several dimensions


@every_option
@pytest.mark.parametrize("undefined", ["skip", "zero"])
@fewer_examples
@given(labelled_views(min_size=4), SEEDS, st.integers(0, 5))
def test_end_points_of_dimension_1_are_those_of_births_and_deaths(
    undefined, options, drawn, seed, m
):
    source, target, labels = drawn
    pairs = random_pairs(seed, len(source), m)
    options = options | {"undefined": undefined}
    expected = oracles.deviating_perturbation(source, target, labels, pairs, **options)
    for loss in both_ways(source, target, labels, pairs=pairs, **options):
        close(loss, expected)


def test_a_vertex_that_gives_birth_is_not_an_end_point():
    source, target = gaussian(0, 2, 5, 3)
    births, deaths = torch.tensor([[4, 4], [0, 1]]), torch.tensor([[0, 2], [1, 3]])
    pairs = PersistencePairs(1, births, deaths, births[:0], (5,))
    assert pairs.vertices().tolist() == [0, 1, 2, 3]
    labels = torch.zeros(5, dtype=torch.int64)
    expected = oracles.deviating_perturbation(source, target, labels, pairs)
    for loss in both_ways(source, target, labels, pairs=pairs):
        close(loss, expected)


@every_option
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_several_dimensions_are_added(options, reduction):
    source, target = gaussian(7, 2, 3, 15, 2)
    labels = classes(45, 4).reshape(3, 15)
    options = options | {"reduction": reduction}
    parts = RIPS.all_pairs(source, 1)
    assert min(len(part) for part in parts[1].split()) > 0
    expected = sum(
        deviating_perturbation(source, target, labels, pairs=part, **options) for part in parts
    )
    both = {"dimensions": (0, 1)} | options
    assert_close(deviating_perturbation(source, target, labels, pairs=parts, **options), expected)
    assert_close(deviating_perturbation(source, target, labels, **both), expected)
    assert_close(DeviatingPerturbation(**both)(source, target, labels), expected)
    assert_close(DeviatingPerturbation(**options)(source, target, labels, pairs=parts), expected)


# Theorems


@every_option
@fewer_examples
@given(labelled_views(), SEEDS, st.floats(0.1, 10))
def test_unchanged_by_a_common_rotation_and_scaling(options, drawn, seed, scale):
    source, target, labels = drawn
    pairs, turn = RIPS.pairs(source), scale * rotation(seed, source.shape[1])
    rotation_invariant(
        lambda s, t: deviating_perturbation(s, t, labels, pairs=pairs, **options),
        (source, target),
        (source @ turn, target @ turn),
    )


@pytest.mark.parametrize("related", ["endpoints", "all"])
@given(labelled_views(), SEEDS)
def test_unchanged_by_a_common_translation(related, drawn, seed):
    source, target, labels = drawn
    pairs, shift = RIPS.pairs(source), gaussian(seed, source.shape[1])
    rotation_invariant(
        lambda s, t: deviating_perturbation(s, t, labels, pairs=pairs, related=related),
        (source, target),
        (source + shift, target + shift),
    )


@every_option
@fewer_examples
@given(labelled_views(), SEEDS)
def test_unchanged_by_relabelling(options, drawn, seed):
    source, target, labels = drawn
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed))
    module = DeviatingPerturbation(**options)
    after = module(source[order], target[order], labels[order])
    assert_close(after, module(source, target, labels), **TIGHT)
    assert_close(module(source, target, 7 - 2 * labels), module(source, target, labels), **TIGHT)


@pytest.mark.parametrize("offset", [1e2, 1e3, 1e4])
@pytest.mark.parametrize("prototypes", [False, True])
def test_single_precision_far_from_the_origin(offset, prototypes):
    labels = classes(20, 3)
    source, target = gaussian(0, 2, 20, 16) + offset
    target = target[labels] if prototypes else target
    source, target = source.float(), target.float()
    pairs = RIPS.pairs(source)
    expected = deviating_perturbation(source.double(), target.double(), labels, pairs=pairs)
    for loss in both_ways(source, target, labels, pairs=pairs):
        assert_close(loss.double(), expected, rtol=0, atol=1e-4)


# Gradients


@every_option
@fewer_examples
@given(labelled_views(max_size=5))
def test_gradients_at_fixed_pairs(options, drawn):
    source, target, labels = drawn
    pairs = RIPS.pairs(source)
    gradients_are_right(
        lambda s, t: deviating_perturbation(s, t, labels, pairs=pairs, **options), source, target
    )


@pytest.mark.parametrize("cost", [0, math.inf])
@every_option
def test_second_gradients(options, cost):
    source, target = gaussian(0, 2, 5, 3)
    pairs = RIPS.pairs(source)
    with listed_at_cost(cost):
        gradients_are_right(
            lambda s, t: deviating_perturbation(s, t, classes(5), pairs=pairs, **options),
            source,
            target,
            second=True,
        )


@pytest.mark.parametrize("cost", [0, math.inf])
def test_eps_holds_for_either_offset_in_both_ways(cost):
    source = torch.tensor([[2.0], [3.0]], dtype=torch.float64)
    target = torch.tensor([[0.0], [2.5]], dtype=torch.float64)
    labels, pairs = torch.zeros(2, dtype=torch.int64), RIPS.pairs(source)
    # i = 0: offsets 2 and 3; i = 1: offsets 0.5 and -0.5
    with listed_at_cost(cost):
        for eps, expected in ((0.49, 1.0), (0.5, 0.5), (1.9, 0.5), (2.0, 1.0), (2.5, 1.0)):
            close(deviating_perturbation(source, target, labels, pairs=pairs, eps=eps), expected)
        far = torch.tensor([[0.0], [9.0]], dtype=torch.float64)  # i = 1: offsets -6 and -7
        for eps, expected in ((6.0, 1.0), (5.9, 0.5)):
            close(deviating_perturbation(source, far, labels, pairs=pairs, eps=eps), expected)
        source = torch.tensor([[3.0], [0.5]], dtype=torch.float64)
        far = torch.tensor([[0.0], [20.0]], dtype=torch.float64)  # i = 0: offsets 3 and 0.5
        for eps, expected in ((0.49, 0.0), (0.5, 0.5)):
            close(deviating_perturbation(source, far, labels, pairs=pairs, eps=eps), expected)


@every_option
def test_gradients_with_duplicates(options):
    source = gaussian(0, 3, 3)[[0, 0, 1, 2, 2]]
    target = gaussian(1, 2, 3)[classes(5)]
    pairs = RIPS.pairs(source)
    gradients_are_right(
        lambda s, t: deviating_perturbation(s, t, classes(5), pairs=pairs, **options),
        source,
        target,
    )


@pytest.mark.parametrize("cost", [0, math.inf])
@every_option
def test_gradients_where_offsets_vanish_are_finite(options, cost):
    source = gaussian(0, 4, 3).requires_grad_()
    target = source.detach().clone().requires_grad_()
    pairs = RIPS.pairs(source.detach())
    with listed_at_cost(cost):
        loss = deviating_perturbation(source, target, classes(4), pairs=pairs, **options)
    first = torch.autograd.grad(loss, (source, target), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), (source, target))
    assert all(bool(g.isfinite().all()) for g in (*first, *second))


@pytest.mark.parametrize(
    ("width", "k", "way"),
    [(300, 2, "dense"), (300, 20, "listed"), (3, 2, "listed"), (30, 1, "dense")],
)
def test_few_relatives_or_narrow_rows_are_listed(width, k, way, monkeypatch):
    called = []
    for name in ("listed", "dense"):
        own = getattr(MODULE, f"_{name}_cosines")

        def spy(*args, own=own, name=name):
            called.append(name)
            return own(*args)

        monkeypatch.setattr(MODULE, f"_{name}_cosines", spy)
    source, target = gaussian(0, 2, 40, width)
    deviating_perturbation(source, target, classes(40, k), pairs=RIPS.pairs(source))
    assert called == [way]


# Degenerate clouds


@every_option
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (0, 3, 2), (2, 0, 3), (2, 1, 3)])
def test_without_a_pair_the_loss_is_a_zero_with_gradient_zero(shape, reduction, options):
    points = torch.ones(shape)
    labels = torch.zeros(shape[:-1], dtype=torch.int64)
    pairs = RIPS.pairs(points)
    options = options | {"reduction": reduction}
    harmless(
        lambda s, t: deviating_perturbation(s, t, labels, pairs=pairs, **options), points, points
    )
    module = DeviatingPerturbation(**options)
    harmless(lambda s, t: module(s, t, labels), points, points)


@every_option
def test_all_points_equal(options):
    points, labels = torch.ones(5, 3), classes(5)
    module = DeviatingPerturbation(**options)
    harmless(lambda s, t: module(s, t, labels), points, points, expected=1.0)
    zeros = torch.zeros(5, 3)
    harmless(lambda s, t: module(s, t, labels), zeros, zeros, expected=1.0)


@every_option
def test_all_points_equal_away_from_the_target(options):
    points, labels = torch.ones(5, 3), classes(5)
    target = torch.tensor([1.0, 2, -4]).repeat(5, 1)
    module = DeviatingPerturbation(**options)
    assert_close(module(points, target, labels), torch.tensor(0.0), rtol=0, atol=1e-6)


@every_option
def test_no_sample_has_a_relative(options):
    points = gaussian(0, 5, 3)
    module = DeviatingPerturbation(**options)
    harmless(lambda s, t: module(s, t, torch.arange(5)), points, points.flip(0))


# Batches and reductions


@every_option
def test_none_gives_the_loss_of_each_cloud_and_mean_their_mean(options):
    sizes = (5, 0, 1, 7, 2, 3)
    source = [gaussian(n, n, 3) for n in sizes]
    target = [gaussian(n + 50, n, 3) for n in sizes]
    labels = [classes(n) for n in sizes[:-1]] + [torch.arange(3)]
    pairs = RIPS.pairs(source)
    parts = list(zip(source, target, labels, pairs.split(), strict=True))
    each = [oracles.deviating_perturbation(*part, **options) for part in parts]
    none = deviating_perturbation(source, target, labels, pairs=pairs, reduction="none", **options)
    assert_close(none, torch.tensor(each, dtype=torch.float64), **TIGHT)
    counts = [5, 0, 0, 7, 0, 0]  # samples with a relative
    assert [float(v) != 0 for v in none] == [bool(c) for c in counts]
    mean = deviating_perturbation(source, target, labels, pairs=pairs, **options)
    close(mean, math.fsum(each) / 6)
    total = deviating_perturbation(source, target, labels, pairs=pairs, reduction="sum", **options)
    close(total, math.fsum(each))
    gradients_are_right(
        lambda s: deviating_perturbation(
            list(s.split(sizes)), target, labels, pairs=pairs, reduction="none", **options
        ),
        torch.cat(source),
    )


def test_a_tensor_batch_equals_a_sequence():
    source, target = gaussian(0, 2, 4, 6, 3)
    labels = torch.arange(24).reshape(4, 6) % 5
    module = DeviatingPerturbation(reduction="none")
    expected = torch.stack(
        [DeviatingPerturbation()(*cloud) for cloud in zip(source, target, labels, strict=True)]
    )
    assert_close(module(source, target, labels), expected)
    assert_close(module(list(source), list(target), list(labels)), expected)
    assert_close(module(source, list(target), list(labels)), expected)


# Precision


@every_option
@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(half, options):
    source, target = gaussian(0, 2, 20, 6).to(half)
    module = DeviatingPerturbation(**options)
    loss = module(source, target, classes(20))
    assert loss.dtype == torch.float32
    assert_close(loss, module(source.float(), target.float(), classes(20)))
    leaf = source.clone().requires_grad_()
    module(leaf, target, classes(20)).backward()
    assert leaf.grad.dtype == half
    assert float(leaf.grad.abs().sum()) > 0


# The module


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@every_option
def test_function_and_module_agree(options, reduction):
    source, target = gaussian(0, 2, 3, 6, 3)
    labels = classes(18).reshape(3, 6)
    options = options | {"reduction": reduction, "eps": 0.9}
    module = DeviatingPerturbation(**options)
    pairs = RIPS.pairs(source)
    expected = deviating_perturbation(source, target, labels, pairs=pairs, **options)
    for actual in (
        module(source, target, labels),
        module(source, target, labels, pairs=pairs),
        module(source, target, labels, pairs=[pairs]),
        deviating_perturbation(source, target, labels, **options),
        module(target, target, labels, geometry=source)
        - module(target, target, labels, pairs=pairs)
        + expected,
    ):
        assert_close(actual, expected, rtol=0, atol=1e-12)


def test_geometry_and_filtration_give_the_pairs():
    source, target = gaussian(0, 2, 9, 3)
    geometry, labels = gaussian(1, 9, 5), classes(9)
    filtration = RipsFiltration(metric="cosine", max_edge_length=0.2)
    pairs = filtration.pairs(geometry)
    expected = deviating_perturbation(source, target, labels, pairs=pairs)
    module = DeviatingPerturbation(filtration=filtration)
    function = deviating_perturbation(
        source, target, labels, geometry=geometry, filtration=filtration
    )
    assert_close(function, expected)
    assert_close(module(source, target, labels, geometry=geometry), expected)
    assert float((expected - module(source, target, labels)).abs()) > 1e-3
    assert float((expected - DeviatingPerturbation()(source, target, labels)).abs()) > 1e-3


@pytest.mark.parametrize(
    "module",
    [
        DeviatingPerturbation(),
        DeviatingPerturbation(
            filtration=RipsFiltration(metric="manhattan"),
            dimensions=[0, 1],
            related="all",
            match_norms=True,
            undefined="zero",
            reduction="none",
            eps=1e-3,
        ),
    ],
)
def test_repr_round_trips(module):
    repr_round_trips(module)


@pytest.mark.parametrize("offset", [1e-2, 1e-3, 1e-4])
@pytest.mark.parametrize("width", [2, 8, 256])
def test_single_precision_close_to_common_prototypes(offset, width):
    labels = classes(64, 2)
    prototypes = (3 * gaussian(0, 2, width)).float()[labels]
    source = prototypes + (offset * gaussian(1, 64, width)).float()
    pairs = RIPS.pairs(source)
    expected = deviating_perturbation(source.double(), prototypes.double(), labels, pairs=pairs)
    for loss in both_ways(source, prototypes, labels, pairs=pairs):
        assert_close(loss.double(), expected, rtol=0, atol=1e-5)


def far_from_relatives(d):
    """Two views and pairs; the first target of the only label lies far from the others."""
    target = 1e-3 * gaussian(0, 60, d)
    target[0] += 100
    source = target + 1e-3 * gaussian(1, 60, d)
    return source, target, torch.zeros(60, dtype=torch.int64), RIPS.pairs(source)


def with_gradient(function, source, *others):
    """A loss and its gradient in the first argument, in double precision."""
    leaf = source.detach().requires_grad_()
    target, labels, pairs = others
    loss = function(leaf, target, labels, pairs=pairs, related="all")
    loss.backward()
    return loss.double(), leaf.grad.double()


@pytest.mark.parametrize("d", [8, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_targets_far_from_their_relatives(d, dtype):
    """What cancels in the products of matrices is measured by differences."""
    source, target, labels, pairs = far_from_relatives(d)
    views = source.to(dtype), target.to(dtype)
    with listed_at_cost(math.inf):
        dense = with_gradient(deviating_perturbation, *views, labels, pairs)
    with listed_at_cost(0):
        listed = with_gradient(deviating_perturbation, *(v.double() for v in views), labels, pairs)
    bound = 1e-3 if dtype == torch.float32 else 1e-9
    assert_close(dense, listed, rtol=bound, atol=10 * bound)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_targets_far_from_their_relatives(dtype):
    """A compiled program cannot look what was lost: it multiplies in double precision."""
    source, target, labels, pairs = far_from_relatives(8)
    views = source.to(dtype), target.to(dtype)
    torch._dynamo.reset()
    compiled = torch.compile(deviating_perturbation, backend="aot_eager", fullgraph=True)
    found = with_gradient(compiled, *views, labels, pairs)
    torch._dynamo.reset()
    with listed_at_cost(0):
        listed = with_gradient(deviating_perturbation, *(v.double() for v in views), labels, pairs)
    assert_close(found, listed, rtol=1e-4, atol=1e-3)
