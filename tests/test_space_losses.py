"""Losses across two spaces of different widths, each against its formula written out."""

import importlib.util
import math
import warnings
from unittest import mock

import numpy
import pytest
import torch
from asserts import compiles_searches, gradients_are_right, harmless, refused, repr_round_trips
from hypothesis import given
from hypothesis import strategies as st
from oracles import kruskal, ordered_edges, reduction
from scipy.sparse.csgraph import connected_components
from strategies import distances_by_differences, distinct_clouds, gaussian, rotation
from torch.testing import assert_close

from topreg import (
    RTD,
    FlagFiltration,
    RipsFiltration,
    RTDLite,
    SignatureLoss,
    pairwise_distances,
    rtd,
    rtd_lite,
    signature_loss,
)
from topreg.persistence import _dispatch

RIPS = RipsFiltration()


MATRICES = RipsFiltration(metric="precomputed")


def pairs_by(points, _, filtration):
    return filtration.pairs(points)


def scaled(points, normalize):
    """Distances, divided by a quantile of all entries of their matrix if that is not 0."""
    distances = distances_by_differences(points)
    if normalize is None or not distances.numel():
        return distances
    return distances / (float(numpy.quantile(distances.numpy(), normalize)) or 1.0)


def slow_signature(x, z, *, dimensions=(0,), symmetric=True, normalize=None):
    a, b = scaled(x, normalize), scaled(z, normalize)
    total = 0.0
    for dimension in dimensions:
        for points in (x, z) if symmetric else (x,):
            pairs = RIPS.pairs(points, dimension)
            for edges in (pairs.birth_edges, pairs.death_edges):
                for i, j in edges.tolist():
                    total += float(a[i, j] - b[i, j]) ** 2 / 2
    return total


def slow_rtd_lite(x, y, *, symmetric=True, normalize=None):
    a, b = scaled(x, normalize), scaled(y, normalize)

    def weight(matrix):
        return math.fsum(float(matrix[i, j]) for i, j in kruskal(matrix)[0])

    both = weight(torch.minimum(a, b))
    one, other = weight(a) - both, weight(b) - both
    return (one + other) / 2 if symmetric else one


def slow_rtd(x, y, *, dimensions=(1,), symmetric=True, normalize=False, power=1.0):
    a, b = scaled(x, normalize), scaled(y, normalize)
    n = len(a)

    def divergence(first):
        doubled = torch.zeros(2 * n, 2 * n, dtype=torch.float64)
        doubled[:n, n:] = doubled[n:, :n] = first
        doubled[n:, n:] = torch.minimum(a, b)
        total = 0.0
        for dimension in dimensions:
            found, _ = reduction(ordered_edges(doubled), 2 * n, dimension)
            total += math.fsum(
                float(doubled[death] - doubled[birth]) ** power
                for birth, death in found
                if doubled[death] > doubled[birth]
            )
        return total

    return (divergence(a) + divergence(b)) / 2 if symmetric else divergence(a)


LOSSES = {
    "signature": (signature_loss, SignatureLoss, slow_signature, {}),
    "loops": (signature_loss, SignatureLoss, slow_signature, {"dimensions": (0, 1)}),
    "rtd_lite": (rtd_lite, RTDLite, slow_rtd_lite, {}),
    "rtd": (rtd, RTD, slow_rtd, {}),
    "squares": (rtd, RTD, slow_rtd, {"power": 2.0}),
}
every = pytest.mark.parametrize(
    ("function", "module", "slow", "options"), LOSSES.values(), ids=LOSSES
)
choices = pytest.mark.parametrize("symmetric", [True, False])
normalized = pytest.mark.parametrize("normalize", [None, 1.0, 0.9])


@st.composite
def two_views(draw, max_size=6):
    """Two clouds of different widths on the same vertices, generic or tied."""
    n, seed = draw(st.integers(1, max_size)), draw(st.integers(0, 10**6))
    x, y = gaussian(seed, n, draw(st.integers(1, 4))), gaussian(seed + 1, n, 3)
    return (x, y) if draw(st.booleans()) else (x.round(), (2 * y).round())


@every
@choices
@normalized
@given(views=two_views())
def test_the_formula(function, module, slow, options, symmetric, normalize, views):
    choice = {"symmetric": symmetric, "normalize": normalize, **options}
    expected = torch.tensor(slow(*views, **choice), dtype=torch.float64)
    assert_close(function(*views, **choice), expected, rtol=1e-9, atol=1e-9)


@st.composite
def batches_of_views(draw):
    """Some pairs of clouds of different sizes that require gradients: generic, or tied."""
    sizes, seed = (
        draw(st.lists(st.integers(1, 6), min_size=1, max_size=3)),
        draw(st.integers(0, 99)),
    )
    tied, widths = draw(st.booleans()), (draw(st.integers(1, 4)), 2)
    views = [[gaussian(seed + k, n, d) for k, n in enumerate(sizes)] for d in widths]
    if tied:  # a shift leaves no row zero
        views = [[(2 * cloud).round() + 9 for cloud in clouds] for clouds in views]
    return [[cloud.requires_grad_() for cloud in clouds] for clouds in views]


def value_and_derivatives(views, points, few, options):
    """The loss with its derivatives, if clouds of up to ``few`` points are small."""
    with mock.patch.object(_dispatch, "SOME_POINTS", few):
        value = signature_loss(*views, **options)
        loss = value.square().sum()
        first = torch.autograd.grad(loss, points, retain_graph=True)
        again = torch.autograd.grad(loss, points, create_graph=True)
        second = torch.autograd.grad(sum(slope.square().sum() for slope in again), points)
    return value, first, again, second


@choices
@given(
    batches_of_views(),
    st.sampled_from([None, 1.0]),
    st.sampled_from(["mean", "sum", "none"]),
    st.tuples(*[st.sampled_from(["euclidean", "cosine", "manhattan"])] * 2),
    st.sampled_from([math.inf, 1.5]),
)
def test_small_clouds_have_the_loss_and_derivatives_of_large_ones(
    symmetric, views, normalize, reduction, metrics, longest
):
    options = {"symmetric": symmetric, "normalize": normalize, "reduction": reduction}
    for name, metric in zip(("filtration", "target_filtration"), metrics, strict=True):
        options[name] = RipsFiltration(metric=metric, max_edge_length=longest)
    points = [cloud for clouds in views for cloud in clouds]
    small, large = (value_and_derivatives(views, points, few, options) for few in (6, 0))
    for found, expected in zip(small, large, strict=True):
        assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("few", "normalize"), [(9, None), (9, 1.0), (9, 0.9), (8, None)])
def test_which_clouds_are_compared_in_one_call(monkeypatch, few, normalize):
    monkeypatch.setattr(_dispatch, "SOME_POINTS", few)
    x, z = gaussian(0, 9, 3), gaussian(1, 9, 2).requires_grad_()
    name = type(signature_loss(x, z, normalize=normalize).grad_fn).__name__
    assert (name == "_KnownBackward") == (few == 9 and normalize != 0.9)


@given(two_views(max_size=5))
def test_rtd_in_dimension_2(views):
    pytest.importorskip("gudhi")
    options = {"dimensions": (1, 2)}
    expected = torch.tensor(slow_rtd(*views, **options), dtype=torch.float64)
    assert_close(rtd(*views, **options), expected, rtol=1e-9, atol=1e-9)


@every
@normalized
def test_module_and_function_agree(function, module, slow, options, normalize):
    x, y = gaussian(0, 12, 3), gaussian(1, 12, 5)
    made = module(normalize=normalize, **options)
    repr_round_trips(made)
    assert_close(made(x, y), function(x, y, normalize=normalize, **options))


@every
@normalized
def test_batches(function, module, slow, options, normalize):
    choice = {"normalize": normalize, **options}
    xs, ys = ([gaussian(d + k, n, d) for k, n in enumerate((7, 1, 9, 0))] for d in (2, 4))
    alone = torch.stack([function(x, y, **choice) for x, y in zip(xs, ys, strict=True)])
    assert_close(function(xs, ys, reduction="none", **choice), alone)
    assert_close(function(xs, ys, **choice), alone.mean())
    assert_close(function(xs, ys, reduction="sum", **choice), alone.sum())
    one = function(xs[0], ys[0], reduction="none", **choice)
    assert_close(one, alone[:1])
    x, y = gaussian(0, 3, 6, 2), gaussian(1, 3, 6, 4)
    assert_close(function(x, y, **choice), function(list(x), list(y), **choice))
    none = function(x[:0], y[:0], reduction="none", **choice)
    assert none.shape == (0,)
    harmless(lambda a, b: function(a, b, **choice), x[:0], y[:0])


@every
@normalized
@choices
def test_gradients(function, module, slow, options, normalize, symmetric):
    x, y = gaussian(0, 6, 2), gaussian(1, 6, 3)
    choice = {"normalize": normalize, "symmetric": symmetric, **options}
    gradients_are_right(lambda a, b: function(a, b, **choice), x, y)


@every
@normalized
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_degenerate_clouds(function, module, slow, options, normalize, n):
    choice = {"normalize": normalize, **options}
    harmless(lambda a, b: function(a, b, **choice), torch.ones(n, 2), torch.ones(n, 3))


@every
@normalized
@given(views=two_views(), seed=st.integers(0, 99))
def test_motions_of_either_space_change_nothing(
    function, module, slow, options, normalize, views, seed
):
    x, y = views
    moved = x @ rotation(seed, x.shape[1]) + 1, y @ rotation(seed + 1, y.shape[1]) - 2
    choice = {"normalize": normalize, **options}
    if float((x - x.round()).abs().max()) > 0:  # motions break ties
        assert_close(function(*moved, **choice), function(x, y, **choice), rtol=1e-6, atol=1e-8)


@every
@given(views=two_views())
def test_equal_spaces_have_no_loss_and_normalized_ones_no_scale(
    function, module, slow, options, views
):
    x, y = views
    assert_close(function(x, x, **options), torch.zeros((), dtype=torch.float64))
    for quantile in (1.0, 0.9):
        choice = {"normalize": quantile, **options}
        expected = function(x, y, **choice)
        assert_close(function(4 * x, y / 2, **choice), expected, rtol=1e-9, atol=1e-9)


@given(two_views())
def test_divergences_are_not_negative_and_symmetric(views):
    x, y = views
    for function in (rtd_lite, rtd, signature_loss):
        assert float(function(x, y)) >= -1e-12
        assert_close(function(x, y), function(y, x), rtol=1e-9, atol=1e-9)


@given(two_views(max_size=3))
def test_rtd_of_three_points_is_rtd_lite(views):
    """Three vertices have no loop: dimension 1 of the cone is what joins in the union alone."""
    assert_close(
        rtd(*views, symmetric=False), rtd_lite(*views, symmetric=False), rtol=1e-9, atol=1e-9
    )


@pytest.mark.skipif(
    importlib.util.find_spec("torch_topological") is None, reason="giotto-ph has no wheels"
)
@given(distinct_clouds(min_size=3), st.booleans())
def test_signature_loss_equals_torch_topological(points, normalize):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch_topological.nn import SignatureLoss as Peer
        from torch_topological.nn import VietorisRipsComplex
    other = gaussian(len(points), len(points), 2)
    rips = VietorisRipsComplex(dim=0)
    x, z = points.float(), other.float()
    theirs = Peer(normalise=normalize)([x, rips(x)], [z, rips(z)])
    ways = [
        signature_loss(*views, symmetric=False, normalize=1.0 if normalize else None)
        for views in ((x, z), (z, x))
    ]
    # they add 1/2 |.| of both ways, we 1/2 |.|^2
    assert_close(sum((2 * way).sqrt() for way in ways) / 2, theirs, rtol=1e-4, atol=1e-5)


def test_given_pairs_are_used():
    x, z = gaussian(0, 9, 2), gaussian(1, 9, 3)
    own, other = RIPS.all_pairs(x, 1), RIPS.all_pairs(z, 1)
    loss = SignatureLoss(dimensions=(0, 1))
    assert_close(loss(x, z, pairs=own, target_pairs=other), loss(x, z))
    swapped = signature_loss(x, z, pairs=other[0], symmetric=False)
    assert_close(swapped, signature_loss(z, x, symmetric=False))


@pytest.mark.parametrize("metric", ["manhattan", "cosine", torch.cdist])
@pytest.mark.parametrize("function", [signature_loss, rtd_lite, rtd])
def test_metrics(function, metric):
    x, y = gaussian(0, 8, 3), gaussian(1, 8, 4)
    rips = RipsFiltration(metric=metric)
    a, b = (pairwise_distances(points, metric=metric) for points in (x, y))
    for normalize in (None, 1.0, 0.9):
        found = function(x, y, filtration=rips, normalize=normalize)
        assert float(found) > 0
        assert_close(found, function(a, b, filtration=MATRICES, normalize=normalize))


def test_half_precision_is_computed_in_single():
    x, y = gaussian(0, 8, 3).bfloat16(), gaussian(1, 8, 4).bfloat16()
    for function in (signature_loss, rtd_lite, rtd):
        assert function(x, y).dtype == torch.float32


def test_messages():
    x = torch.eye(3)
    text = "`source` and `target` should be clouds of the same sizes, rows in the same order. "
    with refused(ValueError, text + "Got (3,) and (2,)."):
        signature_loss(x, x[:2])
    with refused(ValueError, text + "Got (3,) and (1, 2)."):
        rtd_lite(x, [x[:1], x[:2]])
    with refused(ValueError, "`dimensions` should be 1 or above. Got (0,)."):
        RTD(dimensions=(0,))
    with refused(ValueError, "`power` should be positive. Got 0."):
        rtd(x, x, power=0)
    with refused(
        TypeError,
        "`source` and `target` should have one dtype. "
        "Got torch.float32 and torch.float64. Use `target.to(source.dtype)`.",
    ):
        rtd(x, x.double())
    graph = FlagFiltration(torch.tensor([[0], [1]]), 3)
    with refused(TypeError, "`filtration` should be a RipsFiltration. Got FlagFiltration."):
        RTDLite(filtration=graph)
    with refused(TypeError, "`target_filtration` should be a RipsFiltration. Got FlagFiltration."):
        rtd(x, x, target_filtration=graph)
    with refused(
        TypeError,
        "`target_filtration` should be a RipsFiltration with `normalize`. Got FlagFiltration.",
    ):
        SignatureLoss(target_filtration=graph, normalize=0.9)
    for function in (signature_loss, rtd_lite, rtd):
        for quantile in (True, 0, -0.1, 1.5, math.nan):
            with refused(
                ValueError,
                f"`normalize` should be a quantile in (0, 1], or None. Got {quantile!r}.",
            ):
                function(x, x, normalize=quantile)
    with refused(
        ValueError,
        "`pairs` should index 3 vertices. Got vertex 3. Were the pairs found on another batch?",
    ):
        signature_loss(x, x, pairs=RIPS.pairs(torch.eye(4)))


@pytest.mark.parametrize("function", [signature_loss, rtd_lite, rtd])
def test_a_learned_metric_gets_its_gradient(function):
    weight = gaussian(0, 3, 3).requires_grad_()

    def learned(a, b):
        return torch.cdist(a @ weight, b @ weight)

    x, y = gaussian(1, 6, 3), gaussian(2, 6, 3)
    found = []
    for wanted in (False, True):
        leaf = x.clone().requires_grad_(wanted)
        (gradient,) = torch.autograd.grad(
            function(leaf, y, filtration=RipsFiltration(metric=learned)), weight
        )
        found.append(gradient)
    assert_close(found[0], found[1])
    assert bool(found[0].any())


@pytest.mark.parametrize("function", [signature_loss, rtd_lite, rtd])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_bad_values_are_refused_where_pairs_are_found(function, value):
    x, y = gaussian(0, 6, 3), gaussian(1, 6, 3)
    x[2, 1] = value
    cosine = RipsFiltration(metric="cosine")
    flat = RipsFiltration(metric=lambda a, b: a[:, 0])
    with refused(
        ValueError,
        "`source` should be finite. Got 1 row with NaN or infinity, first at row 2.",
    ):
        function(x, y)
    with refused(
        ValueError,
        '`target` should have no zero row under `metric="cosine"`. Got 1 zero row, first at row 0.',
    ):
        function(y, y * (torch.arange(6) > 0)[:, None], filtration=cosine)
    with refused(
        ValueError,
        "`metric(x, y)` should have shape (len(x), len(y)) = (6, 6). Got (6,).",
    ):
        function(y, y, filtration=flat)


@compiles_searches
@pytest.mark.parametrize("function", [signature_loss, rtd_lite, rtd])
@normalized
def test_they_compile_without_a_graph_break(function, normalize):
    torch._dynamo.reset()
    x, y = gaussian(0, 8, 3), gaussian(1, 8, 4)

    def loss(a, b):
        return function(a, b, normalize=normalize)

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert_close(compiled(x, y), loss(x, y))
    torch._dynamo.reset()


def test_dimensions_are_checked_by_the_functions_too():
    x = torch.eye(3)
    for dimensions in ((), (0, 0), (True,), 0):
        with refused(
            ValueError,
            "`dimensions` should be a sequence of distinct non-negative integers, such as (0, 1). "
            f"Got {dimensions!r}.",
        ):
            signature_loss(x, x, dimensions=dimensions)


@pytest.mark.parametrize("power", [0.5, 1.5])
def test_rtd_of_lengths_equal_up_to_rounding_is_finite(power):
    """Births and deaths are measured again, so that a death may lie just below its birth."""
    for seed in range(10):
        square = torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0)).double()
        grid = square @ rotation(seed, 8)[:2]
        source = grid.float().requires_grad_()
        order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
        value = rtd(source, grid[order].float(), power=power)
        value.backward()
        assert bool(value.isfinite())
        assert bool(source.grad.isfinite().all())


def bad(x, y):
    """Not symmetric."""
    return torch.cdist(x, y) * torch.arange(1, len(x) + 1)[:, None]


def undefined(x, y):
    return torch.cdist(x, y) * torch.nan


def counted(x, y):
    return torch.cdist(x, y).long()


@pytest.mark.parametrize("function", [signature_loss, rtd_lite, rtd])
@pytest.mark.parametrize("which", ["source", "target"])
def test_a_metric_of_the_users_is_checked(function, which):
    x, y = gaussian(0, 6, 3), gaussian(1, 6, 4)
    if which == "target":
        x, y = y, x

    def wrong(metric):
        return RipsFiltration(
            metric=lambda a, b: (metric if a.shape[1] == 3 else torch.cdist)(a, b)
        )

    name = f"`metric({which}, {which})`"
    with refused(ValueError, f"{name} should be free of NaN. Got 6 rows with NaN, first at row 0."):
        function(x, y, filtration=wrong(undefined))
    with pytest.raises(ValueError, match=rf"`metric\({which}, {which}\)` should be symmetric"):
        function(x, y, filtration=wrong(bad))
    with refused(
        TypeError, "`metric(x, y)` should be floating point. Got torch.int64. Use `.float()`."
    ):
        function(x, y, filtration=RipsFiltration(metric=counted))


@pytest.mark.parametrize("function", [signature_loss, rtd_lite, rtd])
@normalized
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of torch's own rules for forward mode
def test_derivatives_forward(function, normalize):
    x, y, direction = gaussian(0, 3, 6, 3).unbind(0)
    for loss in (
        lambda points: function(points, y, normalize=normalize),
        lambda points: function(y, points, normalize=normalize),
    ):
        expected = (torch.func.grad(loss)(x) * direction).sum()
        assert bool(expected != 0)
        assert_close(torch.func.jvp(loss, (x,), (direction,))[1], expected)


@pytest.mark.parametrize("function", [signature_loss, rtd_lite, rtd])
def test_a_metric_of_lower_precision_or_with_a_small_diagonal(function):
    """Its rounding is that of its dtype, and its diagonal counts as zero."""
    x, y = gaussian(0, 6, 3), gaussian(1, 6, 4)

    def single(a, b):
        a, b = a.float(), b.float()
        root = (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T).clamp(min=0).sqrt()
        return root * (1 + 1e-5 * (a[:, :1] > 0))  # nor symmetric but to its own rounding

    def rounded(a, b):
        return ((a[:, None] - b[None]).square().sum(2) + 1e-12).sqrt()

    for metric in (single, rounded):
        value = function(x, y, filtration=RipsFiltration(metric=metric))
        assert_close(value.double(), function(x, y), rtol=1e-3, atol=1e-5)

    def of_two_heights(a, b):  # each diagonal entry is the least of its own row alone
        return torch.cdist(a, b) + (a[:, None, 0].abs() > 9) * (b[None, :, 0].abs() > 9) * 0.5

    points = torch.tensor([[10.0], [20.0], [0.0], [1.0]]).double()
    heights, rips = RipsFiltration(metric=of_two_heights), RipsFiltration(metric=rounded)
    assert bool(function(points, points, filtration=heights).isfinite())
    none = torch.zeros(0, 3, 2)
    assert float(function(none, none, filtration=rips)) == 0
    function(1e-3 * x, 1e-3 * y, filtration=rips)
    function(0 * x, 0 * y, filtration=rips)


@pytest.mark.parametrize("function", [signature_loss, rtd_lite, rtd, pairs_by])
@pytest.mark.parametrize(
    "metric",
    [
        lambda a, b: a @ b.T,
        lambda a, b: (-torch.cdist(a, b).square() / 100).exp(),
        lambda a, b: torch.full((len(a), len(b)), torch.inf, dtype=a.dtype),
    ],
    ids=["cosine similarity", "kernel", "infinity"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_similarities_are_no_metrics(function, metric, dtype):
    points = torch.nn.functional.normalize(1 + 0.05 * gaussian(0, 9, 64), dim=1).to(dtype)
    with pytest.raises(ValueError, match="should be least on the diagonal"):
        function(points, points, filtration=RipsFiltration(metric=metric))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_derivatives_forward_in_both_spaces():
    """An inner level hides an outer one, whose points are no more constant for that."""
    x, y, u, v = gaussian(0, 4, 6, 3).unbind(0)
    step = 1e-5
    for function in (signature_loss, rtd_lite, rtd):

        def along(a, function=function):
            return torch.stack(torch.func.jvp(lambda b: function(a, b), (y,), (v,)))

        expected = (along(x + step * u) - along(x - step * u)) / (2 * step)
        assert abs(expected[0]) > 0.1
        assert_close(torch.func.jvp(along, (x,), (u,))[1], expected, rtol=1e-4, atol=1e-6)


FORMS = {
    "matrix": lambda points: points,
    "batch": lambda points: points[None],
    "list": lambda points: [points],
    "half": lambda points: points.half(),
}


@pytest.mark.parametrize("function", [signature_loss, rtd_lite, rtd])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_gradients_within_gradients(function, form):
    """Rows that are made within an inner level belong to it, which hides the outer one."""
    x, y = gaussian(0, 2, 7, 3).unbind(0)

    def value(a, b):
        return function(form(a), form(b)).double()

    def through_inner(a):
        return torch.func.grad_and_value(lambda b: value(a, b))(y)[1]

    leaf = x.clone().requires_grad_()
    value(leaf, y).backward()
    assert leaf.grad.norm() > 0.1
    assert_close(torch.func.grad(through_inner)(x), leaf.grad)
    again = x.clone().requires_grad_()
    through_inner(again).backward()
    assert_close(again.grad, leaf.grad)


def test_mixed_second_derivatives_in_both_spaces():
    x, y, u = gaussian(0, 3, 7, 3).unbind(0)
    step = 1e-5
    for form in (FORMS["matrix"], FORMS["batch"], FORMS["list"]):
        for options in ({}, {"normalize": 1.0}, {"normalize": 0.9}, {"dimensions": (0, 1)}):

            def slope(a, form=form, options=options):
                return torch.func.grad(lambda b: signature_loss(form(a), form(b), **options))(y)

            expected = (slope(x + step * u) - slope(x - step * u)) / (2 * step)
            assert expected.norm() > 0.1
            found = torch.func.jacrev(slope)(x).flatten(2) @ u.flatten()
            assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_one_space_is_searched_in_the_dimensions_that_the_other_gives():
    x, y = gaussian(0, 2, 9, 2).unbind(0)
    loops, target_loops = RIPS.pairs(x, 1), RIPS.pairs(y, 1)
    both = signature_loss(x, y, pairs=loops, target_pairs=target_loops)
    assert_close(signature_loss(x, y, pairs=loops), both)
    assert_close(signature_loss(x, y, target_pairs=[target_loops]), both)
    assert_close(signature_loss(x, y, dimensions=(1,)), both)


@pytest.mark.parametrize("function", [signature_loss, rtd_lite, rtd])
def test_half_and_single_precision_go_together(function):
    """As they come out of autocast, where one view went through a product."""
    x, y = gaussian(0, 2, 6, 3).float().unbind(0)
    expected = function(x.bfloat16().float(), y)
    leaf = x.bfloat16().requires_grad_()
    value = function(leaf, y)
    assert_close(value, expected)
    assert_close(function(y, leaf), function(y, leaf.float()))
    value.backward()
    assert leaf.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("function", [signature_loss, rtd_lite, rtd])
def test_gradients_by_torch_func(function):
    x, y = gaussian(0, 6, 3), gaussian(1, 6, 2)
    leaf = x.clone().requires_grad_()
    function(leaf, y).backward()
    assert_close(torch.func.grad(lambda points: function(points, y))(x), leaf.grad)


# Other filtrations


three = pytest.mark.parametrize("function", [signature_loss, rtd_lite, rtd])


@three
@normalized
@pytest.mark.parametrize("symmetric", [True, False])
def test_distance_matrices_give_what_points_give(function, normalize, symmetric):
    x, y = gaussian(0, 3, 7, 2), gaussian(1, 3, 7, 4)
    choice = {"normalize": normalize, "symmetric": symmetric, "reduction": "none"}
    for form in (lambda clouds: clouds, list, lambda clouds: clouds[0]):
        leaves = [clouds.clone().requires_grad_() for clouds in (x, y)]
        expected = function(*map(form, leaves), **choice)
        slopes = torch.autograd.grad(expected.sum(), leaves)
        matrices = [form(of_each(clouds)) for clouds in leaves]
        found = function(*matrices, filtration=MATRICES, **choice)
        assert_close(found, expected)
        assert_close(torch.autograd.grad(found.sum(), leaves, retain_graph=True), slopes)
        mixed = function(
            matrices[0], form(leaves[1]), filtration=MATRICES, target_filtration=RIPS, **choice
        )
        assert_close(mixed, expected)
        assert_close(torch.autograd.grad(mixed.sum(), leaves), slopes)


def of_each(clouds, metric="euclidean"):
    """A matrix of distances for each cloud of a batch."""
    return torch.stack([pairwise_distances(cloud, metric=metric) for cloud in clouds])


@three
@normalized
def test_the_second_space_may_have_another_metric(function, normalize):
    x, y = gaussian(0, 2, 7, 3), gaussian(1, 2, 7, 4)
    manhattan = RipsFiltration(metric="manhattan")
    for own, other, metrics in (
        (None, manhattan, ("euclidean", "manhattan")),
        (manhattan, None, ("manhattan", "manhattan")),
        (manhattan, RIPS, ("manhattan", "euclidean")),
    ):
        matrices = map(of_each, (x, y), metrics)
        expected = function(*matrices, filtration=MATRICES, normalize=normalize)
        options = {"filtration": own, "target_filtration": other, "normalize": normalize}
        assert_close(function(x, y, **options), expected)


@three
def test_matrices_of_different_sizes_do_not_go_together(function):
    a, b = (pairwise_distances(gaussian(0, n, 2)) for n in (4, 3))
    text = "`source` and `target` should be clouds of the same sizes, rows in the same order. "
    with refused(ValueError, text + "Got (4,) and (3,)."):
        function(a, b, filtration=MATRICES)
    with refused(ValueError, text + "Got (4,) and (3,)."):
        function(a, gaussian(0, 3, 2), filtration=MATRICES, target_filtration=RIPS)


@every
@choices
@pytest.mark.parametrize("quantile", [0.9, 0.55])
def test_a_quantile_of_the_whole_matrix_is_the_unit(
    function, module, slow, options, symmetric, quantile
):
    """As ``numpy.quantile`` takes it: zeros of the diagonal and both copies of a distance count."""
    x, y = gaussian(2, 7, 2).requires_grad_(), gaussian(3, 7, 3).requires_grad_()
    choice = {"symmetric": symmetric, **options}
    units = [
        numpy.quantile(distances_by_differences(points.detach()).numpy(), quantile)
        for points in (x, y)
    ]
    expected = slow(x.detach() / units[0], y.detach() / units[1], **choice)
    found = function(x, y, normalize=quantile, **choice)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-9)
    matrices = [torch.cdist(points, points) for points in (x, y)]  # torch's quantile has a gradient
    parts = [matrix / matrix.flatten().quantile(quantile) for matrix in matrices]
    literal = function(*parts, filtration=MATRICES, **choice)
    assert_close(torch.autograd.grad(found, (x, y)), torch.autograd.grad(literal, (x, y)))
    gradients_are_right(lambda a, b: function(a, b, normalize=quantile, **choice), x, y)


def slow_graphs(edges, source, target, filtration, dimensions, symmetric):
    """The signature loss of two weightings of one graph, edge by edge."""
    weights = [
        {tuple(edge): float(w) for edge, w in zip(edges.T.tolist(), own, strict=True)}
        for own in (source, target)
    ]
    total = 0.0
    for dimension in dimensions:
        for own in (source, target) if symmetric else (source,):
            pairs = filtration.pairs(own, dimension)
            for column in (pairs.birth_edges, pairs.death_edges):
                for i, j in column.tolist():
                    if i != j:
                        total += (weights[0][i, j] - weights[1][i, j]) ** 2 / 2
    return total


@choices
@pytest.mark.parametrize("dimensions", [(0,), (1,), (0, 1)])
def test_signature_loss_of_graphs(dimensions, symmetric):
    edges = torch.triu_indices(7, 7, 1)[:, torch.arange(21) % 5 > 0]
    graph = FlagFiltration(edges, 7)
    source, target = gaussian(0, 2, 3, edges.shape[1]).abs()
    choice = {"dimensions": dimensions, "symmetric": symmetric}
    expected = torch.tensor(
        [slow_graphs(edges, a, b, graph, **choice) for a, b in zip(source, target, strict=True)],
        dtype=torch.float64,
    )
    assert bool((expected > 0).all())
    loss = SignatureLoss(filtration=graph, reduction="none", **choice)
    assert_close(loss(source, target), expected)
    assert_close(loss(source[0], target[0]), expected[:1])
    mean = signature_loss(source, target, filtration=graph, **choice)
    assert_close(mean, expected.mean())
    gradients_are_right(loss, source, target)


@pytest.mark.parametrize("dimensions", [(0,), (1,), (0, 1)])
def test_a_complete_graph_is_its_points(dimensions):
    edges = torch.triu_indices(8, 8, 1)
    graph = FlagFiltration(edges, 8)
    x, y = gaussian(0, 3, 8, 2), gaussian(1, 3, 8, 3)
    a, b = (of_each(clouds)[:, edges[0], edges[1]] for clouds in (x, y))
    expected = signature_loss(x, y, dimensions=dimensions, reduction="none")
    choice = {"dimensions": dimensions, "reduction": "none"}
    assert_close(signature_loss(a, b, filtration=graph, **choice), expected)
    assert_close(signature_loss(x, b, target_filtration=graph, **choice), expected)
    assert_close(signature_loss(a, y, filtration=graph, target_filtration=RIPS, **choice), expected)


def test_graphs_that_do_not_go_together():
    path = FlagFiltration(torch.tensor([[0, 1], [1, 2]]), 3)
    points = torch.tensor([[0.0], [5.0], [1.0]])  # its tree has the edge (0, 2)
    with refused(
        ValueError,
        "`pairs` should hold edges of this graph. Got (0, 2). "
        "Were the pairs found on another graph?",
    ):
        signature_loss(points, torch.ones(2), target_filtration=path)
    weights = torch.tensor([[1.0, 2.0], [3.0, 1.0]])
    text = "`source` and `target` should be clouds of the same sizes, rows in the same order. "
    with refused(ValueError, text + "Got (3, 3) and (3,)."):
        signature_loss(weights, weights[0], filtration=path)
    other = RIPS.pairs(gaussian(0, 4, 1))
    with refused(
        ValueError,
        "`target_pairs` should index 3 vertices. Got vertex 3. "
        "Were the pairs found on another batch?",
    ):
        signature_loss(weights[0], weights[1], filtration=path, target_pairs=other)


@three
def test_a_quantile_among_missing_edges_is_no_unit(function):
    """Divided by infinity all lengths would be 0, and so would the loss."""
    x = gaussian(0, 2, 6, 2)
    source, target = of_each(x), of_each(x + gaussian(1, 2, 6, 2))
    target[1, 0, 5] = target[1, 5, 0] = math.inf
    for quantile in (1.0, 0.95):
        with refused(
            ValueError,
            "`target` should have finite distances up to the quantile `normalize`. "
            "Got an infinite one in cloud 1. Pass a smaller `normalize`.",
        ):
            function(source, target, filtration=MATRICES, normalize=quantile)
    target.requires_grad_()
    value = function(source, target, filtration=MATRICES, normalize=0.9)
    value.backward()
    assert bool(value.isfinite())
    assert bool(target.grad.isfinite().all())
    assert bool(target.grad.any())


@three
def test_edges_beyond_a_threshold_of_either_space_do_not_exist(function):
    """Whatever the other space, or its unit, makes of their lengths."""
    x, y = gaussian(4, 2, 8, 2), 3 * gaussian(5, 2, 8, 3)
    own, other = RipsFiltration(max_edge_length=0.9), RipsFiltration(max_edge_length=5.0)
    if function is signature_loss:
        found = function(x, y, filtration=own, target_filtration=other)
        pairs, target_pairs = own.pairs(x), other.pairs(y)
        assert_close(found, function(x, y, pairs=pairs, target_pairs=target_pairs))
        return
    a, b = of_each(x), of_each(y)
    a, b = a.masked_fill(a > 0.9, math.inf), b.masked_fill(b > 5.0, math.inf)
    expected = function(a, b, filtration=MATRICES)
    found = function(x, y, filtration=own, target_filtration=other)
    assert bool(expected.isfinite())
    assert_close(found, expected)
    gradients_are_right(
        lambda c, d: function(c, d, filtration=own, target_filtration=other, normalize=0.9), x, y
    )


@pytest.mark.parametrize("data", [[0], [], None, 3, [None, torch.ones(2)]])
def test_given_pairs_do_not_hide_what_is_wrong_with_the_weights(data):
    graph = FlagFiltration(torch.tensor([[0, 0], [1, 2]]), 3)
    weights = torch.tensor([1.0, 2.0])
    given = {"filtration": graph, "pairs": graph.pairs(weights)}
    for views in ((data, weights), (weights, data)):
        with pytest.raises((TypeError, ValueError), match=r"`\w+` should .* Got "):
            signature_loss(*views, **given)


# Missing edges: the scales at which components join, without those that never do


def components(edges):
    return connected_components(edges.numpy(), directed=False)[0]


def joins(matrix, known=None):
    """Sum of the scales at which components of some known edges join, by counting components."""
    known = torch.eye(len(matrix), dtype=torch.bool) if known is None else known
    total, count = 0.0, components(known)
    for scale in matrix[matrix.isfinite()].unique().tolist():
        left = components(known | (matrix <= scale))
        total, count = total + scale * (count - left), left
    return total


def with_gaps(seed, n, share):
    """A distance matrix without some of its edges."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(n, n, generator=generator, dtype=torch.float64).triu(1)
    missing = torch.rand(n, n, generator=generator) < share
    return (matrix + matrix.T).masked_fill((missing | missing.T).fill_diagonal_(False), math.inf)


@given(st.integers(1, 8), st.integers(0, 10**6), st.sampled_from([0.2, 0.5, 0.8, 1.0]))
def test_rtd_lite_leaves_out_components_that_never_join(n, seed, share):
    a, b = with_gaps(seed, n, share), with_gaps(seed + 1, n, share)
    union = torch.minimum(a, b)
    one, other = (joins(m) - joins(union) + joins(union, m.isfinite()) for m in (a, b))
    assert one >= -1e-12
    for symmetric, expected in ((True, (one + other) / 2), (False, one)):
        found = rtd_lite(a, b, filtration=MATRICES, symmetric=symmetric)
        assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12)


@given(st.integers(2, 8), st.integers(0, 10**6))
def test_rtd_lite_is_rtd_where_there_are_no_loops(n, seed):
    tree = torch.full((n, n), math.inf, dtype=torch.float64).fill_diagonal_(0)
    edges = [(i, seed % i) for i in range(1, n)]
    a, b = tree.clone(), tree.clone()
    for matrix, weights in ((a, gaussian(seed, n, 1)), (b, gaussian(seed + 1, n, 1))):
        for (i, j), weight in zip(edges, weights.flatten().tolist(), strict=False):
            if abs(weight) < 1:
                matrix[i, j] = matrix[j, i] = abs(weight)
    for symmetric in (True, False):
        found = rtd_lite(a, b, filtration=MATRICES, symmetric=symmetric)
        assert_close(found, rtd(a, b, filtration=MATRICES, symmetric=symmetric))


def test_rtd_lite_of_a_batch_with_a_threshold():
    x, y = gaussian(0, 20, 2).view(2, 10, 2), gaussian(1, 20, 2).view(2, 10, 2)
    near = RipsFiltration(max_edge_length=1.5)
    every = rtd_lite(x, y, filtration=near, reduction="none")
    assert_close(
        every, torch.stack([rtd_lite(*one, filtration=near) for one in zip(x, y, strict=True)])
    )
    assert (every > 0).all()
    matrices = [torch.stack([distances_by_differences(c) for c in z]) for z in (x, y)]
    matrices = [m.masked_fill(m > 1.5, math.inf) for m in matrices]
    assert_close(every, rtd_lite(*matrices, filtration=MATRICES, reduction="none"))
    assert torch.autograd.gradcheck(
        lambda *z: rtd_lite(*z, filtration=near), [z.clone().requires_grad_() for z in (x, y)]
    )
