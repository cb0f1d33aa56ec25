"""Arbitrary arguments: a valid answer or an error in the house style, never anything else."""

import math

import pytest
import torch
from asserts import same_pairs, spanning_tree
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from torch.testing import assert_close

import topreg.image_metrics
from topreg import (
    CrossBatchMemory,
    CubicalFiltration,
    FlagFiltration,
    PersistencePairs,
    RipsFiltration,
)

FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
DTYPES = (*FLOATS, torch.int64, torch.int32, torch.uint8, torch.bool, torch.complex64)
TAME = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0)
WILD = (*TAME, math.nan, math.inf, -math.inf, 1e-45, -1e-40, 1e-310, 1e38, -3e38, 1e300, 65504.0)
WHOLE = (0, 1, 2, 3, 4, -1, 7, 2**31, 2**62, -(2**63), 2**63 - 1)
MANY = settings(max_examples=5 * settings().max_examples)  # most take a millisecond
EDGES = ("birth_edges", "death_edges", "essential_edges")


def answer(call):
    """What a call gives; None where it refuses its arguments in the house style."""
    try:
        return call()
    except (ValueError, TypeError) as error:
        kind, text = type(error), str(error)
    assert kind in (ValueError, TypeError)
    assert text[0] == "`" or text[0].isupper(), text
    assert "Got " in text, text
    return None


def cast(value, dtype):
    """A number that a dtype can hold."""
    if dtype in FLOATS:
        return value
    whole = int(value) if math.isfinite(value) else 0
    return whole if dtype == torch.int64 else whole % 100


@st.composite
def tensors(draw, shapes=None, dtypes=DTYPES, values=None):
    """Any small tensor, its entries from a pool."""
    shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple) if shapes is None else shapes
    shape, dtype = draw(shapes), draw(st.sampled_from(dtypes))
    pool = (WILD if dtype in FLOATS else WHOLE) if values is None else values
    size = math.prod(shape)
    entries = draw(st.lists(st.sampled_from(pool), min_size=size, max_size=size))
    wide = torch.float64 if dtype in FLOATS else torch.int64
    tensor = torch.tensor([cast(value, dtype) for value in entries], dtype=wide)
    return tensor.to(dtype).reshape(shape)


def anything():
    """What is no tensor, or is one."""
    return st.one_of(
        tensors(),
        st.none(),
        st.integers(-2, 5),
        st.floats(),
        st.text(max_size=3),
        st.lists(st.integers(0, 2), max_size=2),
        st.lists(tensors(), max_size=3),
    )


def rows(width=2, values=WHOLE):
    """Index rows of mostly the right kind."""
    shapes = st.integers(0, 4).map(lambda n: (n, width))
    return st.one_of(tensors(shapes, (torch.int64,), values), anything())


# Pairs


def is_whole(pairs):
    """Every method of valid pairs works."""
    n = sum(pairs.cloud_sizes)
    assert bool((pairs.cloud() >= 0).all())
    if n > 1000:  # only named, never there
        return
    assert bool((pairs.cloud() < max(len(pairs.cloud_sizes), 1)).all())
    assert sum(map(len, pairs.split())) == len(pairs)
    sizes = pairs.cloud_sizes
    points = [torch.zeros(size, 1) for size in sizes] or torch.zeros(0, 2, 1)
    assert RipsFiltration().diagram(pairs, points).shape == (len(pairs), 2)
    labels = [cloud[:, 0].long() for cloud in points] if sizes else torch.zeros(0, 2).long()
    assert len(pairs.between(labels)) == 0
    assert pairs.vertices().numel() <= n
    matrices = [torch.zeros(size, size) for size in sizes] or torch.zeros(0, 0, 0)
    lengths = RipsFiltration(metric="precomputed").diagram(pairs, matrices)
    assert_close(lengths, torch.zeros(len(pairs), 2))
    same_pairs(PersistencePairs.from_tensors(pairs.to_tensors()), pairs)


@given(rows(), rows(), rows(), st.lists(st.integers(0, 4), max_size=3).map(tuple))
def test_pairs_are_made_or_refused(births, deaths, essential, sizes):
    pairs = answer(lambda: PersistencePairs(0, births, deaths, essential, sizes))
    if pairs is not None:
        assert len(pairs) == len(births) == len(deaths)
        assert str(len(pairs)) in repr(pairs)


SMALL = (0, 1, 2, 1, 0)


@given(
    st.fixed_dictionaries(
        {"dimension": tensors(st.just(()), (torch.int64,)) | anything()},
        optional={name: rows(values=(*SMALL, 5, -1)) for name in EDGES}
        | {
            "cloud_sizes": tensors(st.integers(0, 3).map(lambda b: (b,)), (torch.int64,))
            | anything()
        },
    )
)
@MANY
def test_loaded_pairs_are_whole_or_refused(fields):
    good = RipsFiltration().pairs([torch.zeros(2, 1), torch.ones(3, 1)]).to_tensors()
    pairs = answer(lambda: PersistencePairs.from_tensors(good | fields))
    if pairs is not None:
        is_whole(pairs)


@given(st.dictionaries(st.sampled_from(("dimension", "cloud_sizes", *EDGES, "x")), anything()))
def test_dictionaries_are_no_pairs(fields):
    pairs = answer(lambda: PersistencePairs.from_tensors(fields))
    if pairs is not None:
        is_whole(pairs)


# Memory


@given(
    st.dictionaries(
        st.sampled_from(("0.labels", "0.x", "1.labels", "1.x", "7.labels", "07.x", "x", ".", "0.")),
        rows(1) | tensors(st.integers(0, 3).map(lambda n: (n,)), (torch.int64,)),
        max_size=5,
    ),
    st.integers(1, 3),
)
def test_a_memory_loads_or_refuses_and_keeps_what_it_had(stored, batches):
    memory, labels = CrossBatchMemory(batches, classes="all"), torch.tensor([0, 1])
    memory.join(labels, x=labels)
    before = memory.state_dict()
    try:
        answer(lambda: memory.load_state_dict(stored))
    finally:
        after = memory.state_dict()
    loaded = after.keys() != before.keys() or any(after[k] is not before[k] for k in after)
    if not loaded:
        return
    assert len(memory) == sum(len(t) for name, t in after.items() if name.endswith(".labels"))
    again = CrossBatchMemory(batches, classes="all")
    again.load_state_dict(after)
    assert len(again) == len(memory)


class MemoryMachine(RuleBasedStateMachine):
    """A memory beside a list of the batches that it should hold."""

    @initialize(batches=st.integers(1, 3), classes=st.sampled_from(["current", "all"]))
    def begin(self, batches, classes):
        self.options = (batches, classes)
        self.memory = CrossBatchMemory(batches, classes=classes)
        self.model = []
        self.step = 0.0

    @rule(labels=st.lists(st.integers(-1, 3), max_size=4), gradient=st.booleans())
    def join(self, labels, gradient):
        values = [[self.step + place / 16] for place in range(len(labels))]
        self.step += 1
        x = torch.tensor(values).reshape(-1, 1).requires_grad_(gradient)
        found, joined = self.memory.join(torch.tensor(labels, dtype=torch.int64), x=x)
        kept, classes = self.options
        expected = list(zip(labels, values, strict=True))
        for batch in reversed(self.model):
            expected += [row for row in batch if classes == "all" or row[0] in labels]
        assert list(zip(found.tolist(), joined.tolist(), strict=True)) == expected
        assert joined.requires_grad == gradient
        self.model = [*self.model, list(zip(labels, values, strict=True))][-kept:]
        x.data.fill_(math.nan)  # what is stored is a copy

    @precondition(lambda self: self.model)
    @rule(
        wrong=st.sampled_from(
            [
                {"x": torch.zeros(2, 2)},
                {"x": torch.zeros(3, 1)},
                {"y": torch.zeros(2, 1)},
                {},
                {"x": torch.zeros(2, 1, dtype=torch.float64)},
                {"x": None},
            ]
        )
    )
    def refuse(self, wrong):
        with pytest.raises((ValueError, TypeError), match=r"^`\w+` should .*Got"):
            self.memory.join(torch.tensor([0, 1]), **wrong)

    @rule()
    def clear(self):
        self.memory.clear()
        self.model = []

    @rule(fewer=st.booleans())
    def reload(self, fewer):
        batches, classes = self.options
        batches = max(1, batches - fewer)
        other = CrossBatchMemory(batches, classes=classes)
        other.load_state_dict(self.memory.state_dict())
        self.memory, self.options, self.model = other, (batches, classes), self.model[-batches:]

    @rule()
    def refuse_a_foreign_file(self):
        tensors = self.memory.state_dict() | {"9.x": torch.zeros(1)}
        with pytest.raises(ValueError, match=r'should hold labels\. Got no "9\.labels"'):
            self.memory.load_state_dict(tensors)

    @invariant()
    def holds_the_model(self):
        if not hasattr(self, "memory"):
            return
        stored = self.memory.state_dict()
        assert len(self.memory) == sum(map(len, self.model))
        assert len(stored) == 2 * len(self.model)
        for age, batch in enumerate(self.model):
            assert stored[f"{age}.labels"].tolist() == [label for label, _ in batch]
            assert stored[f"{age}.x"].tolist() == [value for _, value in batch]


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(
    max_examples=max(settings().max_examples // 3, 5), stateful_step_count=20
)


# Graphs


@given(
    st.one_of(
        tensors(st.integers(0, 5).map(lambda e: (2, e)), (torch.int64,), (0, 1, 2, 3, 4)), rows()
    ),
    st.sampled_from([0, 1, 2, 5, 5, 5, 9, -1, 2.0, True, None, 2**31, 2**40, 2**62, 2**63, 2**70]),
    st.none() | tensors(st.just((5,)), FLOATS) | anything(),
    tensors(st.integers(0, 5).map(lambda e: (e,)), FLOATS, (*TAME, math.inf, 1e38)) | anything(),
)
@MANY
def test_graphs_are_filtered_or_refused(edge_index, vertices, births, weights):
    graph = answer(lambda: FlagFiltration(edge_index, vertices, vertex_births=births))
    if graph is None or vertices > 1000:
        return
    found = answer(lambda: graph.all_pairs(weights, 1))
    if found is None:
        return
    components, loops = found
    assert len(components) + len(components.essential_edges) == vertices
    finite = int((weights < math.inf).sum())
    assert len(components) + len(loops) + len(loops.essential_edges) <= finite
    for pairs in found:
        diagram = graph.diagram(pairs, weights)
        assert bool((diagram[:, 0] <= diagram[:, 1]).all())
        assert not bool(diagram.isnan().any())


@given(
    st.integers(0, 4).flatmap(
        lambda e: st.tuples(
            st.just(e),
            st.lists(
                st.sampled_from((0, 1, 2, 2**31, 3_037_000_498)), min_size=2 * e, max_size=2 * e
            ),
        )
    )
)
def test_edges_of_huge_graphs_are_told_apart(drawn):
    """An edge is one int64, which the largest number of vertices must not overflow."""
    count, ends = drawn
    edges = torch.tensor(ends, dtype=torch.int64).reshape(2, count)
    listed = [tuple(sorted(edge)) for edge in edges.T.tolist()]
    simple = len(set(listed)) == len(listed) and all(i < j for i, j in listed)
    assert (answer(lambda: FlagFiltration(edges, 3_037_000_499)) is not None) == simple


# Points and matrices

METRICS = ("euclidean", "cosine", "manhattan", "precomputed")
ENGINES = ("auto", "prim", "boruvka", "tiled", "annotations", "gudhi")
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "metric": st.sampled_from((*METRICS, lambda x, y: torch.cdist(x, y), "l2", None, 3)),
        "max_edge_length": st.sampled_from(WILD),
        "engine": st.sampled_from((*ENGINES, "ripser", None)),
        "memory_budget": st.sampled_from((1, 4096, 1 << 25, 0, -1, 2.0)),
    },
)
CLOUDS = st.one_of(
    tensors(st.tuples(st.integers(0, 7), st.integers(0, 3)), FLOATS, TAME),
    tensors(st.tuples(st.integers(0, 7), st.integers(0, 3)), FLOATS),
    tensors(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 3)), FLOATS),
    st.lists(
        tensors(st.tuples(st.integers(0, 4), st.just(2)), (torch.float32,), (*TAME, 1e38)),
        max_size=3,
    ),
    anything(),
)


@st.composite
def matrices(draw):
    """Square matrices, most of them symmetric with a zero diagonal."""
    n = draw(st.integers(0, 6))
    pool = draw(st.sampled_from([TAME[3:], (0.0, 1.0, 2.0, math.inf), (1e-45, 1e-40), WILD]))
    matrix = draw(tensors(st.just((n, n)), FLOATS, tuple(abs(v) for v in pool)))
    if draw(st.integers(0, 3)):
        matrix = torch.triu(torch.where(matrix.isnan(), 1.0, matrix), 1)
        matrix = torch.where(matrix > matrix.T, matrix, matrix.T)
    return matrix


def accounts_for_every_vertex(filtration, points, found, connected):
    """Trees and forests of the right size; births not after deaths."""
    forest = found[0]
    n, clouds = sum(forest.cloud_sizes), len([size for size in forest.cloud_sizes if size])
    assert len(forest) + len(forest.essential_edges) == n
    if connected:
        assert len(forest) == n - clouds
        for part in forest.split():
            spanning_tree(part.death_edges, *part.cloud_sizes)
    for pairs in found:
        assert filtration.diagram(pairs, points).shape == (len(pairs), 2)
        same_pairs(PersistencePairs.from_tensors(pairs.to_tensors()), pairs)


@given(OPTIONS, CLOUDS, st.sampled_from((0, 1, 0, 1, 2, -1, 1.0, None)))
@MANY
def test_points_are_filtered_or_refused(options, points, dimension):
    filtration = answer(lambda: RipsFiltration(**options))
    if filtration is None:
        return
    found = answer(lambda: filtration.all_pairs(points, dimension))
    if found is not None:
        named = filtration.metric in METRICS[:3]
        connected = named and filtration.max_edge_length == math.inf
        accounts_for_every_vertex(filtration, points, found, connected)


@given(matrices() | CLOUDS, st.sampled_from(ENGINES), st.sampled_from((math.inf, 1.0, 0.0)))
@MANY
def test_matrices_are_filtered_or_refused(matrix, engine, longest):
    if engine == "tiled":
        return
    filtration = RipsFiltration(metric="precomputed", engine=engine, max_edge_length=longest)
    dimension = int(engine not in ("prim", "boruvka"))
    found = answer(lambda: filtration.all_pairs(matrix, dimension))
    if found is not None:
        accounts_for_every_vertex(filtration, matrix, found, False)
        assert answer(lambda: topreg.minimum_spanning_tree(matrix)) is not None or longest < 1
        diagrams = [filtration.diagram(pairs, matrix) for pairs in found]
        if is_clean(matrix):
            assert all(bool((d[:, 0] <= d[:, 1]).all()) for d in diagrams)


def is_clean(matrix):
    """One symmetric matrix without a negative entry: nothing in it is mended."""
    one = isinstance(matrix, torch.Tensor) and matrix.ndim == 2
    return one and bool((matrix == matrix.T).all()) and bool((matrix >= 0).all())


# Images

METRICS_OF_IMAGES = (
    topreg.image_metrics.BettiNumbers,
    topreg.image_metrics.BettiError,
    topreg.image_metrics.BettiMatchingError,
)


@given(st.data())
def test_images_are_filtered_or_refused(data):
    options = st.fixed_dictionaries(
        {},
        optional={
            "construction": st.sampled_from(("T", "V", "t", None)),
            "outside": st.sampled_from(("open", "foreground", "closed")),
            "ndim": st.sampled_from((2, 3, 2.0, True, "2", torch.ones(2))),
            "superlevel": st.booleans(),
        },
    )
    filtration = answer(lambda: CubicalFiltration(**data.draw(options)))
    if filtration is None:
        return
    given = data.draw(images())
    for dimension in (0, 1, 2):
        diagram = answer(lambda p=dimension: filtration(given, p))
        if diagram is not None:
            assert bool((diagram[:, 0] < diagram[:, 1]).all())


@pytest.mark.parametrize("metric", METRICS_OF_IMAGES)
@given(st.data())
def test_images_are_counted_or_refused(metric, data):
    options = {
        "threshold": st.sampled_from((0.5, 0, math.nan, "0", None)),
        "ndim": st.sampled_from((2, 3, 2.0)),
    }
    made = answer(lambda: metric(**data.draw(st.fixed_dictionaries({}, optional=options))))
    if made is None:
        return
    given = data.draw(st.tuples(*[images()] * (1 + (metric is not METRICS_OF_IMAGES[0]))))
    value = answer(lambda: made(*given))
    assert value is None or bool((value >= 0).all()) == bool(made.count > 0)


# Losses

THREE = RipsFiltration().pairs(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]]))
LOOP = RipsFiltration().pairs(torch.tensor([[0.0, 0.0], [1.0, 0.1], [0.0, 1.2], [1.0, 1.4]]), 1)
FOUND = st.sampled_from((THREE, LOOP, THREE, THREE.select(torch.tensor([False, True]))))
SETS = (lambda p: p, lambda p: [p], lambda p: [], lambda p: None, lambda p: 3, lambda p: [p, None])


def views():
    """Points of three vertices, mostly."""
    near = tensors(st.tuples(st.just(3), st.integers(0, 2)), FLOATS[:2], TAME)
    return st.one_of(near, near, tensors(st.just((3, 2)), FLOATS[:2]), CLOUDS)


def diagrams():
    """Births and deaths, mostly in order."""
    near = tensors(st.tuples(st.integers(0, 4), st.just(2)), FLOATS[:2], (0.0, 1.0, 2.0))
    wild = tensors(st.tuples(st.integers(0, 4), st.just(2)), FLOATS[:2])
    return st.one_of(near.map(lambda d: d.cumsum(1)), near, wild, anything())


def images():
    """Images of one shape, mostly."""
    near = tensors(st.sampled_from(((2, 3), (1, 2, 3), (2, 1, 2, 3))), FLOATS[:2], TAME[2:5])
    wild = tensors(st.just((2, 3)), DTYPES)
    several = st.lists(tensors(st.just((2, 3)), FLOATS[:1]), max_size=2)
    return st.one_of(near, near, wild, several, anything())


LABELS = st.one_of(
    tensors(st.just((3,)), (torch.int64,)), tensors(st.just((3,)), (torch.int32,)), anything()
)
CALLS = {
    "track_coincidence": (views(), views()),
    "deviating_perturbation": (views(), views(), LABELS),
    "signature_loss": (views(), views()),
    "rtd": (views(), views()),
    "rtd_lite": (views(), views()),
    "connectivity_loss": (views(),),
    "total_persistence": (views(),),
    "persistence_entropy": (views(),),
    "betti_matching_loss": (images(), images()),
    "betti_prior_loss": (images(),),
    "diagram_matching_loss": (images(), images()),
    "wasserstein_distance": (diagrams(), diagrams()),
    "sliced_wasserstein_distance": (diagrams(), diagrams()),
    "persistence_tracks": (views(), FOUND),
    "farthest_point_sampling": (views(), st.integers(-1, 4)),
    "pairwise_distances": (views(), views() | st.none()),
    "label_indicators": (LABELS, LABELS),
    "most_persistent": (diagrams(), st.integers(-1, 3), LABELS | st.none()),
    "persistence_between": (diagrams(), st.sampled_from(WILD), st.sampled_from(WILD)),
}
FILTRATIONS = st.sampled_from(
    (
        None,
        RipsFiltration(),
        RipsFiltration(metric="cosine"),
        RipsFiltration(max_edge_length=1.0),
        RipsFiltration(metric="precomputed"),
        FlagFiltration(torch.tensor([[0, 1], [1, 2]]), 3),
        CubicalFiltration(superlevel=True),
        CubicalFiltration(ndim=3),
        RipsFiltration,
        torch.nn.Identity(),
        "euclidean",
    )
)
DIMENSIONS = st.sampled_from(
    ((0,), (0, 1), (1,), [1, 0], (), (0, 0), (-1,), (True,), (0.0,), 0, None, "01")
)
OPTION = {
    "pairs": FOUND | FOUND.map(lambda p: [p]) | anything(),
    "target_pairs": FOUND | anything(),
    "geometry": CLOUDS,
    "filtration": FILTRATIONS,
    "target_filtration": FILTRATIONS,
    "dimensions": DIMENSIONS,
    "orientation": st.sampled_from(("index", "aligned", "none")),
    "undefined": st.sampled_from(("skip", "zero", None)),
    "related": st.sampled_from(("endpoints", "all", 0)),
    "match_norms": st.booleans(),
    "include_background": st.sampled_from((True, False, torch.ones(2))),
    "logits": st.sampled_from((True, False, torch.ones(2))),
    "order": st.sampled_from((1, 2, 2.0, 3, "1", None)),
    "normalize": st.sampled_from((None, 1.0, 0.9, 1, 0.0, 1.5, math.nan, True, False, "0.9")),
    "metric": st.sampled_from((*METRICS, None)),
    "reduction": st.sampled_from(("mean", "none", "sum", "all", None)),
    "eps": st.sampled_from((0, 1e-8, 1.0, math.inf, math.nan, -1.0, None)),
}
SEARCH = ("pairs", "filtration", "dimensions", "reduction")
ACROSS = ("filtration", "target_filtration", "normalize", "reduction")
PIXELS = ("logits", "filtration", "dimensions", "reduction")
OPTIONS_OF = {
    "track_coincidence": (*SEARCH, "geometry", "orientation", "undefined", "eps"),
    "deviating_perturbation": (*SEARCH, "geometry", "related", "undefined", "match_norms", "eps"),
    "signature_loss": (*ACROSS, "pairs", "target_pairs", "dimensions"),
    "rtd": (*ACROSS, "dimensions"),
    "rtd_lite": ACROSS,
    "betti_matching_loss": (*PIXELS, "include_background"),
    "betti_prior_loss": (*PIXELS, "pairs"),
    "diagram_matching_loss": (*PIXELS, "include_background", "pairs", "target_pairs", "order"),
    "connectivity_loss": ("pairs", "filtration", "reduction"),
    "total_persistence": SEARCH,
    "persistence_entropy": SEARCH,
    "persistence_tracks": ("orientation",),
    "farthest_point_sampling": ("metric",),
    "pairwise_distances": ("metric",),
}
REQUIRED = {
    "connectivity_loss": {"scale": st.sampled_from((1.0, 2, 0, -1.0, math.nan, None))},
    "betti_prior_loss": {
        "betti_numbers": st.sampled_from(((1, 0), [2, 1], (1,), (-1, 0), 1, "10"))
    },
}


def is_tame(arguments):
    """Whether all numbers are near 1."""
    flat = [part for a in arguments for part in (a if isinstance(a, list) else [a])]
    floats = [t.abs() for t in flat if isinstance(t, torch.Tensor) and t.is_floating_point()]
    return all(bool((t <= 4).all()) and bool(((t == 0) | (t >= 0.5)).all()) for t in floats)


@pytest.mark.parametrize("name", CALLS)
@given(st.data())
def test_functions_answer_or_refuse(name, data):
    arguments = data.draw(st.tuples(*CALLS[name]))
    chosen = {key: OPTION[key] for key in OPTIONS_OF.get(name, ())}
    options = data.draw(st.fixed_dictionaries(REQUIRED.get(name, {}), optional=chosen))
    value = answer(lambda: getattr(topreg, name)(*arguments, **options))
    if isinstance(value, torch.Tensor) and is_tame(arguments):
        assert bool(value.isfinite().all()), (value, arguments, options)


@given(CLOUDS, rows(values=(0, 1, 2)))
def test_edges_are_measured_or_refused(points, edges):
    try:
        vectors = answer(lambda: topreg.edge_vectors(points, edges))
    except (IndexError, RuntimeError):  # their values are not read before
        assert edges.numel() > 0
    else:
        assert vectors is None or len(vectors) == len(edges)


@given(views(), views(), LABELS, FOUND, st.sampled_from(SETS), st.sampled_from((0, 1.0, 1e3)))
def test_several_pairs_are_taken_or_refused(source, target, labels, pairs, several, weight):
    value = answer(
        lambda: topreg.homology_consistency(
            source, target, labels, pairs=several(pairs), perturbation_weight=weight
        )
    )
    if value is not None and is_tame((source, target)):
        assert bool(value.isfinite())


@given(views(), views(), DIMENSIONS, CLOUDS)
def test_modules_answer_or_refuse(source, target, dimensions, geometry):
    module = answer(lambda: topreg.TrackCoincidence(dimensions=dimensions))
    if module is None:
        return
    x = source.clone().requires_grad_() if is_differentiable(source) else source
    value = answer(lambda: module(x, target, geometry=geometry))
    if value is None or not is_tame((source, target)):
        return
    assert bool(value.isfinite())
    if x is not source and value.requires_grad:
        value.sum().backward()
        assert bool(x.grad.isfinite().all())


def is_differentiable(points):
    return isinstance(points, torch.Tensor) and points.is_floating_point()
