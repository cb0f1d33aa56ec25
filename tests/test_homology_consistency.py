"""Homology consistency: equation 7."""

import itertools

import oracles
import pytest
import torch
from asserts import gradients_are_right, harmless, repr_round_trips, rotation_invariant
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, fewer_examples, gaussian, labelled_views, rotation
from test_pairs import of_dimension_1
from test_tracks import random_pairs
from torch.testing import assert_close

from topreg import (
    HomologyConsistency,
    RipsFiltration,
    deviating_perturbation,
    homology_consistency,
    track_coincidence,
)

RIPS = RipsFiltration()
OPTIONS = [
    dict(zip(("undefined", "related", "match_norms"), values, strict=True))
    for values in itertools.product(("skip", "zero"), ("endpoints", "all"), (False, True))
]


@pytest.mark.parametrize("options", OPTIONS)
@fewer_examples
@given(labelled_views(min_size=3), SEEDS, st.floats(-3, 3))
def test_equals_the_literal_loops(options, drawn, seed, weight):
    source, target, labels = drawn
    pairs = [RIPS.pairs(source), random_pairs(seed, len(source), 3)]
    pairs = pairs[:: (-1) ** (seed % 2)]  # dimension 0 may come in any place
    loss = homology_consistency(
        source, target, labels, pairs=pairs, perturbation_weight=weight, **options
    )
    expected = oracles.homology_consistency(
        source, target, labels, pairs, perturbation_weight=weight, **options
    )
    expected = torch.tensor(expected, dtype=torch.float64)
    assert_close(loss, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_is_the_weighted_sum_of_its_terms(options, reduction):
    source, target = gaussian(0, 2, 2, 4, 3)
    labels = torch.tensor([[0, 0, 1, 1], [2, 2, 2, 0]])
    pairs = [RIPS.pairs(source), of_dimension_1()]
    common = {"reduction": reduction, "eps": 0.7, "undefined": options["undefined"]}
    coincidence = track_coincidence(source, target, pairs=pairs, orientation="aligned", **common)
    own = {name: options[name] for name in ("related", "match_norms")}
    perturbation = deviating_perturbation(source, target, labels, pairs=pairs[0], **own, **common)
    module = HomologyConsistency(perturbation_weight=1.7, orientation="aligned", **own, **common)
    terms = module.terms(source, target, labels, pairs=pairs)
    assert_close(terms.track_coincidence, coincidence, rtol=0, atol=0)
    assert_close(terms.deviating_perturbation, perturbation, rtol=0, atol=0)
    total = module(source, target, labels, pairs=pairs)
    assert_close(total, coincidence + 1.7 * perturbation)
    function = homology_consistency(
        source,
        target,
        labels,
        pairs=pairs,
        perturbation_weight=1.7,
        orientation="aligned",
        **own,
        **common,
    )
    assert_close(function, total, rtol=0, atol=0)


@given(labelled_views())
def test_the_module_finds_pairs_in_source(drawn):
    source, target, labels = drawn
    module = HomologyConsistency(perturbation_weight=0.3)
    pairs = RIPS.pairs(source)
    expected = homology_consistency(source, target, labels, pairs=pairs, perturbation_weight=0.3)
    assert_close(module(source, target, labels), expected, rtol=0, atol=0)
    assert_close(module(source, target, labels, pairs=pairs), expected, rtol=0, atol=0)
    assert_close(module(source, target, labels, pairs=[pairs]), expected, rtol=0, atol=0)


def test_geometry_and_filtration_give_the_pairs():
    source, target = gaussian(0, 2, 9, 3)
    geometry, labels = gaussian(1, 9, 5), torch.arange(9) % 2
    filtration = RipsFiltration(metric="cosine", max_edge_length=0.2)
    module = HomologyConsistency(filtration=filtration, perturbation_weight=2.0)
    expected = homology_consistency(
        source, target, labels, pairs=filtration.all_pairs(geometry, 0), perturbation_weight=2.0
    )
    function = homology_consistency(
        source,
        target,
        labels,
        geometry=geometry,
        filtration=filtration,
        perturbation_weight=2.0,
    )
    assert_close(function, expected)
    assert_close(module(source, target, labels, geometry=geometry), expected)
    assert float((expected - module(source, target, labels)).abs()) > 1e-3
    plain = HomologyConsistency(perturbation_weight=2.0)(source, target, labels)
    assert float((expected - plain).abs()) > 1e-3


def test_flips_are_decided_in_source():
    source, target, geometry = gaussian(3, 3, 2, 4, 3)
    labels = torch.arange(8).reshape(2, 4) % 2
    pairs = [RIPS.pairs(source), of_dimension_1()]
    module = HomologyConsistency(perturbation_weight=0.0, orientation="aligned")
    expected = module(source, target, labels, pairs=pairs)
    for where in (source, target, geometry):
        loss = module(source, target, labels, pairs=pairs, geometry=where)
        assert_close(loss, expected, rtol=0, atol=0)
    assert float((module(target, source, labels, pairs=pairs) - expected).abs()) > 1e-3


def test_several_dimensions_are_found_and_the_perturbation_is_of_dimension_0():
    source, target = gaussian(0, 2, 3, 9, 2)
    labels = torch.arange(27).reshape(3, 9) % 4
    zero, one = RIPS.all_pairs(source, 1)
    coincidence = sum(track_coincidence(source, target, pairs=part) for part in (zero, one))
    expected = coincidence + 0.5 * deviating_perturbation(source, target, labels, pairs=zero)
    for dimensions in ((0, 1), (1, 0)):
        module = HomologyConsistency(dimensions=dimensions, perturbation_weight=0.5)
        assert_close(module(source, target, labels), expected)
        assert_close(module(source, target, labels, pairs=[one, zero]), expected)


def test_the_perturbation_weight_is_linear_and_zero_leaves_the_coincidence():
    source, target = gaussian(0, 2, 7, 3)
    labels, pairs = torch.arange(7) % 2, [RIPS.pairs(source)]
    zero, one, three = (
        homology_consistency(source, target, labels, pairs=pairs, perturbation_weight=w)
        for w in (0.0, 1.0, 3.0)
    )
    assert_close(zero, track_coincidence(source, target, pairs=pairs), rtol=0, atol=0)
    assert_close(three - zero, 3 * (one - zero))
    assert float((one - zero).abs()) > 0.1


@given(labelled_views(), SEEDS, st.floats(0.1, 10))
def test_unchanged_by_a_common_rotation_translation_and_scaling(drawn, seed, scale):
    source, target, labels = drawn
    module = HomologyConsistency(perturbation_weight=0.5)
    d = source.shape[1]
    turn, shift = scale * rotation(seed, d), gaussian(seed, d)
    rotation_invariant(
        lambda s, t: module(s, t, labels),
        (source, target),
        (source @ turn + shift, target @ turn + shift),
    )


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("repeated", [False, True])
def test_gradients_at_fixed_pairs(options, repeated):
    source, target = gaussian(0, 2, 6, 3)
    target = target[torch.arange(6) % 2]
    source = source[[0, 0, 1, 2, 3, 3]] if repeated else source
    pairs = [RIPS.pairs(source).select(torch.arange(5) > 1), random_pairs(3, 6, 2)]

    def loss(s, t):
        return homology_consistency(
            s, t, torch.arange(6) % 2, pairs=pairs, perturbation_weight=0.5, **options
        )

    if repeated:
        gradients_are_right(lambda s: loss(s, gaussian(1, 6, 3)), source)
    else:
        gradients_are_right(loss, source, gaussian(1, 6, 3), second=True)


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (0, 3, 2), (2, 1, 3)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_without_a_pair_the_loss_is_a_zero_with_gradient_zero(shape, reduction):
    points, labels = torch.ones(shape), torch.zeros(shape[:-1], dtype=torch.int64)
    module = HomologyConsistency(perturbation_weight=0.5, reduction=reduction)
    harmless(lambda s, t: module(s, t, labels), points, points)


@pytest.mark.parametrize(("undefined", "expected"), [("skip", 0.5), ("zero", 1.5)])
def test_all_points_equal(undefined, expected):
    points, labels = torch.ones(5, 3), torch.arange(5) % 2
    module = HomologyConsistency(perturbation_weight=0.5, undefined=undefined)
    harmless(lambda s, t: module(s, t, labels), points, points, expected=expected)


ROWS = gaussian(0, 2, 4, 3)


@pytest.mark.parametrize(
    ("points", "clouds"),
    [
        (ROWS[0], 1),
        (ROWS[:1], 1),
        (ROWS, 2),
        (ROWS[:0], 0),
        ([ROWS[0]], 1),
        ([ROWS[0], ROWS[1, :1], ROWS[1]], 3),
    ],
)
def test_mean_and_sum_are_those_of_one_value_per_cloud(points, clouds):
    if isinstance(points, list):
        target, labels = [p.flip(1) for p in points], [torch.arange(len(p)) % 2 for p in points]
    else:
        target, labels = points.flip(-1), torch.arange(points[..., 0].numel()) % 2
        labels = labels.reshape(points.shape[:-1])
    for loss in (
        lambda how: track_coincidence(points, target, reduction=how),
        lambda how: deviating_perturbation(points, target, labels, reduction=how),
        lambda how: homology_consistency(
            points, target, labels, perturbation_weight=0.5, reduction=how
        ),
    ):
        each = loss("none")
        assert each.shape == (clouds,)
        assert_close(loss("sum"), each.sum())
        assert_close(loss("mean"), each.mean() if clouds else each.sum())


def test_batches_equal_their_clouds():
    sizes = (5, 0, 1, 7)
    clouds = [(gaussian(n, n, 3), gaussian(n + 9, n, 3), torch.arange(n) % 2) for n in sizes]
    source, target, labels = (list(parts) for parts in zip(*clouds, strict=True))
    module = HomologyConsistency(perturbation_weight=0.5)
    each = HomologyConsistency(perturbation_weight=0.5, reduction="none")(source, target, labels)
    assert_close(each, torch.stack([module(*cloud) for cloud in clouds]))
    assert_close(module(source, target, labels), each.mean())


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(half):
    source, target = gaussian(0, 2, 20, 6).to(half)
    labels = torch.arange(20) % 3
    module = HomologyConsistency(perturbation_weight=0.5)
    loss = module(source, target, labels)
    assert loss.dtype == torch.float32
    assert_close(loss, module(source.float(), target.float(), labels))


@pytest.mark.parametrize(
    "module",
    [
        HomologyConsistency(perturbation_weight=2.5),
        HomologyConsistency(
            filtration=RipsFiltration(metric="cosine"),
            dimensions=(0, 1),
            perturbation_weight=-1.0,
            orientation="aligned",
            undefined="zero",
            related="all",
            match_norms=True,
            reduction="none",
            eps=1e-4,
        ),
    ],
)
def test_repr_round_trips(module):
    repr_round_trips(module)
