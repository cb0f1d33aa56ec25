"""Hard inputs, one row each: what topreg answers; ``benchmarks/torture.py`` asks others."""

import math
import warnings

import pytest
import torch
from asserts import same_multisets, spanning_tree
from torture_cases import CASES, expected, wrong

from topreg import RipsFiltration

METRICS = {"points": "euclidean", "distances": "precomputed", "directions": "cosine"}
ANSWERED = [case for case in CASES if not case.refusal]
REFUSED = [case for case in CASES if case.refusal]
TIED = [case for case in CASES if case.name.startswith("integer")]


def named(cases):
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


dimensions = pytest.mark.parametrize("dimension", [0, 1])


def filtration_of(case):
    return RipsFiltration(metric=METRICS[case.given], max_edge_length=case.longest)


@named(ANSWERED)
@dimensions
def test_the_oracles_agree_with_closed_forms(case, dimension):
    diagram, essential = expected(case, dimension)
    if dimension in case.known:
        known = torch.tensor(case.known[dimension], dtype=torch.float64).reshape(-1, 2)
        longer = diagram[(diagram[:, 1] - diagram[:, 0] > 1e-6) | (dimension == 0)]
        for column in (0, 1):
            same_multisets(longer[:, column], known[:, column], rtol=0, atol=1e-12)
    if dimension == 0:
        assert len(diagram) + essential == len(case.make())


@named(ANSWERED)
@dimensions
def test_the_answer_is_right(case, dimension):
    x, filtration = case.make(), filtration_of(case)
    pairs = filtration.pairs(x, dimension)
    diagram = filtration.diagram(pairs, x)
    assert diagram.dtype == (torch.float64 if x.dtype == torch.float64 else torch.float32)
    assert wrong(case, dimension, diagram.double(), len(pairs.essential_edges)) == ""
    assert {pairs.birth_edges.dtype, pairs.death_edges.dtype} == {torch.int64}


@named(ANSWERED)
def test_a_forest_accounts_for_every_vertex(case):
    x, pairs = case.make(), filtration_of(case).pairs(case.make())
    assert len(pairs) + len(pairs.essential_edges) == len(x)
    if len(pairs.essential_edges) == 1:
        spanning_tree(pairs.death_edges, len(x))
    if case.tree:
        assert list(map(tuple, pairs.death_edges.tolist())) == list(case.tree)


@named(REFUSED)
@dimensions
def test_what_has_no_answer_is_refused(case, dimension):
    with pytest.raises(ValueError, match=case.refusal):
        filtration_of(case).pairs(case.make(), dimension)


@named(TIED)
@dimensions
def test_diagrams_of_ties_equal_gudhi(case, dimension):
    with warnings.catch_warnings():
        # GUDHI looks for array-API packages at import and may meet their deprecation warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import gudhi
    matrix = case.matrix()
    tree = gudhi.RipsComplex(distance_matrix=matrix.numpy()).create_simplex_tree(max_dimension=2)
    tree.compute_persistence(homology_coeff_field=2, min_persistence=-1)
    intervals = torch.from_numpy(tree.persistence_intervals_in_dimension(dimension)).reshape(-1, 2)
    x, filtration = case.make(), filtration_of(case)
    diagram = filtration.diagram(filtration.pairs(x, dimension), x).double()
    finite = intervals[intervals[:, 1] < math.inf]
    finite, diagram = (d[d[:, 1] > d[:, 0]] for d in (finite, diagram))
    assert len(finite) > 0
    for column in (0, 1):
        same_multisets(diagram[:, column], finite[:, column], rtol=1e-6, atol=0)


@named([case for case in ANSWERED if case.given != "distances"])
@dimensions
def test_gradients_are_finite(case, dimension):
    x, filtration = case.make().requires_grad_(), filtration_of(case)
    filtration.diagram(filtration.pairs(x, dimension), x).sum().backward()
    assert x.grad.shape == x.shape
    assert bool(x.grad.isfinite().all())
