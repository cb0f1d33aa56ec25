"""The order of edges and the values of diagrams come from one measurement.

For pairs that are measured in the data in which they were found no death lies before its birth,
deaths of dimension 0 do not fall, and a threshold taken from a diagram keeps its own edge: exactly,
by every named metric, in every precision, wherever the cloud stands in a batch.
"""

import math

import pytest
import torch
from asserts import same_pairs
from hypothesis import given
from hypothesis import strategies as st
from strategies import fewer_examples
from torch.testing import assert_close

from topreg import RipsFiltration, pairwise_distances, rtd_lite, wasserstein_distance
from topreg.filtrations import _rips

METRICS = ("euclidean", "cosine", "manhattan")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
exactly = {"rtol": 0, "atol": 0}


@pytest.fixture(autouse=True, scope="module", params=["by differences", "by products"])
def way(request):
    """Small clouds are measured by differences, others by products: both ways find these pairs."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "by products":
            patch.setattr(_rips, "pairs_of_few", lambda *_: None)
        yield


@st.composite
def clouds(draw):
    """Clouds with many equal and nearly equal distances, and some without."""
    width = draw(st.sampled_from([1, 2, 3, 8, 9, 20, 100]))
    n, seed = draw(st.integers(1, 30)), draw(st.integers(0, 1 << 16))
    generator = torch.Generator().manual_seed(seed)
    kind = draw(st.sampled_from(["lattice", "integers", "noise", "circle", "far"]))
    steps = torch.randint(1, 5, (n, width), generator=generator).double()
    noise = torch.randn(n, width, generator=generator, dtype=torch.float64)
    return {
        "lattice": steps / draw(st.sampled_from([3, 5, 7])),
        "integers": steps,
        "noise": noise,
        "circle": torch.nn.functional.normalize(noise, dim=1),
        "far": 50 + steps / 10 + 1e-3 * noise,
    }[kind]


def agree(first, second):
    """The same pairs, edge for edge."""
    for name in ("birth_edges", "death_edges", "essential_edges"):
        assert_close(getattr(first, name), getattr(second, name), **exactly)


def in_order(diagram, dimension):
    """No death before its birth; in dimension 0 deaths do not fall."""
    assert (diagram[:, 0] <= diagram[:, 1]).all()
    assert dimension > 0 or (diagram[1:, 1] >= diagram[:-1, 1]).all()


@pytest.mark.parametrize("dimension", [0, 1])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
@given(points=clouds())
def test_values_follow_the_order(metric, dtype, dimension, points):
    points = points.to(dtype)
    rips = RipsFiltration(metric=metric)
    pairs = rips.pairs(points, dimension)
    diagram = rips.diagram(pairs, points)
    in_order(diagram, dimension)
    distances = pairwise_distances(points, metric=metric)
    agree(pairs, RipsFiltration(metric="precomputed").pairs(distances, dimension))
    of_matrix = RipsFiltration(metric="precomputed").diagram(pairs, distances)
    in_order(of_matrix, dimension)
    if dtype != torch.float64:
        assert_close(diagram, of_matrix, **exactly)


@pytest.mark.parametrize("engine", ["prim", "tiled", "boruvka", "annotations"])
@pytest.mark.parametrize("metric", METRICS)
@fewer_examples
@given(points=clouds(), single=st.booleans())
def test_engines_agree_from_points(metric, engine, points, single):
    points = points.float() if single else points
    expected = RipsFiltration(metric=metric).pairs(points)
    agree(RipsFiltration(metric=metric, engine=engine).pairs(points), expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
@fewer_examples
@given(points=clouds())
def test_a_threshold_from_a_diagram_keeps_its_edge(metric, dtype, points):
    points = points.to(dtype)
    rips = RipsFiltration(metric=metric)
    for dimension in (0, 1):
        deaths = rips.diagram(rips.pairs(points, dimension), points)[:, 1]
        for longest in deaths[:: max(1, len(deaths) // 3)].tolist():
            some = RipsFiltration(metric=metric, max_edge_length=longest)
            pairs = some.pairs(points, dimension)
            assert len(pairs) == int((deaths <= longest).sum())
            in_order(some.diagram(pairs, points), dimension)


@pytest.mark.parametrize("metric", METRICS)
@fewer_examples
@given(points=clouds(), others=clouds(), single=st.booleans())
def test_a_cloud_of_a_batch_has_the_pairs_that_it_has_alone(metric, points, others, single):
    dtype = torch.float32 if single else torch.float64
    clouds = [others[:, :1].expand(-1, points.shape[1]).to(dtype), points.to(dtype)]
    for dimension in (0, 1):
        rips = RipsFiltration(metric=metric)
        agree(rips.pairs(clouds, dimension).split()[1], rips.pairs(clouds[1], dimension))


def test_a_diagram_of_a_lattice_can_be_matched_with_itself():
    points = torch.tensor([[5, 2, 4], [3, 0, 0], [2, 2, 5], [5, 0, 2], [3, 3, 2]]) / 5
    rips = RipsFiltration()
    diagram = rips.diagram(rips.pairs(points, 1), points)
    assert len(diagram) > 0
    assert_close(wasserstein_distance(diagram, diagram), torch.tensor(0.0))


def test_equal_distances_die_at_one_value():
    # (3, 4, 0, ...) and its permutations in float32, scaled so that nothing is exact
    points = torch.eye(12).repeat_interleave(2, 0)[:20] * 0.7
    rips = RipsFiltration()
    deaths = rips.diagram(rips.pairs(points), points)[:, 1]
    assert deaths.unique().tolist() == [0.0, torch.tensor(math.hypot(0.7, 0.7)).item()]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("width", [3, 40])
@fewer_examples
@given(seed=st.integers(0, 1 << 16))
def test_distances_in_single_precision_are_rounded_once(metric, width, seed):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(20, width, generator=generator) + 3
    distances = pairwise_distances(points, metric=metric)
    x = points.double()
    if metric == "cosine":  # of rows that were normalised in single precision
        x = torch.nn.functional.normalize(x, dim=1).float().double()
        exact = (x[:, None] - x).square().sum(2) / 2
    else:
        order = 1 if metric == "manhattan" else 2
        exact = torch.linalg.vector_norm(x[:, None] - x, ord=order, dim=2)
    step = torch.finfo(torch.float32).eps
    assert ((distances - exact).abs() <= 0.51 * step * exact).all()


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.nan])
@fewer_examples
@given(seed=st.integers(0, 1 << 16), rows=st.integers(1, 39), double=st.booleans())
def test_unchecked_values_give_some_edges_within_the_cloud(metric, bad, seed, rows, double):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(40, 12, generator=generator, dtype=torch.float64)
    points = points if double else points.float()
    points[torch.randperm(40, generator=generator)[:rows]] = bad
    points[0, 0] = -bad
    pairs = RipsFiltration(metric=metric, check_values=False).pairs(points)
    ends = pairs.death_edges
    assert len(pairs) <= 39
    assert ((ends >= 0) & (ends < 40)).all()
    assert (ends[:, 0] < ends[:, 1]).all()


def test_any_bits_of_nan_do_no_harm():
    points = torch.full((40, 12), -1, dtype=torch.int32).view(torch.float32).clone()
    points[:20] = torch.randn(20, 12, generator=torch.Generator().manual_seed(0))
    ends = RipsFiltration(check_values=False).pairs(points).death_edges
    assert ((ends >= 0) & (ends < 40)).all()


@pytest.mark.parametrize("scale", [1e30, 1e-24, 1e-30])
def test_lengths_and_gradients_stay_in_range(scale):
    points = (torch.tensor([[0.0], [1.0], [3.0]]) * scale).requires_grad_()
    diagram = RipsFiltration()(points)
    assert_close(diagram[:, 1] / scale, torch.tensor([1.0, 2.0]))
    (gradient,) = torch.autograd.grad(diagram[:, 1].sum(), points)
    assert_close(gradient, torch.tensor([[-1.0], [0.0], [1.0]]))
    (gradient,) = torch.autograd.grad(pairwise_distances(points)[0, 1], points)
    assert_close(gradient, torch.tensor([[-1.0], [1.0], [0.0]]))


def test_a_denormal_distance_has_a_gradient():
    points = torch.tensor([[0.0], [1e-40]], requires_grad=True)
    (gradient,) = torch.autograd.grad(pairwise_distances(points)[0, 1], points)
    assert_close(gradient, torch.tensor([[-1.0], [1.0]]), rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@fewer_examples
@given(seed=st.integers(0, 1 << 16))
def test_a_threshold_keeps_its_edge_across_spaces(dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(12, 20, generator=generator, dtype=dtype)
    deaths = RipsFiltration()(points)[:, 1]
    for place in (2, 7):
        some = RipsFiltration(max_edge_length=float(deaths[place]))
        loss = rtd_lite(
            points,
            torch.zeros_like(points),
            filtration=some,
            target_filtration=RipsFiltration(),
            symmetric=False,
        )
        assert_close(loss, deaths[: place + 1].sum())


def test_values_of_metrics_below_zero_by_rounding_count_as_zero():
    generator = torch.Generator().manual_seed(1)
    rows = torch.nn.functional.normalize(torch.randn(30, 7, generator=generator), dim=1)
    rows = torch.cat([rows, rows])
    for rips, data in (
        (RipsFiltration(metric=lambda x, y: 1 - x @ y.T), rows),
        (RipsFiltration(metric="precomputed"), 1 - rows @ rows.T),
    ):
        in_order(rips(data), 1)
        assert rips(data).min() == 0
    half = RipsFiltration(metric=lambda x, y: torch.cdist(x, y).half())
    assert half(torch.tensor([[0.0], [40000.0]])).tolist() == [[0.0, 40000.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("high", [1, 2, 9, 60, 3000])
@pytest.mark.parametrize("offset", [0, 1000])
def test_integers_whose_squared_distances_are_exact_and_some_that_are_not(dtype, high, offset):
    generator = torch.Generator().manual_seed(high)
    for n in (50, 90):
        whole = torch.randint(-high, high + 1, (n, 300), generator=generator) + offset
        for points in (whole.to(dtype), whole.to(dtype) / 4):
            expected = RipsFiltration(metric="precomputed").pairs(pairwise_distances(points))
            same_pairs(RipsFiltration().pairs(points), expected)
