"""Edge vectors and persistence tracks: equation 4."""

import oracles
import pytest
import torch
from asserts import gradients_are_right
from hypothesis import given
from hypothesis import strategies as st
from strategies import SEEDS, distinct_clouds, gaussian, integer_clouds, ragged
from test_pairs import of_dimension_1
from torch.testing import assert_close

from topreg import PersistencePairs, RipsFiltration, edge_vectors, persistence_tracks
from topreg._tracks import death_flips, oriented_tracks


def random_pairs(seed, n, m, dimension=1):
    """Any birth and death edges on n vertices."""
    generator = torch.Generator().manual_seed(seed)
    i, j = torch.triu_indices(n, n, 1)
    births, deaths = (torch.randint(len(i), (m,), generator=generator) for _ in range(2))
    return PersistencePairs(
        dimension,
        torch.stack([i, j], 1)[births],
        torch.stack([i, j], 1)[deaths],
        torch.zeros(0, 2, dtype=torch.int64),
        (n,),
    )


def test_edge_vectors_point_from_the_first_to_the_second_vertex():
    points = torch.tensor([[0.0, 0], [1, 2], [5, 5]])
    edges = torch.tensor([[0, 1], [1, 2], [2, 2], [2, 0]])
    expected = torch.tensor([[1.0, 2], [4, 3], [0, 0], [-5, -5]])
    assert_close(edge_vectors(points, edges), expected)


def test_edge_vectors_of_batches_use_the_common_numbering():
    points = gaussian(0, 2, 3, 4)
    edges = torch.tensor([[0, 1], [3, 5]])
    expected = torch.stack([points[0, 1] - points[0, 0], points[1, 2] - points[1, 0]])
    assert_close(edge_vectors(points, edges), expected)
    assert_close(edge_vectors(list(points), edges), expected)


@given(st.one_of(distinct_clouds(), integer_clouds()), SEEDS)
def test_in_dimension_0_tracks_are_death_edge_vectors(points, seed):
    pairs = RipsFiltration().pairs(points)
    other = gaussian(seed, len(points), 4)
    tracks = persistence_tracks(other, pairs)
    assert_close(tracks, oracles.tracks(other, pairs), rtol=0, atol=0)
    assert_close(tracks, edge_vectors(other, pairs.death_edges), rtol=0, atol=0)
    assert_close(persistence_tracks(other, pairs, orientation="aligned"), tracks, rtol=0, atol=0)


@given(SEEDS, st.integers(2, 9), st.integers(0, 9))
def test_in_dimension_1_tracks_are_the_literal_differences(seed, n, m):
    pairs, points = random_pairs(seed, n, m), gaussian(seed, n, 3)
    assert_close(persistence_tracks(points, pairs), oracles.tracks(points, pairs), rtol=0, atol=0)


@given(ragged(distinct_clouds(min_size=1)))
def test_batches_equal_their_clouds(clouds):
    pairs = RipsFiltration().pairs(clouds)
    parts = zip(clouds, pairs.split(), strict=True)
    expected = torch.cat([persistence_tracks(cloud, part) for cloud, part in parts])
    assert_close(persistence_tracks(clouds, pairs), expected)


@given(SEEDS, SEEDS)
def test_aligned_tracks_change_at_most_their_sign_under_relabelling(seed, order_seed):
    n = 7
    pairs, points = random_pairs(seed, n, 5), gaussian(seed, n, 3)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(order_seed))
    new = order.argsort()  # vertex v is now row new[v]
    relabelled = PersistencePairs(
        1,
        new[pairs.birth_edges].sort(1).values,
        new[pairs.death_edges].sort(1).values,
        pairs.essential_edges,
        (n,),
    )
    before = persistence_tracks(points, pairs, orientation="aligned")
    after = persistence_tracks(points[order], relabelled, orientation="aligned")
    sign = (before * after).sum(1, keepdim=True).sign()
    assert_close(after, sign * before)


def test_aligned_flips_the_death_edge_that_opposes_its_birth_edge():
    points = torch.tensor([[0.0, 0], [1, 0], [1.5, 1], [0, 1]])
    pairs = of_dimension_1().split()[0]
    # birth (2, 3): (-1.5, 0); death (0, 2): (1.5, 1), opposed
    index, aligned = (
        persistence_tracks(points, pairs, orientation=o) for o in ("index", "aligned")
    )
    assert_close(index, torch.tensor([[3.0, 1]]))
    assert_close(aligned, torch.tensor([[0.0, -1]]))


def test_orthogonal_edges_are_not_flipped():
    points = torch.tensor([[0.0, 0], [1, 1], [1, 0], [1, 3]])
    pairs = of_dimension_1().split()[0]  # birth (2, 3): (0, 3); death (0, 2): (1, 0)
    for orientation in ("index", "aligned"):
        tracks = persistence_tracks(points, pairs, orientation=orientation)
        assert_close(tracks, torch.tensor([[1.0, -3]]))


@pytest.mark.parametrize("orientation", ["index", "aligned"])
def test_gradients(orientation):
    pairs = of_dimension_1()
    gradients_are_right(
        lambda p: persistence_tracks(p, pairs, orientation=orientation), gaussian(0, 2, 4, 3)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tracks_keep_the_dtype_of_the_points(dtype):
    points = gaussian(0, 2, 4, 3, dtype=dtype)
    for orientation in ("index", "aligned"):
        assert persistence_tracks(points, of_dimension_1(), orientation=orientation).dtype == dtype


@pytest.mark.parametrize("n", [0, 1])
def test_no_pair_gives_no_track(n):
    points = torch.zeros(n, 3, requires_grad=True)
    tracks = persistence_tracks(points, RipsFiltration().pairs(points))
    assert tracks.shape == (0, 3)
    tracks.sum().backward()
    assert_close(points.grad, torch.zeros(n, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("end", "flip"), [([1300, 900], 1), ([1300, 600], -1)])
def test_flips_of_half_precision_do_not_overflow(dtype, end, flip):
    points = torch.tensor([[0, 0], [300, 300], [1000, 1000], end])
    pairs = PersistencePairs(
        1, torch.tensor([[0, 1]]), torch.tensor([[2, 3]]), torch.zeros(0, 2).long(), (4,)
    )
    target = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    expected = oriented_tracks(target, pairs, torch.tensor([float(flip)]))
    flips = death_flips(points.to(dtype), pairs)
    assert_close(oriented_tracks(target, pairs, flips), expected)
    far = points.to(dtype) * 16  # differences are finite, their products are not
    assert death_flips(far, pairs).tolist() == [flip]
