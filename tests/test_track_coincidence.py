"""Track coincidence: equation 5."""

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
    collinear_clouds,
    distinct_clouds,
    fewer_examples,
    gaussian,
    labelled_views,
    paired_views,
    repeated_clouds,
    rotation,
)
from test_pairs import of_dimension_1
from test_tracks import random_pairs
from torch.testing import assert_close

from topreg import (
    Filtration,
    PersistencePairs,
    RipsFiltration,
    TrackCoincidence,
    deviating_perturbation,
    pairwise_distances,
    track_coincidence,
)

RIPS = RipsFiltration()
UNDEFINED = ("skip", "zero")
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def close(loss, expected):
    """Within 1e-10 in float64."""
    assert loss.dtype == torch.float64
    assert_close(loss, torch.tensor(expected, dtype=torch.float64), **TIGHT)


# The equation


@pytest.mark.parametrize("undefined", UNDEFINED)
@given(labelled_views())
def test_equals_the_literal_loop(undefined, drawn):
    source, target, _ = drawn
    pairs = RIPS.pairs(source)
    loss = track_coincidence(source, target, pairs=pairs, undefined=undefined)
    close(loss, oracles.track_coincidence(source, target, pairs, undefined=undefined))
    in_loss_range(loss)


@pytest.mark.parametrize("undefined", UNDEFINED)
@given(repeated_clouds(max_width=4), SEEDS, st.booleans())
def test_equals_the_literal_loop_with_undirected_tracks(undefined, drawn, seed, swap):
    source, _ = drawn
    target = gaussian(seed, *source.shape)
    if swap:
        source, target = target, source
    pairs = RIPS.pairs(gaussian(seed + 1, *source.shape))
    loss = track_coincidence(source, target, pairs=pairs, undefined=undefined)
    close(loss, oracles.track_coincidence(source, target, pairs, undefined=undefined))


@pytest.mark.parametrize("undefined", UNDEFINED)
@given(SEEDS, st.integers(3, 8), st.integers(0, 6))
def test_equals_the_literal_loop_in_dimension_1(undefined, seed, n, m):
    source, target = gaussian(seed, 2, n, 3)
    pairs = random_pairs(seed, n, m)  # a class whose edges are equal has no direction
    loss = track_coincidence(source, target, pairs=pairs, undefined=undefined)
    close(loss, oracles.track_coincidence(source, target, pairs, undefined=undefined))


def test_undirected_tracks_are_skipped_or_count_as_zero():
    source = torch.tensor([[0.0, 0], [1, 0], [1, 2]], dtype=torch.float64)
    target = torch.tensor([[0.0, 0], [2, 0], [2, 0]], dtype=torch.float64)
    pairs = RIPS.pairs(source)
    close(track_coincidence(source, target, pairs=pairs), 0.0)
    close(track_coincidence(source, target, pairs=pairs, undefined="zero"), 0.5)
    close(track_coincidence(target, source, pairs=pairs, undefined="zero"), 0.5)


@pytest.mark.parametrize("swap", [False, True])
def test_eps_is_a_length_and_a_track_as_long_as_it_is_undirected(swap):
    source = torch.tensor([[0.0], [3.0], [-1.0]], dtype=torch.float64)
    target = torch.tensor([[0.0], [0.5], [4.0]], dtype=torch.float64)  # cosines +1 and -1
    views = (target, source) if swap else (source, target)
    pairs = RIPS.pairs(source)
    close(track_coincidence(*views, pairs=pairs), 1.0)
    close(track_coincidence(*views, pairs=pairs, eps=0.5), 2.0)
    close(track_coincidence(*views, pairs=pairs, eps=0.49), 1.0)
    close(track_coincidence(*views, pairs=pairs, eps=0.5, undefined="zero"), 1.5)


def test_short_tracks_keep_their_direction():
    source = gaussian(0, 9, 3, dtype=torch.float32)
    pairs = RIPS.pairs(source)
    expected = track_coincidence(source, source.flip(1), pairs=pairs)
    assert_close(track_coincidence(1e-6 * source, source.flip(1), pairs=pairs), expected)


# Theorems


@given(paired_views())
def test_depends_on_the_rotation_alone(drawn):
    source, target, _, turn = drawn
    pairs = RIPS.pairs(source)
    loss = track_coincidence(source, target, pairs=pairs)
    i, j = pairs.death_edges.T
    tracks = source[j] - source[i]
    cosines = ((tracks @ turn) * tracks).sum(1) / tracks.square().sum(1)
    close(loss, 1 - float(cosines.mean()))


@given(distinct_clouds(), st.floats(0.1, 10), SEEDS)
def test_zero_for_parallel_tracks_two_for_opposite_ones(source, scale, seed):
    pairs, shift = RIPS.pairs(source), gaussian(seed, source.shape[1])
    close(track_coincidence(source, scale * source + shift, pairs=pairs), 0.0)
    close(track_coincidence(source, -scale * source + shift, pairs=pairs), 2.0)


@given(labelled_views(), SEEDS, st.floats(0.1, 10), st.floats(0.1, 10))
def test_unchanged_by_one_rotation_and_separate_translations_and_scalings(drawn, seed, a, b):
    source, target, _ = drawn
    pairs = RIPS.pairs(source)
    d = source.shape[1]
    turn, shifts = rotation(seed, d), gaussian(seed, 2, d)
    moved = a * source @ turn + shifts[0], b * target @ turn + shifts[1]
    rotation_invariant(lambda s, t: track_coincidence(s, t, pairs=pairs), (source, target), moved)


def test_changed_by_rotating_one_space_only():
    source, target = gaussian(0, 2, 8, 2)
    pairs = RIPS.pairs(source)
    quarter = torch.tensor([[0.0, 1], [-1, 0]], dtype=torch.float64)
    before = track_coincidence(source, target, pairs=pairs)
    after = track_coincidence(source, target @ quarter, pairs=pairs)
    assert float((before - after).abs()) > 0.1


@given(labelled_views(min_size=3), SEEDS)
def test_unchanged_by_relabelling(drawn, seed):
    source, target, _ = drawn
    order = torch.randperm(len(source), generator=torch.Generator().manual_seed(seed))
    module = TrackCoincidence()
    assert_close(module(source[order], target[order]), module(source, target), **TIGHT)


@given(collinear_clouds())
def test_points_on_one_line_in_both_spaces(drawn):
    source, _ = drawn
    pairs = RIPS.pairs(source)
    close(track_coincidence(source, 2 * source, pairs=pairs), 0.0)


def test_symmetric_in_the_two_views():
    source, target = gaussian(0, 2, 9, 4)
    pairs = RIPS.pairs(source)
    assert_close(
        track_coincidence(source, target, pairs=pairs),
        track_coincidence(target, source, pairs=pairs),
    )


# Orientation


def test_in_dimension_0_orientation_does_not_matter():
    source, target = gaussian(0, 2, 9, 4)
    pairs = RIPS.pairs(source)
    index = track_coincidence(source, target, pairs=pairs)
    assert_close(track_coincidence(source, target, pairs=pairs, orientation="aligned"), index)


def relabelled(pairs, order):
    """The same classes after the rows were taken in another order."""
    new = order.argsort()
    return PersistencePairs(
        pairs.dimension,
        new[pairs.birth_edges].sort(1).values,
        new[pairs.death_edges].sort(1).values,
        pairs.essential_edges,
        pairs.cloud_sizes,
    )


def test_relabelling_changes_the_indexed_loss_but_not_the_aligned_one():
    source, target = gaussian(1, 2, 4, 3)
    pairs = of_dimension_1().split()[0]
    losses = {"index": set(), "aligned": set()}
    for order in itertools.permutations(range(4)):
        rows = torch.tensor(order)
        for orientation, seen in losses.items():
            loss = track_coincidence(
                source[rows], target[rows], pairs=relabelled(pairs, rows), orientation=orientation
            )
            seen.add(round(float(loss), 10))
    assert len(losses["index"]) > 1
    assert len(losses["aligned"]) == 1


@given(SEEDS, SEEDS)
def test_the_aligned_loss_survives_relabelling(seed, order_seed):
    source, target = gaussian(seed, 2, 7, 3)
    pairs = random_pairs(seed, 7, 5)
    rows = torch.randperm(7, generator=torch.Generator().manual_seed(order_seed))
    before = track_coincidence(source, target, pairs=pairs, orientation="aligned")
    after = track_coincidence(
        source[rows], target[rows], pairs=relabelled(pairs, rows), orientation="aligned"
    )
    assert_close(after, before, **TIGHT)


def test_flips_decided_in_source_apply_to_both():
    pairs = of_dimension_1().split()[0]  # birth (2, 3), death (0, 2)
    source = torch.tensor([[0.0, 0], [9, 9], [1.5, 1], [0, 1]])  # birth (-1.5, 0), death (1.5, 1)
    target = torch.tensor([[0.0, 0], [9, 9], [1, 0], [1, 1]])  # birth (0, 1), death (1, 0)
    # flipped in both: source (0, -1), target (-1, -1); flipped in source alone: target (1, -1)
    source_track, target_track = torch.tensor([0.0, -1]), torch.tensor([-1.0, -1])
    cosine = float(source_track @ target_track) / 2**0.5
    loss = track_coincidence(source, target, pairs=pairs, orientation="aligned")
    assert_close(loss, torch.tensor(1 - cosine))
    # in the target, whose edges are orthogonal, nothing would be flipped: geometry has no say
    module = TrackCoincidence(orientation="aligned")
    assert_close(module(source, target, pairs=pairs, geometry=target), loss)
    assert_close(module(source, target, pairs=pairs), loss)
    swapped = track_coincidence(target, source, pairs=pairs, orientation="aligned")
    assert_close(swapped, track_coincidence(target, source, pairs=pairs))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_flips_do_not_change_the_dtype_of_the_loss(dtype):
    source, target = gaussian(0, 2, 2, 4, 3, dtype=dtype)
    module = TrackCoincidence(orientation="aligned")
    assert module(source, target, pairs=of_dimension_1()).dtype == torch.float32


# Gradients


@pytest.mark.parametrize("undefined", UNDEFINED)
@fewer_examples
@given(labelled_views(max_size=6))
def test_gradients_at_fixed_pairs(undefined, drawn):
    source, target, _ = drawn
    pairs = RIPS.pairs(source)
    gradients_are_right(
        lambda s, t: track_coincidence(s, t, pairs=pairs, undefined=undefined), source, target
    )


def test_second_gradients_and_dimension_1():
    source, target = gaussian(0, 2, 2, 4, 3)
    for orientation in ("index", "aligned"):
        gradients_are_right(
            lambda s, t, o=orientation: track_coincidence(
                s, t, pairs=of_dimension_1(), orientation=o
            ),
            source,
            target,
            second=True,
        )


@pytest.mark.parametrize("undefined", UNDEFINED)
def test_gradients_at_duplicates_are_those_of_the_other_classes(undefined):
    source = gaussian(0, 4, 3)[[0, 0, 1, 2, 3]]
    target = gaussian(1, 5, 3)
    pairs = RIPS.pairs(source)
    leaves = source.clone().requires_grad_(), target.clone().requires_grad_()
    track_coincidence(*leaves, pairs=pairs, undefined=undefined).backward(retain_graph=True)
    others = pairs.select(torch.arange(4) > 0)
    expected = source.clone().requires_grad_(), target.clone().requires_grad_()
    share = 1 if undefined == "skip" else 3 / 4
    (share * track_coincidence(*expected, pairs=others)).backward()
    for leaf, other in zip(leaves, expected, strict=True):
        assert_close(leaf.grad, other.grad)
    gradients_are_right(
        lambda t: track_coincidence(source, t, pairs=pairs, undefined=undefined), target
    )


def test_second_derivatives_at_duplicates_are_finite():
    source = gaussian(0, 4, 3)[[0, 0, 1, 2, 3]].requires_grad_()
    target = gaussian(1, 5, 3).requires_grad_()
    loss = track_coincidence(source, target, pairs=RIPS.pairs(source))
    first = torch.autograd.grad(loss, (source, target), create_graph=True)
    second = torch.autograd.grad(sum(g.square().sum() for g in first), (source, target))
    assert all(bool(g.isfinite().all()) for g in (*first, *second))


# Degenerate clouds


@pytest.mark.parametrize("undefined", UNDEFINED)
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (0, 3, 2), (2, 0, 3), (2, 1, 3)])
def test_without_a_pair_the_loss_is_a_zero_with_gradient_zero(shape, undefined):
    points = torch.ones(shape)
    pairs = RIPS.pairs(points)
    for reduction in ("mean", "sum", "none"):
        harmless(
            lambda s, t, r=reduction: track_coincidence(
                s, t, pairs=pairs, undefined=undefined, reduction=r
            ),
            points,
            points,
        )
    module = TrackCoincidence(undefined=undefined)
    harmless(module, points, points)


@pytest.mark.parametrize(("undefined", "expected"), [("skip", 0.0), ("zero", 1.0)])
def test_all_points_equal(undefined, expected):
    points, others = torch.ones(5, 3), gaussian(0, 5, 3, dtype=torch.float32)
    module = TrackCoincidence(undefined=undefined)
    harmless(module, points, points, expected=expected)
    harmless(module, points, others, expected=expected)
    harmless(module, others, points, expected=expected)


def test_pairs_all_selected_away():
    points = gaussian(0, 5, 3)
    none = RIPS.pairs(points).select(torch.zeros(4, dtype=torch.bool))
    for undefined in UNDEFINED:
        harmless(
            lambda s, u=undefined: track_coincidence(s, points.flip(0), pairs=none, undefined=u),
            points,
        )


# Batches and reductions


@pytest.mark.parametrize("undefined", UNDEFINED)
def test_none_gives_the_loss_of_each_cloud_and_mean_their_mean(undefined):
    sizes = (5, 0, 1, 7, 2)
    source = [gaussian(n, n, 3) for n in sizes]
    source[3][1] = source[3][0]
    target = [gaussian(n + 50, n, 3) for n in sizes]
    pairs = RIPS.pairs(source)
    parts = list(zip(source, target, pairs.split(), strict=True))
    each = [oracles.track_coincidence(*part, undefined=undefined) for part in parts]
    options = {"undefined": undefined}
    none = track_coincidence(source, target, pairs=pairs, reduction="none", **options)
    assert_close(none, torch.tensor(each, dtype=torch.float64), **TIGHT)
    close(track_coincidence(source, target, pairs=pairs, **options), math.fsum(each) / len(sizes))
    total = track_coincidence(source, target, pairs=pairs, reduction="sum", **options)
    close(total, math.fsum(each))
    gradients_are_right(
        lambda s: track_coincidence(
            list(s.split(sizes)), target, pairs=pairs, reduction="none", **options
        ),
        torch.cat([*source[:3], gaussian(7, 7, 3), *source[4:]]),
    )


def test_a_tensor_batch_equals_a_sequence():
    source, target = gaussian(0, 2, 4, 6, 3)
    module = TrackCoincidence(reduction="none")
    expected = torch.stack([TrackCoincidence()(s, t) for s, t in zip(source, target, strict=True)])
    assert_close(module(source, target), expected)
    assert_close(module(list(source), list(target)), expected)
    assert_close(module(source, list(target)), expected)


# Precision


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(half):
    source, target = gaussian(0, 2, 20, 6).to(half)
    loss = TrackCoincidence()(source, target)
    assert loss.dtype == torch.float32
    assert_close(loss, TrackCoincidence()(source.float(), target.float()))
    leaf = source.clone().requires_grad_()
    TrackCoincidence()(leaf, target).backward()
    assert leaf.grad.dtype == half
    assert float(leaf.grad.abs().sum()) > 0


def test_single_precision_is_close_to_double():
    source, target = gaussian(0, 2, 30, 64)
    pairs = RIPS.pairs(source)
    single = track_coincidence(source.float(), target.float(), pairs=pairs)
    assert_close(
        single.double(), track_coincidence(source, target, pairs=pairs), rtol=1e-6, atol=1e-6
    )


# The module


@given(labelled_views())
def test_the_module_finds_pairs_in_source(drawn):
    source, target, _ = drawn
    expected = track_coincidence(source, target, pairs=RIPS.pairs(source))
    assert_close(TrackCoincidence()(source, target), expected, rtol=0, atol=0)


@pytest.mark.parametrize("undefined", UNDEFINED)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("orientation", ["index", "aligned"])
def test_function_and_module_agree(undefined, reduction, orientation):
    source, target = gaussian(0, 2, 2, 4, 3)
    options = {
        "undefined": undefined,
        "reduction": reduction,
        "orientation": orientation,
        "eps": 0.8,
    }
    module = TrackCoincidence(**options)
    for pairs in (of_dimension_1(), RIPS.pairs(source)):
        expected = track_coincidence(source, target, pairs=pairs, **options)
        assert_close(module(source, target, pairs=pairs), expected, rtol=0, atol=0)
        assert_close(module(source, target, pairs=[pairs]), expected, rtol=0, atol=0)
    found = track_coincidence(source, target, **options)
    assert_close(found, expected, rtol=0, atol=0)  # the last pairs are those of the source
    assert_close(module(source, target), found, rtol=0, atol=0)


def test_geometry_gives_the_pairs():
    source, target = gaussian(0, 2, 8, 3)
    geometry = gaussian(1, 8, 5)
    expected = track_coincidence(source, target, pairs=RIPS.pairs(geometry))
    assert_close(TrackCoincidence()(source, target, geometry=geometry), expected)
    assert_close(track_coincidence(source, target, geometry=geometry), expected)
    assert float((expected - TrackCoincidence()(source, target)).abs()) > 1e-3
    indices = torch.zeros(8, 3, dtype=torch.float64)
    assert_close(TrackCoincidence()(indices, target, geometry=geometry), indices.sum())


def test_the_filtration_is_used():
    source, target = gaussian(0, 2, 9, 3)
    filtration = RipsFiltration(metric="cosine", max_edge_length=0.3)
    expected = track_coincidence(source, target, pairs=filtration.pairs(source))
    assert_close(TrackCoincidence(filtration=filtration)(source, target), expected)
    assert_close(track_coincidence(source, target, filtration=filtration), expected)
    assert float((expected - TrackCoincidence()(source, target)).abs()) > 1e-3


def test_a_filtration_of_ones_own_is_asked_for_each_dimension():
    class Star(Filtration):
        def pairs(self, data, dimension=0):
            ends = torch.tensor([[0, 1], [0, 2]])
            return PersistencePairs(dimension, ends, ends + dimension, ends[:0], (len(data),))

        def diagram(self, pairs, data):
            return RIPS.diagram(pairs, data)

    source, target = gaussian(0, 2, 4, 3)
    parts = [Star().pairs(source, dimension) for dimension in (0, 1)]
    expected = sum(track_coincidence(source, target, pairs=part) for part in parts)
    module = TrackCoincidence(filtration=Star(), dimensions=(0, 1))
    assert_close(module(source, target), expected)


def test_several_dimensions_are_added():
    source, target = gaussian(0, 2, 2, 4, 3)
    parts = [RIPS.pairs(source), of_dimension_1()]
    for reduction in ("mean", "sum", "none"):
        module = TrackCoincidence(reduction=reduction)
        expected = sum(
            track_coincidence(source, target, pairs=p, reduction=reduction) for p in parts
        )
        assert_close(module(source, target, pairs=parts), expected)


@pytest.mark.parametrize(
    "module",
    [
        TrackCoincidence(),
        TrackCoincidence(
            filtration=RipsFiltration(metric="cosine", max_edge_length=2.0), dimensions=[0]
        ),
        TrackCoincidence(
            filtration=RIPS,
            dimensions=(0, 1),
            orientation="aligned",
            undefined="zero",
            reduction="none",
            eps=1e-3,
        ),
    ],
)
def test_repr_round_trips(module):
    repr_round_trips(module)


def test_the_module_has_no_state():
    module = TrackCoincidence(filtration=RipsFiltration(metric="cosine"))
    assert list(module.parameters()) == []
    assert module.state_dict() == {}


def test_flips_are_not_sought_in_rows_of_distances():
    by_distances, by_points = (
        TrackCoincidence(filtration=filtration, dimensions=(1,), orientation="aligned")
        for filtration in (RipsFiltration(metric="precomputed"), None)
    )
    for seed in range(30):
        x, y = gaussian(seed, 25, 6), gaussian(seed + 100, 25, 6)
        assert_close(by_distances(x, y, geometry=pairwise_distances(x)), by_points(x, y))


class Counting(Filtration):
    """Notes how it is asked."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def pairs(self, data, dimension=0):
        self.asked.append(dimension)
        return RIPS.pairs(data, dimension)

    def all_pairs(self, data, max_dimension):
        self.asked.append(f"all to {max_dimension}")
        return RIPS.all_pairs(data, max_dimension)

    def diagram(self, pairs, data):
        return RIPS.diagram(pairs, data)


@pytest.mark.parametrize(
    ("dimensions", "asked"), [((0,), [0]), ((0, 1), ["all to 1"]), ((1, 0), ["all to 1"])]
)
def test_several_dimensions_are_found_in_one_pass_where_there_is_one(dimensions, asked):
    x, y = gaussian(0, 9, 3), gaussian(1, 9, 3)
    filtration = Counting()
    found = TrackCoincidence(filtration=filtration, dimensions=dimensions)(x, y)
    assert filtration.asked == asked
    assert_close(found, TrackCoincidence(dimensions=dimensions)(x, y))


@pytest.mark.parametrize("far", [1e18, 1e19, 1e25, 1e37])
@pytest.mark.parametrize("both", [True, False])
def test_squares_that_overflow_change_nothing(far, both):
    """In single precision, coordinates beyond 1e19 have infinite squares."""
    source, target = gaussian(0, 8, 4).float(), gaussian(1, 8, 4).float()
    labels = torch.arange(8) % 2
    scale = torch.tensor(far)
    moved = (source * scale).requires_grad_()
    other = target * scale if both else target
    for options in ({}, {"dimensions": (0, 1), "orientation": "aligned"}):
        expected = track_coincidence(source, target, **options)
        found = track_coincidence(moved, other, geometry=source, **options)
        assert_close(found, expected)
    (slope,) = torch.autograd.grad(track_coincidence(moved, other), moved)
    leaf = source.clone().requires_grad_()
    (expected,) = torch.autograd.grad(track_coincidence(leaf, target), leaf)
    assert_close(slope.double() * far, expected.double(), rtol=1e-4, atol=1e-6)
    found = deviating_perturbation(moved, other, labels, geometry=source)
    assert_close(
        found,
        deviating_perturbation(moved.double(), other.double(), labels, geometry=source).float(),
    )
