"""Persistence pairs as an object: numbering, selection, storage."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
import torch
from asserts import compiles_searches, refused, same_pairs
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from strategies import gaussian, integer_clouds, ragged
from torch.testing import assert_close

from topreg import (
    PersistencePairs,
    RipsFiltration,
    deviating_perturbation,
    homology_consistency,
    pairwise_distances,
    persistence_tracks,
    track_coincidence,
)

SIZES = (4, 0, 1, 5, 2)


def some_pairs(longest=1.5):
    """Pairs of several clouds, with a threshold that leaves more than one component."""
    clouds = [gaussian(n, n, 2) for n in SIZES]
    return RipsFiltration(max_edge_length=longest).pairs(clouds)


def of_dimension_1():
    """Two classes on two clouds of four vertices, made by hand."""
    return PersistencePairs(
        dimension=1,
        birth_edges=torch.tensor([[2, 3], [4, 6]]),
        death_edges=torch.tensor([[0, 2], [5, 7]]),
        essential_edges=torch.tensor([[4, 7]]),
        cloud_sizes=(4, 4),
    )


def test_length_and_repr():
    pairs = of_dimension_1()
    assert len(pairs) == 2
    expected = "PersistencePairs(dimension=1, pairs=2, essential=1, cloud_sizes=(4, 4))"
    assert repr(pairs) == expected


NO_EDGES = torch.empty(0, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    "sizes", [[2, 3], np.array([2, 3]), torch.tensor([2, 3]), (2, np.int32(3))]
)
def test_numbers_of_other_integer_types_become_integers(sizes):
    pairs = PersistencePairs(np.int64(1), NO_EDGES, NO_EDGES, NO_EDGES, sizes)
    assert pairs.dimension == 1
    assert pairs.cloud_sizes == (2, 3)
    assert {type(pairs.dimension), *map(type, pairs.cloud_sizes)} == {int}


@pytest.mark.parametrize(
    ("dimension", "sizes", "error", "name"),
    [
        (-1, (3,), ValueError, "dimension"),
        (1.0, (3,), ValueError, "dimension"),
        (True, (3,), ValueError, "dimension"),
        (0, 3, TypeError, "cloud_sizes"),
        (0, "35", TypeError, "cloud_sizes"),
        (0, (3, -2), ValueError, r"cloud_sizes\[1\]"),
        (0, (2.5,), ValueError, r"cloud_sizes\[0\]"),
    ],
)
def test_wrong_dimensions_and_cloud_sizes_are_refused(dimension, sizes, error, name):
    with pytest.raises(error, match=rf"`{name}` should be .* Got "):
        PersistencePairs(dimension, NO_EDGES, NO_EDGES, NO_EDGES, sizes)


def test_pairs_are_frozen_and_compare_by_identity():
    pairs = some_pairs()
    with pytest.raises(dataclasses.FrozenInstanceError, match="dimension"):
        pairs.dimension = 1
    assert pairs == pairs
    assert pairs != some_pairs()
    assert len({pairs, some_pairs()}) == 2


def test_cloud_of_each_pair():
    pairs = some_pairs(longest=float("inf"))
    expected = [cloud for cloud, n in enumerate(SIZES) for _ in range(max(n - 1, 0))]
    assert pairs.cloud().tolist() == expected
    assert pairs.cloud().dtype == torch.int64
    assert of_dimension_1().cloud().tolist() == [0, 1]


@pytest.mark.parametrize("dimension", [0, 1])
@given(ragged(integer_clouds(min_size=0)), st.sampled_from([1.0, 2.0, float("inf")]))
def test_split_and_join_undo_each_other(dimension, clouds, longest):
    filtration = RipsFiltration(max_edge_length=longest)
    pairs = filtration.pairs(clouds, dimension)
    alone = [filtration.pairs(cloud, dimension) for cloud in clouds]
    parts = pairs.split()
    assert len(parts) == len(clouds)
    for part, expected in zip(parts, alone, strict=True):
        same_pairs(part, expected)
    same_pairs(PersistencePairs.join(alone), pairs)


@pytest.mark.parametrize("pairs", [some_pairs(), of_dimension_1()])
def test_parts_of_several_clouds_can_be_joined(pairs):
    again = PersistencePairs.join([pairs, *pairs.split(), pairs])
    assert again.cloud_sizes == 3 * pairs.cloud_sizes
    n = sum(pairs.cloud_sizes)
    for name in ("birth_edges", "death_edges", "essential_edges"):
        edges = getattr(pairs, name)
        assert_close(getattr(again, name), torch.cat([edges, edges + n, edges + 2 * n]))
    for part, expected in zip(again.split(), 3 * pairs.split(), strict=True):
        same_pairs(part, expected)


def test_split_numbers_dimension_1_locally():
    first, second = of_dimension_1().split()
    assert (first.dimension, second.dimension) == (1, 1)
    assert second.birth_edges.tolist() == [[0, 2]]
    assert second.death_edges.tolist() == [[1, 3]]
    assert first.essential_edges.tolist() == []
    assert second.essential_edges.tolist() == [[0, 3]]


def test_select_keeps_pairs_and_essential_classes():
    pairs = some_pairs()
    mask = torch.arange(len(pairs)) % 2 == 1
    kept = pairs.select(mask)
    assert_close(kept.death_edges, pairs.death_edges[1::2])
    assert_close(kept.birth_edges, pairs.birth_edges[1::2])
    assert_close(kept.essential_edges, pairs.essential_edges)
    assert kept.cloud_sizes == pairs.cloud_sizes
    same_pairs(pairs.select(torch.ones_like(mask)), pairs)
    assert len(pairs.select(torch.zeros_like(mask))) == 0


@given(integer_clouds(min_size=2, dtype=torch.float32), st.data())
def test_between_keeps_death_edges_that_join_two_labels(points, data):
    values = st.lists(st.integers(0, 2), min_size=len(points), max_size=len(points))
    labels = data.draw(values)
    pairs = RipsFiltration().pairs(points)
    kept = pairs.between(torch.tensor(labels))
    expected = [[i, j] for i, j in pairs.death_edges.tolist() if labels[i] != labels[j]]
    assert kept.death_edges.tolist() == expected


def test_between_takes_labels_of_batches_and_sequences():
    points = gaussian(0, 3, 6, 2)
    labels = torch.arange(18).reshape(3, 6) % 3
    pairs = RipsFiltration().pairs(points)
    parts = zip(pairs.split(), labels, strict=True)
    expected = PersistencePairs.join([part.between(own) for part, own in parts])
    assert 0 < len(expected) < len(pairs)
    same_pairs(pairs.between(labels), expected)
    same_pairs(pairs.between(list(labels)), expected)
    same_pairs(pairs.between(labels.to(torch.int32)), expected)


def test_vertices_are_the_ends_of_proper_edges():
    assert of_dimension_1().vertices().tolist() == [0, 2, 3, 4, 5, 6, 7]
    points = torch.tensor([[0.0], [1.0], [5.0], [6.5]])
    pairs = RipsFiltration(max_edge_length=1.2).pairs(points)
    assert pairs.vertices().tolist() == [0, 1]  # births (v, v) do not count
    assert pairs.vertices().dtype == torch.int64
    assert RipsFiltration().pairs(points[:1]).vertices().tolist() == []
    pairs = RipsFiltration().pairs(torch.tensor([[0.0], [5.0], [5.5], [3.0]]))
    last = pairs.select(torch.tensor([False, False, True]))
    assert last.birth_edges.tolist() == [[1, 1]]
    assert last.vertices().tolist() == [0, 3]


def test_to_a_device_keeps_everything():
    pairs = some_pairs()
    same_pairs(pairs.to("cpu"), pairs)
    same_pairs(pairs.to(torch.device("cpu")), pairs)
    moved = pairs.to("meta")
    assert {moved.birth_edges.device.type, moved.death_edges.device.type} == {"meta"}
    assert moved.essential_edges.device.type == "meta"


@pytest.mark.parametrize("pairs", [some_pairs(), of_dimension_1()])
def test_tensors_round_trip_through_safetensors(pairs, tmp_path):
    same_pairs(PersistencePairs.from_tensors(pairs.to_tensors()), pairs)
    save_file(pairs.to_tensors(), tmp_path / "pairs.safetensors")
    loaded = load_file(tmp_path / "pairs.safetensors")
    assert all(tensor.is_contiguous() for tensor in loaded.values())
    same_pairs(PersistencePairs.from_tensors(loaded), pairs)


def test_tensors_of_no_cloud_round_trip():
    pairs = RipsFiltration().pairs(torch.zeros(0, 3, 2))
    same_pairs(PersistencePairs.from_tensors(pairs.to_tensors()), pairs)


@pytest.mark.parametrize("pairs", [some_pairs(), of_dimension_1()])
def test_pickle_and_copies(pairs, tmp_path):
    same_pairs(pickle.loads(pickle.dumps(pairs)), pairs)
    same_pairs(copy.deepcopy(pairs), pairs)
    torch.save(pairs, tmp_path / "pairs.pt")
    same_pairs(torch.load(tmp_path / "pairs.pt", weights_only=False), pairs)


def test_diagram_of_dimension_1_has_births_and_deaths():
    points = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1.5]]).repeat(2, 1, 1)
    expected = torch.tensor([[(1 + 0.25) ** 0.5, 2**0.5], [2**0.5, (1 + 1.5**2) ** 0.5]])
    rips = RipsFiltration()
    assert_close(rips.diagram(of_dimension_1(), points), expected)
    assert_close(rips.diagram(of_dimension_1(), list(points)), expected)
    matrices = [torch.cdist(p, p) for p in points]
    filtration = RipsFiltration(metric="precomputed")
    assert_close(filtration.diagram(of_dimension_1(), matrices), expected)
    assert_close(filtration.diagram(of_dimension_1(), torch.stack(matrices)), expected)


def test_diagram_in_another_space():
    points, other = gaussian(0, 6, 3), gaussian(1, 6, 9)
    pairs = RipsFiltration().pairs(points)
    i, j = pairs.death_edges.T
    expected = {
        "euclidean": (other[j] - other[i]).norm(dim=1),
        "manhattan": (other[j] - other[i]).abs().sum(1),
        "cosine": 1 - torch.nn.functional.cosine_similarity(other[i], other[j]),
    }
    for metric, deaths in expected.items():
        births, found = RipsFiltration(metric=metric).diagram(pairs, other).T
        assert_close(found, deaths)
        assert_close(births, torch.zeros(5, dtype=torch.float64))


@pytest.mark.parametrize("metric", ["manhattan", "cosine"])
def test_births_and_deaths_are_measured_in_the_metric(metric):
    points = gaussian(0, 12, 3)
    pairs = RipsFiltration().all_pairs(points, 1)[1]
    diagram = RipsFiltration(metric=metric).diagram(pairs, points)
    distances = pairwise_distances(points, metric=metric)
    for edges, column in zip((pairs.birth_edges, pairs.death_edges), diagram.T, strict=True):
        assert_close(column, distances[edges[:, 0], edges[:, 1]])


def test_pairs_found_in_inference_mode_serve_in_training():
    points = gaussian(0, 6, 2)
    with torch.inference_mode():
        pairs = RipsFiltration().pairs(points)
    same_pairs(pairs, RipsFiltration().pairs(points))
    points.requires_grad_()
    RipsFiltration().diagram(pairs, points).sum().backward()
    assert bool(points.grad.any())


@pytest.mark.parametrize("dimension", [0, 1])
def test_a_vertex_may_be_a_birth_edge(dimension):
    """Vertices of a graph may be born late: the fields go through a store and back."""
    births = torch.tensor([[2, 2]])
    pairs = PersistencePairs(dimension, births, torch.tensor([[0, 1]]), births[:0], (3,))
    same_pairs(PersistencePairs.from_tensors(pairs.to_tensors()), pairs)


@pytest.mark.parametrize(
    ("found", "given"), [((3, 5), (4, 4)), ((3, 5), (8,)), ((8,), (4, 4)), ((4, 4), (5, 3))]
)
def test_pairs_go_with_clouds_of_their_own_sizes_alone(found, given):
    rows, labels = gaussian(0, 8, 2), torch.arange(8) % 2
    pairs = RipsFiltration().pairs(list(rows.split(found)))
    points, others, of_points = (
        list(t.split(given)) if len(given) > 1 else t for t in (rows, rows.flip(0), labels)
    )
    text = (
        "`pairs` and `{}` should be of clouds of the same sizes. "
        f"Got {found} and {given}. Do they belong to the same batch?"
    )
    weight = {"perturbation_weight": 1.0}
    for name, call in (
        ("points", lambda: RipsFiltration().diagram(pairs, points)),
        ("points", lambda: persistence_tracks(points, pairs)),
        ("labels", lambda: pairs.between(of_points)),
        ("source", lambda: track_coincidence(points, others, pairs=pairs)),
        ("source", lambda: deviating_perturbation(points, others, of_points, pairs=pairs)),
        ("source", lambda: homology_consistency(points, others, of_points, pairs=pairs, **weight)),
    ):
        with refused(ValueError, text.format(name)):
            call()


@compiles_searches
def test_pairs_of_a_compiled_search_in_inference_mode_become_plain():
    torch._dynamo.reset()
    search = torch.compile(RipsFiltration().pairs, backend="aot_eager")
    points = gaussian(0, 6, 2)
    with torch.inference_mode():
        found = search(points)
    torch._dynamo.reset()
    plain = found.to("cpu")
    assert not plain.death_edges.is_inference()
    same_pairs(plain, RipsFiltration().pairs(points))
