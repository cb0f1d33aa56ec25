"""Losses and engines under torch.compile, and the fake implementations of the operators."""

import math

import pytest
import torch
from asserts import (
    TORCH,
    compiles_searches,
    compiles_to_machine_code,
    reads_bits_in_vmap,
)
from strategies import gaussian
from torch._dynamo.eval_frame import _debug_get_cache_entry_list
from torch.testing import assert_close

from topreg import (
    DeviatingPerturbation,
    FlagFiltration,
    HomologyConsistency,
    RipsFiltration,
    SignatureLoss,
    TotalPersistence,
    TrackCoincidence,
    betti_matching_loss,
    betti_prior_loss,
    connectivity_loss,
    deviating_perturbation,
    diagram_matching_loss,
    homology_consistency,
    minimum_spanning_tree,
    pairwise_distances,
    persistence_entropy,
    rtd,
    rtd_lite,
    signature_loss,
    total_persistence,
    track_coincidence,
)
from topreg.metrics._edges import length_corrections
from topreg.metrics._metric import unit_vectors
from topreg.metrics._selection import cross_distances, dense_distances, estimated_distances
from topreg.persistence.annotations._annotations import annotate, annotate_edges
from topreg.persistence.dense._boruvka import boruvka
from topreg.persistence.dense._device import trees_on_device
from topreg.persistence.dense._prim import prim
from topreg.persistence.large._tiled import tiled
from topreg.persistence.library._higher import homology_by_library

LABELS = torch.arange(9) % 2


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize(
    ("module", "labels"),
    [
        (TrackCoincidence(), ()),
        (DeviatingPerturbation(match_norms=True), (LABELS,)),
        (HomologyConsistency(perturbation_weight=0.5), (LABELS,)),
    ],
    ids=["TrackCoincidence", "DeviatingPerturbation", "HomologyConsistency"],
)
def test_losses_given_pairs_compile_without_a_graph_break(module, labels):
    source, target = gaussian(0, 2, 9, 3, dtype=torch.float32)
    pairs = RipsFiltration().pairs(source)

    def loss(s, t):
        return module(s, t, *labels, pairs=pairs)

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    results = []
    for function in (loss, compiled):
        leaf = source.clone().requires_grad_()
        value = function(leaf, target)
        value.backward()
        results.append((value.detach(), leaf.grad))
    assert_close(results[1], results[0])


class _WithPairs(torch.nn.Module):
    """A loss with constant pairs, as a program that can be exported."""

    def __init__(self, module, **pairs):
        super().__init__()
        self.module, self.pairs = module, pairs

    def forward(self, *clouds):
        return self.module(*clouds, **self.pairs)


@pytest.mark.parametrize("given", [False, True], ids=["search", "pairs"])
@pytest.mark.parametrize(
    ("module", "names"),
    [
        (TrackCoincidence(), ("pairs",)),
        (SignatureLoss(), ("pairs", "target_pairs")),
        (TotalPersistence(), ("pairs",)),
    ],
    ids=["TrackCoincidence", "SignatureLoss", "TotalPersistence"],
)
@compiles_searches
def test_losses_export_for_a_static_number_of_points(module, names, given):
    spaces = 1 if isinstance(module, TotalPersistence) else 2
    clouds, others = gaussian(0, 2, spaces, 9, 3, dtype=torch.float32)
    pairs = [RipsFiltration().pairs(cloud) for cloud in clouds]
    term = _WithPairs(module, **dict(zip(names, pairs, strict=False)) if given else {})
    program = torch.export.export(term, tuple(clouds)).module()
    results = []
    for function in (term, program):
        leaf = others[0].clone().requires_grad_()  # not the clouds of the export
        value = function(leaf, *others[1:])
        value.backward()
        results.append((value.detach(), leaf.grad))
    assert results[0][1].any()
    assert_close(results[1], results[0])


@compiles_searches
def test_searches_export_for_a_dynamic_number_of_points():
    clouds = gaussian(0, 2, 9, 3, dtype=torch.float32)
    n = torch.export.Dim("n", min=4, max=1000)
    shapes = {"clouds": ({0: n}, {0: n})}
    term = _WithPairs(TrackCoincidence())
    program = torch.export.export(term, tuple(clouds), dynamic_shapes=shapes).module()
    for size in (4, 9, 40):
        others = gaussian(size, 2, size, 3, dtype=torch.float32)
        assert_close(program(*others), term(*others))


@compiles_searches
def test_given_pairs_export_for_their_number_of_points_alone():
    clouds = gaussian(0, 2, 9, 3, dtype=torch.float32)
    term = _WithPairs(TrackCoincidence(), pairs=RipsFiltration().pairs(clouds[0]))
    n = torch.export.Dim("n", min=4, max=100)
    with pytest.raises(torch._dynamo.exc.UserError, match="specialized it to be a constant"):
        torch.export.export(term, tuple(clouds), dynamic_shapes={"clouds": ({0: n}, {0: n})})


def test_a_weight_may_change_from_step_to_step():
    source, target = gaussian(0, 2, 9, 3, dtype=torch.float32)
    pairs = [RipsFiltration().pairs(source)]

    def loss(weight):
        return homology_consistency(source, target, LABELS, pairs=pairs, perturbation_weight=weight)

    compiled = torch.compile(loss, backend="eager", fullgraph=True)
    for weight in (1.0, 2.0, 3.5):
        assert_close(compiled(weight), loss(weight))


SELECTIONS = {
    "prim": RipsFiltration(),
    "boruvka": RipsFiltration(engine="boruvka"),
    "tiled": RipsFiltration(engine="tiled"),
    "threshold": RipsFiltration(max_edge_length=1.5),
    "cosine": RipsFiltration(metric="cosine"),
}


@pytest.mark.parametrize("filtration", SELECTIONS.values(), ids=SELECTIONS)
@pytest.mark.parametrize("dimensions", [(0,), (0, 1)])
@compiles_searches
def test_selection_and_loss_compile_without_a_graph_break(filtration, dimensions):
    if max(dimensions) and filtration.engine != "auto":
        filtration = RipsFiltration(engine="annotations")
    module = TrackCoincidence(filtration=filtration, dimensions=dimensions)
    source, target = gaussian(0, 2, 9, 3, dtype=torch.float32)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    results = []
    for function in (module, compiled):
        leaf = source.clone().requires_grad_()
        value = function(leaf, target)
        value.backward()
        results.append((value.detach(), leaf.grad))
    assert_close(results[1], results[0])


def test_the_default_module_and_batches_compile():
    clouds = gaussian(0, 2, 3, 9, 4, dtype=torch.float32)
    module = TrackCoincidence()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    assert_close(compiled(*clouds), module(*clouds))


@compiles_searches
@compiles_to_machine_code
@pytest.mark.parametrize("dimensions", [(0,), (0, 1)])
def test_a_step_without_points_compiles(dimensions):
    step = torch.compile(lambda x: total_persistence(x, dimensions=dimensions), fullgraph=True)
    assert float(step(torch.zeros(0, 3))) == 0


def entries(filtration, dimension=0, of=lambda points: points):
    """Death edges of a search."""
    return lambda points: filtration.pairs(of(points), dimension).death_edges


def cdist(x, y):
    return torch.cdist(x, y)


ENDS = torch.combinations(torch.arange(9)).T
GRAPH = FlagFiltration(ENDS, 9)
BOTH_ENDS = FlagFiltration(torch.cat([ENDS, ENDS.flip(0)], 1), 9, duplicate_edges="mean")
PRECOMPUTED = RipsFiltration(metric="precomputed")
SEARCHES = {
    "threshold": entries(RipsFiltration(max_edge_length=1.5)),
    "dimension 1": entries(RipsFiltration(), 1),
    "dimension 2": entries(RipsFiltration(), 2),
    "precomputed": entries(PRECOMPUTED, 1, pairwise_distances),
    "callable": entries(RipsFiltration(metric=cdist), 1),
    "graph": entries(GRAPH, 1, torch.nn.functional.pdist),
    "graph from both ends": entries(
        BOTH_ENDS, 1, lambda points: torch.nn.functional.pdist(points).repeat(2)
    ),
    "tree": lambda points: minimum_spanning_tree(pairwise_distances(points)),
    "space": lambda points: rtd_lite(
        points, points[:, :2] ** 2, filtration=RipsFiltration(metric=cdist)
    ),
}


@pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
@compiles_searches
def test_searches_run_between_graphs(search):
    points = gaussian(0, 9, 3, dtype=torch.float32)
    assert_close(torch.compile(search, backend="aot_eager")(points), search(points))


def test_a_diagram_by_a_callable_metric_compiles_without_a_graph_break():
    points = gaussian(0, 9, 3, dtype=torch.float32)
    filtration = RipsFiltration(metric=cdist)
    pairs = filtration.pairs(points)
    compiled = torch.compile(
        lambda x: filtration.diagram(pairs, x), backend="aot_eager", fullgraph=True
    )
    expected = filtration.diagram(pairs, points)
    assert_close(compiled(points), expected)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert_close(compiled(points), expected)
        if TORCH >= (2, 9):  # compiled programs of earlier versions set "high" by themselves
            assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


@compiles_searches
def test_distances_are_checked_in_the_graph():
    compiled = torch.compile(
        lambda matrix: PRECOMPUTED.pairs(matrix).death_edges, backend="aot_eager", fullgraph=True
    )
    good = pairwise_distances(gaussian(0, 9, 3))
    assert_close(compiled(good), PRECOMPUTED.pairs(good).death_edges)
    for place, value, text in (
        ((1, 2), torch.nan, "free of NaN"),
        ((1, 2), 99.0, "symmetric"),
        ((3, 3), 1.0, "zero on the diagonal"),
        ((1, 2), -9.0, "non-negative"),
    ):
        bad = good.clone()
        bad[place] = value
        with pytest.raises(ValueError, match=rf"`points` should be {text}\. Got "):
            compiled(bad)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_compiled_program_refuses_bad_points(metric):
    compiled = torch.compile(
        TrackCoincidence(filtration=RipsFiltration(metric=metric)),
        backend="aot_eager",
        fullgraph=True,
    )
    good = gaussian(0, 9, 4, dtype=torch.float32)
    bad = good.clone()
    bad[2] = torch.nan if metric == "euclidean" else 0
    text = "be finite" if metric == "euclidean" else "have no zero row"
    with pytest.raises(ValueError, match=rf"`points` should {text}.*first at row 2\."):
        compiled(bad, good)


@pytest.mark.parametrize("connected", [False, True])
def test_boruvka_and_tiles_have_sound_fakes(connected):
    points = gaussian(0, 5, 3)
    weights = pairwise_distances(points).flatten()
    checks = ("test_schema", "test_faketensor")
    longest = float("inf") if connected else 2.0
    for trees in (boruvka, trees_on_device):
        torch.library.opcheck(trees.overload, (weights, [5], longest, connected), test_utils=checks)
    torch.library.opcheck(
        tiled.overload, (points, [3, 0, 2], "euclidean", longest, 99), test_utils=checks
    )


@pytest.mark.parametrize("connected", [False, True])
def test_the_engine_has_a_sound_fake(connected):
    weights = pairwise_distances(gaussian(0, 5, 2)).flatten()
    torch.library.opcheck(
        prim.overload,
        (weights, [5], float("inf"), connected),
        test_utils=("test_schema", "test_faketensor"),
    )
    torch.library.opcheck(
        prim.overload,
        (weights[:13], [2, 0, 3], float("inf"), connected),
        test_utils=("test_faketensor",),
    )


def test_the_engine_of_dimension_1_has_a_sound_fake():
    checks = ("test_schema", "test_faketensor")
    weights = pairwise_distances(gaussian(0, 6, 2)).flatten()
    torch.library.opcheck(annotate.overload, (weights, [6], float("inf"), True), test_utils=checks)
    torch.library.opcheck(
        annotate.overload, (weights[:13], [2, 0, 3], 1.0, False), test_utils=checks
    )
    edges = torch.combinations(torch.arange(6))
    torch.library.opcheck(annotate_edges.overload, (edges, 6, True), test_utils=checks)


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
@pytest.mark.parametrize("width", [3, 12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_distances_have_sound_fakes(metric, width, dtype):
    points = gaussian(0, 7, width, dtype=dtype)
    checks = ("test_schema", "test_faketensor")
    sizes = [4, 0, 3]
    torch.library.opcheck(
        dense_distances.overload, (points, sizes, metric, math.inf), test_utils=checks
    )
    torch.library.opcheck(estimated_distances.overload, (points, sizes, metric), test_utils=checks)
    torch.library.opcheck(cross_distances.overload, (points, points[:2], metric), test_utils=checks)
    torch.library.opcheck(unit_vectors.overload, (points,), test_utils=checks)
    lengths = (points[1:] - points[:-1]).norm(dim=1)
    rows = points[1:], points[:-1], lengths, metric
    torch.library.opcheck(length_corrections.overload, rows, test_utils=checks)


def test_the_distance_matrix_compiles():
    points = gaussian(0, 9, 12, dtype=torch.float32)
    compiled = torch.compile(pairwise_distances, backend="aot_eager", fullgraph=True)
    assert_close(compiled(points), pairwise_distances(points))


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_compiled_gradients_of_the_distance_matrix(metric, offset):
    """Also within torch.func, where a compiled program drops that of an autograd.Function."""
    points = gaussian(0, 9, 12, dtype=torch.float32) + offset
    points[1] = points[0]
    others, weights = points[:4] + 0.5, gaussian(1, 9, 9, dtype=torch.float32)

    def loss(x):
        own, cross = (
            pairwise_distances(x, metric=metric),
            pairwise_distances(others, x, metric=metric),
        )
        return (weights * own).sum() + cross.square().sum()

    leaf = points.clone().requires_grad_()
    loss(leaf).backward()
    functions = [torch.func.grad(loss)]
    if metric != "cosine" or reads_bits_in_vmap():
        functions.append(lambda x: torch.func.vmap(torch.func.grad(loss))(x[None])[0])
    for function in functions:
        compiled = torch.compile(function, backend="aot_eager")
        assert_close(compiled(points), leaf.grad, rtol=1e-4, atol=1e-4)
    again = points.clone().requires_grad_()
    torch.compile(loss, backend="aot_eager", fullgraph=True)(again).backward()
    assert_close(again.grad, leaf.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("metric", ["euclidean", "manhattan"])
@pytest.mark.parametrize(
    "points",
    [
        torch.tensor([[0.0, 0.0], [1.0, 0.0], [torch.inf, 0.0]]),
        torch.tensor([[3e200, 0.0], [-3e200, 1.0], [1.0, 1.0]], dtype=torch.float64),
    ],
    ids=["infinity", "overflow"],
)
def test_compiled_distances_that_are_infinite(metric, points):
    def distances(x):
        return pairwise_distances(x, metric=metric)

    def of_finite(x):
        matrix = distances(x)
        return torch.where(matrix < 1e150, matrix, 0.0).sum(), matrix

    compiled = torch.compile(distances, backend="aot_eager", fullgraph=True)
    assert_close(compiled(points), distances(points))
    transformed = torch.func.grad(of_finite, has_aux=True)
    found = torch.compile(transformed, backend="aot_eager")(points)
    assert_close(found, transformed(points), equal_nan=True)


@compiles_searches
@pytest.mark.parametrize(
    "options",
    [{"dimensions": (0, 1)}, {"filtration": RipsFiltration(engine="prim", max_edge_length=2.0)}],
)
def test_clouds_of_sizes_that_depend_on_values_compile(options):
    def step(x):
        return total_persistence(x[x[:, 0] > 0], **options)

    points = gaussian(0, 20, 3)
    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    assert_close(compiled(points), step(points))


def test_higher_dimensions_have_a_sound_fake():
    weights = pairwise_distances(gaussian(0, 6, 3)).flatten()
    task = (weights, [6], float("inf"), 2, True, False)
    torch.library.opcheck(
        homology_by_library.overload, task, test_utils=("test_schema", "test_faketensor")
    )


# Sizes of clouds that change from step to step


SIZES = 8, 9, 16, 17, 33
SEVERAL = {"dimensions": (0, 1), "orientation": "aligned"}


def both(pairs=None):
    """The pairs of both spaces; the same ones serve."""
    return {} if pairs is None else {"pairs": pairs, "target_pairs": pairs}


LOSSES = {  # of two views and labels, with pairs or without
    "track_coincidence": lambda x, y, c, **given: track_coincidence(x, y, **given),
    "track_coincidence, aligned": lambda x, y, c, **given: track_coincidence(
        x, y, **given, **SEVERAL
    ),
    "deviating_perturbation": lambda x, y, c, **given: deviating_perturbation(x, y, c, **given),
    "homology_consistency": lambda x, y, c, **given: homology_consistency(
        x, y, c, perturbation_weight=0.5, **given
    ),
    "connectivity_loss": lambda x, y, c, **given: connectivity_loss(x, scale=1.0, **given),
    "persistence_entropy": lambda x, y, c, **given: persistence_entropy(x, **given),
    "total_persistence": lambda x, y, c, **given: total_persistence(x, **given),
    "signature_loss": lambda x, y, c, **given: signature_loss(x, y, **both(**given)),
    "signature_loss, normalized": lambda x, y, c, **given: signature_loss(
        x, y, normalize=0.9, **both(**given)
    ),
    "rtd": lambda x, y, c: rtd(x, y),
    "rtd_lite": lambda x, y, c: rtd_lite(x, y),
    "rtd_lite, normalized": lambda x, y, c: rtd_lite(x, y, normalize=0.9),
}
WAYS = [(name, given) for name in LOSSES for given in (False, True)[: 1 + ("rtd" not in name)]]


def graphs_over_sizes(name, given, dynamic):
    """How many graphs a loss takes for clouds of five sizes; values and gradients are right.

    Programs that are kept are counted, not calls of the backend: with ``dynamic=True`` the compiler
    first takes options such as ``power=1.0`` for variables and throws that graph away.
    """
    torch._dynamo.reset()
    compiled = torch.compile(LOSSES[name], backend="aot_eager", dynamic=dynamic, fullgraph=True)
    for n in SIZES:
        source, target = gaussian(n, 2, n, 4)
        pairs = {"pairs": RipsFiltration().pairs(source)} if given else {}
        results = []
        for loss in (LOSSES[name], compiled):
            leaf = source.clone().requires_grad_()
            value = loss(leaf, target, torch.arange(n) % 3, **pairs)
            value.backward()
            results.append((value.detach(), leaf.grad))
        assert_close(results[1], results[0])
    return len(_debug_get_cache_entry_list(LOSSES[name].__code__))


def print_graphs_over_sizes():
    """Print the table of counts, with symbolic sizes from the first call on and without."""
    for name, given in WAYS:
        counts = [graphs_over_sizes(name, given, dynamic) for dynamic in (True, None)]
        print(f"{name:28} {'pairs given' if given else 'pairs found':12}", *counts)


@compiles_searches
@pytest.mark.parametrize(("name", "given"), WAYS)
@pytest.mark.parametrize(("dynamic", "most"), [(True, 1), (None, 2)], ids=["dynamic", "automatic"])
def test_clouds_of_other_sizes_need_no_other_graph(name, given, dynamic, most):
    assert graphs_over_sizes(name, given, dynamic) <= most


IMAGE_LOSSES = {
    "betti_matching_loss": lambda x, y: betti_matching_loss(x, y.round()),
    "diagram_matching_loss": lambda x, y: diagram_matching_loss(x, y),
    "betti_prior_loss": lambda x, y: betti_prior_loss(x, betti_numbers=(2, 1)),
}


@compiles_searches
@pytest.mark.parametrize("name", IMAGE_LOSSES)
@pytest.mark.parametrize(("dynamic", "most"), [(True, 1), (None, 2)], ids=["dynamic", "automatic"])
def test_images_of_other_sizes_need_no_other_graph(name, dynamic, most):
    loss = IMAGE_LOSSES[name]
    compiled = torch.compile(loss, backend="aot_eager", dynamic=dynamic, fullgraph=True)
    for n in SIZES:
        image, other = torch.rand(2, 3, n, n + 1, generator=torch.Generator().manual_seed(n))
        results = []
        for function in (loss, compiled):
            leaf = image.clone().requires_grad_()
            value = function(leaf, other)
            value.backward()
            results.append((value.detach(), leaf.grad))
        assert_close(results[1], results[0])
    assert len(_debug_get_cache_entry_list(loss.__code__)) <= most
    image[0, 2, 1] = torch.nan
    place = 2 * (n + 1) + 1
    with pytest.raises(ValueError, match=f"should be finite. Got 1 entry.*at entry {place}"):
        compiled(image, other)
