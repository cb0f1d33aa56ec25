"""Exact trees without the matrix: the dense engine as oracle, on tiles and lists so small that
every path is taken.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from asserts import equal_kruskal, refused, same_pairs
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import kruskal
from strategies import (
    SEEDS,
    distances_by_differences,
    distinct_clouds,
    gaussian,
    integer_clouds,
    ragged,
    repeated_clouds,
    two_clusters,
)
from torch.testing import assert_close

from topreg import RipsFiltration, pairwise_distances
from topreg.metrics import _tiles, prepare
from topreg.metrics._selection import direct_distances
from topreg.persistence.large import _certificate_kernels, _neighbours
from topreg.persistence.large._certificate_kernels import first_copies
from topreg.persistence.large._certificates import forest_of_cloud, spanning_forest
from topreg.persistence.large._lists import TorchLists
from topreg.persistence.large._neighbours import Neighbours
from topreg.persistence.large._ranks import Ranks
from topreg.persistence.large._tiled import report_to

METRICS = ("euclidean", "cosine", "manhattan")
small_memory = st.integers(1, 3000)
small_width = st.integers(1, 6)


def forest(points, metric="euclidean", longest=math.inf, **options):
    """Pairs as the oracle gives them."""
    points = prepare(points, metric).contiguous()
    deaths, births, elders = forest_of_cloud(points, metric, longest, **options)
    return [tuple(edge) for edge in deaths.tolist()], births.tolist(), elders.tolist()


def expected(points, metric="euclidean", longest=math.inf):
    """Kruskal on weights measured by differences in double precision, rounded once."""
    rows = prepare(points, metric)
    if metric == "manhattan":
        weights = (rows.double()[:, None] - rows.double()[None]).abs().sum(2)
    elif metric == "cosine":
        weights = (rows.double()[:, None] - rows.double()[None]).square().sum(2) / 2
    else:
        weights = distances_by_differences(rows)
    weights = weights.to(rows.dtype)
    if longest == math.inf:  # distances that overflow are edges
        weights = weights.clamp(max=torch.finfo(weights.dtype).max)
    return kruskal(weights, longest)


@pytest.fixture(params=["compiled", "torch"])
def tiles(request, monkeypatch):
    """Tiles and lists of the CPU, or those of other devices."""
    if request.param == "torch":
        made = _tiles.Tiles.__init__

        def elsewhere(self, *args, **options):
            made(self, *args, **options)
            self.on_cpu = False

        monkeypatch.setattr(_tiles.Tiles, "__init__", elsewhere)


@pytest.fixture(autouse=True)
def tiny_tiles(monkeypatch):
    """So that a few points fill many tiles."""
    monkeypatch.setattr(_tiles, "LEAST", 1)


some = settings(max_examples=max(10, settings().max_examples // 2))
any_cloud = st.one_of(
    distinct_clouds(max_size=30),
    integer_clouds(min_size=0, max_size=30),
    repeated_clouds().map(lambda drawn: drawn[0]),
)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("metric", METRICS)
def test_small_tiles_and_short_lists_equal_kruskal(metric):
    @some
    @given(any_cloud, small_memory, small_width, st.sampled_from([torch.float32, torch.float64]))
    def check(points, memory, width, dtype):
        points = points.to(dtype) + (1 if metric == "cosine" else 0)
        found = forest(points, metric, memory=memory, width=width)
        assert found == tuple(expected(points, metric))

    check()


@pytest.mark.usefixtures("tiles")
def test_thresholds_equal_kruskal():
    @some
    @given(any_cloud, small_memory, small_width, st.floats(0, 4))
    def check(points, memory, width, longest):
        found = forest(points, longest=longest, memory=memory, width=width)
        assert found == tuple(expected(points, longest=longest))

    check()


def blobs(seed, clusters, size, d=12, spread=1e-3):
    """Clusters, shuffled: larger than any list, so that lists are used up."""
    centres = gaussian(seed, clusters, d).repeat_interleave(size, 0)
    points = centres + spread * gaussian(seed + 1, clusters * size, d)
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed % 2**31))
    return points[order]


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize(("clusters", "size"), [(1, 60), (2, 40), (9, 12), (30, 4)])
def test_clusters_larger_than_the_lists(clusters, size, width, dtype):
    points = blobs(clusters, clusters, size).to(dtype)
    assert forest(points, memory=2000, width=width) == tuple(expected(points))


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("width", [1, 4])
def test_hubs(width):
    """Points at nearly the same distance from a centre: it is the neighbour of all."""
    spokes = torch.nn.functional.normalize(gaussian(0, 80, 60), dim=1)
    points = torch.cat([spokes * (1 + 0.01 * gaussian(1, 80, 1)), torch.zeros(1, 60)])
    assert forest(points, memory=4000, width=width) == tuple(expected(points))


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("n", [1, 2, 40])
def test_all_distances_equal_and_all_points_equal(n):
    assert forest(torch.eye(n), memory=500, width=3) == tuple(expected(torch.eye(n)))
    same = torch.ones(n, 3)
    assert forest(same, memory=500, width=3) == tuple(expected(same))


@pytest.mark.usefixtures("tiles")
def test_tight_clusters_far_apart_and_far_from_the_origin():
    points = two_clusters(0, 30, 64)
    assert forest(points, memory=9000, width=5) == tuple(expected(points))
    assert forest(points + 1e3, memory=9000, width=5) == tuple(expected(points + 1e3))


def test_chains_of_growing_gaps():
    points = (1.1 ** torch.arange(120.0, dtype=torch.float64))[:, None]
    assert forest(points, memory=900, width=2) == tuple(expected(points))


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(("dtype", "far"), [(torch.float32, 3e38), (torch.float64, 1e200)])
@pytest.mark.parametrize("width", [2, 32])
def test_distances_that_overflow_are_edges_unless_there_is_a_threshold(dtype, far, width):
    pairs = torch.linspace(-1, 1, 80, dtype=torch.float64)[:, None] * far
    points = torch.cat([pairs, pairs + 1e-9 * far, pairs * 0 + 1]).to(dtype)
    same = forest(points, memory=900, width=width)
    assert same == tuple(expected(points))
    assert len(same[0]) == len(points) - 1
    limited = RipsFiltration(engine="tiled", max_edge_length=1e308)
    same_pairs(limited.pairs(points), RipsFiltration(max_edge_length=1e308).pairs(points))


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize(("dtype", "far"), [(torch.float32, 3e38), (torch.float64, 1e154)])
@pytest.mark.parametrize("width", [2, 32])
def test_a_tree_whose_longest_edge_overflows(dtype, far, width):
    points = torch.tensor([-far, far, -far * 0.9, far * 0.9, far * 0.8], dtype=dtype)[:, None]
    found = forest(points, memory=900, width=width)
    assert found == tuple(expected(points))
    assert len(found[0]) == 4
    for longest, edges in ((1e308, 3), (math.inf, 4)):
        engines = (RipsFiltration(engine=e, max_edge_length=longest) for e in ("tiled", "prim"))
        tiled, dense = (engine.pairs(points) for engine in engines)
        same_pairs(tiled, dense)
        assert len(tiled) == edges


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("width", [2, 32])
def test_weights_that_underflow(width):
    points = torch.cat([torch.ones(60, 1), 1e-23 * gaussian(0, 60, 3)], dim=1).float()
    assert forest(points, "cosine", memory=900, width=width) == tuple(expected(points, "cosine"))
    line = torch.tensor([[0.0], [1e-200], [1e-200], [0.0], [2e-200], [1.0]], dtype=torch.float64)
    for order in itertools.permutations(range(6)):
        shuffled = line[list(order)]
        assert forest(shuffled, memory=900, width=width) == tuple(expected(shuffled))


def test_unchecked_nan_ends():
    points = gaussian(0, 20, 3, dtype=torch.float32)
    points[3] = math.nan
    RipsFiltration(engine="tiled", check_values=False).pairs(points)


# The public engine


@pytest.mark.parametrize("metric", METRICS)
@given(points=integer_clouds(min_size=0, max_size=20, dtype=torch.float32))
def test_the_engine_equals_the_dense_one_on_ties(metric, points):
    points = points + (1 if metric == "cosine" else 0)
    if metric == "cosine":  # rounding of normalised rows breaks ties in other ways
        points = points.double() + gaussian(0, *points.shape) / 8
    tiled = RipsFiltration(metric=metric, engine="tiled", memory_budget=1000)
    same_pairs(tiled.pairs(points), RipsFiltration(metric=metric).pairs(points))


@given(ragged(integer_clouds(min_size=0, dtype=torch.float32)))
def test_ragged_clouds(clouds):
    tiled = RipsFiltration(engine="tiled")
    same_pairs(tiled.pairs(clouds), RipsFiltration().pairs(clouds))


@pytest.mark.parametrize("metric", METRICS)
def test_a_few_thousand_points_have_the_sorted_weights_of_the_dense_engine(metric):
    points = gaussian(0, 3000, 24, dtype=torch.float32)
    dense = RipsFiltration(metric=metric, engine="prim")
    tiled = RipsFiltration(metric=metric, engine="tiled", memory_budget=1 << 20)
    found = tiled.pairs(points)
    lengths = tiled.diagram(found, points)[:, 1]
    assert_close(lengths, dense.diagram(dense.pairs(points), points)[:, 1])
    doubled = points.double()
    same_pairs(tiled.pairs(doubled), dense.pairs(doubled))


def test_large_clouds_use_tiles_by_themselves(monkeypatch):
    monkeypatch.setattr("topreg.persistence._dispatch.LARGE", 50)
    monkeypatch.setattr("topreg.filtrations._rips.pairs_of_few", lambda *_: None)
    told = []
    filtration = RipsFiltration(progress=lambda *message: told.append(message))
    points = gaussian(0, 50, 3)
    filtration.pairs(points)
    assert told == []
    larger = gaussian(1, 51, 3)
    same_pairs(filtration.pairs(larger), RipsFiltration(engine="prim").pairs(larger))
    assert told
    assert {stage for stage, _, _ in told} == {"neighbours", "tree"}
    told.clear()
    filtration.pairs(larger, 1)
    RipsFiltration(metric=pairwise_distances, progress=filtration.progress).pairs(larger)
    RipsFiltration(metric="precomputed").pairs(pairwise_distances(larger))
    assert told == []


def test_progress_never_falls_and_ends_at_the_total():
    told = []
    filtration = RipsFiltration(
        engine="tiled", memory_budget=5000, progress=lambda *message: told.append(message)
    )
    filtration.pairs(blobs(0, 20, 5))
    for stage in ("neighbours", "tree"):
        done = [d for s, d, _ in told if s == stage]
        totals = {total for s, _, total in told if s == stage}
        assert done == sorted(done)
        assert totals == {done[-1]}


@pytest.mark.parametrize(("patience", "shown"), [(0, True), (1e9, False)])
def test_a_bar_on_standard_error_unless_the_search_is_short(monkeypatch, capsys, patience, shown):
    monkeypatch.setattr("topreg.persistence.large._tiled.PATIENCE", patience)
    points = gaussian(0, 60, 12)
    filtration = RipsFiltration(engine="tiled", memory_budget=5000, progress=True)
    same_pairs(filtration.pairs(points), RipsFiltration().pairs(points))
    out, err = capsys.readouterr()
    assert out == ""
    if not shown:
        assert err == ""
        return
    assert err.endswith("\n")
    lines = err[:-1].split("\r")[1:]  # each overwrites the one before
    assert lines[-1] == f"tree       |{'#' * 40}| 100%"
    assert lines[0].startswith("neighbours |#")
    assert len({len(line) for line in lines}) == 1
    assert all(a != b for a, b in itertools.pairwise(lines))


def test_a_bar_ends_its_line_when_the_search_fails(monkeypatch, capsys):
    monkeypatch.setattr("topreg.persistence.large._tiled.PATIENCE", 0)
    filtration = RipsFiltration(engine="tiled", progress=True, memory_budget=5000)
    monkeypatch.setattr(_neighbours.Neighbours, "outside", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        filtration.pairs(torch.eye(40))  # equal distances: all lists are found anew
    assert capsys.readouterr().err.endswith(f"|{'#' * 40}| 100%\n")


def test_nobody_is_told_without_progress(capsys):
    for progress in (None, False):
        with report_to(progress) as function:
            assert function is None
        RipsFiltration(engine="tiled", progress=progress).pairs(gaussian(0, 20, 3))
    assert capsys.readouterr().err == ""
    with report_to(print) as function:
        assert function is print


@pytest.mark.parametrize("at", ["neighbours", "tree"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_passes_through_and_leaves_nothing_behind(at, error):
    def stop(stage, done, total):
        if stage == at:
            raise error("stop")

    points = gaussian(0, 60, 12)
    filtration = RipsFiltration(engine="tiled", memory_budget=5000, progress=stop)
    with pytest.raises(error, match="stop"):
        filtration.pairs(points)
    filtration.progress = None
    same_pairs(filtration.pairs(points), RipsFiltration().pairs(points))


def test_messages():
    text = '`metric` should be "euclidean", "cosine" or "manhattan" with `engine="tiled"`. '
    with refused(ValueError, text + "Got 'precomputed'. Use `engine=\"auto\"`."):
        RipsFiltration(metric="precomputed", engine="tiled")
    for budget in (0, 1e6, True):
        with refused(ValueError, f"`memory_budget` should be a positive integer. Got {budget!r}."):
            RipsFiltration(memory_budget=budget)


# The parts


@given(integer_clouds(min_size=0, top=1, max_size=20), st.booleans())
def test_first_copies(points, negative):
    points = -points if negative else points  # -0.0 among them
    found = first_copies(points.numpy())
    rows = [tuple(row) for row in points.tolist()]
    assert found.tolist() == [rows.index(row) for row in rows]


def test_rows_of_one_hash_are_told_apart(monkeypatch):
    monkeypatch.setattr(
        _certificate_kernels, "_hash_rows", lambda bits, hashes, i, j: hashes[i:j].fill(7)
    )
    points = np.array([[1.0], [2.0], [1.0], [2.0], [1.0]])
    assert first_copies(points).tolist() == [0, 1, 0, 3, 0]


@pytest.mark.parametrize("manhattan", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1.0, 1e-4])
def test_tiles_of_other_devices_have_the_distances_of_the_cpu(manhattan, dtype, spread):
    points = two_clusters(0, 40, 30, spread=spread).to(dtype)
    points[7] = points[50]
    own = _tiles.Tiles(points, manhattan=manhattan, memory=10**6)
    other = _tiles.Tiles(points, manhattan=manhattan, memory=10**6)
    other.on_cpu = False
    tolerance = 2e-5 if dtype == torch.float32 else 2e-12
    for rows in (slice(0, 13), torch.tensor([79, 3, 7, 41])):
        one = own.between(rows, slice(5, 70)).clone()
        assert_close(other.between(rows, slice(5, 70)), one, rtol=tolerance, atol=0)


@given(SEEDS, st.integers(1, 5), st.integers(1, 30))
def test_bounds_hold(seed, width, memory):
    """Every neighbour that is not certain weighs at least the bound."""
    points = torch.randint(0, 4, (14, 2), generator=torch.Generator().manual_seed(seed)).float()
    points[7:] += gaussian(seed, 7, 2, dtype=torch.float32)
    lists = Neighbours(points, "euclidean", memory=memory * 40, ranks=Ranks(), width=width).of_all(
        lambda *_: None
    )
    weights = distances_by_differences(points).float()
    for p in range(14):
        order = sorted((float(weights[p, q]), q) for q in range(14) if q != p)
        certain = int(lists.certain[p])
        assert order[:certain] == list(
            zip(lists.weights[p, :certain].tolist(), lists.near[p, :certain].tolist(), strict=True)
        )
        assert all(weight >= lists.bound[p] for weight, _ in order[certain:])


def test_the_tile_side_follows_the_memory():
    points = torch.zeros(10, 100)
    for memory in (1, 10**4, 10**6, 10**8):
        side = _tiles.Tiles(points, manhattan=False, memory=memory).side
        assert side == 1 or 4 * (side**2 + 2 * 100 * side) <= memory  # bytes
        assert 4 * ((side + 1) ** 2 + 2 * 100 * (side + 1)) > memory


def test_direct_distances_stay_in_range():
    points = torch.tensor([[0.0, 0.0], [3e-30, 4e-30]])
    assert_close(direct_distances(points, points, "euclidean")[0, 1], torch.tensor(5e-30))
    points = torch.tensor([[0.0, 0.0], [1.5e38, 2e38]])
    assert_close(direct_distances(points, points, "euclidean")[0, 1], torch.tensor(2.5e38))


def test_used_up_lists_are_searched_again(monkeypatch):
    """Without the second search the clusters could not be joined."""
    calls = []
    outside = Neighbours.outside
    monkeypatch.setattr(
        Neighbours,
        "outside",
        lambda self, rows, label: calls.append(rows) or outside(self, rows, label),
    )
    points = blobs(0, 6, 20)
    search = Neighbours(points, "euclidean", memory=10**5, ranks=Ranks(), width=4)
    edges, _ = spanning_forest(search, np.float64(math.inf), lambda *_: None)
    assert len(edges) == 119
    assert 0 < len(calls) <= 4  # half of the components each time
    assert all(len(rows) <= 70 for rows in calls)


def test_the_lists_of_other_devices_hold_the_same(monkeypatch):
    points = gaussian(0, 50, 5, dtype=torch.float32)
    search = Neighbours(points, "euclidean", memory=2000, ranks=Ranks(), width=4)
    own = search.of_all(lambda *_: None)
    monkeypatch.setattr(search._tiles, "on_cpu", False)
    assert isinstance(search._keeper(3), TorchLists)
    other = search.of_all(lambda *_: None)
    for one, two in zip(own[:3], other[:3], strict=True):
        assert np.array_equal(one, two)
    assert np.allclose(own.bound, other.bound, rtol=4e-5)
    assert _neighbours.WIDTH == 32


@pytest.mark.parametrize("n", [1, 2, 4, 5])
def test_lists_of_other_devices_that_are_longer_than_the_cloud(monkeypatch, n):
    points = gaussian(n, n, 3, dtype=torch.float32)
    search = Neighbours(points, "euclidean", memory=2000, ranks=Ranks(), width=4)
    own = search.of_all(lambda *_: None)
    monkeypatch.setattr(search._tiles, "on_cpu", False)
    other = search.of_all(lambda *_: None)
    assert np.array_equal(own.near, other.near)
    assert np.array_equal(own.certain, other.certain)
    assert np.array_equal(own.bound == np.inf, other.bound == np.inf)
    raw = search._keeper(n).raw()
    assert (raw.near == -1).all()
    assert (raw.keys == np.iinfo(np.int32).max).all()


def test_a_default_device_elsewhere_changes_nothing():
    points = gaussian(0, 12, 3)
    filtration = RipsFiltration(engine="tiled", progress=lambda *_: None)
    with torch.device("meta"):
        found = filtration.pairs(points)
    same_pairs(found, RipsFiltration().pairs(points))


def test_equal_kruskal_on_the_public_engine():
    points = gaussian(0, 40, 3)
    pairs = RipsFiltration(engine="tiled").pairs(points)
    equal_kruskal(pairs, kruskal(distances_by_differences(points)))
