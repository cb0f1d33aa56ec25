"""Gram matrices: inner products, and the losses that need nothing else."""

import itertools

import oracles
import pytest
import torch
from asserts import gradients_are_right, harmless
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, fewer_examples, gaussian, labelled_views, repeated_clouds
from test_pairs import of_dimension_1
from test_tracks import random_pairs
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from topreg import (
    DeviatingPerturbation,
    FlagFiltration,
    GramMatrices,
    HomologyConsistency,
    PersistencePairs,
    RipsFiltration,
    TrackCoincidence,
    gram_matrix,
    persistence_tracks,
)

RIPS = RipsFiltration()
OPTIONS = [
    dict(zip(("undirected", "related", "match_norms", "unrelated"), values, strict=True))
    for values in itertools.product(
        ("skip", "zero"), ("endpoints", "all"), (False, True), ("skip", "zero")
    )
]
every_option = pytest.mark.parametrize("options", OPTIONS)


def values_and_gradients(terms, *views):
    """Each term with its gradients in the views."""
    results = []
    for k in range(2):
        leaves = [view.detach().clone().requires_grad_() for view in views]
        value = terms(*leaves)[k]
        value.sum().backward()
        results.append((value.detach(), *(leaf.grad for leaf in leaves)))
    return results


def tolerance_for(source, target, pairs):
    """1e-9, or more where a track or an offset is much shorter than the rows.

    Its square loses so many digits as the ratio of lengths has, squared, and the gradient divides
    by its length once more.
    """
    resized = source * target.norm(dim=1, keepdim=True) / source.norm(dim=1, keepdim=True)
    views = [view.reshape(-1, view.shape[-1]) for view in (source, resized, target)]
    vectors = [persistence_tracks(view, part) for view in views for part in pairs]
    lengths = [vector.norm(dim=1) for vector in vectors]
    lengths += [torch.cdist(view, views[2]).flatten() for view in views[:2]]
    lengths = torch.cat(lengths)
    shortest = lengths[lengths > 1e-6].min() if bool((lengths > 1e-6).any()) else 1.0
    longest = max(float(view.norm(dim=1).max()) for view in views)
    return max(1e-9, 1e-14 * (longest / float(shortest)) ** 3)


def same_terms(module, source, target, labels, pairs, **found):
    """Terms and gradients from Gram matrices are those from the rows."""
    pairs = [pairs] if isinstance(pairs, PersistencePairs) else pairs
    found["pairs"], tolerance = pairs, tolerance_for(source, target, pairs)
    own, other = (
        values_and_gradients(terms, source, target)
        for terms in (
            lambda s, t: module.terms(s, t, labels, **found),
            lambda s, t: module.terms_of_grams(GramMatrices.of(s, t), labels, **found),
        )
    )
    for expected, actual in zip(own, other, strict=True):
        scale = max(float(part.abs().max()) if part.numel() else 0.0 for part in expected)
        assert_close(actual, expected, rtol=tolerance, atol=tolerance * max(scale, 1.0))


# Inner products


@given(SEEDS, st.integers(0, 6), st.integers(0, 6))
def test_they_are_the_products(seed, n, d):
    source, target = gaussian(seed, n, d), gaussian(seed + 1, n, d)
    grams = GramMatrices.of(source, target)
    assert len(grams) == n
    assert_close(grams.source, source @ source.T)
    assert_close(grams.cross, source @ target.T)
    assert_close(grams.target, target @ target.T)
    assert_close(gram_matrix(source), grams.source, rtol=0, atol=0)


def test_gradients_of_every_order():
    gradients_are_right(gram_matrix, gaussian(0, 4, 3), second=True)


def test_the_backward_pass_takes_one_product():
    class Count(TorchDispatchMode):
        products = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            self.products += function is torch.ops.aten.mm.default
            return function(*args, **(kwargs or {}))

    counts = []
    for product in (gram_matrix, lambda x: x @ x.T):
        x = gaussian(0, 4, 3).requires_grad_()
        loss = product(x).square().sum()
        with Count() as counter:
            loss.backward()
        counts.append(counter.products)
    assert counts == [1, 2]


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast(half):
    source, target = gaussian(0, 2, 20, 6).to(half)
    grams = GramMatrices.of(source, target)
    assert grams.source.dtype == grams.cross.dtype == torch.float32
    single = source.float().requires_grad_()
    with torch.autocast("cpu", half):
        same = GramMatrices.of(single, target.float())
        same.source.sum().backward()
    assert_close(same.source, grams.source)
    assert_close(same.cross, grams.cross)
    assert_close(single.grad, 2 * source.float().sum(0).expand(20, 6))


def test_batched_gradients():
    x, vectors = gaussian(0, 4, 3).requires_grad_(), gaussian(1, 5, 4, 4)
    products = gram_matrix(x)
    expected = torch.stack(
        [torch.autograd.grad(products, x, v, retain_graph=True)[0] for v in vectors]
    )
    actual = torch.autograd.grad(products, x, vectors, is_grads_batched=True)[0]
    assert_close(actual, expected)
    jacobian = torch.func.jacrev(gram_matrix)(x.detach())
    assert_close(torch.einsum("bij,ijkl->bkl", vectors, jacobian), expected)


# The losses


@every_option
@fewer_examples
@given(labelled_views(min_size=1, classes=6), SEEDS, st.booleans())
def test_equal_the_losses_of_the_rows(options, drawn, seed, with_loops):
    source, target, labels = drawn
    pairs = [RIPS.pairs(source)]
    if with_loops and len(source) > 2:
        pairs.append(random_pairs(seed, len(source), 3))
    module = HomologyConsistency(perturbation_weight=0.7, **options)
    same_terms(module, source, target, labels, pairs)
    expected = oracles.homology_consistency(
        source, target, labels, pairs, perturbation_weight=0.7, **options
    )
    loss = module.of_grams(GramMatrices.of(source, target), labels, pairs=pairs)
    tolerance = tolerance_for(source, target, pairs)
    assert_close(loss, torch.tensor(expected, dtype=torch.float64), rtol=tolerance, atol=tolerance)


@every_option
@fewer_examples
@given(labelled_views(), SEEDS)
def test_equal_the_losses_of_the_rows_with_class_prototypes(options, drawn, seed):
    source, _, labels = drawn
    target = gaussian(seed, 3, source.shape[1])[labels]
    module = HomologyConsistency(perturbation_weight=0.7, **options)
    same_terms(module, source, target, labels, RIPS.pairs(source))


@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[-1]])
@fewer_examples
@given(repeated_clouds(max_width=4), st.data())
def test_coincident_points_have_no_direction(options, drawn, data):
    source, _ = drawn
    n = len(source)
    labels = torch.tensor(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    own = torch.tensor(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    target = torch.where(own[:, None], source, gaussian(n, *source.shape))
    module = HomologyConsistency(perturbation_weight=0.7, eps=1e-6, **options)
    same_terms(module, source, target, labels, RIPS.pairs(source))


@pytest.mark.parametrize("orientation", ["index", "aligned"])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_several_clouds_and_dimensions(orientation, reduction):
    source, target = gaussian(0, 2, 2, 4, 3)
    labels = torch.tensor([[0, 0, 1, 1], [2, 2, 2, 0]])
    pairs = [RIPS.pairs(source), of_dimension_1()]
    options = {"orientation": orientation, "reduction": reduction, "eps": 0.7}
    module = HomologyConsistency(perturbation_weight=1.7, **options)
    same_terms(module, source, target, labels, pairs)
    geometry = gaussian(7, 2, 4, 5)
    same_terms(module, source, target, labels, pairs, geometry=geometry)
    ragged = [list(view.reshape(8, 3).split((5, 0, 1, 2))) for view in (source, target)]
    labels = list(labels.flatten().split((5, 0, 1, 2)))
    pairs, grams = RIPS.pairs(ragged[0]), GramMatrices.of(*ragged)
    assert_close(module.of_grams(grams, labels, pairs=pairs), module(*ragged, labels, pairs=pairs))


@given(SEEDS)
def test_flips_are_those_of_the_source(seed):
    source, target = gaussian(seed, 2, 8, 3)
    pairs = random_pairs(seed, 8, 5)
    module = TrackCoincidence(orientation="aligned")
    grams = GramMatrices.of(source, target)
    assert_close(module.of_grams(grams, pairs=pairs), module(source, target, pairs=pairs))


def test_flips_decided_in_another_dtype_change_none():
    source, target, geometry = gaussian(3, 3, 8, 3)
    pairs = random_pairs(3, 8, 5)
    grams = GramMatrices.of(source.float(), target.float())
    module = TrackCoincidence(orientation="aligned")
    loss = module.of_grams(grams, pairs=pairs, geometry=geometry)
    assert loss.dtype == torch.float32
    assert_close(loss.double(), module(source, target, pairs=pairs, geometry=geometry))


def test_modules_agree_and_find_pairs_in_the_geometry():
    source, target = gaussian(0, 2, 9, 3)
    geometry, labels = gaussian(1, 9, 5), torch.arange(9) % 3
    filtration, grams = RipsFiltration(metric="cosine"), GramMatrices.of(source, target)
    whole = HomologyConsistency(filtration, (0, 1), perturbation_weight=2.0)
    terms = whole.terms_of_grams(grams, labels, geometry=geometry)
    expected = whole.terms(source, target, labels, geometry=geometry)
    assert_close(terms, expected)
    parts = (
        TrackCoincidence(filtration, (0, 1)).of_grams(grams, geometry=geometry),
        DeviatingPerturbation(filtration).of_grams(grams, labels, geometry=geometry),
    )
    assert_close(parts, tuple(terms), rtol=0, atol=0)
    total = whole.of_grams(grams, labels, geometry=geometry)
    assert_close(total, terms[0] + 2.0 * terms[1], rtol=0, atol=0)


def test_a_graph_takes_its_weights_as_geometry():
    edges = torch.combinations(torch.arange(6)).T
    source, target = gaussian(0, 2, 6, 3)
    weights, labels = gaussian(1, 15).abs(), torch.arange(6) % 2
    module = HomologyConsistency(
        FlagFiltration(edges, 6), (0, 1), perturbation_weight=1.0, orientation="aligned"
    )
    assert_close(
        module.of_grams(GramMatrices.of(source, target), labels, geometry=weights),
        module(source, target, labels, geometry=weights),
    )


@pytest.mark.parametrize("options", OPTIONS[::5])
def test_second_gradients(options):
    source, target = gaussian(0, 2, 5, 3)
    pairs = [RIPS.pairs(source), random_pairs(3, 5, 2)]
    module = HomologyConsistency(perturbation_weight=0.5, **options)
    labels = torch.arange(5) % 2
    gradients_are_right(
        lambda s, t: module.of_grams(GramMatrices.of(s, t), labels, pairs=pairs),
        source,
        target,
        second=True,
    )


# Degenerate clouds


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (0, 3, 2), (2, 0, 3), (2, 1, 3)])
@pytest.mark.parametrize("unrelated", ["skip", "zero"])
def test_without_a_pair_the_loss_is_a_zero_with_gradient_zero(shape, reduction, unrelated):
    points, labels = torch.ones(shape), torch.zeros(shape[:-1], dtype=torch.int64)
    module = HomologyConsistency(
        perturbation_weight=0.5, reduction=reduction, unrelated=unrelated, match_norms=True
    )
    harmless(
        lambda s, t: module.of_grams(GramMatrices.of(s, t), labels, geometry=points),
        points,
        points,
    )


@pytest.mark.parametrize(("undirected", "expected"), [("skip", 0.5), ("zero", 1.5)])
@pytest.mark.parametrize("width", [3, 1000])
def test_all_points_equal(undirected, expected, width):
    points = gaussian(0, 1, width).float().repeat(70, 1)
    labels = torch.arange(70) % 2
    module = HomologyConsistency(perturbation_weight=0.5, undirected=undirected)
    harmless(
        lambda s, t: module.of_grams(GramMatrices.of(s, t), labels, geometry=points),
        points,
        points,
        expected=expected,
    )


@pytest.mark.parametrize("match_norms", [False, True])
def test_zero_targets_are_finite(match_norms):
    source, labels = gaussian(0, 4, 3), torch.arange(4) % 2
    module = DeviatingPerturbation(match_norms=match_norms)
    grams = GramMatrices.of(source.requires_grad_(), torch.zeros_like(source))
    loss = module.of_grams(grams, labels, geometry=source.detach())
    loss.backward()
    assert bool(source.grad.isfinite().all())
    if match_norms:
        assert_close(loss.detach(), torch.tensor(1.0, dtype=torch.float64))


def test_nan_is_not_hidden():
    source, target = gaussian(0, 2, 6, 3)
    pairs, labels = RIPS.pairs(source), torch.arange(6) % 2
    source[2, 1] = torch.nan
    module = HomologyConsistency(perturbation_weight=1.0)
    terms = module.terms_of_grams(GramMatrices.of(source, target), labels, pairs=pairs)
    assert all(bool(term.isnan()) for term in terms)


# Precision


@pytest.mark.parametrize("width", [16, 512, 4096])
@pytest.mark.parametrize("match_norms", [False, True])
def test_single_precision(width, match_norms):
    source, target = gaussian(0, 2, 80, width)
    source, target = (0.1 * source + 0.4).float(), target[torch.arange(80) % 9].float()
    labels, pairs = torch.arange(80) % 9, RIPS.pairs(source)
    module = HomologyConsistency(perturbation_weight=1.0, match_norms=match_norms)
    exact, single = (
        values_and_gradients(
            lambda s, t: module.terms_of_grams(GramMatrices.of(s, t), labels, pairs=pairs), *views
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
    pairs = RIPS.pairs(gaussian(1, 40, 30))
    module = TrackCoincidence(undirected="zero")
    loss = module.of_grams(GramMatrices.of(source, target), pairs=pairs)
    expected = module(source, target, pairs=pairs) if ratio > 1e-3 else torch.tensor(1.0)
    assert_close(loss, expected, rtol=0, atol=1e-3)
    middle = source.mean(0)  # a common translation changes no loss, and saves the digits
    loss = module.of_grams(GramMatrices.of(source - middle, target - middle), pairs=pairs)
    assert_close(loss, module(source, target, pairs=pairs), rtol=0, atol=1e-4)


# Compiled


def test_losses_from_gram_matrices_compile_without_a_graph_break():
    torch._dynamo.reset()
    source, target = gaussian(0, 2, 9, 3, dtype=torch.float32)
    labels, pairs = torch.arange(9) % 2, RIPS.pairs(source)
    module = HomologyConsistency(perturbation_weight=0.5, match_norms=True)

    def loss(s, t):
        return module.of_grams(GramMatrices.of(s, t), labels, pairs=pairs)

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    results = []
    for function in (loss, compiled):
        leaf = source.clone().requires_grad_()
        value = function(leaf, target)
        value.backward()
        results.append((value.detach(), leaf.grad))
    assert_close(results[1], results[0])
    torch._dynamo.reset()


def test_a_short_track_beside_a_long_one_has_its_direction():
    source = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1e5, 1e5]])
    target = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1e5, -1e5]])
    pairs = RipsFiltration().pairs(source)
    loss = TrackCoincidence()
    expected = loss(source, target, pairs=pairs)
    assert_close(expected, torch.tensor(1 - 0.5**1.5), rtol=1e-4, atol=0)
    grams = GramMatrices.of(source, target)
    assert_close(loss.of_grams(grams, pairs=pairs), expected, rtol=1e-4, atol=0)


def test_flips_are_found_in_the_geometry():
    source = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    geometry = source * torch.tensor([[1.0, 1.0], [-1.0, 1.0], [1.0, 1.0]])  # turns one edge round
    target = torch.tensor([[0.0, 0.0], [2.0, 1.0], [-1.0, 3.0]])
    none = torch.empty(0, 2, dtype=torch.int64)
    pairs = PersistencePairs(1, torch.tensor([[0, 1]]), torch.tensor([[0, 2]]), none, (3,))
    loss = TrackCoincidence(dimensions=(1,), orientation="aligned")
    expected = loss(source, target, pairs=pairs, geometry=geometry)
    assert float(expected) != float(loss(source, target, pairs=pairs))
    grams = GramMatrices.of(source, target)
    assert_close(loss.of_grams(grams, pairs=pairs, geometry=geometry), expected)
