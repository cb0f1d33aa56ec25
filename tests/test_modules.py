"""Each module is its function under every option, and each option counts."""

import pytest
import torch
from asserts import refused
from strategies import gaussian
from torch.testing import assert_close

import topreg
from topreg import RipsFiltration

x, y = (gaussian(seed, 12, 3, dtype=torch.float32) for seed in (0, 10))
labels = torch.arange(12) % 5
batch, other = x.view(2, 6, 3), y.view(2, 6, 3)
MANHATTAN = RipsFiltration(metric="manhattan")
NEAR = RipsFiltration(metric="manhattan", max_edge_length=2.0)
PAIRS = RipsFiltration().pairs(y)
ALL_PAIRS = RipsFiltration().all_pairs(y, 1)
first, second = (torch.tensor([[0.0, 1.0 + d], [0.5, 3.0], [d, d + 2.0]]) for d in (0.2, 0.9))
VIEWS, BATCHES = (x, y), (batch, other)
POWERS = {"power": 2.0, "midpoint_power": 1.0}
MORE = {"orientation": "aligned"}, {"undirected": "zero"}, {"eps": 1.5}
RELATED = (
    {"related": "all"}, {"match_norms": True}, {"unrelated": "zero"},
    {"eps": 1.9},
)  # fmt: skip
CROSS = {"symmetric": False}, {"normalize": True}, {"metric": "manhattan"}
RANGES = {"birth_range": (0.0, 1.0), "persistence_range": (0.0, 3.0)}

# module, function, their arguments, options of the module, options of the call
ONE_SPACE = [
    (topreg.ConnectivityLoss, (x,), {"scale": 0.7}, [{}]),
    (topreg.PersistenceEntropy, (x,), {}, [{}, {"dimensions": (0, 1)}, {"dimensions": (1,)}]),
    (topreg.TotalPersistence, (x,), {}, [{}, POWERS, {"dimensions": (0, 1)}]),
]
BETWEEN = [
    (topreg.SignatureLoss, VIEWS, {}, [{}, *CROSS, {"dimensions": (0, 1)}]),
    (topreg.RTDLite, VIEWS, {}, [{}, *CROSS]),
    (topreg.RTD, VIEWS, {}, [{}, *CROSS, {"power": 2.0}, {"dimensions": (1, 2)}]),
    (topreg.WassersteinDistance, (first, second), {}, [{}, {"order": 2.0}, {"ground": 2.0}]),
    (topreg.SlicedWassersteinDistance, (first, second), {}, [{}, {"directions": 3}]),
    (
        topreg.PersistenceImage, (first,), {"bandwidth": 0.5, **RANGES},
        [{}, {"resolution": (3, 4)}, {"weight_power": 2.0}],
    ),
    (
        topreg.PersistenceLandscape, (first,), {"sample_range": (0.0, 3.0)},
        [{}, {"count": 2}, {"resolution": 7}],
    ),
]  # fmt: skip


def function_of(module):
    """The function of the same name, in lower case with underscores."""
    (name,) = (
        name
        for name in topreg.__all__
        if name.islower() and name.replace("_", "") == module.__name__.lower()
    )
    return getattr(topreg, name)


def listed(table):
    """One case for each set of options."""
    return [
        pytest.param(module, given, required, options, id=f"{module.__name__}-{options}")
        for module, given, required, sets in table
        for options in sets
    ]


def differ(found, other):
    """Whether two results are not the same to the bit."""
    return found.dtype != other.dtype or not torch.equal(found, other)


@pytest.mark.parametrize(("module", "given", "required", "options"), listed(ONE_SPACE + BETWEEN))
def test_options(module, given, required, options):
    function = function_of(module)
    expected = function(*given, **required, **options)
    assert_close(module(**required, **options)(*given), expected, rtol=0, atol=0)
    for name in options:
        rest = {other: value for other, value in options.items() if other != name}
        assert differ(function(*given, **required, **rest), expected)


@pytest.mark.parametrize(("module", "given", "required", "options"), listed(ONE_SPACE))
def test_pairs_filtration_and_reduction_in_one_space(module, given, required, options):
    function, options = function_of(module), required | options
    found = [ALL_PAIRS[p] for p in options.get("dimensions", (0,))]
    found = found[0] if module is topreg.ConnectivityLoss else found
    loss = module(**options)
    assert_close(loss(*given, pairs=found), function(*given, pairs=found, **options))
    assert float(loss(*given, pairs=found)) != float(loss(*given))
    by_manhattan = module(MANHATTAN, **options)(*given)
    assert_close(by_manhattan, function(*given, filtration=MANHATTAN, **options))
    assert float(by_manhattan) != float(loss(*given))
    every = module(reduction="none", **options)(batch)
    assert_close(every, function(batch, reduction="none", **options))
    assert every.shape == (2,)


# Two views: pairs in both dimensions, of dimension 0 a third, so that not every vertex is an end;
# the ends of the first edge coincide in the target, and some ends have no relative

rare = torch.tensor([0, 0, 1, 1, 2, 3, 4, 4, 5, 5, 4, 0])
FEW = [PAIRS.select(torch.arange(11) % 3 == 0), ALL_PAIRS[1]]
coincident = y.index_copy(0, FEW[0].death_edges[0, :1], y[FEW[0].death_edges[0, 1:]])
TWO_VIEWS = [
    (topreg.TrackCoincidence, (x, coincident), {}, [{}, *MORE]),
    (topreg.DeviatingPerturbation, (x, y, rare), {}, [{}, *RELATED]),
    (
        topreg.HomologyConsistency, (x, coincident, rare), {"perturbation_weight": 0.3},
        [{}, *MORE, *RELATED],
    ),
]  # fmt: skip


def on_pairs(module, given, pairs, **options):
    """The function on pairs of several dimensions."""
    function = function_of(module)
    if module is topreg.HomologyConsistency:
        return function(*given, pairs, **options)
    if module is topreg.DeviatingPerturbation:
        return function(*given, pairs[0], **options)
    return sum(function(*given, part, **options) for part in pairs)


@pytest.mark.parametrize(("module", "given", "required", "options"), listed(TWO_VIEWS))
def test_losses_of_two_views(module, given, required, options):
    several = module is not topreg.DeviatingPerturbation
    dimensions = {"dimensions": (0, 1)} if several else {}
    loss = module(NEAR, **dimensions, **required, **options)
    expected = on_pairs(module, given, FEW, **required, **options)
    pairs = FEW if several else FEW[0]
    assert_close(loss(*given, pairs=pairs), expected)
    for name in options:
        rest = {other: value for other, value in options.items() if other != name}
        assert differ(on_pairs(module, given, FEW, **required, **rest), expected)
    found = NEAR.all_pairs(x, 1)
    assert_close(loss(*given), on_pairs(module, given, found, **required, **options))
    assert differ(loss(*given, geometry=y), loss(*given))


@pytest.mark.parametrize(("module", "given", "required", "options"), listed(TWO_VIEWS))
def test_one_value_a_cloud(module, given, required, options):
    clouds = [part.view(2, 6, *part.shape[1:]) for part in given]
    options = required | options | {"reduction": "none"}
    expected = on_pairs(module, clouds, [NEAR.pairs(clouds[0])], **options)
    assert_close(module(NEAR, **options)(*clouds), expected)
    assert expected.shape == (2,)


@pytest.mark.parametrize(
    "module",
    [
        topreg.ConnectivityLoss, topreg.PersistenceEntropy, topreg.TotalPersistence,
        topreg.SignatureLoss, topreg.RTDLite, topreg.RTD,
    ],
)  # fmt: skip
def test_an_unknown_reduction_is_refused_by_the_module_at_once(module):
    required = {"scale": 1.0} if module is topreg.ConnectivityLoss else {}
    with refused(ValueError, '`reduction` should be "mean" or "none". Got \'sum\'.'):
        module(reduction="sum", **required)


@pytest.mark.parametrize("module", [topreg.SignatureLoss, topreg.RTDLite, topreg.RTD])
def test_reduction_across_spaces(module):
    expected = function_of(module)(*BATCHES, reduction="none")
    assert_close(module(reduction="none")(*BATCHES), expected)
    assert expected.shape == (2,)


def test_pairs_of_the_signature_loss():
    there, back = RipsFiltration().pairs(y), NEAR.pairs(x + y.flip(0))
    loss = topreg.SignatureLoss()
    expected = topreg.signature_loss(x, y, pairs=there, target_pairs=back)
    assert_close(loss(x, y, pairs=there, target_pairs=back), expected)
    values = {float(loss(x, y, pairs=there)), float(loss(x, y, target_pairs=back)), float(expected)}
    assert len(values) == 3


def test_orthogonal_edges_are_not_flipped():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    images = torch.tensor([[0.0, 0.0], [1.0, 2.0], [3.0, -1.0]])
    none = torch.empty(0, 2, dtype=torch.int64)
    right_angle = topreg.PersistencePairs(
        1, torch.tensor([[0, 1]]), torch.tensor([[0, 2]]), none, (3,)
    )
    loss = topreg.TrackCoincidence(dimensions=(1,), orientation="aligned")
    expected = 1 - torch.nn.functional.cosine_similarity(
        points[2] - points[1], images[2] - images[1], dim=0
    )
    assert_close(loss(points, images, pairs=right_angle), expected)


@pytest.mark.parametrize(("sizes", "said"), [((0, 1), "() and (3,)"), ((1, 2), "(3,) and (3, 3)")])
def test_clouds_that_do_not_match(sizes, said):
    first, second = (torch.zeros(size, 3, 2) for size in sizes)
    with refused(
        ValueError,
        "`source` and `target` should be clouds of the same sizes, rows in the same order. "
        f"Got {said}.",
    ):
        topreg.signature_loss(first, second)


def test_flips_of_a_graph_are_found_in_the_source():
    edges = torch.combinations(torch.arange(12)).T
    weights = torch.pdist(y)
    graph = topreg.FlagFiltration(edges, 12)
    loss = topreg.TrackCoincidence(graph, (0, 1), orientation="aligned")
    expected = loss(x, coincident, pairs=graph.all_pairs(weights, 1))
    assert_close(loss(x, coincident, geometry=weights), expected)
