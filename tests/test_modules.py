"""Each module is its function under every option: nothing that it was given is dropped."""

import inspect

import pytest
import torch
from asserts import refused
from strategies import gaussian
from torch.testing import assert_close

import topreg
from topreg import GramMatrices, RipsFiltration

x, y = (gaussian(seed, 12, 3, dtype=torch.float32) for seed in (0, 1))
labels = torch.arange(12) % 5
batch, other = x.view(2, 6, 3), y.view(2, 6, 3)
of_batch = torch.arange(12).view(2, 6) % 4
MANHATTAN = RipsFiltration(metric="manhattan")
PAIRS = RipsFiltration().pairs(y)
ALL_PAIRS = RipsFiltration().all_pairs(y, 1)
first, second = (torch.tensor([[0.0, 1.0], [0.5, 3.0], [d, d + 2.0]]) for d in (0.2, 0.9))
VIEWS, BATCHES = (x, y), (batch, other)
POWERS = {"power": 2.0, "midpoint_power": 1.0}
MORE = {"orientation": "aligned"}, {"undirected": "zero"}, {"eps": 1.5}
RELATED = (
    {"related": "all"}, {"match_norms": True}, {"unrelated": "zero"},
    {"eps": 1.9, "related": "all"},
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
    (topreg.RTD, VIEWS, {}, [{}, *CROSS, {"power": 2.0}]),
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
    (topreg.ExponentialAffinity, VIEWS, {"sharpness": 0.3}, [{}]),
    (topreg.LabelIndicators, (labels, labels), {}, [{}, {"dtype": torch.float64}]),
]  # fmt: skip


def function_of(module):
    """The function of the same name."""
    name = "".join("_" + c.lower() if c.isupper() else c for c in module.__name__).strip("_")
    return getattr(topreg, {"r_t_d": "rtd", "r_t_d_lite": "rtd_lite"}.get(name, name))


def listed(table):
    """One case for each set of options."""
    return [
        pytest.param(module, given, required | options, id=f"{module.__name__}-{options}")
        for module, given, required, sets in table
        for options in sets
    ]


@pytest.mark.parametrize(("module", "given", "options"), listed(ONE_SPACE + BETWEEN))
def test_options(module, given, options):
    expected = function_of(module)(*given, **options)
    assert_close(module(**options)(*given), expected, rtol=0, atol=0)
    for name in options:  # each of them counts
        if (
            len(options) > 1
            and inspect.signature(module).parameters[name].default != inspect._empty
        ):
            rest = {other: value for other, value in options.items() if other != name}
            less = function_of(module)(*given, **rest)
            assert less.shape != expected.shape or not torch.equal(less, expected)


@pytest.mark.parametrize(("module", "given", "options"), listed(ONE_SPACE))
def test_pairs_filtration_and_reduction_in_one_space(module, given, options):
    function = function_of(module)
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


TWO_VIEWS = [
    (topreg.TrackCoincidence, VIEWS, {}, [{}, *MORE]),
    (topreg.DeviatingPerturbation, (*VIEWS, labels), {}, [{}, *RELATED]),
    (
        topreg.HomologyConsistency, (*VIEWS, labels), {"perturbation_weight": 0.3},
        [{}, *MORE, *RELATED],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("module", "given", "options"), listed(TWO_VIEWS))
def test_losses_of_two_views(module, given, options):
    function = function_of(module)
    in_list = module is topreg.HomologyConsistency
    few = PAIRS.select(torch.arange(11) % 3 == 0)  # of the others both ends count too
    found = MANHATTAN.pairs(x)
    loss, of_few = (
        module(MANHATTAN, **options),
        function(*given, [few] if in_list else few, **options),
    )
    assert_close(loss(*given, pairs=few), of_few)
    assert_close(loss(*given), function(*given, [found] if in_list else found, **options))
    assert_close(loss(*given, geometry=y), loss(*given, pairs=MANHATTAN.pairs(y)))
    grams = (GramMatrices.of(x, y), *given[2:])
    about = {"rtol": 1e-4, "atol": 1e-5}
    assert_close(loss.of_grams(*grams, geometry=x), loss(*given), **about)
    assert_close(loss.of_grams(*grams, pairs=few), of_few, **about)


@pytest.mark.parametrize(("module", "given", "options"), listed(TWO_VIEWS))
def test_one_value_a_cloud(module, given, options):
    found = MANHATTAN.pairs(batch)
    given = (*BATCHES, of_batch)[: len(given)]
    in_list = [found] if module is topreg.HomologyConsistency else found
    expected = function_of(module)(*given, in_list, reduction="none", **options)
    assert_close(module(MANHATTAN, reduction="none", **options)(*given), expected)
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
    there, back = RipsFiltration().pairs(y), MANHATTAN.pairs(x + y.flip(0))
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
    grams = GramMatrices.of(points, images)
    for geometry in (None, points):
        assert_close(loss.of_grams(grams, pairs=right_angle, geometry=geometry), expected)


@pytest.mark.parametrize(("sizes", "said"), [((0, 1), "no and 3"), ((1, 2), "3 and 3, 3")])
def test_clouds_that_do_not_match(sizes, said):
    first, second = (torch.zeros(size, 3, 2) for size in sizes)
    with refused(
        ValueError,
        "`source` and `target` should have one row per vertex, in the same order. "
        f"Got clouds of {said} rows.",
    ):
        topreg.signature_loss(first, second)
