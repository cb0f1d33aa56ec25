"""The filtration of a weighted graph: exact, ordered by births too, differentiable."""

import math
from unittest import mock

import pytest
import torch
from asserts import gradients_are_right, listed, refused, same_pairs
from hypothesis import given
from hypothesis import strategies as st
from oracles import gudhi_of_edges, reduction
from strategies import SEEDS, distances_by_differences, gaussian, regular_polygon
from torch.testing import assert_close

from topreg import (
    FlagFiltration,
    RipsFiltration,
    TotalPersistence,
    TrackCoincidence,
    persistence_tracks,
)
from topreg.persistence.annotations import _annotations

DTYPES = (torch.float32, torch.float64)


@st.composite
def graphs(draw, max_size=9, births=False):
    """Shuffled edges in both directions, few weights or many, some infinite; vertex births."""
    n, seed = draw(st.integers(0, max_size)), draw(SEEDS)
    generator = torch.Generator().manual_seed(seed)
    i, j = torch.triu_indices(n, n, 1)
    keep = torch.rand(len(i), generator=generator) < draw(st.floats(0.2, 1))
    edges = torch.stack([i[keep], j[keep]])
    edges = edges[:, torch.randperm(edges.shape[1], generator=generator)]
    turned = torch.rand(edges.shape[1], generator=generator) < 0.5
    edges = torch.where(turned, edges.flip(0), edges)
    dtype = draw(st.sampled_from(DTYPES))
    if draw(st.booleans()):
        weights = torch.randint(0, 4, (edges.shape[1],), generator=generator).to(dtype)
    else:
        weights = torch.rand(edges.shape[1], generator=generator, dtype=dtype)
    if draw(st.booleans()):
        missing = torch.rand(len(weights), generator=generator) < 0.2
        weights = torch.where(missing, math.inf, weights)
    if not births:
        return edges, n, weights
    ages = torch.randint(-2, 2, (n,), generator=generator).to(dtype)
    return edges, n, weights + ages[edges].amax(0), ages


def in_order(edges, weights):
    """Edges (i, j), i < j, that exist, in the order (weight, i, j)."""
    rows = [(w, min(e), max(e)) for w, e in zip(weights.tolist(), edges.T.tolist(), strict=True)]
    return [(i, j) for weight, i, j in sorted(rows) if weight < math.inf]


def components(edges, n, births):
    """Pairs of dimension 0: the component whose eldest vertex is younger dies."""
    age = [(births[v], v) for v in range(n)]
    component = {v: {v} for v in range(n)}
    pairs = []
    for i, j in edges:
        if component[i] is not component[j]:
            eldest = [min(component[v], key=age.__getitem__) for v in (i, j)]
            younger = max(eldest, key=age.__getitem__)
            pairs.append(((younger, younger), (i, j)))
            merged = component[i] | component[j]
            component |= dict.fromkeys(merged, merged)
    stays = sorted(
        {min(members, key=age.__getitem__) for members in map(tuple, component.values())}
    )
    return pairs, [(v, v) for v in stays]


@pytest.mark.parametrize("sparse", [0, _annotations.SPARSE], ids=["lists", "bitsets"])
@given(graph=graphs())
def test_pairs_equal_a_matrix_reduction(sparse, graph):
    edges, n, weights = graph
    with mock.patch.object(_annotations, "SPARSE", sparse):
        zero, one = FlagFiltration(edges, n).all_pairs(weights, 1)
    order = in_order(edges, weights)
    assert listed(one) == reduction(order, n)
    assert listed(zero) == components(order, n, [0] * n)


@pytest.mark.parametrize("sparse", [0, _annotations.SPARSE], ids=["lists", "bitsets"])
@given(graph=graphs(births=True))
def test_vertex_births_decide_which_component_dies(sparse, graph):
    edges, n, weights, births = graph
    filtration = FlagFiltration(edges, n, vertex_births=births)
    with mock.patch.object(_annotations, "SPARSE", sparse):
        zero, one = filtration.all_pairs(weights, 1)
    same_pairs(filtration.pairs(weights, 0), zero)
    order = in_order(edges, weights)
    assert listed(zero) == components(order, n, births.tolist())
    assert listed(one) == reduction(order, n)
    diagram = filtration.diagram(zero, weights)
    ends = map(tuple, edges.sort(dim=0).values.T.tolist())
    value = dict(zip(ends, weights.tolist(), strict=True))
    expected = [[float(births[b[0]]), value[d]] for b, d in listed(zero)[0]]
    assert_close(diagram, torch.tensor(expected, dtype=weights.dtype).reshape(-1, 2))
    assert bool((diagram[:, 0] <= diagram[:, 1]).all())


@given(SEEDS, st.integers(0, 14))
def test_a_complete_graph_is_a_rips_filtration(seed, n):
    points = gaussian(seed, n, 3)
    matrix = distances_by_differences(points)
    i, j = torch.triu_indices(n, n, 1)
    flag = FlagFiltration(torch.stack([j, i]), n)
    rips = RipsFiltration(metric="precomputed")
    for p in (0, 1):
        pairs = flag.pairs(matrix[i, j], p)
        same_pairs(pairs, rips.pairs(matrix, p))
        assert_close(flag.diagram(pairs, matrix[i, j]), rips.diagram(pairs, matrix))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("present", [0.05, 0.2, 1.0])
def test_lists_and_bitsets_give_the_same_pairs(present, seed):
    """Many living classes, sums of rows, several deaths at one edge."""
    n = 150
    generator = torch.Generator().manual_seed(seed)
    i, j = torch.triu_indices(n, n, 1)
    kept = torch.rand(len(i), generator=generator) < present
    edges = torch.stack([i[kept], j[kept]])
    weights = torch.rand(edges.shape[1], generator=generator)
    weights = (30 * weights).round() if seed % 2 else weights
    found = []
    for sparse in (0, math.inf):
        with mock.patch.object(_annotations, "SPARSE", sparse):
            found.append(FlagFiltration(edges, n).all_pairs(weights, 1))
    for p in (0, 1):
        same_pairs(found[0][p], found[1][p])
    assert len(found[0][1]) + len(found[0][1].essential_edges) > 100


def test_more_vertices_than_a_square_of_them_allows():
    """A long cycle with two chords, numbered beyond 16 bits."""
    n = 70_000
    ring = torch.arange(n)
    edges = torch.cat(
        [torch.stack([ring, (ring + 1) % n]), torch.tensor([[66_000, 1], [66_002, 3]])], dim=1
    )
    weights = torch.ones(n + 2)
    weights[-2:] = 2
    zero, one = FlagFiltration(edges, n).all_pairs(weights, 1)
    assert len(zero) == n - 1
    assert len(one) == 0  # each chord gives birth to a triangle that it fills at once
    assert one.essential_edges.tolist() == [[n - 2, n - 1]]


@pytest.mark.parametrize("neighbours", [4, 12])
def test_a_nearest_neighbour_graph_equals_gudhi(neighbours):
    n = 400
    points = gaussian(0, n, 3)
    matrix = distances_by_differences(points)
    nearest = matrix.topk(neighbours + 1, largest=False).indices[:, 1:]
    ends = torch.stack([torch.arange(n).repeat_interleave(neighbours), nearest.flatten()])
    edges = ends.sort(dim=0).values.unique(dim=1)
    weights = matrix[edges[0], edges[1]]
    pairs = FlagFiltration(edges, n).pairs(weights, 1)
    assert listed(pairs) == gudhi_of_edges(in_order(edges, weights), n, 1)


def test_negative_weights_are_allowed_with_births():
    edges = torch.tensor([[0, 1, 2, 0], [1, 2, 3, 3]])
    weights = torch.tensor([-3.0, -2.0, -1.0, -0.5])
    filtration = FlagFiltration(edges, 4, vertex_births=torch.full((4,), -5.0))
    zero, one = filtration.all_pairs(weights, 1)
    assert_close(filtration.diagram(zero, weights)[:, 0], torch.full((3,), -5.0))
    assert one.essential_edges.tolist() == [[0, 3]]


@given(graphs(births=True))
def test_the_diagram_is_differentiable_in_weights_and_births(graph):
    edges, n, weights, births = graph
    weights = weights.double().nan_to_num(posinf=9)
    births = births.double().requires_grad_()
    for p in (0, 1):
        pairs = FlagFiltration(edges, n, vertex_births=births).pairs(weights, p)
        if len(pairs):
            gradients_are_right(
                lambda w, b, pairs=pairs: FlagFiltration(edges, n, vertex_births=b).diagram(
                    pairs, w
                ),
                weights,
                births,
                second=True,
            )


def test_attention_weights_are_learned():
    """From scores through a diagram to the scores' gradient, in half precision too."""
    scores = gaussian(0, 10, 10, dtype=torch.float32).requires_grad_()
    i, j = torch.triu_indices(10, 10, 1)
    for dtype in (torch.float32, torch.bfloat16):
        attention = (scores + scores.T).to(dtype).sigmoid()
        filtration = FlagFiltration(torch.stack([i, j]), 10)
        weights = 1 - attention[i, j]
        pairs = filtration.pairs(weights, 1)
        diagram = filtration.diagram(pairs, weights)
        assert diagram.dtype == torch.float32
        (gradient,) = torch.autograd.grad((diagram[:, 1] - diagram[:, 0]).sum(), scores)
        assert bool(gradient.isfinite().all())
        assert float(gradient.abs().sum()) > 0


def test_tracks_and_losses_take_the_pairs_of_a_graph():
    source, target = gaussian(0, 2, 8, 3)
    ring = regular_polygon(8)
    matrix = distances_by_differences(ring)
    i, j = torch.triu_indices(8, 8, 1)
    filtration = FlagFiltration(torch.stack([i, j]), 8)
    pairs = filtration.all_pairs(matrix[i, j], 1)
    assert persistence_tracks(source, pairs[1]).shape == (len(pairs[1]), 3)
    for orientation in ("index", "aligned"):
        loss = TrackCoincidence(filtration=filtration, dimensions=(0, 1), orientation=orientation)
        found = loss(source, target, geometry=matrix[i, j])
        assert_close(found, loss(source, target, pairs=pairs))


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_graph_without_edges(n):
    filtration = FlagFiltration(torch.empty(2, 0, dtype=torch.int64), n)
    weights = torch.empty(0, requires_grad=True)
    zero, one = filtration.all_pairs(weights, 1)
    assert len(zero) == len(one) == len(one.essential_edges) == 0
    assert zero.essential_edges.tolist() == [[v, v] for v in range(n)]
    filtration.diagram(zero, weights).sum().backward()
    assert weights.grad.shape == (0,)


def test_all_edges_infinite():
    filtration = FlagFiltration(torch.tensor([[0, 1], [1, 2]]), 3)
    zero, one = filtration.all_pairs(torch.full((2,), math.inf), 1)
    assert len(zero) == len(one) == 0
    assert len(zero.essential_edges) == 3


def test_the_representation_counts():
    edges = torch.tensor([[0, 1], [1, 2]])
    assert repr(FlagFiltration(edges, 3)) == (
        "FlagFiltration(edges=2, vertices=3, vertex_births=zero)"
    )
    assert "vertex_births=given" in repr(FlagFiltration(edges, 3, vertex_births=torch.zeros(3)))


def test_a_grid_without_triangles_needs_no_annotations():
    """Of 90,000 loops none is ever filled; a bit for each in each would be a gigabyte."""
    side = 300
    number = torch.arange(side * side).reshape(side, side)
    across = torch.stack([number[:, :-1].flatten(), number[:, 1:].flatten()])
    down = torch.stack([number[:-1].flatten(), number[1:].flatten()])
    edges = torch.cat([across, down], dim=1)
    weights = torch.rand(edges.shape[1], generator=torch.Generator().manual_seed(0))
    zero, one = FlagFiltration(edges, side * side).all_pairs(weights, 1)
    assert len(zero) == side * side - 1
    assert len(one) == 0
    assert len(one.essential_edges) == (side - 1) ** 2
    born = torch.cat([zero.death_edges, one.essential_edges])
    assert len(born.unique(dim=0)) == edges.shape[1]


@pytest.mark.parametrize("hub", [0, 30_000])
def test_a_hub_among_many_leaves(hub):
    """A wheel: rim and spokes make triangles, and the hub has the longest list."""
    n = 30_001
    rim = torch.tensor([v for v in range(n) if v != hub])
    edges = torch.cat(
        [torch.stack([rim, rim.roll(-1)]), torch.stack([rim, torch.full_like(rim, hub)])], dim=1
    )
    weights = torch.cat([torch.zeros(n - 1), torch.ones(n - 1)])
    one = FlagFiltration(edges, n).pairs(weights, 1)
    spokes = one.death_edges[(one.birth_edges != hub).all(1)]
    assert len(one.essential_edges) == 0
    assert bool((spokes == hub).any(1).all())
    assert len(spokes) == 1  # the rim, which the last spoke fills


# One edge named several times


@st.composite
def named_again(draw, births=False):
    """A graph whose edges are named up to four times, in both directions, in any order.

    Weights are multiples of 12, so that their means are exact. Also the distinct edges.
    """
    edges, n, weights, *ages = draw(graphs(births=births))
    generator = torch.Generator().manual_seed(draw(SEEDS))
    copies = torch.randint(1, 5, (edges.shape[1],), generator=generator)
    edges, weights = edges.repeat_interleave(copies, 1), weights.repeat_interleave(copies)
    more = torch.randint(0, 4, (len(weights),), generator=generator)
    weights = 12 * ((8 * weights).ceil() + more)
    order = torch.randperm(len(weights), generator=generator)
    turned = torch.rand(len(weights), generator=generator) < 0.5
    edges = torch.where(turned, edges.flip(0), edges)[:, order]
    return edges, n, weights[order], *(12 * 8 * age for age in ages)


def combine(edges, weights, how):
    """The distinct edges (i, j), i < j, each with the smallest of its weights or their mean."""
    named = {}
    for edge, weight in zip(edges.T.tolist(), weights.tolist(), strict=True):
        named.setdefault(tuple(sorted(edge)), []).append(weight)
    values = [min(v) if how == "min" else math.fsum(v) / len(v) for v in named.values()]
    ends = torch.tensor(list(named), dtype=torch.int64).reshape(-1, 2).T
    return ends, torch.tensor(values, dtype=weights.dtype)


HOW = pytest.mark.parametrize("how", ["min", "mean"])


@HOW
@given(graph=named_again(births=True))
def test_edges_named_again_are_combined(how, graph):
    edges, n, weights, births = graph
    ends, values = combine(edges, weights, how)
    for ages in (None, births):
        combined = FlagFiltration(edges, n, vertex_births=ages, duplicate_edges=how)
        simple = FlagFiltration(ends, n, vertex_births=ages)
        if ages is None and bool((values < 0).any()):
            continue
        found = combined.all_pairs(weights, 1)
        for pairs, expected in zip(found, simple.all_pairs(values, 1), strict=True):
            same_pairs(pairs, expected)
            diagram, right = combined.diagram(pairs, weights), simple.diagram(pairs, values)
            assert_close(diagram, right, rtol=0, atol=0)


@HOW
@given(SEEDS, st.sampled_from(DTYPES))
def test_the_order_and_the_diagram_read_the_same_value(how, seed, dtype):
    """To the last bit: the deaths of the diagram ascend."""
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(0, 6, (2, 60), generator=generator)
    edges = edges[:, edges[0] != edges[1]]
    weights = 1 + torch.rand(edges.shape[1], generator=generator, dtype=dtype) / 10
    weights[weights > 1.08] = math.inf
    filtration = FlagFiltration(edges, 6, duplicate_edges=how)
    ends, values = combine(edges, weights, how)
    known = dict(zip(map(tuple, ends.T.tolist()), values.tolist(), strict=True))
    for pairs in filtration.all_pairs(weights, 1):
        diagram = filtration.diagram(pairs, weights)
        assert bool((diagram[:, 1].diff() >= 0).all())
        assert bool((diagram[:, 0] <= diagram[:, 1]).all())
        expected = [known[tuple(edge)] for edge in pairs.death_edges.tolist()]
        assert_close(diagram[:, 1], torch.tensor(expected, dtype=dtype), rtol=1e-6, atol=0)


@HOW
@pytest.mark.parametrize("copies", range(1, 8))
@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_weights_give_their_own_value(how, copies, dtype):
    """Not one below it, which would lie below the births of the vertices."""
    weight = torch.tensor(0.1, dtype=dtype)
    edges = torch.tensor([[0], [1]]).repeat(1, copies)
    filtration = FlagFiltration(edges, 2, vertex_births=weight.repeat(2), duplicate_edges=how)
    pairs = filtration.pairs(weight.repeat(copies))
    assert_close(
        filtration.diagram(pairs, weight.repeat(copies)), weight.repeat(1, 2), rtol=0, atol=0
    )


@HOW
@given(named_again())
def test_the_diagram_of_combined_edges_is_differentiable(how, graph):
    edges, n, weights = graph
    weights = weights.double().nan_to_num(posinf=999) + torch.arange(len(weights)) / 7
    filtration = FlagFiltration(edges, n, duplicate_edges=how)
    for pairs in filtration.all_pairs(weights, 1):
        if len(pairs):
            gradients_are_right(
                lambda w, pairs=pairs: filtration.diagram(pairs, w), weights, second=True
            )


def test_which_of_the_weights_the_gradient_reaches():
    edges = torch.tensor([[0, 1, 1, 2, 1], [1, 0, 2, 1, 0]])
    for how, expected in (("min", [0, 1, 1, 0, 0]), ("mean", [1 / 3, 1 / 3, 0.5, 0.5, 1 / 3])):
        weights = torch.tensor([2.0, 1.0, 3.0, 3.0, 1.0], requires_grad=True)  # ties: the first
        filtration = FlagFiltration(edges, 3, duplicate_edges=how)
        filtration.diagram(filtration.pairs(weights), weights).sum().backward()
        assert_close(weights.grad, torch.tensor(expected, dtype=torch.float32))


def test_an_infinite_weight_among_several():
    edges, weights = torch.tensor([[0, 1], [1, 0]]), torch.tensor([2.0, math.inf])
    least = FlagFiltration(edges, 2, duplicate_edges="min")
    assert least.diagram(least.pairs(weights), weights).tolist() == [[0.0, 2.0]]
    mean = FlagFiltration(edges, 2, duplicate_edges="mean")
    assert len(mean.pairs(weights)) == 0
    for filtration in (least, mean):
        assert len(filtration.pairs(torch.full((2,), math.inf))) == 0


def test_means_of_large_weights_do_not_overflow():
    edges, weights = torch.tensor([[0, 1], [1, 0]]), torch.tensor([3e38, 3.2e38])
    filtration = FlagFiltration(edges, 2, duplicate_edges="mean")
    assert_close(filtration.diagram(filtration.pairs(weights), weights)[0, 1], torch.tensor(3.1e38))


@HOW
def test_combined_weights_are_checked(how):
    edges = torch.tensor([[0, 1, 1], [1, 0, 2]])
    options = {"vertex_births": torch.tensor([0.0, 1.0, 0.0]), "duplicate_edges": how}
    filtration = FlagFiltration(edges, 3, **options)
    with refused(ValueError, "`data` should be free of NaN. Got 1 entry, first at entry 1."):
        filtration.pairs(torch.tensor([2.0, math.nan, 2.0]))
    undefined = torch.tensor([2.0, math.nan, 2.0])
    known = filtration.pairs(torch.tensor([2.0, 2.0, 3.0]))
    unchecked = FlagFiltration(edges, 3, check_values=False, **options)
    assert unchecked.pairs(undefined).death_edges.tolist() == [[1, 2]]
    assert filtration.diagram(known, undefined)[:, 1].isnan().tolist() == [True, False]
    weights = torch.tensor([0.5, 2.5, 2.0])
    if how == "mean":
        assert filtration.diagram(filtration.pairs(weights), weights)[:, 1].tolist() == [1.5, 2.0]
        return
    with refused(
        ValueError,
        "`data` should be at least the births of the vertices. Got 0.5 for edge (0, 1) "
        "with a vertex born at 1. Pass smaller `vertex_births`.",
    ):
        filtration.pairs(weights)


@HOW
def test_a_simple_graph_may_be_combined(how):
    edges = torch.tensor([[1, 2, 3], [0, 1, 2]])
    weights = torch.tensor([3.0, 2.0, 1.0])
    combined = FlagFiltration(edges, 4, duplicate_edges=how)
    same_pairs(combined.pairs(weights), FlagFiltration(edges, 4).pairs(weights))
    assert repr(combined) == (
        f'FlagFiltration(edges=3, vertices=4, vertex_births=zero, duplicate_edges="{how}")'
    )
    assert "edges=1, " in repr(FlagFiltration(edges[:, [0, 0]], 4, duplicate_edges=how))


@HOW
def test_the_diagram_of_combined_edges_compiles(how):
    ends = torch.combinations(torch.arange(6)).T
    filtration = FlagFiltration(torch.cat([ends, ends.flip(0)], 1), 6, duplicate_edges=how)
    weights = gaussian(0, 30, dtype=torch.float32).abs().requires_grad_()
    pairs = filtration.pairs(weights)
    compiled = torch.compile(
        lambda w: filtration.diagram(pairs, w), backend="aot_eager", fullgraph=True
    )
    found, expected = compiled(weights), filtration.diagram(pairs, weights)
    assert_close(found, expected)
    gradients = [torch.autograd.grad(d[:, 1].sum(), weights)[0] for d in (found, expected)]
    assert_close(*gradients)
    torch._dynamo.reset()


def test_births_that_became_undefined_are_refused():
    births = torch.zeros(3)
    filtration = FlagFiltration(torch.tensor([[0, 1], [1, 2]]), 3, vertex_births=births)
    births[2] = math.nan
    with refused(
        ValueError,
        "`vertex_births` should be finite. Got 1 row with NaN or infinity, first at row 2.",
    ):
        filtration.pairs(torch.ones(2))


def test_the_diagram_compiles():
    edges = torch.combinations(torch.arange(6)).T
    filtration = FlagFiltration(edges, 6)
    weights = gaussian(0, 15, dtype=torch.float32).abs()
    pairs = filtration.pairs(weights)
    compiled = torch.compile(
        lambda w: filtration.diagram(pairs, w), backend="aot_eager", fullgraph=True
    )
    assert_close(compiled(weights), filtration.diagram(pairs, weights))
    torch._dynamo.reset()


# Several graphs on the same edges


@pytest.mark.parametrize("how", ["error", "min", "mean"])
@pytest.mark.parametrize("born", [False, True])
@given(data=st.data())
def test_each_graph_of_a_batch_is_as_it_is_alone(how, born, data):
    graph = graphs(births=True) if how == "error" else named_again(births=True)
    edges, n, weights, births = data.draw(graph)
    weights = weights if born else weights.clamp(min=0)
    generator = torch.Generator().manual_seed(data.draw(SEEDS))
    shape = data.draw(st.integers(0, 3)), len(weights)
    rows = weights + 12 * torch.randint(0, 4, shape, generator=generator)
    rows = rows.masked_fill(torch.rand(shape, generator=generator) < 0.2, math.inf).requires_grad_()
    leaves = [rows, births.requires_grad_()] if born else [rows]
    filtration = FlagFiltration(
        edges, n, vertex_births=births if born else None, duplicate_edges=how
    )

    def gradients(diagram):
        total = (gaussian(5, len(diagram), 2, dtype=diagram.dtype) * diagram).sum()
        return torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)

    for dimension, pairs in enumerate(filtration.all_pairs(rows, 1)):
        same_pairs(filtration.pairs(rows, dimension), pairs)
        assert pairs.cloud_sizes == (n,) * len(rows)
        alone = [filtration.pairs(row, dimension) for row in rows]
        for part, expected in zip(pairs.split(), alone, strict=True):
            same_pairs(part, expected)
        diagram = filtration.diagram(pairs, rows)
        each = [filtration.diagram(part, row) for part, row in zip(alone, rows, strict=True)]
        expected = torch.cat([rows.sum(0)[:0, None].expand(0, 2), *each])
        assert_close(diagram, expected, rtol=0, atol=0)
        assert_close(gradients(diagram), gradients(expected))


def test_a_loss_of_several_graphs_is_one_value_per_graph():
    edges = torch.combinations(torch.arange(7)).T
    weights = gaussian(0, 3, 21).abs()
    filtration = FlagFiltration(edges, 7)
    loss = TotalPersistence(filtration=filtration, dimensions=(0, 1), reduction="none")
    assert_close(loss(weights), torch.cat([loss(row) for row in weights]))
    assert_close(loss(weights, pairs=filtration.all_pairs(weights, 1)), loss(weights))


def test_a_batch_without_graphs():
    weights = torch.empty(0, 2, requires_grad=True)
    filtration = FlagFiltration(torch.tensor([[0, 1], [1, 2]]), 3)
    for pairs in filtration.all_pairs(weights, 1):
        assert len(pairs) == len(pairs.essential_edges) == 0
        assert pairs.cloud_sizes == ()
        diagram = filtration.diagram(pairs, weights)
        assert diagram.shape == (0, 2)
        (gradient,) = torch.autograd.grad(diagram.sum(), weights)
        assert gradient.shape == (0, 2)
    loss = TotalPersistence(filtration=filtration)
    loss(weights).backward()
    assert weights.grad.shape == (0, 2)
    loss = TotalPersistence(filtration=filtration, reduction="none")
    assert loss(weights).shape == (0,)


def test_the_diagram_of_several_graphs_compiles():
    edges = torch.combinations(torch.arange(6)).T
    filtration = FlagFiltration(edges, 6, vertex_births=torch.full((6,), -1.0))
    weights = gaussian(0, 3, 15, dtype=torch.float32).abs()
    pairs = filtration.pairs(weights)
    compiled = torch.compile(
        lambda w: filtration.diagram(pairs, w), backend="aot_eager", fullgraph=True
    )
    assert_close(compiled(weights), filtration.diagram(pairs, weights))
    torch._dynamo.reset()
