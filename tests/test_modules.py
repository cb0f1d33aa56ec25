"""Each module is its function under every option, and each option counts."""

import copy
import decimal
import fractions
import io
import math
import pickle

import numpy as np
import pytest
import torch
from asserts import refused
from strategies import gaussian
from torch.testing import assert_close

import topreg
from topreg import RipsFiltration


class LearnedMetric(torch.nn.Module):
    """Euclidean distances after a linear map."""

    def __init__(self):
        super().__init__()
        self.map = torch.nn.Linear(3, 2, dtype=torch.float64)

    def forward(self, x, y):
        return torch.cdist(self.map(x.double()), self.map(y.double()))


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
MORE = {"orientation": "aligned"}, {"undefined": "zero"}, {"eps": 1.5}
RELATED = {"related": "all"}, {"match_norms": True}, {"undefined": "zero"}, {"eps": 1.9}
CROSS = (
    {"symmetric": False},
    {"normalize": 1.0},
    {"normalize": 0.9},
    {"filtration": MANHATTAN},
    {"target_filtration": MANHATTAN},
)
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
        topreg.PersistenceImage,
        (first,),
        {"bandwidth": 0.5, **RANGES},
        [{}, {"resolution": (3, 4)}, {"weight_power": 2.0}],
    ),
    (
        topreg.PersistenceLandscape,
        (first,),
        {"sample_range": (0.0, 3.0)},
        [{}, {"count": 2}, {"resolution": 7}],
    ),
]


image, other_image = torch.rand(2, 6, 7, generator=torch.Generator().manual_seed(0))
SUBLEVEL = topreg.CubicalFiltration()
PIXELS = {"logits": True}, {"filtration": SUBLEVEL}, {"dimensions": (1,)}
IMAGES = [
    (topreg.BettiMatchingLoss, (image, other_image), {}, [{}, *PIXELS]),
    (topreg.DiagramMatchingLoss, (image, other_image), {}, [{}, *PIXELS, {"order": 1}]),
    (topreg.BettiPriorLoss, (image,), {"betti_numbers": (2, 1)}, [{}, *PIXELS[:2]]),
]


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


@pytest.mark.parametrize(
    ("module", "given", "required", "options"), listed(ONE_SPACE + BETWEEN + IMAGES)
)
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
    by_manhattan = module(filtration=MANHATTAN, **options)(*given)
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
        topreg.HomologyConsistency,
        (x, coincident, rare),
        {"perturbation_weight": 0.3},
        [{}, *MORE, *RELATED],
    ),
]


@pytest.mark.parametrize(("module", "given", "required", "options"), listed(TWO_VIEWS))
def test_losses_of_two_views(module, given, required, options):
    function, dimensions = function_of(module), {"dimensions": (0, 1)}
    loss = module(filtration=NEAR, **dimensions, **required, **options)
    expected = function(*given, pairs=FEW, **required, **options)
    assert_close(loss(*given, pairs=FEW), expected, rtol=0, atol=0)
    assert_close(loss(*given, pairs=FEW[::-1]), expected)
    for name in options:
        rest = {other: value for other, value in options.items() if other != name}
        assert differ(function(*given, pairs=FEW, **required, **rest), expected)
    found = NEAR.all_pairs(x, 1)
    assert_close(loss(*given), function(*given, pairs=found, **required, **options))
    assert_close(
        loss(*given, geometry=y),
        function(*given, geometry=y, filtration=NEAR, **dimensions, **required, **options),
    )
    assert differ(loss(*given, geometry=y), loss(*given))


@pytest.mark.parametrize(("module", "given", "required", "options"), listed(TWO_VIEWS[:2]))
def test_the_losses_of_several_dimensions_are_added(module, given, required, options):
    function = function_of(module)
    parts = [function(*given, pairs=part, **required, **options) for part in FEW]
    assert_close(function(*given, pairs=FEW, **required, **options), sum(parts))


@pytest.mark.parametrize("options", [{}, *MORE, *RELATED], ids=str)
def test_homology_consistency_is_composed_of_the_other_two(options):
    given = (x, coincident, rare)
    terms = [
        function_of(module)(
            *given[: 3 - (module is topreg.TrackCoincidence)],
            pairs=pairs,
            **{name: value for name, value in options.items() if hasattr(module(), name)},
        )
        for module, pairs in (
            (topreg.TrackCoincidence, FEW),
            (topreg.DeviatingPerturbation, FEW[0]),
        )
    ]
    loss = topreg.HomologyConsistency(perturbation_weight=0.3, **options)
    assert_close(loss.terms(*given, pairs=FEW), topreg.HomologyTerms(*terms))
    assert_close(loss(*given, pairs=FEW), terms[0] + 0.3 * terms[1])


@pytest.mark.parametrize(("module", "given", "required", "options"), listed(TWO_VIEWS))
def test_one_value_a_cloud(module, given, required, options):
    clouds = [part.view(2, 6, *part.shape[1:]) for part in given]
    options = required | options
    single = [
        function_of(module)(*one, pairs=NEAR.pairs(one[0]), **options)
        for one in zip(*clouds, strict=True)
    ]
    found = module(filtration=NEAR, **options, reduction="none")(*clouds)
    assert_close(found, torch.stack(single))
    assert found.shape == (2,)


@pytest.mark.parametrize("dimensions", [iter((0, 1)), [0, 1], torch.arange(2).numpy(), range(2)])
def test_dimensions_of_any_sequence_are_kept_as_a_tuple_of_int(dimensions):
    loss = topreg.TotalPersistence(dimensions=dimensions)
    assert repr(loss) == "TotalPersistence(dimensions=(0, 1))"
    assert_close(loss(x), topreg.total_persistence(x, dimensions=(0, 1)), rtol=0, atol=0)


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


def test_pairs_of_one_space_say_in_which_dimensions_the_other_is_searched():
    loops = RipsFiltration().pairs(x, 1)
    expected = topreg.signature_loss(x, y, dimensions=(1,))
    assert_close(topreg.signature_loss(x, y, pairs=loops), expected)
    assert_close(topreg.signature_loss(y, x, target_pairs=loops), expected)


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
    loss = topreg.TrackCoincidence(filtration=graph, dimensions=(0, 1), orientation="aligned")
    expected = loss(x, coincident, pairs=graph.all_pairs(weights, 1))
    assert_close(loss(x, coincident, geometry=weights), expected)


# Reductions: "mean" and "sum" are those of "none", to the bit

SCALED = {"scale": 0.7}
WEIGHTED = {"perturbation_weight": 0.3}
CLOUD_LOSSES = {
    topreg.ConnectivityLoss: (1, 0, SCALED),
    topreg.PersistenceEntropy: (1, 0, {}),
    topreg.TotalPersistence: (1, 0, {}),
    topreg.SignatureLoss: (2, 0, {}),
    topreg.RTD: (2, 0, {}),
    topreg.RTDLite: (2, 0, {}),
    topreg.TrackCoincidence: (2, 0, {}),
    topreg.DeviatingPerturbation: (2, 1, {}),
    topreg.HomologyConsistency: (2, 1, WEIGHTED),
}
SHAPES = {"one cloud": (6, 3), "a batch": (4, 6, 3), "one of a batch": (1, 6, 3)}
REQUIRES = {module: required for module, (_, _, required) in CLOUD_LOSSES.items()}


def data_of(module, shape):
    """Views and labels of some clouds, of which the first has no two samples of one label."""
    views, has_labels, _ = CLOUD_LOSSES[module]
    clouds = [gaussian(seed, 100, 3)[: math.prod(shape[:-1])].reshape(shape) for seed in (3, 4)]
    names = torch.arange(math.prod(shape[:-1])).view(shape[:-1])
    return [*clouds[:views], *([torch.where(names < 6, names, names % 3)] if has_labels else [])]


@pytest.mark.parametrize("module", CLOUD_LOSSES, ids=lambda module: module.__name__)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_mean_and_sum_are_those_of_none(module, shape):
    given, required = data_of(module, shape), REQUIRES[module]
    for dimensions in ({}, {"dimensions": (1, 2) if module is topreg.RTD else (0, 1)}):
        if dimensions and module in (topreg.ConnectivityLoss, topreg.RTDLite):
            continue
        every, mean, total, default = (
            module(**required, **dimensions, **reduction)(*given)
            for reduction in (
                {"reduction": "none"},
                {"reduction": "mean"},
                {"reduction": "sum"},
                {},
            )
        )
        assert every.shape == (shape[0] if len(shape) == 3 else 1,)
        for found, expected in ((mean, every.mean()), (total, every.sum()), (default, mean)):
            assert_close(found, expected, rtol=0, atol=0)
        if len(shape) == 3:
            single = [module(**required, **dimensions)(*one) for one in zip(*given, strict=True)]
            assert_close(every, torch.stack(single))


@pytest.mark.parametrize("module", CLOUD_LOSSES, ids=lambda module: module.__name__)
def test_an_empty_batch_gives_zero_attached_to_the_graph(module):
    given = data_of(module, (0, 6, 3))
    given[0].requires_grad_()
    for reduction, shape in (("none", (0,)), ("mean", ()), ("sum", ())):
        value = module(**REQUIRES[module], reduction=reduction)(*given)
        assert_close(value, torch.zeros(shape, dtype=torch.float64))
        (gradient,) = torch.autograd.grad(value.sum(), given[0])
        assert gradient.shape == (0, 6, 3)


@pytest.mark.parametrize(
    "module", [topreg.TrackCoincidence, topreg.DeviatingPerturbation], ids=lambda m: m.__name__
)
def test_a_cloud_without_a_defined_term_counts_with_zero(module):
    given = data_of(module, (2, 6, 3))
    given[1][0] = given[0][0] if module is topreg.DeviatingPerturbation else 0  # no track
    every = module(reduction="none")(*given)
    assert every[0] == 0
    assert every[1] > 0
    assert module()(*given) == every[1] / 2


# Every module and filtration: copies, stores, types and devices

path = torch.tensor([[0, 1, 2], [1, 2, 3]])
births = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
FILTRATIONS = {
    "default": RipsFiltration(),
    "options": RipsFiltration(
        metric="cosine", max_edge_length=1.5, engine="prim", check_values=False, memory_budget=9999
    ),
    "precomputed": RipsFiltration(metric="precomputed"),
    "learned": RipsFiltration(metric=LearnedMetric()),
    "graph": topreg.FlagFiltration(path, 4),
    "born": topreg.FlagFiltration(path, 4, vertex_births=births, duplicate_edges="min"),
    "learned births": topreg.FlagFiltration(path, 4, vertex_births=torch.nn.Parameter(births)),
}
CUBICAL = {
    "cubical": SUBLEVEL,
    "cubical options": topreg.CubicalFiltration(
        construction="V", superlevel=True, outside="foreground", check_values=False
    ),
    "volumes": topreg.CubicalFiltration(ndim=3),
}
OTHERS = {
    "WassersteinDistance": topreg.WassersteinDistance(order=2.0),
    "SlicedWassersteinDistance": topreg.SlicedWassersteinDistance(directions=7),
    "PersistenceImage": topreg.PersistenceImage(bandwidth=0.5, **RANGES),
    "PersistenceLandscape": topreg.PersistenceLandscape(sample_range=(0.0, 3.0)),
}
MODULES = (
    {f"filtration-{name}": filtration for name, filtration in (FILTRATIONS | CUBICAL).items()}
    | OTHERS
    | {module.__name__: module(**required) for module, _, required, _ in IMAGES}
    | {
        f"{module.__name__}-cubical options": module(
            filtration=CUBICAL["cubical options"], logits=True, **required
        )
        for module, _, required, _ in IMAGES
    }
    | {module.__name__: module(**REQUIRES[module]) for module in CLOUD_LOSSES}
    | {
        f"{module.__name__}-{name}": module(filtration=filtration, **REQUIRES[module])
        for module in CLOUD_LOSSES
        for name, filtration in FILTRATIONS.items()
        if isinstance(filtration, RipsFiltration) or module not in (topreg.RTD, topreg.RTDLite)
    }
)
every_module = pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)


def value_of(module):
    """A result of a module on data that suit it."""
    if isinstance(module, topreg.Filtration):
        return module(data_for(module))
    for kind, given, _, _ in IMAGES:
        if isinstance(module, kind):
            return module(*given)
    if type(module) not in CLOUD_LOSSES:
        return module(first, second) if "Distance" in repr(module) else module(first)
    views, has_labels, _ = CLOUD_LOSSES[type(module)]
    data = data_for(module.filtration)
    if isinstance(module.filtration, topreg.FlagFiltration):
        if hasattr(module, "undefined"):  # views are points, the weights are apart
            cloud = gaussian(0, 4, 3)
            return module(cloud, cloud.flip(0), *[torch.arange(4) % 2] * has_labels, geometry=data)
        return module(*[data] * views)
    return module(*[data] * views, *[torch.arange(6) % 3] * has_labels)


def data_for(filtration):
    """Data that suit a filtration."""
    if isinstance(filtration, topreg.CubicalFiltration):
        return image if filtration.ndim == 2 else image.view(2, 3, 7)
    if isinstance(filtration, topreg.FlagFiltration):
        return torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)
    cloud = gaussian(0, 6, 3)
    if filtration is not None and filtration.metric == "precomputed":
        return 6 - 6 * torch.eye(6, dtype=torch.float64)  # d = n: these are points, too
    return cloud


def stored(module):
    """A module that was written to a file and read again."""
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@every_module
@pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module)), stored],
    ids=["deepcopy", "pickle", "save"],
)
def test_a_copy_computes_the_same(module, copied):
    twin = copied(module)
    assert twin is not module
    assert repr(twin) == repr(module)
    assert type(twin) is type(module)
    assert_close(value_of(twin), value_of(module), rtol=0, atol=0)


@every_module
def test_the_representation_is_the_call(module):
    text = repr(module)
    if "FlagFiltration" in text or "LearnedMetric" in text:
        assert text.startswith(type(module).__name__)
        return  # edges and learned metrics are not printed in full
    twin = eval(text, vars(topreg) | {"math": math, "torch": torch})
    assert repr(twin) == text
    assert_close(value_of(twin), value_of(module), rtol=0, atol=0)


@every_module
def test_types_and_devices(module):
    expected = value_of(module)
    for move in (
        lambda m: m.half(),
        lambda m: m.to(torch.float64),
        lambda m: m.to(dtype=torch.bfloat16),
    ):
        moved = move(copy.deepcopy(module))
        assert all(not b.is_floating_point() or b.dtype == torch.float64 for b in moved.buffers())
        if not list(module.parameters()):
            assert_close(value_of(moved), expected, rtol=0, atol=0)
    elsewhere = copy.deepcopy(module).to("meta")
    tensors = [*elsewhere.buffers(), *elsewhere.parameters()]
    assert {tensor.device.type for tensor in tensors} <= {"meta"}
    assert len(tensors) == len([*module.buffers(), *module.parameters()])


def test_a_users_subclass_with_other_arguments_can_be_printed():
    class OfPower(topreg.TotalPersistence):
        def __init__(self, p, **more):
            super().__init__(power=p, **more)

    class Counted(topreg.image_metrics.BettiError):
        def __init__(self, *names):
            super().__init__()
            self.names = names

    assert repr(torch.nn.Sequential(OfPower(2.0))) == "Sequential(\n  (0): OfPower()\n)"
    assert repr(Counted("a")) == "Counted(names=('a',))"


def test_options_that_are_other_kinds_of_numbers_become_floats():
    half = fractions.Fraction(3, 2)
    for number in (half, decimal.Decimal("1.5")):
        assert repr(topreg.TotalPersistence(power=number)) == "TotalPersistence(power=1.5)"
        expected = topreg.total_persistence(x, power=1.5)
        assert_close(topreg.total_persistence(x, power=number), expected)
        assert_close(
            topreg.wasserstein_distance(first, second, order=number),
            topreg.wasserstein_distance(first, second, order=1.5),
        )
        image = topreg.PersistenceImage(
            bandwidth=number, birth_range=(0, number), persistence_range=(0, 3)
        )
        assert image.birth_range == (0, 1.5)
        assert image(first).shape == (20, 20)
        assert topreg.persistence_between(first, 0, number).tolist() == [True, False, False]
        affinity = topreg.exponential_affinity(x, y, sharpness=number)
        assert_close(affinity, topreg.exponential_affinity(x, y, sharpness=1.5))


def test_lists_of_options_are_copied():
    wanted = [1, 0]
    prior = topreg.BettiPriorLoss(betti_numbers=wanted)
    wanted.append(3)
    assert prior.betti_numbers == (1, 0)
    array = topreg.BettiPriorLoss(betti_numbers=np.array([1, 0]))
    assert repr(array) == "BettiPriorLoss(betti_numbers=(1, 0))"
