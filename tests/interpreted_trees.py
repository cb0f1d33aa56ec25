"""Trees in one launch equal those of Kruskal and Prim, edge for edge, in Triton's interpreter.

``test_triton.py`` runs this file in a process whose environment chooses the interpreter, which
must happen before Triton is imported: ``TRITON_INTERPRET=1 pytest tests/interpreted_trees.py``.
"""

import math
from unittest import mock

import pytest
import torch
from asserts import equal_kruskal, same_pairs
from hypothesis import given
from hypothesis import strategies as st
from oracles import kruskal
from strategies import distances_by_differences, gaussian, integer_clouds, ragged, tied_matrices

from topreg import RipsFiltration
from topreg._pairs import found_pairs
from topreg.persistence import _dispatch
from topreg.persistence.dense import _device

# Triton's own warnings, with NumPy 1.25 and later
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RIPS = RipsFiltration()
OF_MATRICES = RipsFiltration(metric="precomputed", check_values=False)


def found_there(filtration, data):
    """Pairs as on a device on which Triton compiles."""
    with (
        mock.patch.object(_device, "compiles", return_value=True),
        mock.patch.object(_device, "boruvka", None),
        mock.patch.object(_dispatch, "_trees", return_value=_device.trees_on_device),
        mock.patch.object(_dispatch, "pairs_of_few", return_value=None),
    ):
        return filtration.pairs(data)


@given(
    st.lists(tied_matrices(max_size=9, missing=True), min_size=1, max_size=3),
    st.sampled_from([0.0, 1.0, 2.0, math.inf]),
)
def test_forests_of_tied_matrices_equal_kruskal(matrices, longest):
    filtration = RipsFiltration(metric="precomputed", max_edge_length=longest, check_values=False)
    matrices = [matrix.float() for matrix in matrices]
    for part, matrix in zip(found_there(filtration, matrices).split(), matrices, strict=True):
        equal_kruskal(part, kruskal(matrix, longest))


@given(ragged(integer_clouds(min_size=0, max_size=9, dtype=torch.float32), max_clouds=3))
def test_ragged_clouds_with_ties_and_duplicates_equal_prim(clouds):
    same_pairs(found_there(RIPS, clouds), RIPS.pairs(clouds))


@pytest.mark.parametrize(
    "sizes", [[], [0], [1], [2], [0, 0], [1, 0, 1], [16, 17, 33, 2, 0], [3, 3, 3], [5, 0, 5]]
)
@pytest.mark.parametrize("connected", [True, False])
def test_sizes_on_both_sides_of_powers_of_two(sizes, connected):
    matrices = [distances_by_differences(gaussian(n, n, 3)).float() for n in sizes]
    weights = torch.cat([torch.empty(0), *(matrix.flatten() for matrix in matrices)])
    with mock.patch.object(_device, "compiles", return_value=True):
        edges = _device.trees_on_device(weights, sizes, math.inf, connected)
    parts = found_pairs(0, *edges, tuple(sizes)).split()
    for part, matrix in zip(parts, matrices, strict=True):
        equal_kruskal(part, kruskal(matrix))


@pytest.mark.parametrize(("n", "top"), [(100, 2), (100, 10**6), (_device.MOST_LANES, 40)])
def test_many_vertices_equal_prim(n, top):
    upper = torch.randint(0, top, (n, n), generator=torch.Generator().manual_seed(n)).triu(1)
    matrix = (upper + upper.T).float()
    same_pairs(found_there(OF_MATRICES, matrix), OF_MATRICES.pairs(matrix))


def test_negative_zero_is_zero():
    matrix = torch.tensor([[0.0, -0.0, 0.0], [-0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    edges = _device.in_one_launch(matrix.flatten(), [3], math.inf, False)
    births, deaths, elders = (part.tolist() for part in edges)
    assert deaths == [[0, 1], [0, 2]]
    assert (births, elders) == ([[1, 1], [2, 2]], [[0, 0]])


def test_distances_that_overflow_are_edges():
    points = torch.tensor([[0.0], [3e38], [-3e38]])
    same_pairs(found_there(RIPS, points), RIPS.pairs(points))
