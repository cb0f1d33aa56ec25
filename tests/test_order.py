"""The order of edges and the values of diagrams come from one measurement.

For pairs that are measured in the data in which they were found no death lies before its birth,
deaths of dimension 0 do not fall, and a threshold taken from a diagram keeps its own edge: exactly,
by every named metric, in every precision, wherever the cloud stands in a batch.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import fewer_examples
from torch.testing import assert_close

from topreg import RipsFiltration, pairwise_distances, wasserstein_distance

METRICS = ("euclidean", "cosine", "manhattan")
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
exactly = {"rtol": 0, "atol": 0}


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
