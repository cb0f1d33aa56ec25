"""The two terms from inner products: equal to topreg's losses on the rows."""

import itertools

import oracles
import pytest
import torch
from application.helpers import CountProducts, aligned_coincidence
from asserts import gradients_are_right, harmless
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, fewer_examples, gaussian, labelled_views, repeated_clouds
from test_tracks import random_pairs
from torch.testing import assert_close
from vlm_adapters.regularizers.grams import (
    deviating_perturbation_of_grams,
    grams_of,
    inner_products,
    track_coincidence_of_grams,
)

from topreg import (
    PersistencePairs,
    RipsFiltration,
    deviating_perturbation,
    persistence_tracks,
    track_coincidence,
)

RIPS = RipsFiltration()
OPTIONS = [
    dict(zip(("undirected", "related", "match_norms", "unrelated"), values, strict=True))
    for values in itertools.product(
        ("skip", "zero"), ("endpoints", "all"), (False, True), ("skip", "zero")
    )
]
every_option = pytest.mark.parametrize("options", OPTIONS)


def terms_of(
    source, target, labels, pairs, geometry=None, *, undirected="skip", unrelated="skip", **options
):
    """Both terms from the inner products of two views."""
    grams = grams_of(source, target)
    geometry = source.detach() if geometry is None else geometry
    tracks = {"undefined": undirected, "orientation": "aligned"}
    perturbation = {"related": "endpoints", "match_norms": False, "undefined": unrelated} | options
    return (
        track_coincidence_of_grams(grams, pairs, geometry, **tracks),
        deviating_perturbation_of_grams(grams, labels, pairs[0], **perturbation),
    )


def terms_of_rows(source, target, labels, pairs, *, undirected="skip", unrelated="skip", **options):
    """Both terms by topreg."""
    return (
        track_coincidence(source, target, pairs=pairs, orientation="aligned", undefined=undirected),
        deviating_perturbation(
            source, target, labels, pairs=pairs[0], undefined=unrelated, **options
        ),
    )


def values_and_gradients(terms, *views):
    """Each term with its gradients in the views."""
    results = []
    for k in range(2):
        leaves = [view.detach().clone().requires_grad_() for view in views]
        value = terms(*leaves)[k]
        value.backward()
        results.append((value.detach(), *(leaf.grad for leaf in leaves)))
    return results


def tolerance_for(source, target, pairs):
    """1e-9, or more where a track or an offset is much shorter than the rows.

    Its square loses so many digits as the ratio of lengths has, squared, and the gradient divides
    by its length once more.
    """
    resized = source * target.norm(dim=1, keepdim=True) / source.norm(dim=1, keepdim=True)
    views = [source, resized, target]
    vectors = [persistence_tracks(view, part) for view in views for part in pairs]
    lengths = [vector.norm(dim=1) for vector in vectors]
    lengths += [torch.cdist(view, target).flatten() for view in views[:2]]
    lengths = torch.cat(lengths)
    shortest = lengths[lengths > 1e-6].min() if bool((lengths > 1e-6).any()) else 1.0
    longest = max(float(view.norm(dim=1).max()) for view in views)
    return max(1e-9, 1e-13 * (longest / float(shortest)) ** 3)


def same_terms(source, target, labels, pairs, **options):
    """Terms and gradients from inner products are those from the rows."""
    tolerance = tolerance_for(source, target, pairs)
    own, other = (
        values_and_gradients(
            lambda s, t, f=terms: f(s, t, labels, pairs, **options), source, target
        )
        for terms in (terms_of_rows, terms_of)
    )
    for expected, actual in zip(own, other, strict=True):
        scale = max(float(part.abs().max()) if part.numel() else 0.0 for part in expected)
        assert_close(actual, expected, rtol=tolerance, atol=tolerance * max(scale, 1.0))


def test_the_backward_pass_of_inner_products_takes_one_product():
    counts, gradients = [], []
    for product in (inner_products, lambda x: x @ x.T):
        x = gaussian(0, 4, 3).requires_grad_()
        loss = (product(x) * gaussian(1, 4, 4)).sum()
        with CountProducts() as counter:
            loss.backward()
        counts.append(len(counter.sizes))
        gradients.append(x.grad)
    assert counts == [1, 2]
    assert_close(gradients[0], gradients[1])


@every_option
@fewer_examples
@given(
    labelled_views(min_size=1, classes=6), SEEDS, st.booleans(), st.booleans(), st.integers(1, 3)
)
def test_equal_the_losses_of_the_rows(options, drawn, seed, with_loops, prototypes, every):
    source, target, labels = drawn
    if prototypes:
        target = gaussian(seed, 6, source.shape[1])[labels]
    pairs = RIPS.pairs(source)
    pairs = [pairs.select(torch.arange(len(pairs)) % every == 0)]  # not all vertices are ends
    if with_loops and len(source) > 2:
        pairs.append(random_pairs(seed, len(source), 3))
    same_terms(source, target, labels, pairs, **options)
    if not with_loops:
        expected = (
            oracles.track_coincidence(source, target, *pairs, undefined=options["undirected"]),
            oracles.deviating_perturbation(
                source,
                target,
                labels,
                *pairs,
                related=options["related"],
                match_norms=options["match_norms"],
                undefined=options["unrelated"],
            ),
        )
        expected = torch.tensor(expected, dtype=torch.float64)
        found = torch.stack(terms_of(source, target, labels, pairs, **options))
        tolerance = tolerance_for(source, target, pairs)
        assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[-1]])
@fewer_examples
@given(repeated_clouds(max_width=4), st.data())
def test_coincident_points_have_no_direction(options, drawn, data):
    source, _ = drawn
    n = len(source)
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    own = torch.tensor(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    target = torch.where(own[:, None], source, gaussian(n, *source.shape))
    same_terms(source, target, labels, [RIPS.pairs(source)], **options)


@pytest.mark.parametrize("nearly", [0.0, 1e-6])
def test_orthogonal_views_have_directions(nearly):
    source, target = torch.eye(6, dtype=torch.float64).split(3)
    same_terms(source + nearly, target, torch.zeros(3).long(), [RIPS.pairs(source)])


def test_flips_are_decided_in_the_geometry():
    source, target, geometry = gaussian(0, 3, 8, 3)
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 2, 0])
    pairs = [RIPS.pairs(source), random_pairs(3, 8, 5)]
    for points in (source, geometry):
        expected = sum(aligned_coincidence(points, source, target, part)[0] for part in pairs)
        found, _ = terms_of(source, target, labels, pairs, points)
        assert float(found) == pytest.approx(expected, rel=1e-9)
    own, other = (terms_of(source, target, labels, pairs, g)[0] for g in (source, geometry))
    assert abs(float(own - other)) > 1e-3


def test_orthogonal_edges_are_not_flipped():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    images = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, -1.0]])
    none = torch.empty(0, 2, dtype=torch.int64)
    right_angle = PersistencePairs(1, torch.tensor([[0, 1]]), torch.tensor([[0, 2]]), none, (3,))
    expected = 1 - torch.nn.functional.cosine_similarity(
        points[2] - points[1], images[2] - images[1], dim=0
    )
    found = track_coincidence_of_grams(
        grams_of(points, images), [right_angle], points, undefined="skip", orientation="aligned"
    )
    assert_close(found, expected)


@pytest.mark.parametrize("options", OPTIONS[::5])
def test_gradients(options):
    source, target = gaussian(0, 2, 5, 3)
    pairs = [RIPS.pairs(source), random_pairs(3, 5, 2)]
    labels = torch.arange(5) % 2
    for k in range(2):
        gradients_are_right(
            lambda s, t, k=k: terms_of(s, t, labels, pairs, source, **options)[k], source, target
        )


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("unrelated", ["skip", "zero"])
def test_without_a_pair_the_terms_are_zeros_with_gradient_zero(n, unrelated):
    points, labels = torch.ones(n, 3), torch.zeros(n, dtype=torch.int64)
    pairs = [RIPS.pairs(points)]
    for k in range(2):
        harmless(
            lambda s, t, k=k: terms_of(
                s, t, labels, pairs, points, unrelated=unrelated, match_norms=True
            )[k],
            points,
            points,
        )


@pytest.mark.parametrize(("undirected", "expected"), [("skip", 0.0), ("zero", 1.0)])
@pytest.mark.parametrize("width", [3, 1000])
def test_all_points_equal(undirected, expected, width):
    points = gaussian(0, 1, width).float().repeat(70, 1)
    labels, pairs = torch.arange(70) % 2, [RIPS.pairs(points)]
    for k, value in enumerate((expected, 1.0)):
        harmless(
            lambda s, t, k=k: terms_of(s, t, labels, pairs, points, undirected=undirected)[k],
            points,
            points,
            expected=value,
        )


@pytest.mark.parametrize("match_norms", [False, True])
def test_zero_targets_are_finite(match_norms):
    source, labels = gaussian(0, 4, 3).requires_grad_(), torch.arange(4) % 2
    pairs, target = [RIPS.pairs(source.detach())], torch.zeros(4, 3).double()
    _, loss = terms_of(source, target, labels, pairs, match_norms=match_norms)
    loss.backward()
    assert bool(source.grad.isfinite().all())
    assert not match_norms or float(loss.detach()) == pytest.approx(1)


def test_nan_is_not_hidden():
    source, target = gaussian(0, 2, 6, 3)
    pairs, labels = [RIPS.pairs(source)], torch.arange(6) % 2
    source[2, 1] = torch.nan
    assert all(bool(term.isnan()) for term in terms_of(source, target, labels, pairs))


# Precision


@pytest.mark.parametrize("width", [16, 512, 4096])
@pytest.mark.parametrize("match_norms", [False, True])
def test_single_precision(width, match_norms):
    source, target = gaussian(0, 2, 80, width)
    source, target = (0.1 * source + 0.4).float(), target[torch.arange(80) % 9].float()
    labels, pairs = torch.arange(80) % 9, [RIPS.pairs(source)]
    exact, single = (
        values_and_gradients(
            lambda s, t: terms_of(s, t, labels, pairs, match_norms=match_norms), *views
        )
        for views in ((source.double(), target.double()), (source, target))
    )
    for expected, actual in zip(exact, single, strict=True):
        assert_close(actual[0].double(), expected[0], rtol=0, atol=1e-5)
        for a, e in zip(actual[1:], expected[1:], strict=True):
            assert float((a - e).norm() / e.norm()) < 1e-4


@pytest.mark.parametrize("ratio", [1e-2, 1e-4, 1e-6])
def test_what_drowns_in_rounding_has_no_direction(ratio):
    source, target = gaussian(0, 2, 40, 30).float()
    source = 1 + ratio * source  # far from the origin for their distances
    labels, pairs = torch.arange(40), [RIPS.pairs(gaussian(1, 40, 30))]
    options = {"undirected": "zero"}
    coincidence, _ = terms_of(source, target, labels, pairs, **options)
    exact, _ = terms_of_rows(source, target, labels, pairs, **options)
    assert_close(coincidence, exact if ratio > 1e-3 else torch.tensor(1.0), rtol=0, atol=1e-3)


def test_a_short_track_next_to_a_long_one_has_its_direction():
    source = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1e5, 1e5]])
    target = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1e5, -1e5]])
    coincidence, _ = terms_of(source, target, torch.arange(3), [RIPS.pairs(source)])
    assert_close(coincidence, torch.tensor(1 - 0.5**1.5), rtol=1e-4, atol=0)
