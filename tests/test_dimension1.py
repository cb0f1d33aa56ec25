"""Dimension 1 and above: exact against a matrix reduction and GUDHI, ties and thresholds too."""

import itertools
import math

import numpy as np
import pytest
import torch
from asserts import (
    gradients_are_right,
    listed,
    refused,
    repr_round_trips,
    same_multisets,
    same_pairs,
)
from hypothesis import given
from hypothesis import strategies as st
from oracles import gudhi_of_edges, kruskal, ordered_edges, reduction
from strategies import (
    SEEDS,
    distances_by_differences,
    fewer_examples,
    gaussian,
    integer_clouds,
    regular_polygon,
    repeated_clouds,
    rotation,
)
from torch.testing import assert_close

from topreg import (
    DeviatingPerturbation,
    HomologyConsistency,
    RipsFiltration,
    TrackCoincidence,
    pairwise_distances,
    persistence_tracks,
)
from topreg._compiled import NEVER, compiled
from topreg.persistence import _dispatch
from topreg.persistence.annotations._annotation_kernels import cancel, carriers, not_cancelled
from topreg.persistence.annotations._edge_kernels import DIGITS, sort_records
from topreg.persistence.library import _higher

RIPS = RipsFiltration()
PRECOMPUTED = RipsFiltration(metric="precomputed")
DTYPES = (torch.float32, torch.float64)


@st.composite
def dissimilarities(draw, max_size=9, top=5):
    """Symmetric matrices of few values, of any values, or sparse ones; no triangle inequality."""
    n, seed = draw(st.integers(0, max_size)), draw(SEEDS)
    generator = torch.Generator().manual_seed(seed)
    if draw(st.booleans()):
        matrix = torch.randint(0, draw(st.integers(1, top)) + 1, (n, n), generator=generator)
    else:
        matrix = torch.rand(n, n, generator=generator, dtype=torch.float64)
    matrix = matrix.to(draw(st.sampled_from(DTYPES)))
    if draw(st.booleans()):
        missing = torch.rand(n, n, generator=generator) < draw(st.floats(0, 0.7))
        matrix = torch.where(missing, math.inf, matrix)
    upper = torch.zeros_like(matrix)
    i, j = torch.triu_indices(n, n, 1)
    upper[i, j] = matrix[i, j]
    return upper + upper.T


@given(dissimilarities(), st.one_of(st.just(math.inf), st.integers(0, 5)))
def test_pairs_equal_a_matrix_reduction(matrix, longest):
    edges = ordered_edges(matrix, longest)
    filtration = RipsFiltration(metric="precomputed", max_edge_length=longest)
    assert listed(filtration.pairs(matrix, 1)) == reduction(edges, len(matrix))


@given(dissimilarities(max_size=24, top=12), st.one_of(st.just(math.inf), st.integers(0, 12)))
def test_pairs_equal_gudhi_and_dimension_0_a_sorted_edge_list(matrix, longest):
    n, edges = len(matrix), ordered_edges(matrix, longest)
    filtration = RipsFiltration(metric="precomputed", max_edge_length=longest)
    zero, one = filtration.all_pairs(matrix, 1)
    assert listed(one) == gudhi_of_edges(edges, n, 1)
    deaths, births, elders = kruskal(matrix, longest)
    assert listed(zero) == (
        [((v, v), edge) for v, edge in zip(births, deaths, strict=True)],
        [(v, v) for v in elders],
    )
    same_pairs(zero, filtration.pairs(matrix))
    same_pairs(one, filtration.pairs(matrix, 1))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("present", [0.04, 0.1, 0.3, 1.0])
def test_large_graphs_equal_gudhi(seed, present):
    """Many living classes at once: several words of slots, tables that grow, sums of rows."""
    n = 110
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.rand(n, n, generator=generator)
    if seed % 2:
        matrix = (20 * matrix).round()
    matrix = torch.where(torch.rand(n, n, generator=generator) < present, matrix, math.inf)
    matrix = matrix.triu(1) + matrix.triu(1).T
    assert listed(PRECOMPUTED.pairs(matrix, 1)) == gudhi_of_edges(ordered_edges(matrix), n, 1)


@pytest.mark.parametrize("n", [64, 65, 128, 129, 256, 257, 300])
def test_sparse_graphs_equal_gudhi(n):
    """Neighbours are bits: vertices fill words of 64 and groups of four words, or one bit more."""
    generator = torch.Generator().manual_seed(n)
    matrix = torch.rand(n, n, generator=generator)
    matrix = torch.where(torch.rand(n, n, generator=generator) < 18 / n, matrix, math.inf)
    matrix = matrix.triu(1) + matrix.triu(1).T
    assert listed(PRECOMPUTED.pairs(matrix, 1)) == gudhi_of_edges(ordered_edges(matrix), n, 1)


@pytest.mark.parametrize("seed", range(3))
def test_clusters_equal_gudhi(seed):
    """No class may be alive for a while, although later edges give birth to some."""
    points = gaussian(seed, 6, 1, 4).mul(4) + gaussian(seed + 10, 6, 22, 4)
    matrix = pairwise_distances(points.flatten(0, 1))
    assert listed(PRECOMPUTED.pairs(matrix, 1)) == gudhi_of_edges(ordered_edges(matrix), 132, 1)


def test_a_sphere_of_many_dimensions_equals_gudhi():
    points = torch.nn.functional.normalize(gaussian(0, 90, 200, dtype=torch.float32), dim=1)
    matrix = pairwise_distances(points)
    pairs = RIPS.pairs(points, 1)
    assert listed(pairs) == gudhi_of_edges(ordered_edges(matrix), 90, 1)
    assert len(pairs) > 200


def test_classes_without_number():
    """The complete bipartite graph has a class for every edge beyond a tree, all of them alive."""
    half = 40
    matrix = torch.full((2 * half, 2 * half), math.inf).fill_diagonal_(0)
    matrix[:half, half:] = matrix[half:, :half] = 1.0
    pairs = PRECOMPUTED.pairs(matrix, 1)
    assert len(pairs) == 0
    assert len(pairs.essential_edges) == half * half - (2 * half - 1)


def test_the_longest_edges_lie_in_the_last_bucket():
    """Lengths span 256 floats, as many as there are buckets. The longest edges fill every hole."""
    half = 50
    matrix = torch.full((2 * half, 2 * half), 1 + 2.0**-15).fill_diagonal_(0)
    matrix[:half, half:] = matrix[half:, :half] = 1.0
    pairs = PRECOMPUTED.pairs(matrix, 1)
    assert len(pairs) == half * half - (2 * half - 1)
    assert len(pairs.essential_edges) == 0


@given(st.one_of(integer_clouds(max_size=10), repeated_clouds().map(lambda drawn: drawn[0])))
def test_diagrams_of_tied_points_equal_a_reduction(points):
    matrix = distances_by_differences(points)
    expected, stays = reduction(ordered_edges(matrix), len(points))
    diagram = RIPS.diagram(RIPS.pairs(points, 1), points)
    values = torch.tensor([[matrix[b], matrix[d]] for b, d in expected], dtype=torch.float64)
    alive = values.reshape(-1, 2)
    for column in (0, 1):
        longer = alive[:, 1] > alive[:, 0] + 1e-9
        ours = diagram[diagram[:, 1] > diagram[:, 0] + 1e-9]
        same_multisets(ours[:, column], alive[longer, column])
    assert stays == []


@pytest.mark.parametrize("n", range(4, 15))
@pytest.mark.parametrize("radius", [0.5, 3.0])
def test_a_regular_polygon_has_one_class(n, radius):
    points = regular_polygon(n, radius)
    diagram = RIPS.diagram(RIPS.pairs(points, 1), points)
    long = diagram[diagram[:, 1] > diagram[:, 0] + 1e-9]
    expected = [math.sin(math.pi / n), math.sin(math.pi * math.ceil(n / 3) / n)]
    assert_close(long, 2 * radius * torch.tensor([expected], dtype=torch.float64))


@pytest.mark.parametrize("circles", [1, 2, 5])
def test_circles_are_counted(circles):
    points = torch.cat([regular_polygon(24) + 10 * c for c in range(circles)])
    diagram = RIPS.diagram(RIPS.pairs(points, 1), points)
    long = diagram[(diagram[:, 1] - diagram[:, 0]) > 1]
    assert len(long) == circles
    expected = [2 * math.sin(math.pi / 24), math.sqrt(3)]
    assert_close(long, torch.tensor([expected] * circles, dtype=torch.float64))


def test_a_threshold_leaves_essential_classes():
    points = regular_polygon(12)
    pairs = RipsFiltration(max_edge_length=1.0).pairs(points, 1)
    assert len(pairs) == 0
    assert len(pairs.essential_edges) == 1
    side = 2 * math.sin(math.pi / 12)
    i, j = pairs.essential_edges[0]
    assert_close(float((points[i] - points[j]).norm()), side)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
@pytest.mark.parametrize("dimension", [1, 2])
@pytest.mark.parametrize("engine", ["auto", "gudhi"])
def test_no_class_in_fewer_than_four_points(n, dimension, engine):
    pairs = RipsFiltration(engine=engine).pairs(gaussian(n, n, 3), dimension)
    assert pairs.dimension == dimension
    assert len(pairs) == len(pairs.essential_edges) == 0
    assert pairs.birth_edges.shape == pairs.death_edges.shape == (0, 2)
    assert pairs.birth_edges.dtype == torch.int64


@given(SEEDS, st.permutations(range(9)))
def test_permuting_the_vertices_permutes_the_pairs(seed, order):
    points = gaussian(seed, 9, 3)
    order = torch.tensor(order)
    pairs, permuted = RIPS.pairs(points, 1), RIPS.pairs(points[order], 1)
    for name in ("birth_edges", "death_edges"):
        back = order[getattr(permuted, name)].sort(dim=1).values
        assert_close(back, getattr(pairs, name), rtol=0, atol=0)


@given(SEEDS)
def test_pairs_survive_motions_and_scalings_and_diagrams_scale(seed):
    points = gaussian(seed, 12, 3)
    moved = 3 * points @ rotation(seed, 3) + 1
    pairs = RIPS.pairs(points, 1)
    same_pairs(RIPS.pairs(moved, 1), pairs)
    assert_close(RIPS.diagram(pairs, moved), 3 * RIPS.diagram(pairs, points))


@given(SEEDS)
def test_pairs_survive_an_increasing_function_of_the_distances(seed):
    matrix = distances_by_differences(gaussian(seed, 12, 3))
    same_pairs(PRECOMPUTED.pairs(matrix.square(), 1), PRECOMPUTED.pairs(matrix, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, *DTYPES])
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
def test_points_give_the_pairs_of_their_distances(metric, dtype):
    points = gaussian(1, 40, 20, dtype=dtype)
    expected = PRECOMPUTED.pairs(
        pairwise_distances(points.to(max(dtype, torch.float32, key=_size)), metric=metric), 1
    )
    same_pairs(RipsFiltration(metric=metric).pairs(points, 1), expected)


def _size(dtype):
    return torch.finfo(dtype).bits


def test_double_precision_is_kept():
    """A square whose sides differ in the tenth digit; in single precision they would be equal."""
    matrix = torch.tensor(
        [
            [0, 1, 9, 1 + 3e-9],
            [1, 0, 1 + 2e-9, 9],
            [9, 1 + 2e-9, 0, 1 + 1e-9],
            [1 + 3e-9, 9, 1 + 1e-9, 0],
        ],
        dtype=torch.float64,
    )
    assert listed(PRECOMPUTED.pairs(matrix, 1)) == ([((0, 3), (0, 2))], [])
    assert listed(PRECOMPUTED.pairs(matrix.float(), 1)) == ([((2, 3), (0, 2))], [])


def test_negative_zeros_are_zeros():
    matrix = torch.ones(4, 4).fill_diagonal_(0)
    matrix[0, 1] = matrix[1, 0] = -0.0
    same_pairs(PRECOMPUTED.pairs(matrix, 1), PRECOMPUTED.pairs(matrix.abs(), 1))


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), SEEDS)
def test_a_batch_is_a_disjoint_union(sizes, seed):
    clouds = [gaussian(seed + c, n, 3) for c, n in enumerate(sizes)]
    together = RIPS.all_pairs(clouds, 1)
    for p in (0, 1):
        for part, cloud in zip(together[p].split(), clouds, strict=True):
            same_pairs(part, RIPS.pairs(cloud, p))


@pytest.mark.parametrize("dimension", [0, 1, 2])
def test_a_batch_of_no_cloud(dimension):
    pairs = RIPS.pairs(torch.zeros(0, 5, 3), dimension)
    assert len(pairs) == len(pairs.essential_edges) == 0
    assert pairs.cloud_sizes == ()


@pytest.mark.parametrize("engine", ["prim", "annotations", "gudhi"])
def test_a_threshold_of_negative_zero(engine):
    filtration = RipsFiltration(max_edge_length=-0.0, engine=engine)
    assert len(filtration.pairs(torch.zeros(3, 2))) == 2


@pytest.mark.parametrize("engine", ["prim", "annotations", "gudhi"])
def test_a_distance_that_overflows_is_an_edge(engine):
    points = torch.tensor([[-3e38], [3e38], [3e38]])
    assert len(RipsFiltration(engine=engine).pairs(points)) == 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", range(5))
def test_edges_in_shares_equal_all_edges_at_once(seed, dtype):
    """Early ends, thresholds, missing edges, ties and several components, on enough edges."""
    n = 130
    generator = torch.Generator().manual_seed(seed)
    points = gaussian(seed, n, 2 + seed, dtype=dtype)
    points[: 40 * (seed % 3)] += 100
    matrix = pairwise_distances(points)
    if seed % 2:
        matrix = (8 * matrix).round()
    if seed == 3:
        mask = (torch.rand(n, n, generator=generator) < 0.1).triu(1)
        matrix = torch.where(mask | mask.T, math.inf, matrix)
    for longest in (math.inf, float(matrix[matrix < math.inf].median())):
        filtration = RipsFiltration(metric="precomputed", max_edge_length=longest)
        edges = ordered_edges(matrix, longest)
        assert listed(filtration.pairs(matrix, 1)) == gudhi_of_edges(edges, n, 1)


@pytest.mark.parametrize("bits", [0, 1, 7, 8, 11, 12, 22, 31, 32])
@pytest.mark.parametrize("count", [1, 2, 1000])
def test_records_are_sorted_stably(bits, count):
    rng = np.random.default_rng(bits)
    keys = rng.integers(0, 1 << bits, count, dtype=np.uint64)
    keys[-1] = (1 << bits) - 1
    records = keys << np.uint64(32) | rng.integers(0, 1 << 32, count, dtype=np.uint64)
    expected = records[np.argsort(keys, kind="stable")]
    sort_records(records, np.empty_like(records), np.empty(DIGITS, np.int32), NEVER)
    np.testing.assert_array_equal(records, expected)


def test_64_apexes_are_compared_at_once_as_one_by_one():
    rng = np.random.default_rng(0)
    for base in (0, 1, 2):
        left, right = rng.integers(0, 4, (2, 64), dtype=np.int32)
        bits = int(_sixty_four(left, right, np.int32(base)))
        expected = [not cancel.py_func(base, *sides) for sides in zip(left, right, strict=True)]
        assert [bool(bits >> place & 1) for place in range(64)] == expected


@compiled
def _sixty_four(left, right, base):
    return not_cancelled(left, right, base)


@pytest.mark.parametrize("position", [0, 31, 63])
def test_sixty_four_words_are_searched_at_once_as_one_by_one(position):
    words = np.random.default_rng(position).integers(0, 2**64, 64, dtype=np.uint64)
    expected = sum(1 << place for place, word in enumerate(words) if int(word) >> position & 1)
    assert int(_carriers_of(words, np.uint64(1 << position))) == expected


@compiled
def _carriers_of(words, bit):
    return carriers(words, bit)


# Engines


@fewer_examples
@given(dissimilarities(max_size=8), st.one_of(st.just(math.inf), st.integers(0, 5)))
def test_every_engine_gives_the_same_pairs(matrix, longest):
    def found(engine, dimension):
        filtration = RipsFiltration(metric="precomputed", max_edge_length=longest, engine=engine)
        return filtration.pairs(matrix, dimension)

    for engine in ("annotations", "gudhi", "auto"):
        same_pairs(found(engine, 0), found("prim", 0))
    same_pairs(found("gudhi", 1), found("annotations", 1))
    same_pairs(found("gudhi", 2), found("auto", 2))
    assert listed(found("gudhi", 2)) == reduction(ordered_edges(matrix, longest), len(matrix), 2)


@pytest.mark.parametrize("engine", ["auto", "gudhi"])
def test_an_octahedron_bounds_a_cavity(engine):
    points = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    filtration = RipsFiltration(engine=engine)
    diagram = filtration.diagram(filtration.pairs(points, 2), points)
    long = diagram[diagram[:, 1] > diagram[:, 0] + 1e-9]
    assert_close(long, torch.tensor([[math.sqrt(2), 2.0]], dtype=torch.float64))


def projective_plane():
    """Distances whose clique complex at 1 is the subdivided projective plane, and at 2 a simplex.

    Its loop and its cavity live over Z/2 alone.
    """
    triangles = ["124", "126", "134", "135", "156", "235", "236", "245", "346", "456"]
    triangles = [frozenset(triangle) for triangle in triangles]
    edges = {frozenset(edge) for t in triangles for edge in itertools.combinations(t, 2)}
    cells = [*map(frozenset, "123456"), *sorted(edges, key=sorted), *triangles]
    assert len(cells) == 6 + 15 + 10
    apart = [[0.0 if a == b else 1.0 if a < b or b < a else 2.0 for b in cells] for a in cells]
    return torch.tensor(apart)


@pytest.mark.parametrize(
    ("engine", "dimension"),
    [
        ("annotations", 1),
        ("gudhi", 1),
        ("gudhi", 2),
        ("auto", 2),
    ],
)
def test_coefficients_are_integers_modulo_2(engine, dimension):
    distances = projective_plane()
    filtration = RipsFiltration(metric="precomputed", engine=engine)
    diagram = filtration.diagram(filtration.pairs(distances, dimension), distances)
    assert diagram[diagram[:, 1] > diagram[:, 0]].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("at_most", "missing", "engine"),
    [
        (10, (), "gudhi"),
        (1 << 24, ("gph",), "gudhi"),
        (15, (), "gudhi"),
        (16, (), "giotto"),
    ],
)
def test_which_library_is_asked(monkeypatch, at_most, missing, engine):
    asked, find = [], _higher._gudhi  # which runs wherever the tests do
    for name in ("gudhi", "giotto"):
        monkeypatch.setattr(
            _higher, f"_{name}", lambda *given, name=name: asked.append(name) or find(*given[:3])
        )
    monkeypatch.setattr(_higher, "MOST_RANKS", at_most)
    monkeypatch.setattr(_higher, "available", lambda library: library not in missing)
    RIPS.pairs(torch.eye(6), 2)  # 15 edges of one length
    RipsFiltration(engine="gudhi").pairs(torch.eye(6), 2)
    assert asked == [engine, "gudhi"]


@pytest.mark.parametrize("points", [gaussian(3, 9, 3), torch.zeros(0, 4, 3), torch.zeros(0, 3)])
def test_all_dimensions_by_gudhi_alone(points):
    for found, expected in zip(
        RipsFiltration(engine="gudhi").all_pairs(points, 3), RIPS.all_pairs(points, 3), strict=True
    ):
        same_pairs(found, expected)


def test_missing_edges_of_both_libraries():
    points = gaussian(4, 12, 4)
    longest = float(torch.pdist(points).quantile(0.8))
    for found, expected in zip(
        RipsFiltration(max_edge_length=longest).all_pairs(points, 2),
        RipsFiltration(max_edge_length=longest, engine="gudhi").all_pairs(points, 2),
        strict=True,
    ):
        same_pairs(found, expected)


def test_higher_dimensions_of_a_batch():
    octahedron = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    clouds = [octahedron, octahedron[:2], octahedron[:0], 2 * octahedron]
    found = RIPS.all_pairs(clouds, 2)
    for p in range(3):
        for part, cloud in zip(found[p].split(), clouds, strict=True):
            same_pairs(part, RIPS.pairs(cloud, p))


def test_gudhi_alone_when_giotto_is_missing_or_ranks_are_too_many(monkeypatch):
    points = gaussian(0, 16, 3)
    expected = RIPS.pairs(points, 2)
    with monkeypatch.context() as patch:
        patch.setattr(_higher, "available", lambda library: library != "gph")
        same_pairs(RIPS.pairs(points, 2), expected)
    monkeypatch.setattr(_higher, "MOST_RANKS", 10)
    same_pairs(RIPS.pairs(points, 2), expected)


def test_the_message_without_the_extra(monkeypatch):
    monkeypatch.setattr(_dispatch, "available", lambda library: False)
    with refused(
        ValueError,
        "`dimension` should be 0 or 1 without the `tda` extra. Got 2. "
        'Run `pip install "topreg[tda]"`.',
    ):
        RIPS.pairs(torch.eye(3), 2)
    with refused(
        ValueError,
        '`engine="gudhi"` needs the `tda` extra. Run `pip install "topreg[tda]"`.',
    ):
        RipsFiltration(engine="gudhi").pairs(torch.eye(3))
    assert len(RIPS.pairs(regular_polygon(8), 1)) >= 1


@pytest.mark.parametrize("engine", ["annotations", "gudhi"])
def test_engines_are_in_the_representation(engine):
    repr_round_trips(RipsFiltration(engine=engine))


# Differentiation, tracks and losses


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
def test_the_gradient_of_the_diagram(metric):
    points = gaussian(2, 12, 3)
    filtration = RipsFiltration(metric=metric)
    pairs = filtration.pairs(points, 1)
    assert len(pairs) > 0
    gradients_are_right(lambda x: filtration.diagram(pairs, x), points, second=True)


def test_the_gradient_in_a_distance_matrix_is_symmetric():
    matrix = distances_by_differences(gaussian(2, 12, 3)).requires_grad_()
    pairs = PRECOMPUTED.pairs(matrix, 1)
    PRECOMPUTED.diagram(pairs, matrix).sum().backward()
    assert_close(matrix.grad, matrix.grad.T)
    assert_close(float(matrix.grad.sum()), 2.0 * len(pairs))


def test_gradients_at_duplicates_are_finite():
    points = torch.cat([regular_polygon(9)] * 2).requires_grad_()
    diagram = RIPS.diagram(RIPS.pairs(points, 1), points)
    diagram.square().sum().backward()
    assert bool(points.grad.isfinite().all())


@pytest.mark.parametrize("orientation", ["index", "aligned"])
def test_the_gradient_of_tracks_and_losses(orientation):
    source, target = gaussian(3, 2, 12, 3)
    pairs = RIPS.all_pairs(source, 1)
    assert len(pairs[1]) > 0
    gradients_are_right(lambda x: persistence_tracks(x, pairs[1], orientation=orientation), source)
    loss = TrackCoincidence(dimensions=(0, 1), orientation=orientation)
    gradients_are_right(lambda x, y: loss(x, y, pairs=pairs), source, target)


def test_losses_find_both_dimensions():
    source, target = gaussian(3, 2, 12, 3)
    labels = torch.arange(12) % 3
    pairs = RIPS.all_pairs(source, 1)
    alone = [TrackCoincidence(dimensions=(p,))(source, target) for p in (0, 1)]
    both = TrackCoincidence(dimensions=(0, 1))(source, target)
    assert_close(both, alone[0] + alone[1])
    assert_close(both, TrackCoincidence()(source, target, pairs=pairs))
    loss = HomologyConsistency(dimensions=(0, 1), perturbation_weight=0.5)
    perturbation = DeviatingPerturbation()(source, target, labels)
    assert_close(loss(source, target, labels), both + 0.5 * perturbation)


def test_aligned_tracks_do_not_change_with_the_numbering():
    """Relabelling flips single edges; only aligned tracks keep their cosines."""
    source, target = gaussian(5, 2, 14, 3)
    order = torch.randperm(14, generator=torch.Generator().manual_seed(1))
    loss = TrackCoincidence(dimensions=(1,), orientation="aligned")
    assert_close(loss(source[order], target[order]), loss(source, target))


def test_a_training_step_widens_a_hole():
    """Gradient ascent on persistence makes the circle of noisy points rounder."""
    points = (regular_polygon(16) + 0.1 * gaussian(0, 16, 2)).requires_grad_()
    optimizer = torch.optim.SGD([points], lr=0.05)
    persistences = []
    for _ in range(10):
        diagram = RIPS.diagram(RIPS.pairs(points, 1), points)
        persistence = (diagram[:, 1] - diagram[:, 0]).max()
        persistences.append(float(persistence.detach()))
        optimizer.zero_grad()
        (-persistence).backward()
        optimizer.step()
    assert persistences[-1] > persistences[0] + 0.2
