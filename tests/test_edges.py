"""Births and deaths by compiled loops, and by torch's operations: values and gradients."""

import pytest
import torch
from strategies import gaussian
from torch.testing import assert_close

from topreg import PersistencePairs, RipsFiltration, pairwise_distances, total_persistence
from topreg.metrics._edges import _by_operations, edge_diagram, entries_at

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's forward mode

METRICS = ("euclidean", "cosine", "manhattan")
DTYPES = (torch.float32, torch.float64)
EXACT = {"rtol": 0, "atol": 0}


def cloud(dtype, width=3):
    """Points of which two coincide, in a view that is not contiguous."""
    points = gaussian(0, width, 9, dtype=dtype).T
    points[1] = points[0]
    return points.requires_grad_()


def edges():
    """Birth edges, of which one is (v, v), and death edges, of which one has length 0."""
    births = torch.tensor([[2, 3], [4, 4], [0, 7], [5, 6]])
    deaths = torch.tensor([[0, 1], [2, 8], [3, 7], [1, 7]])
    return births, deaths


def check_derivatives(function, leaf):
    """First and second order backward, and forward mode."""
    assert torch.autograd.gradcheck(function, leaf)
    assert torch.autograd.gradgradcheck(function, leaf)
    point, direction = leaf.detach(), gaussian(2, *leaf.shape)
    slopes = torch.func.jacrev(function)(point)
    expected = (slopes * direction).sum((-2, -1))
    assert_close(torch.func.jvp(function, (point,), (direction,))[1], expected)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("born", [True, False])
def test_points(metric, dtype, born):
    points, (births, deaths) = cloud(dtype), edges()
    births = births if born else None
    found = edge_diagram(points, births, deaths, metric)
    rows = torch.nn.functional.normalize(points, dim=1) if metric == "cosine" else points
    expected = _by_operations(rows, births, deaths, metric)
    assert_close(found, expected, **({} if metric == "cosine" else EXACT))
    weights = gaussian(1, 4, 2, dtype=dtype)
    slopes = [
        torch.autograd.grad((weights * values).sum(), points, retain_graph=True)
        for values in (found, expected)
    ]
    assert_close(*slopes)
    assert_close(edge_diagram(points.detach(), births, deaths, metric), found, **EXACT)


@pytest.mark.parametrize("metric", METRICS)
def test_derivatives_of_second_order_and_forward(metric):
    points, (births, deaths) = gaussian(0, 9, 3).requires_grad_(), edges()

    def diagram(x):
        return edge_diagram(x, births, deaths, metric)

    check_derivatives(diagram, points)


@pytest.mark.parametrize("vertex", [9, -1])
@pytest.mark.parametrize("column", [0, 1])
@pytest.mark.parametrize("metric", ["euclidean", "precomputed"])
def test_vertices_that_do_not_exist(vertex, column, metric):
    columns = [torch.tensor([[0, 1]]), torch.tensor([[2, 3]])]
    columns[column][0, 1] = vertex
    pairs = PersistencePairs(1, *columns, columns[0][:0], (9,))
    data = gaussian(0, 9, 3)
    with pytest.raises(IndexError):
        RipsFiltration(metric=metric).diagram(
            pairs, data if metric == "euclidean" else pairwise_distances(data)
        )


@pytest.mark.parametrize("dimension", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_given_distances(dimension, dtype):
    """Coincident points, entries below zero by rounding, empty clouds, and several clouds."""
    clouds = [gaussian(n, n, 3, dtype=dtype) for n in (5, 0, 9, 1)]
    clouds[2][1] = clouds[2][0]
    leaves = [pairwise_distances(points) for points in clouds]
    leaves[0][1, 2] = leaves[0][2, 1] = -1e-9
    leaves = [leaf.requires_grad_() for leaf in leaves]
    filtration = RipsFiltration(metric="precomputed")
    pairs = filtration.pairs(leaves, dimension)
    for found_in in (pairs, pairs.select(torch.arange(len(pairs)) % 2 == 0)):
        found = filtration.diagram(found_in, leaves)
        entries = torch.cat([leaf.flatten() for leaf in leaves])
        columns = found_in.birth_edges, found_in.death_edges
        expected = [entries_at(entries, pairs.cloud_sizes, column) for column in columns]
        assert_close(found, torch.stack(expected, dim=1), **EXACT)
        weights = gaussian(0, *found.shape, dtype=dtype)
        slopes = [
            torch.autograd.grad((weights * values).sum(), leaves, retain_graph=True)
            for values in (found, torch.stack(expected, dim=1))
        ]
        assert_close(*slopes, **EXACT)


def test_second_derivatives_of_given_distances():
    filtration = RipsFiltration(metric="precomputed")
    leaf = pairwise_distances(gaussian(0, 7, 3)).requires_grad_()
    pairs = filtration.pairs(leaf, 1)

    def squares(matrix):
        return filtration.diagram(pairs, matrix @ matrix)

    check_derivatives(squares, leaf)


def test_edges_of_all_clouds_in_any_order():
    points = gaussian(0, 3, 4, 2)

    given = torch.stack([pairwise_distances(x) for x in points])
    filtration = RipsFiltration(metric="precomputed")
    pairs = filtration.pairs(given)
    order = torch.tensor([8, 0, 4, 2, 7, 1, 3, 6, 5])
    shuffled = PersistencePairs(
        0, pairs.birth_edges[order], pairs.death_edges[order], pairs.essential_edges, (4, 4, 4)
    )
    assert_close(
        filtration.diagram(shuffled, given), filtration.diagram(pairs, given)[order], **EXACT
    )


@pytest.mark.parametrize("metric", METRICS)
def test_gradients_of_several_vectors_at_once(metric):
    filtration, x = RipsFiltration(metric=metric), gaussian(0, 9, 3).requires_grad_()
    diagram = filtration(x)
    vectors = gaussian(1, 4, *diagram.shape)
    (found,) = torch.autograd.grad(diagram, x, vectors, is_grads_batched=True, retain_graph=True)
    one_by_one = [torch.autograd.grad(diagram, x, v, retain_graph=True)[0] for v in vectors]
    assert_close(found, torch.stack(one_by_one))
    functional = torch.autograd.functional
    hessian = functional.hessian(total_persistence, x.detach())
    assert_close(functional.hessian(total_persistence, x.detach(), vectorize=True), hessian)
