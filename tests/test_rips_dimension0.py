"""Pairs of dimension 0: GUDHI and a sorted edge list as oracles, and the contract's edge cases."""

import math

import pytest
import torch
from asserts import (
    equal_kruskal,
    refused,
    repr_round_trips,
    same_edge_sets,
    same_multisets,
    same_pairs,
    sorted_by_total_order,
    spanning_tree,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from oracles import gudhi_dimension_0, kruskal
from scipy.sparse.csgraph import minimum_spanning_tree as scipy_tree
from strategies import (
    SEEDS,
    collinear_clouds,
    distances_by_differences,
    distinct_clouds,
    gaussian,
    integer_clouds,
    ragged,
    regular_polygon,
    repeated_clouds,
    rotation,
    tied_matrices,
    wide_integer_clouds,
)
from torch.testing import assert_close

from topreg import RipsFiltration, minimum_spanning_tree, pairwise_distances
from topreg.filtrations import _rips
from topreg.persistence import _weights


@pytest.fixture(autouse=True, scope="module", params=["by differences", "by products"])
def way(request):
    """Small clouds are measured by differences, others by products: both ways find these pairs."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "by products":
            patch.setattr(_rips, "pairs_of_few", lambda *_: None)
        yield


RIPS = RipsFiltration()
PRECOMPUTED = RipsFiltration(metric="precomputed")
DTYPES = (torch.float32, torch.float64)
METRICS = ("euclidean", "cosine", "manhattan")

any_dtype = st.sampled_from(DTYPES)


# Against GUDHI


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_death_edges_equal_gudhi(dtype, data):
    points = data.draw(distinct_clouds(dtype=dtype))
    expected, _ = gudhi_dimension_0(distances_by_differences(points))
    same_edge_sets(RIPS.pairs(points).death_edges, expected)


@given(st.one_of(distinct_clouds(), integer_clouds(), repeated_clouds().map(lambda p: p[0])))
def test_diagrams_equal_gudhi(points):
    _, deaths = gudhi_dimension_0(distances_by_differences(points))
    diagram = RIPS.diagram(RIPS.pairs(points), points)
    same_multisets(diagram[:, 1], deaths)
    assert_close(diagram[:, 0], torch.zeros(len(deaths), dtype=torch.float64))


@given(tied_matrices(missing=True))
def test_diagrams_of_matrices_equal_gudhi(matrix):
    assume(len(matrix) > 0)
    _, deaths = gudhi_dimension_0(matrix)
    pairs = PRECOMPUTED.pairs(matrix)
    same_multisets(PRECOMPUTED.diagram(pairs, matrix)[:, 1], deaths, rtol=0, atol=0)


@given(distinct_clouds())
def test_tree_equals_scipy(points):
    distances = distances_by_differences(points)
    rows, columns = scipy_tree(distances.numpy()).nonzero()
    expected = {(min(e), max(e)) for e in zip(rows.tolist(), columns.tolist(), strict=True)}
    same_edge_sets(minimum_spanning_tree(distances), expected)


# Against a sorted edge list, ties included


@given(points=st.one_of(*(integer_clouds(dtype=d) for d in DTYPES)))
def test_pairs_of_tied_clouds_equal_kruskal(points):
    equal_kruskal(RIPS.pairs(points), kruskal(distances_by_differences(points)))


@given(points=st.one_of(*(wide_integer_clouds(dtype=d) for d in DTYPES)))
def test_pairs_of_tied_clouds_with_many_coordinates_equal_kruskal(points):
    equal_kruskal(RIPS.pairs(points), kruskal(distances_by_differences(points)))


@given(tied_matrices(missing=True))
def test_pairs_of_tied_matrices_equal_kruskal(matrix):
    pairs = PRECOMPUTED.pairs(matrix)
    equal_kruskal(pairs, kruskal(matrix))
    sorted_by_total_order(pairs.death_edges, matrix)
    same_pairs(RipsFiltration(metric="precomputed", check_values=False).pairs(matrix), pairs)


@given(tied_matrices())
def test_the_tree_of_a_tied_matrix_equals_kruskal(matrix):
    edges = minimum_spanning_tree(matrix)
    spanning_tree(edges, len(matrix))
    assert list(map(tuple, edges.tolist())) == kruskal(matrix)[0]


@pytest.mark.parametrize("n", [255, 256, 257, 300, 700])
@pytest.mark.parametrize("dtype", DTYPES)
def test_more_vertices_than_one_chunk_equal_kruskal(n, dtype):
    generator = torch.Generator().manual_seed(n)
    upper = torch.randint(0, 40, (n, n), generator=generator).triu(1).to(dtype)
    equal_kruskal(PRECOMPUTED.pairs(upper + upper.T), kruskal(upper + upper.T))


@pytest.mark.parametrize("n", [100, 300])
def test_all_distances_equal_gives_the_star_at_the_first_vertex(n):
    matrix = 1 - torch.eye(n)
    pairs = PRECOMPUTED.pairs(matrix)
    assert pairs.death_edges.tolist() == [[0, j] for j in range(1, n)]
    assert pairs.birth_edges.tolist() == [[j, j] for j in range(1, n)]


@pytest.mark.parametrize("metric", METRICS)
@given(data=st.data())
def test_every_metric_on_tied_clouds_equals_kruskal_on_its_matrix(metric, data):
    points = data.draw(integer_clouds(dtype=data.draw(any_dtype))) + 1
    distances = pairwise_distances(points, metric=metric)
    equal_kruskal(RipsFiltration(metric=metric).pairs(points), kruskal(distances))


@given(integer_clouds(dtype=torch.float32))
def test_a_callable_metric_equals_the_matrix_it_gives(points):
    def chebyshev(x, y):
        return (x[:, None] - y[None]).abs().amax(2)

    filtration = RipsFiltration(metric=chebyshev)
    pairs = filtration.pairs(points)
    equal_kruskal(pairs, kruskal(chebyshev(points, points)))
    i, j = pairs.death_edges.T
    expected = (points[j] - points[i]).abs().amax(1)
    assert_close(filtration.diagram(pairs, points)[:, 1], expected)


# Batches


@given(ragged(integer_clouds(min_size=0, dtype=torch.float32)))
def test_ragged_clouds_equal_the_clouds_alone(clouds):
    pairs = RIPS.pairs(clouds)
    assert pairs.cloud_sizes == tuple(map(len, clouds))
    for part, cloud in zip(pairs.split(), clouds, strict=True):
        same_pairs(part, RIPS.pairs(cloud))


@given(st.lists(tied_matrices(missing=True), min_size=1, max_size=4))
def test_ragged_matrices_equal_the_matrices_alone(matrices):
    matrices = [matrix.double() for matrix in matrices]
    parts = PRECOMPUTED.pairs(matrices).split()
    for part, matrix in zip(parts, matrices, strict=True):
        equal_kruskal(part, kruskal(matrix))
    trees = minimum_spanning_tree(matrices)
    for part, tree in zip(parts, trees, strict=True):
        assert_close(tree, part.death_edges)


@pytest.mark.parametrize("width", [3, 40])
def test_a_batch_equals_its_clouds(width):
    points = gaussian(0, 5, 30, width, dtype=torch.float32)
    pairs = RIPS.pairs(points)
    same_pairs(pairs, RIPS.pairs(list(points)))
    for part, cloud in zip(pairs.split(), points, strict=True):
        same_pairs(part, RIPS.pairs(cloud))
    assert_close(
        RIPS.diagram(pairs, points),
        torch.cat([RIPS.diagram(p, c) for p, c in zip(pairs.split(), points, strict=True)]),
    )


def test_a_batch_of_matrices_equals_its_matrices():
    points = gaussian(0, 5, 9, 3)
    matrices = torch.stack([pairwise_distances(cloud) for cloud in points])
    pairs = PRECOMPUTED.pairs(matrices)
    same_pairs(pairs, RIPS.pairs(points))
    assert_close(PRECOMPUTED.diagram(pairs, matrices), RIPS.diagram(pairs, points))
    for tree, cloud in zip(minimum_spanning_tree(matrices), points, strict=True):
        assert_close(tree, RIPS.pairs(cloud).death_edges)


def test_a_diagram_of_ragged_matrices_reads_the_right_entries():
    clouds = [gaussian(n, n, 3) for n in (4, 0, 1, 7)]
    matrices = [pairwise_distances(cloud) for cloud in clouds]
    pairs = PRECOMPUTED.pairs(matrices)
    assert_close(PRECOMPUTED.diagram(pairs, matrices), RIPS.diagram(pairs, clouds))


def test_no_cloud_at_all():
    pairs = RIPS.pairs(torch.zeros(0, 3, 2))
    assert (len(pairs), len(pairs.essential_edges), pairs.cloud_sizes) == (0, 0, ())
    assert pairs.split() == []
    assert pairs.cloud().dtype == torch.int64
    assert PRECOMPUTED.diagram(pairs, torch.zeros(0, 3, 3)).shape == (0, 2)
    assert minimum_spanning_tree(torch.zeros(0, 3, 3)) == []


# Families with known answers


@given(collinear_clouds())
def test_collinear_points_join_neighbours(drawn):
    points, order = drawn
    edges = RIPS.pairs(points).death_edges
    same_edge_sets(
        edges, {tuple(sorted(e)) for e in zip(order[:-1].tolist(), order[1:].tolist(), strict=True)}
    )
    lengths = torch.arange(1, len(points), dtype=torch.float64)
    assert_close(RIPS.diagram(RIPS.pairs(points), points)[:, 1], lengths)


@pytest.mark.parametrize("n", range(3, 15))
def test_a_regular_polygon_has_all_sides_but_one(n):
    pairs = RIPS.pairs(regular_polygon(n, 2.0))
    spanning_tree(pairs.death_edges, n)
    side = torch.tensor(4 * math.sin(math.pi / n), dtype=torch.float64)
    assert_close(RIPS.diagram(pairs, regular_polygon(n, 2.0))[:, 1], side.expand(n - 1))


@given(repeated_clouds())
def test_repeated_points_give_pairs_of_zero_persistence(drawn):
    points, different = drawn
    pairs = RIPS.pairs(points)
    spanning_tree(pairs.death_edges, len(points))
    diagram = RIPS.diagram(pairs, points)
    assert int((diagram[:, 1] == 0).sum()) == len(points) - different
    equal_kruskal(pairs, kruskal(pairwise_distances(points)))


def test_eleven_points_with_three_duplicates_have_ten_pairs():
    points = gaussian(0, 8, 3)
    assert len(RIPS.pairs(torch.cat([points, points[:3]]))) == 10


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("width", [0, 1, 3, 20])
def test_up_to_two_points(n, width):
    pairs = RIPS.pairs(torch.zeros(n, width))
    assert pairs.death_edges.tolist() == [[0, 1]][: max(n - 1, 0)]
    assert pairs.birth_edges.tolist() == [[1, 1]][: max(n - 1, 0)]
    assert pairs.essential_edges.tolist() == [[0, 0]][:n]
    assert pairs.death_edges.shape == (max(n - 1, 0), 2)
    assert pairs.death_edges.dtype == torch.int64
    assert RIPS.diagram(pairs, torch.zeros(n, width)).shape == (max(n - 1, 0), 2)
    same_pairs(PRECOMPUTED.pairs(torch.zeros(n, n)), pairs)


# Thresholds and missing edges


@given(integer_clouds(), st.sampled_from([0.0, 1.0, 1.2, math.sqrt(2), 2.0, 5.0, math.inf]))
def test_a_threshold_cuts_longer_edges(points, longest):
    pairs = RipsFiltration(max_edge_length=longest).pairs(points)
    equal_kruskal(pairs, kruskal(distances_by_differences(points), longest))
    assert len(pairs) + len(pairs.essential_edges) == len(points)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_threshold_is_closed_in_the_dtype_of_selection(dtype):
    tenth = torch.tensor(0.1, dtype=dtype)
    matrix = torch.tensor([[0.0, 1], [1, 0]], dtype=dtype) * tenth
    filtration = RipsFiltration(metric="precomputed", max_edge_length=0.1)
    assert len(filtration.pairs(matrix)) == 1
    above = torch.where(matrix > 0, tenth.nextafter(torch.ones_like(tenth)), 0)
    assert len(filtration.pairs(above)) == 0


def test_a_threshold_beyond_single_precision_cuts_nothing_finite():
    matrix = torch.tensor([[0.0, 3e38, math.inf], [3e38, 0, math.inf], [math.inf, math.inf, 0]])
    pairs = RipsFiltration(metric="precomputed", max_edge_length=1e300).pairs(matrix)
    assert pairs.death_edges.tolist() == [[0, 1]]
    assert pairs.essential_edges.tolist() == [[0, 0], [2, 2]]


def test_a_threshold_of_zero_keeps_coincident_points():
    points = torch.tensor([[1.0], [2.0], [1.0]])
    pairs = RipsFiltration(max_edge_length=0.0).pairs(points)
    assert pairs.death_edges.tolist() == [[0, 2]]
    assert pairs.essential_edges.tolist() == [[0, 0], [1, 1]]


@given(ragged(integer_clouds(min_size=0)), st.sampled_from([0.0, 1.0, 2.0]))
def test_thresholds_act_in_every_cloud_of_a_batch(clouds, longest):
    pairs = RipsFiltration(max_edge_length=longest).pairs(clouds)
    for part, cloud in zip(pairs.split(), clouds, strict=True):
        equal_kruskal(part, kruskal(distances_by_differences(cloud), longest))
        assert len(part) + len(part.essential_edges) == len(cloud)


def test_infinite_entries_are_no_edges():
    inf = math.inf
    matrix = torch.tensor([[0, inf, 1, inf], [inf, 0, inf, 2], [1, inf, 0, inf], [inf, 2, inf, 0]])
    pairs = PRECOMPUTED.pairs(matrix)
    assert pairs.death_edges.tolist() == [[0, 2], [1, 3]]
    assert pairs.birth_edges.tolist() == [[2, 2], [3, 3]]
    assert pairs.essential_edges.tolist() == [[0, 0], [1, 1]]
    assert_close(PRECOMPUTED.diagram(pairs, matrix), torch.tensor([[0.0, 1], [0, 2]]))


def test_distances_that_overflow_still_give_a_tree():
    points = torch.tensor([[0.0], [3e38], [-3e38]])
    assert RIPS.pairs(points).death_edges.tolist() == [[0, 1], [0, 2]]


# Matrices that are nearly distances


@given(tied_matrices(), SEEDS)
def test_rounding_within_the_tolerance_is_averaged(matrix, seed):
    tolerance = 1e-4 if matrix.dtype == torch.float32 else 1e-9
    noisy = matrix + tolerance * matrix.sum().clamp(max=3) * gaussian(
        seed, *matrix.shape, dtype=matrix.dtype
    )
    expected = ((noisy + noisy.T) / 2).clamp(min=0).fill_diagonal_(0)
    equal_kruskal(PRECOMPUTED.pairs(noisy), kruskal(expected))


def test_a_slightly_asymmetric_matrix_is_read_as_its_mean():
    matrix = torch.tensor([[0, 1.0002, 1], [1, 0, 1.00005], [1, 1.00005, 0]])
    pairs = PRECOMPUTED.pairs(matrix)
    assert pairs.death_edges.tolist() == [[0, 2], [1, 2]]
    assert_close(PRECOMPUTED.diagram(pairs, matrix)[:, 1], torch.tensor([1.0, 1.00005]))


def test_negative_zero_is_zero():
    matrix = torch.tensor([[0.0, 0.0, 1], [0.0, 0, -0.0], [1, -0.0, 0]])
    expected = [[0, 1], [1, 2]]
    for check_values in (True, False):
        pairs = RipsFiltration(metric="precomputed", check_values=check_values).pairs(matrix)
        assert pairs.death_edges.tolist() == expected


def test_cdist_is_accepted_with_its_rounding():
    points = gaussian(0, 60, 16, dtype=torch.float32) + 20
    matrix = torch.cdist(points, points)
    assert float(matrix.diagonal().abs().max()) > 0
    pairs = PRECOMPUTED.pairs(matrix)
    equal_kruskal(pairs, kruskal(((matrix + matrix.T) / 2).fill_diagonal_(0)))
    deaths = RIPS.diagram(RIPS.pairs(points), points)[:, 1]
    same_multisets(PRECOMPUTED.diagram(pairs, matrix)[:, 1], deaths, rtol=1e-3, atol=0)


# Precision


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("metric", METRICS)
def test_half_precision_is_selected_in_single(half, metric):
    points = torch.nn.functional.normalize(gaussian(1, 64, 16), dim=1).to(half)
    filtration = RipsFiltration(metric=metric)
    pairs = filtration.pairs(points)
    same_pairs(pairs, filtration.pairs(points.float()))
    diagram = filtration.diagram(pairs, points)
    assert diagram.dtype == torch.float32
    assert_close(diagram, filtration.diagram(pairs, points.float()))


def test_half_precision_matrices_are_selected_in_single():
    matrix = torch.tensor([[0, 2.0, 1], [2, 0, 4], [1, 4, 0]])
    for half in (torch.float16, torch.bfloat16):
        same_pairs(PRECOMPUTED.pairs(matrix.to(half)), PRECOMPUTED.pairs(matrix))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_double_precision_stays_double(order):
    lengths = torch.tensor([1, 1 + 1e-9, 1 + 2e-9], dtype=torch.float64)[list(order)]
    matrix = torch.zeros(3, 3, dtype=torch.float64)
    i, j = torch.triu_indices(3, 3, 1)
    matrix[i, j] = lengths
    equal_kruskal(PRECOMPUTED.pairs(matrix + matrix.T), kruskal(matrix + matrix.T))
    assert PRECOMPUTED.pairs((matrix + matrix.T).float()).death_edges.tolist() == [[0, 1], [0, 2]]


def test_double_precision_points_stay_double():
    points = torch.tensor([[0.0], [1.0 + 1e-9], [-1.0]], dtype=torch.float64)
    assert RIPS.pairs(points).death_edges.tolist() == [[0, 2], [0, 1]]
    wide = torch.cat([points, torch.zeros(3, 20, dtype=torch.float64)], dim=1)
    assert RIPS.pairs(wide).death_edges.tolist() == [[0, 2], [0, 1]]


def test_points_far_from_the_origin():
    points = (1e-2 * gaussian(0, 40, 16) + 1e4).float()
    pairs = RIPS.pairs(points)
    assert len(pairs) == 39
    deaths = RIPS.diagram(pairs, points)[:, 1]
    expected, lengths = gudhi_dimension_0(distances_by_differences(points))
    same_multisets(deaths, lengths)
    assert len(expected) == 39


# Invariance


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_pairs_are_unchanged_by_translation_rotation_and_scaling(dtype, data):
    points = data.draw(distinct_clouds())
    d = points.shape[1]
    turn, shift = rotation(data.draw(SEEDS), d), gaussian(data.draw(SEEDS), d)
    scale = data.draw(st.floats(0.01, 100))
    moved = (scale * points @ turn + shift).to(dtype)
    same_pairs(RIPS.pairs(moved), RIPS.pairs(points.to(dtype)))
    pairs = RIPS.pairs(points)
    assert_close(RIPS.diagram(pairs, scale * points @ turn), scale * RIPS.diagram(pairs, points))


@given(tied_matrices())
def test_pairs_are_unchanged_by_an_increasing_function(matrix):
    for function in (torch.sqrt, torch.square, torch.expm1):
        same_pairs(PRECOMPUTED.pairs(function(matrix)), PRECOMPUTED.pairs(matrix))


@given(distinct_clouds(), SEEDS)
def test_permuting_the_vertices_permutes_the_pairs(points, seed):
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
    there = RIPS.pairs(points[order]).death_edges
    back = order[there].sort(1).values
    assert_close(back, RIPS.pairs(points).death_edges)


@given(integer_clouds(), SEEDS)
def test_permuting_the_vertices_keeps_the_diagram(points, seed):
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
    pairs, permuted = RIPS.pairs(points), RIPS.pairs(points[order])
    assert_close(RIPS.diagram(permuted, points[order]), RIPS.diagram(pairs, points))


def test_on_unit_vectors_cosine_and_euclidean_trees_agree():
    points = torch.nn.functional.normalize(gaussian(3, 50, 12), dim=1)
    same_pairs(RipsFiltration(metric="cosine").pairs(points), RIPS.pairs(points))


@pytest.mark.parametrize("metric", METRICS)
def test_memory_layout_does_not_matter(metric):
    points = gaussian(0, 30, 24, dtype=torch.float32)
    filtration = RipsFiltration(metric=metric)
    same_pairs(filtration.pairs(points.T.contiguous().T), filtration.pairs(points))
    wide = torch.cat([points, points], dim=1)
    same_pairs(filtration.pairs(wide[:, :24]), filtration.pairs(points))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("width", [4, 24])
def test_points_are_not_changed(metric, width):
    points = gaussian(0, 20, width, dtype=torch.float32) + 100
    before = points.clone()
    RipsFiltration(metric=metric).pairs(points)
    assert_close(points, before, rtol=0, atol=0)


def test_matrices_are_not_changed():
    matrix = torch.tensor([[1e-6, 1.0], [1.00001, 0]])
    before = matrix.clone()
    PRECOMPUTED.pairs(matrix)
    minimum_spanning_tree(matrix)
    assert_close(matrix, before, rtol=0, atol=0)


# The filtration as an object


def test_pairs_carry_no_gradient_and_accept_leaves():
    points = gaussian(0, 6, 3).requires_grad_()
    pairs = RIPS.pairs(points)
    assert not any(t.requires_grad for t in (pairs.birth_edges, pairs.death_edges))
    RIPS.diagram(pairs, points).sum().backward()
    assert float(points.grad.abs().sum()) > 0


def test_the_gradient_in_a_distance_matrix_is_symmetric():
    matrix = pairwise_distances(gaussian(0, 5, 3)).requires_grad_()
    pairs = PRECOMPUTED.pairs(matrix)
    PRECOMPUTED.diagram(pairs, matrix)[:, 1].sum().backward()
    expected = torch.zeros_like(matrix)
    for i, j in pairs.death_edges.tolist():
        expected[i, j] = expected[j, i] = 0.5
    assert_close(matrix.grad, expected)


def test_all_pairs_up_to_dimension_0_is_one_object():
    points = gaussian(0, 6, 3)
    (only,) = RIPS.all_pairs(points, 0)
    same_pairs(only, RIPS.pairs(points))


def test_both_engine_names_give_the_same_pairs():
    points = gaussian(0, 30, 3)
    same_pairs(RipsFiltration(engine="prim").pairs(points), RIPS.pairs(points))


@pytest.mark.parametrize(
    "filtration",
    [
        RIPS,
        RipsFiltration(metric="cosine", max_edge_length=0.5),
        RipsFiltration(metric="precomputed", engine="prim"),
    ],
)
def test_repr_round_trips(filtration):
    repr_round_trips(filtration)


def test_repr_states_what_differs_from_the_defaults():
    assert repr(RIPS) == "RipsFiltration()"
    assert repr(RipsFiltration(max_edge_length=1)) == "RipsFiltration(max_edge_length=1.0)"


def test_unchecked_values_raise_nothing():
    points = torch.tensor([[0.0], [math.nan], [1.0]])
    assert RipsFiltration(check_values=False).pairs(points).cloud_sizes == (3,)


def test_a_sum_that_overflows_is_not_taken_for_infinity():
    points = torch.tensor([[6e4], [6e4], [5e4]], dtype=torch.float16)
    assert RIPS.pairs(points).death_edges.tolist() == [[0, 1], [0, 2]]
    assert len(RIPS.pairs(torch.tensor([[3e38], [3e38]]))) == 1


def test_infinities_that_cancel_are_found():
    points = torch.tensor([[math.inf], [-math.inf], [0.0]])
    with refused(
        ValueError, "`points` should be finite. Got 2 rows with NaN or infinity, first at row 0."
    ):
        RIPS.pairs(points)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [2, 15, 16, 17, 127, 129, 300, 1600])
def test_one_asymmetric_entry_is_found_wherever_it_lies(n, dtype):
    """Tiles, borders, bands, and from some size on threads: none may be left out."""
    generator = torch.Generator().manual_seed(n)
    upper = (1 + torch.rand(n, n, generator=generator, dtype=dtype)).triu(1)
    matrix = upper + upper.T
    assert len(PRECOMPUTED.pairs(matrix)) == n - 1
    last = n - 1
    places = {(0, last), (last, 0), (last - 1, last), (last, last // 2), (n // 3, 2 * n // 3)}
    for i, j in sorted(places | {(n // 2, n // 2), (last, last)}):
        spoilt = matrix.clone()
        spoilt[i, j] += 3
        with pytest.raises(
            ValueError, match=r"`points` should be (symmetric|zero on the diagonal)"
        ):
            PRECOMPUTED.pairs(spoilt)


def test_a_matrix_that_is_nearly_symmetric_is_read_as_its_mean():
    distances = torch.tensor([[0.0, 1.0, 2.0], [1.0 + 4e-4, 0.0, 3.0], [2.0, 3.0, 0.0]])
    for longest, edges in ((1.0 + 3e-4, 1), (1.0 + 1e-4, 0)):
        filtration = RipsFiltration(metric="precomputed", max_edge_length=longest)
        assert len(filtration.pairs(distances)) == edges


def test_what_is_allowed_follows_the_finite_entries():
    """Nothing where all are zero of either sign, and little where the others are infinite."""
    assert len(PRECOMPUTED.pairs(-torch.zeros(3, 3))) == 2
    small = 1e-3 * (1 - torch.eye(3))
    small[0, 2] = small[2, 0] = torch.inf
    assert len(PRECOMPUTED.pairs(small)) == 2
    small[0, 1] = 1.1e-3
    with pytest.raises(ValueError, match=r"`points` should be symmetric\."):
        PRECOMPUTED.pairs(small)


def test_a_matrix_of_infinities_alone():
    with refused(ValueError, "`points` should be zero on the diagonal. Got inf at (0, 0)."):
        RipsFiltration(metric="precomputed").pairs(torch.tensor([[torch.inf]]))


def test_a_batch_of_no_cloud_under_any_metric():
    for metric in ("euclidean", torch.cdist):
        pairs = RipsFiltration(metric=metric).pairs(torch.zeros(0, 4, 3))
        assert (len(pairs), pairs.cloud_sizes) == (0, ())


def test_distances_whose_sum_overflows():
    matrix = torch.tensor([[0.0, 2e38], [2e38, 0.0]])
    assert PRECOMPUTED.diagram(PRECOMPUTED.pairs(matrix), matrix).tolist() == matrix[:1].tolist()
    shifted = matrix + torch.tensor([[0.0, 1e32], [0.0, 0.0]])  # read as its mean
    assert len(PRECOMPUTED.pairs(shifted)) == 1
    assert len(RipsFiltration(metric=lambda x, y: shifted).pairs(torch.zeros(2, 1))) == 1
    assert bool(pairwise_distances(torch.zeros(2, 1), metric=lambda x, y: shifted).isfinite().all())


def test_nan_on_both_sides_of_the_diagonal_is_found():
    matrix = torch.zeros(3, 3)
    matrix[0, 1] = matrix[1, 0] = math.nan
    with refused(
        ValueError, "`points` should be free of NaN. Got 2 rows with NaN, first at row 0."
    ):
        PRECOMPUTED.pairs(matrix)


@pytest.mark.parametrize("sizes", [(4, 4), (4, 3), (4,), (3,)])
def test_matrices_as_large_as_those_that_several_threads_check(monkeypatch, sizes):
    monkeypatch.setattr(_weights, "LARGE", 4)
    matrices = [pairwise_distances(gaussian(n, n, 2)) for n in sizes]
    expected = [RIPS.pairs(gaussian(n, n, 2)) for n in sizes]
    for found, one in zip(PRECOMPUTED.pairs(matrices).split(), expected, strict=True):
        same_pairs(found, one)
    matrices[-1][0, 1] = 9
    with pytest.raises(ValueError, match="`points` should be symmetric"):
        PRECOMPUTED.pairs(matrices)


@pytest.mark.parametrize("dtype", [*DTYPES, torch.bfloat16])
def test_the_tolerance_is_16_roots_of_the_machine_epsilon(dtype):
    allowed = min(16 * math.sqrt(torch.finfo(dtype).eps), 0.25)
    matrix = torch.full((3, 3), 1.0) - torch.eye(3)
    for share, good in ((0.97, True), (1.03, False)):
        noisy = matrix.double()
        noisy[0, 1] -= share * allowed
        noisy = noisy.to(dtype)
        if good:
            assert len(PRECOMPUTED.pairs(noisy)) == 2
            continue
        with pytest.raises(ValueError, match="`points` should be symmetric"):
            PRECOMPUTED.pairs(noisy)


def test_infinite_distances_leave_a_forest():
    matrix = torch.tensor([[0.0, 1.0, math.inf], [1.0, 0.0, math.inf], [math.inf, math.inf, 0.0]])
    assert minimum_spanning_tree(matrix).tolist() == [[0, 1]]
    assert [tree.tolist() for tree in minimum_spanning_tree([matrix, matrix[1:, 1:]])] == [
        [[0, 1]],
        [],
    ]
