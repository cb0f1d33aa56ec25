"""Landmarks: the greedy choice, its radius, and the bound on diagrams."""

import warnings

import numpy as np
import pytest
import torch
from asserts import listed, refused, same_pairs
from hypothesis import given
from hypothesis import strategies as st
from strategies import distances_by_differences, distinct_clouds, gaussian, integer_clouds
from torch.testing import assert_close

from topreg import PersistencePairs, RipsFiltration, farthest_point_sampling, pairwise_distances

METRICS = ("euclidean", "cosine", "manhattan")


def greedy(distances, count, start):
    """One landmark after the other; of equals the first that is none yet."""
    rows, chosen = distances.tolist(), [start]
    while len(chosen) < count:
        gaps = [min(row[c] for c in chosen) for row in rows]
        chosen.append(max((g, -i) for i, g in enumerate(gaps) if i not in chosen)[1] * -1)
    return sorted(chosen), max(min(row[c] for c in chosen) for row in rows)


@given(st.one_of(integer_clouds(), distinct_clouds()), st.data())
def test_the_greedy_choice(points, data):
    count = data.draw(st.integers(1, len(points)))
    start = data.draw(st.integers(0, len(points) - 1))
    indices, radius = farthest_point_sampling(points, count, start=start)
    expected, cover = greedy(distances_by_differences(points), count, start)
    assert indices.tolist() == expected
    assert_close(radius, torch.tensor([cover], dtype=torch.float64))


@pytest.mark.parametrize("metric", [*METRICS, pairwise_distances])
def test_metrics(metric):
    points = gaussian(0, 30, 5)
    indices, radius = farthest_point_sampling(points, 7, metric=metric)
    expected, cover = greedy(pairwise_distances(points, metric=metric), 7, 0)
    assert indices.tolist() == expected
    assert_close(radius, torch.tensor([cover], dtype=torch.float64))


@pytest.mark.parametrize("equal", [True, False])
def test_several_clouds(equal):
    clouds = [gaussian(k, 9 if equal else 9 + k, 3) for k in range(4)]
    together = farthest_point_sampling(torch.stack(clouds) if equal else clouds, 5, start=2)
    alone = [farthest_point_sampling(cloud, 5, start=2) for cloud in clouds]
    first = torch.tensor([0, *(len(cloud) for cloud in clouds)]).cumsum(0)[:4]
    expected = torch.cat([one.indices + f for one, f in zip(alone, first, strict=True)])
    assert_close(together.indices, expected)
    assert_close(together.cover_radius, torch.cat([one.cover_radius for one in alone]))


def test_all_points_cover_everything_and_duplicates_come_last():
    points = gaussian(0, 6, 2)[[0, 1, 0, 2, 1, 3]]
    indices, radius = farthest_point_sampling(points, 4)
    assert indices.tolist() == [0, 1, 3, 5]
    assert radius.tolist() == [0.0]
    assert farthest_point_sampling(points, 6).indices.tolist() == list(range(6))


def bottleneck(one, other):
    """GUDHI's bottleneck distance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import gudhi
    return gudhi.bottleneck_distance(one.numpy(), other.numpy())


@given(distinct_clouds(min_size=4, max_size=25, max_width=3), st.integers(2, 12))
@pytest.mark.parametrize("dimension", [0, 1])
def test_the_diagram_lies_within_twice_the_cover_radius(dimension, points, count):
    indices, radius = farthest_point_sampling(points, min(count, len(points)))
    rips = RipsFiltration()
    whole = rips.diagram(rips.pairs(points, dimension), points)
    part = rips.diagram(rips.pairs(points[indices], dimension), points[indices])
    assert bottleneck(whole, part) <= 2 * float(radius) + 1e-9


@given(distinct_clouds(min_size=5, max_size=20, max_width=3))
@pytest.mark.parametrize("dimension", [0, 1])
def test_renumbered_pairs_name_the_same_points(dimension, points):
    indices, _ = farthest_point_sampling(points, len(points) // 2 + 1)
    rips = RipsFiltration()
    pairs = rips.pairs(points[indices], dimension)
    whole = pairs.renumber(indices, (len(points),))
    assert whole.cloud_sizes == (len(points),)
    assert_close(rips.diagram(whole, points), rips.diagram(pairs, points[indices]))
    edges = whole.death_edges
    assert bool((edges[:, 0] < edges[:, 1]).all())


def test_renumbering_back_and_forth_and_several_clouds():
    points = gaussian(0, 3, 8, 2)
    rips = RipsFiltration()
    indices, _ = farthest_point_sampling(points, 5)
    some = points.flatten(0, 1)[indices].view(3, 5, 2)
    pairs = rips.pairs(some)
    whole = pairs.renumber(indices, (8, 8, 8))
    for part, cloud, own in zip(whole.split(), some, indices.view(3, 5), strict=True):
        expected = rips.pairs(cloud).renumber(own % 8, (8,))
        assert listed(part) == listed(expected)
    same_pairs(pairs.renumber(torch.arange(15), (5, 5, 5)), pairs)
    reversed_clouds = torch.arange(15).view(3, 5).flip(1).flatten()
    backwards = pairs.renumber(reversed_clouds, (5, 5, 5))
    assert isinstance(backwards, PersistencePairs)
    assert bool((backwards.death_edges[:, 0] < backwards.death_edges[:, 1]).all())


def test_landmarks_are_constant():
    points = gaussian(0, 6, 2).requires_grad_()
    assert not farthest_point_sampling(points, 3).cover_radius.requires_grad


@pytest.mark.parametrize("count", [0, 6, 2.0, True])
def test_a_count_that_no_cloud_has(count):
    text = "`count` should be between 1 and the 5 points of the smallest cloud. Got {!r}."
    with refused(ValueError, text.format(count)):
        farthest_point_sampling(torch.zeros(5, 2), count)


def test_numbers_of_any_integer_type():
    points = gaussian(0, 6, 2)
    found = farthest_point_sampling(points, np.int64(3), start=np.int32(1))
    assert_close(found, farthest_point_sampling(points, 3, start=1))


def test_messages():
    with refused(ValueError, "`start` should be a vertex of every cloud, 0 to 4. Got 5."):
        farthest_point_sampling([torch.zeros(7, 2), torch.zeros(5, 2)], 2, start=5)
    pairs = RipsFiltration().pairs(torch.eye(3))
    with refused(
        ValueError,
        "`vertices` should have one entry per vertex of the pairs, shape (3,). Got (2,).",
    ):
        pairs.renumber(torch.arange(2), (9,))
    with refused(ValueError, "`cloud_sizes` should name 1 clouds. Got 2."):
        pairs.renumber(torch.arange(3), (9, 9))
    with refused(ValueError, "`vertices` should index 2 vertices. Got vertex 2."):
        pairs.renumber(torch.arange(3), (2,))
    with refused(TypeError, "`vertices` should be torch.int64. Got torch.float32."):
        pairs.renumber(torch.zeros(3), (9,))
    with refused(ValueError, "`vertices` should be distinct. Got vertex 0 more than once."):
        pairs.renumber(torch.zeros(3, dtype=torch.int64), (9,))
    with refused(ValueError, "`vertices` should be distinct. Got vertex 2 more than once."):
        pairs.renumber(torch.tensor([2, 0, 2]), (9,))
    both = RipsFiltration().pairs([torch.zeros(3, 2), torch.zeros(2, 2)])
    with refused(
        ValueError,
        "`vertices` should stay in their clouds. "
        "Got vertex 3 of another cloud. Number them cloud after cloud.",
    ):
        both.renumber(torch.arange(5), (9, 9))


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e150])
@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
def test_any_scale(scale, metric):
    points = gaussian(0, 30, 3)
    indices, radius = farthest_point_sampling(points, 5, metric=metric)
    scaled = farthest_point_sampling(scale * points, 5, metric=metric)
    assert_close(scaled.indices, indices)
    assert_close(scaled.cover_radius / scale, radius)


def test_a_callable_of_another_shape():
    with refused(
        ValueError, "`metric(x, y)` should have shape (len(x), len(y)) = (3, 1). Got (3,)."
    ):
        farthest_point_sampling(torch.eye(3), 2, metric=lambda x, y: x[:, 0])


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize("scale", [2.0**-100, 2.0**100])
def test_squares_that_would_leave_the_range(metric, scale):
    points = gaussian(0, 30, 5, dtype=torch.float32)
    expected = farthest_point_sampling(points, 7, metric=metric)
    found = farthest_point_sampling(points * scale, 7, metric=metric)
    assert_close(found.indices, expected.indices)
    assert_close(found.cover_radius / scale, expected.cover_radius)


def test_a_metric_that_does_not_scale_sees_the_points_as_they_are():
    points = 100 * gaussian(0, 30, 2)

    def squared(x, y):
        return pairwise_distances(x, y).square()

    found = farthest_point_sampling(points, 7, metric=squared)
    expected = farthest_point_sampling(points, 7)
    assert_close(found.indices, expected.indices)
    assert_close(found.cover_radius, expected.cover_radius.square())


def test_a_batch_of_no_cloud_has_no_landmark():
    with refused(
        ValueError,
        "`count` should be between 1 and the 0 points of the smallest cloud. Got 1.",
    ):
        farthest_point_sampling(torch.zeros(0, 3, 2), 1, start=0)


@pytest.mark.parametrize("form", [list, torch.stack])
def test_distance_matrices_give_what_points_give(form):
    clouds = [gaussian(0, 12, 3), gaussian(1, 12 if form is torch.stack else 9, 3)]
    expected = farthest_point_sampling(form(clouds), 5, start=2)
    matrices = form([pairwise_distances(cloud) for cloud in clouds])
    found = farthest_point_sampling(matrices, 5, metric="precomputed", start=2)
    assert found.indices.tolist() == expected.indices.tolist()
    assert_close(found.cover_radius, expected.cover_radius)
