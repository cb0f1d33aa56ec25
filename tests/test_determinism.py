"""The same input gives the same bits: with any number of threads, in any process."""

import hashlib
import os
import subprocess
import sys

import pytest
import torch
from asserts import same_pairs
from strategies import gaussian
from test_threads import threads

from topreg import (
    FlagFiltration,
    HomologyConsistency,
    RipsFiltration,
    SignatureLoss,
    SlicedWassersteinDistance,
    TotalPersistence,
    farthest_point_sampling,
    pairwise_distances,
    rtd_lite,
)
from topreg.metrics import _tiles

RIPS = RipsFiltration()

ENGINES = {
    "auto": 1,
    "prim": 0,
    "boruvka": 0,
    "tiled": 0,
    "annotations": 1,
    "gudhi": 1,
}


def integers(seed, n, width, top):
    """Grid points: many ties, many duplicates."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, top, (n, width), generator=generator).float()


def repeated(seed, n, width):
    """Every point four times, shuffled."""
    points = gaussian(seed, n // 4, width, dtype=torch.float32).repeat(4, 1)
    return points[torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))]


CLOUDS = {
    "plane": gaussian(0, 400, 2, dtype=torch.float32),
    "wide": gaussian(1, 300, 512, dtype=torch.float32),
    "double": gaussian(2, 300, 24),
    "ties": integers(3, 300, 2, 12),
    "wide ties": integers(4, 200, 40, 2),
    "duplicates": repeated(5, 240, 16),
    "all equal": torch.full((200, 3), 0.1),
    "half": gaussian(6, 200, 32, dtype=torch.bfloat16),
}


def clouds(*names):
    return pytest.mark.parametrize(
        "points", [CLOUDS[n] for n in names or CLOUDS], ids=names or CLOUDS
    )


def on_threads(call):
    """What a call gives with one thread, and with two and three."""
    found = []
    for count in (1, 2, 3):
        with threads(count):
            found.append(call())
    return found[0], found[1:]


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(_tiles, "LEAST", 64)


@clouds()
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.usefixtures("small_tiles")
def test_pairs_do_not_depend_on_threads(points, engine):
    if engine == "gudhi":
        points = points[:60]
    budget = {"memory_budget": 1 << 16} if engine == "tiled" else {}
    filtration = RipsFiltration(engine=engine, **budget)
    alone, others = on_threads(lambda: filtration.all_pairs(points, ENGINES[engine]))
    for found in others:
        for pairs, expected in zip(found, alone, strict=True):
            same_pairs(pairs, expected)


@clouds("plane", "wide", "ties", "duplicates")
@pytest.mark.parametrize("metric", ["cosine", "manhattan"])
def test_other_metrics_do_not_depend_on_threads(points, metric):
    filtration = RipsFiltration(metric=metric)
    alone, others = on_threads(lambda: filtration.all_pairs(points + 0.25, 1))
    for found in others:
        for pairs, expected in zip(found, alone, strict=True):
            same_pairs(pairs, expected)


@clouds("plane", "ties", "duplicates")
def test_matrices_and_thresholds_do_not_depend_on_threads(points):
    distances = pairwise_distances(points)
    longest = float(distances.quantile(0.1))
    filtration = RipsFiltration(metric="precomputed", max_edge_length=longest)
    alone, others = on_threads(lambda: filtration.all_pairs(distances, 1))
    for found in others:
        for pairs, expected in zip(found, alone, strict=True):
            same_pairs(pairs, expected)


def graph_of(points, neighbours=8):
    """A graph of nearest neighbours and its weights, which may tie."""
    distances = pairwise_distances(points)
    near = distances.topk(neighbours, largest=False).indices
    i = torch.arange(len(points))[:, None].expand_as(near).flatten()
    ends = torch.stack([i, near.flatten()]).sort(dim=0).values
    edges = torch.unique(ends[:, ends[0] != ends[1]], dim=1)
    return FlagFiltration(edges, len(points)), distances[edges[0], edges[1]]


@clouds("plane", "ties", "duplicates", "wide")
@pytest.mark.parametrize("births", [False, True])
def test_graphs_do_not_depend_on_threads(points, births):
    graph, weights = graph_of(points)
    if births:
        early = torch.zeros(graph.num_vertices) - integers(7, graph.num_vertices, 1, 3).flatten()
        graph = FlagFiltration(graph.edge_index, graph.num_vertices, vertex_births=early)
    alone, others = on_threads(lambda: graph.all_pairs(weights, 1))
    for found in others:
        for pairs, expected in zip(found, alone, strict=True):
            same_pairs(pairs, expected)


@clouds("plane", "wide", "ties", "duplicates", "all equal")
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
def test_landmarks_do_not_depend_on_threads(points, metric):
    alone, others = on_threads(lambda: farthest_point_sampling(points + 0.25, 40, metric=metric))
    for found in others:
        for part, expected in zip(found, alone, strict=True):
            torch.testing.assert_close(part, expected, rtol=0, atol=0)


# Values and gradients


def diagram(points):
    return RIPS.diagram(RIPS.pairs(points), points)


def losses_of(points):
    """Loss values and gradients of a cloud's views, bit for bit."""
    points = points.float()
    source, target = points.clone().requires_grad_(), points.flip(1) + 0.5 * points
    labels = torch.arange(len(points)) % 5
    whole = HomologyConsistency(dimensions=(0, 1), perturbation_weight=2.0, related="all")
    values = [
        whole(source, target, labels),
        SignatureLoss(dimensions=(0, 1))(source, target),
        rtd_lite(source, target),
        TotalPersistence(dimensions=(0, 1), power=2.0)(source),
        SlicedWassersteinDistance()(*map(diagram, (source, target))),
    ]
    bits = hashlib.sha256()
    for value in values:
        (gradient,) = torch.autograd.grad(value, source)
        for tensor in (value.detach(), gradient):
            assert bool(tensor.isfinite().all())
            bits.update(tensor.numpy().tobytes())
    return bits.hexdigest()


@clouds("plane", "ties", "duplicates", "wide")
def test_losses_repeat_bit_for_bit(points):
    points = points[:150]
    assert losses_of(points) == losses_of(points.clone())


def digest():
    """All that a process finds, in one line."""
    found = hashlib.sha256()
    for name in ("plane", "ties", "duplicates"):
        found.update(losses_of(CLOUDS[name][:120]).encode())
        for pairs in RipsFiltration().all_pairs(CLOUDS[name], 1):
            for tensor in pairs.to_tensors().values():
                found.update(tensor.numpy().tobytes())
        graph, weights = graph_of(CLOUDS[name])
        found.update(graph.pairs(weights, 1).death_edges.numpy().tobytes())
        found.update(farthest_point_sampling(CLOUDS[name], 30).indices.numpy().tobytes())
    return found.hexdigest()


def test_every_process_finds_the_same():
    """Whatever the hash seed: nothing goes through the order of a set."""
    code = "import torch; torch.set_num_threads(1); import test_determinism as t; print(t.digest())"
    path, found = os.pathsep.join([os.path.dirname(__file__), *sys.path]), set()
    for seed in ("0", "4242"):
        answer = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path},
        )
        found.add(answer.stdout.strip())
    with threads(1):
        assert found == {digest()}
