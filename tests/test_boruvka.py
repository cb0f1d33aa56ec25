"""Boruvka in torch operations: edge for edge the forests of the compiled Prim and of Kruskal."""

import math

import pytest
import torch
from asserts import equal_kruskal, same_pairs
from hypothesis import given
from hypothesis import strategies as st
from launches import Launches
from oracles import kruskal
from strategies import (
    distances_by_differences,
    distinct_clouds,
    gaussian,
    integer_clouds,
    ragged,
    repeated_clouds,
    tied_matrices,
)
from torch._subclasses import FakeTensorMode

from topreg import PersistencePairs, RipsFiltration
from topreg.persistence.dense._boruvka import forests

BORUVKA = RipsFiltration(engine="boruvka")
PRIM = RipsFiltration(engine="prim")
OF_MATRICES = RipsFiltration(metric="precomputed", engine="boruvka")
any_dtype = st.sampled_from([torch.float32, torch.float64])
any_cloud = st.one_of(
    distinct_clouds(), integer_clouds(min_size=0), repeated_clouds().map(lambda drawn: drawn[0])
)


@given(tied_matrices(missing=True), st.sampled_from([0.0, 1.0, 2.0, math.inf]))
def test_forests_of_tied_matrices_equal_kruskal(matrix, longest):
    filtration = RipsFiltration(metric="precomputed", max_edge_length=longest, engine="boruvka")
    equal_kruskal(filtration.pairs(matrix), kruskal(matrix, longest))


@given(any_cloud, any_dtype)
def test_pairs_of_points_equal_prim(points, dtype):
    points = points.to(dtype)
    same_pairs(BORUVKA.pairs(points), PRIM.pairs(points))
    same_pairs(
        RipsFiltration(engine="boruvka", check_values=False).pairs(points), PRIM.pairs(points)
    )


@given(ragged(integer_clouds(min_size=0, max_size=20, dtype=torch.float32), max_clouds=6))
def test_ragged_batches_equal_prim(clouds):
    same_pairs(BORUVKA.pairs(clouds), PRIM.pairs(clouds))


@given(st.lists(tied_matrices(missing=True), max_size=5, min_size=1))
def test_ragged_matrices_with_missing_edges_equal_kruskal(matrices):
    matrices = [matrix.double() for matrix in matrices]
    for part, matrix in zip(OF_MATRICES.pairs(matrices).split(), matrices, strict=True):
        equal_kruskal(part, kruskal(matrix))


@pytest.mark.parametrize("sizes", [[], [0], [1], [0, 0], [1, 0, 1], [16, 17, 33, 2, 64, 5, 65, 0]])
@pytest.mark.parametrize("connected", [True, False])
def test_sizes_on_both_sides_of_powers_of_two(sizes, connected):
    clouds = [gaussian(n, n, 3) for n in sizes]
    weights = [distances_by_differences(cloud).flatten() for cloud in clouds]
    found = forests(torch.cat([gaussian(0, 0), *weights]), sizes, math.inf, connected)
    births, deaths, elders = (part.tolist() for part in found)
    first = 0
    for cloud in clouds:
        expected = kruskal(distances_by_differences(cloud))
        for edge, vertex in zip(*expected[:2], strict=True):
            assert deaths.pop(0) == [first + edge[0], first + edge[1]]
            assert births.pop(0) == [first + vertex] * 2
        for vertex in expected[2]:
            assert elders.pop(0) == [first + vertex] * 2
        first += len(cloud)
    assert (deaths, births, elders) == ([], [], [])


@pytest.mark.parametrize("n", [100, 257, 300])
@pytest.mark.parametrize("top", [2, 40, 10**6])
def test_many_vertices_equal_prim(n, top):
    upper = torch.randint(0, top, (n, n), generator=torch.Generator().manual_seed(n)).triu(1)
    matrix = (upper + upper.T).float()
    expected = RipsFiltration(metric="precomputed").pairs(matrix)
    same_pairs(OF_MATRICES.pairs(matrix), expected)


def test_a_path_whose_weights_fall_needs_the_pointers_to_be_followed_far():
    n = 200
    matrix = torch.full((n, n), math.inf).fill_diagonal_(0)
    i = torch.arange(n - 1)
    matrix[i, i + 1] = matrix[i + 1, i] = torch.arange(n - 1, 0, -1.0)
    equal_kruskal(OF_MATRICES.pairs(matrix), kruskal(matrix))


@given(st.data(), any_dtype, st.integers(8, 24), st.sampled_from([1, 1 << 32, 1 << 33]))
def test_weights_that_differ_in_few_bits_equal_kruskal(data, dtype, n, step):
    integer = torch.int32 if dtype == torch.float32 else torch.int64
    one = torch.ones((), dtype=dtype).view(integer)
    bits = one + torch.tensor([0, 1, 2, 3]) * (step if dtype == torch.float64 else 1)
    values = [-0.0, 0.0, *bits.to(integer).view(dtype).tolist(), math.inf]
    size = n * (n - 1) // 2
    entries = data.draw(st.lists(st.sampled_from(values), min_size=size, max_size=size))
    matrix = torch.zeros(n, n, dtype=dtype)
    i, j = torch.triu_indices(n, n, 1)
    matrix[i, j] = matrix[j, i] = torch.tensor(entries, dtype=dtype)
    longest = data.draw(st.sampled_from(values))
    _, deaths, elders = forests(matrix.flatten(), [n], longest, False)
    expected = kruskal(matrix, longest)
    assert deaths.tolist() == [list(edge) for edge in expected[0]]
    assert elders.tolist() == [[vertex] * 2 for vertex in expected[2]]


# If all rounds read the whole matrix there are 547, 697 and 775 launches. They touch 48.0, 50.9 and
# 54.2 times the bytes of the weights in single precision, 41.7, 47.0 and 50.6 times in double.
@pytest.mark.parametrize(
    ("n", "clouds", "launches", "single", "double"),
    [(256, 64, 252, 24, 18.8), (1024, 8, 309, 21.5, 17.5), (2048, 1, 338, 22.7, 18.1)],
)
@pytest.mark.parametrize("connected", [True, False])
def test_how_much_a_device_is_asked_to_do(n, clouds, launches, single, double, connected):
    for dtype, bytes_per_byte in ((torch.float32, single), (torch.float64, double)):
        weights = torch.rand(clouds, n, n, dtype=dtype)
        weights = (weights + weights.mT).flatten()
        with Launches() as seen:
            forests(weights, [n] * clouds, math.inf, connected)
        assert len(seen.names) <= launches
        assert seen.bytes <= bytes_per_byte * weights.nbytes


@pytest.mark.parametrize("n", [46_341, 110_000])
def test_numbers_of_edges_fit_into_integers(n):
    with FakeTensorMode():
        deaths = forests(torch.empty(n * n), [n], math.inf, True)[1]
    assert deaths.shape == (n - 1, 2)
    last = (n // 4) ** 2 * (n * n + 1) + n * n  # the largest integer in the search
    assert last <= torch.iinfo(torch.int64).max


def test_negative_zero_is_zero():
    matrix = torch.tensor([[0.0, -0.0, 0.0], [-0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    weights = matrix.flatten()
    births, deaths, elders = forests(weights, [3], math.inf, False)
    assert deaths.tolist() == [[0, 1], [0, 2]]
    assert (births.tolist(), elders.tolist()) == ([[1, 1], [2, 2]], [[0, 0]])


def test_distances_that_overflow_are_edges():
    points = torch.tensor([[0.0], [3e38], [-3e38]])
    same_pairs(BORUVKA.pairs(points), PRIM.pairs(points))


def test_half_precision_is_selected_in_single():
    points = gaussian(0, 2, 30, 8).bfloat16()
    found = BORUVKA.pairs(points)
    assert isinstance(found, PersistencePairs)
    same_pairs(found, PRIM.pairs(points))
