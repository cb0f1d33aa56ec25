"""What happens on other devices: on fake and pretended ones everywhere, on real ones if present."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerator import DEVICE, dtypes, on_accelerator
from asserts import TORCH, same_pairs
from launches import Launches
from strategies import gaussian, two_clusters
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing import assert_close
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import topreg
from topreg import (
    DeviatingPerturbation,
    HomologyConsistency,
    PersistencePairs,
    RipsFiltration,
    TrackCoincidence,
    connectivity_loss,
    deviating_perturbation,
    farthest_point_sampling,
    minimum_spanning_tree,
    pairwise_distances,
    persistence_entropy,
    rtd,
    rtd_lite,
    signature_loss,
    sliced_wasserstein_distance,
    total_persistence,
    track_coincidence,
)
from topreg._clouds import numbers
from topreg.image_metrics import BettiMatchingError, BettiNumbers
from topreg.metrics import _selection
from topreg.metrics._selection import direct_distances, distances_within
from topreg.persistence import _dispatch
from topreg.persistence.dense._boruvka import forests

RIPS = RipsFiltration()
on_fake_devices = pytest.mark.skipif(
    TORCH < (2, 10), reason="fake tensors of older versions ask for a driver"
)


class OnDevice(TorchDispatchMode):
    """Refuses every operation that touches or makes a tensor on the CPU, or reads a value back.

    Fake tensors refuse reading by themselves: no value, no shape that depends on values.
    """

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, result)):
            if isinstance(tensor, torch.Tensor):
                assert tensor.device.type == "cuda", function
        return result


@pytest.fixture
def traced(monkeypatch):
    """Operators replaced by their bodies, fake tensors on a device that need not exist."""
    monkeypatch.setattr(_dispatch, "trees_on_device", forests)
    monkeypatch.setattr(_selection, "dense_distances", lambda *args: distances_within(*args[:3]))
    monkeypatch.setattr(_selection, "cross_distances", direct_distances)
    with FakeTensorMode(), OnDevice():
        yield


def fake(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="cuda", requires_grad=dtype.is_floating_point)


def labels_of(clouds):
    """A zero for each vertex, in the form of the clouds."""
    if isinstance(clouds, list):
        return [labels_of(cloud) for cloud in clouds]
    return torch.zeros(clouds.shape[:-1], dtype=torch.int64, device=clouds.device)


@on_fake_devices
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    "clouds",
    [
        lambda dtype: fake(33, 16, dtype=dtype),
        lambda dtype: fake(4, 9, 16, dtype=dtype),
        lambda dtype: [fake(n, 16, dtype=dtype) for n in (3, 40, 0, 1, 17)],
    ],
    ids=["one", "batch", "ragged"],
)
def test_selection_and_loss_never_leave_the_device(clouds, metric, dtype):
    points = clouds(dtype)
    filtration = RipsFiltration(metric=metric, check_values=False)
    pairs = filtration.pairs(points)
    sizes = pairs.cloud_sizes
    assert len(pairs) == sum(sizes) - sum(n > 0 for n in sizes)
    assert len(pairs.essential_edges) == sum(n > 0 for n in sizes)
    assert pairs.death_edges.device.type == pairs.birth_edges.device.type == "cuda"
    target = clouds(dtype)
    labels = labels_of(points)
    terms = [
        TrackCoincidence(orientation="aligned")(points, target, pairs=pairs),
        DeviatingPerturbation(match_norms=True)(points, target, labels, pairs=pairs),
        HomologyConsistency(perturbation_weight=0.5)(points, target, labels, pairs=pairs),
        filtration.diagram(pairs, points).sum(),
    ]
    assert all(term.requires_grad and term.device.type == "cuda" for term in terms)


@on_fake_devices
@pytest.mark.usefixtures("traced")
def test_landmarks_never_leave_the_device():
    for points in (fake(30, 4), fake(3, 30, 4), [fake(8, 4), fake(9, 4)]):
        indices, radius = farthest_point_sampling(points, 5)
        assert len(indices) == 5 * len(radius)


@on_fake_devices
@pytest.mark.usefixtures("traced")
def test_reading_back_would_be_noticed():
    with pytest.raises(torch._subclasses.fake_tensor.DataDependentOutputException):
        RIPS.pairs(fake(9, 3))  # looks for NaN
    with pytest.raises(torch._subclasses.fake_tensor.DataDependentOutputException):
        RipsFiltration(max_edge_length=1.0, check_values=False).pairs(fake(9, 3))
    with pytest.raises(AssertionError, match="copy"):
        fake(3).cpu()


@on_fake_devices
@pytest.mark.parametrize(("metric", "most"), [("euclidean", 17), ("cosine", 21)])
def test_a_search_is_few_launches(monkeypatch, metric, most):
    monkeypatch.setattr(_selection, "dense_distances", lambda *args: distances_within(*args[:3]))
    with FakeTensorMode():
        points = fake(64, 256, 16)
        with Launches() as seen:
            RipsFiltration(metric=metric, check_values=False).pairs(points)
    assert seen.names.count("trees_on_device") == 1
    assert len(seen.names) <= most, seen.names


@on_fake_devices
def test_a_small_cloud_may_go_over_the_cpu(monkeypatch):
    monkeypatch.setitem(_dispatch.OVER_THE_CPU, "cuda", 8)
    with FakeTensorMode():
        calls = []
        for name in ("prim", "trees_on_device"):
            engine = getattr(_dispatch, name)
            monkeypatch.setattr(
                _dispatch, name, lambda *a, e=engine, n=name: calls.append(n) or e(*a)
            )
        rips = RipsFiltration(check_values=False)
        for clouds in (fake(8, 3), fake(9, 3), [fake(9, 3), fake(2, 3)]):
            rips.pairs(clouds)
    assert calls == ["prim", "trees_on_device", "trees_on_device"]


def test_the_distances_of_other_devices_are_those_of_the_cpu():
    for points in (gaussian(0, 60, 20).float(), two_clusters(0, 20, 64), gaussian(1, 9, 3) + 100):
        points = torch.cat([points, points[:3]])
        for metric in ("euclidean", "manhattan"):
            sizes = [10, 0, len(points) - 10]
            actual = distances_within(points, sizes, metric)
            expected = _selection.dense_distances(points, sizes, metric, math.inf)
            tolerance = 2e-5 if points.dtype == torch.float32 else 2e-12
            assert_close(actual, expected, rtol=tolerance, atol=0)
            assert_close(actual[:100].view(10, 10), actual[:100].view(10, 10).T, rtol=0, atol=0)


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_clouds_of_all_scales_keep_their_distances(scale):
    cloud = gaussian(0, 5, 3)
    expected = direct_distances(cloud, cloud, "euclidean").flatten()
    found = distances_within(torch.cat([cloud * scale, cloud]), [5, 5], "euclidean")
    assert_close(found[:25] / scale, expected)
    assert_close(found[25:], expected)


def test_a_half_precision_product_does_not_reach_the_distances():
    points = gaussian(0, 40, 30).float()
    expected = distances_within(points, [40], False)
    with torch.autocast("cpu", torch.bfloat16):
        assert_close(distances_within(points, [40], False), expected, rtol=0, atol=0)
        found = forests(expected, [40], math.inf, True)
    same = forests(expected, [40], math.inf, True)
    assert all(torch.equal(a, b) for a, b in zip(found, same, strict=True))


# On a machine with an accelerator, and on a pretended one


def moved(pairs):
    assert isinstance(pairs, PersistencePairs)
    assert pairs.death_edges.device.type == DEVICE.type
    return pairs.to("cpu")


@on_accelerator
@pytest.mark.parametrize("dtype", dtypes())
@pytest.mark.parametrize("engine", ["auto", "boruvka", "tiled", "annotations"])
def test_an_accelerator_gives_the_pairs_of_the_cpu(engine, dtype):
    for points in (
        torch.randint(0, 3, (80, 3), generator=torch.Generator().manual_seed(0)).to(dtype),
        gaussian(0, 200, 12).to(dtype),
        gaussian(0, 3, 20, 5).to(dtype),
    ):
        on_device = RipsFiltration(engine=engine).pairs(points.to(DEVICE))
        if dtype == torch.float64 or (points.ndim == 2 and points.shape[1] == 3):
            same_pairs(moved(on_device), RIPS.pairs(points))
        lengths = RIPS.diagram(moved(on_device), points)
        # two edges whose lengths differ by less than both devices' errors may change places
        relative = 2e-5 if dtype == torch.float32 else 2e-12
        assert_close(lengths, RIPS.diagram(RIPS.pairs(points), points), rtol=relative, atol=0)


@on_accelerator
def test_matrices_on_an_accelerator():
    upper = torch.randint(0, 9, (100, 100), generator=torch.Generator().manual_seed(0)).triu(1)
    matrix = (upper + upper.T).float()
    tree = minimum_spanning_tree(matrix.to(DEVICE)).cpu()
    assert_close(tree, minimum_spanning_tree(matrix))
    matrix = matrix.masked_fill(matrix > 5, math.inf).fill_diagonal_(0)
    of_matrices = RipsFiltration(metric="precomputed")
    same_pairs(moved(of_matrices.pairs(matrix.to(DEVICE))), of_matrices.pairs(matrix))


LOSSES = {
    "track coincidence": lambda x, y, labels, pairs: track_coincidence(x, y, pairs=pairs[0]),
    "track coincidence of loops": lambda x, y, labels, pairs: TrackCoincidence(
        dimensions=(0, 1), orientation="aligned"
    )(x, y, pairs=pairs),
    "deviating perturbation": lambda x, y, labels, pairs: deviating_perturbation(
        x, y, labels, pairs=pairs[0], match_norms=True
    ),
    "homology consistency": lambda x, y, labels, pairs: HomologyConsistency(
        perturbation_weight=0.5
    )(x, y, labels),
    "total persistence": lambda x, y, labels, pairs: total_persistence(x, dimensions=(0, 1)),
    "persistence entropy": lambda x, y, labels, pairs: persistence_entropy(x),
    "connectivity": lambda x, y, labels, pairs: connectivity_loss(x, scale=1.0),
    "signature": lambda x, y, labels, pairs: signature_loss(x, y[..., :5], dimensions=(0, 1)),
    "RTD-Lite": lambda x, y, labels, pairs: rtd_lite(x, y[..., :5], normalize=1.0),
    "RTD": lambda x, y, labels, pairs: rtd(x, y[..., :5]),
    "sliced Wasserstein": lambda x, y, labels, pairs: sliced_wasserstein_distance(
        RIPS.diagram(pairs[1], x), RIPS.diagram(RIPS.pairs(y, 1), y)
    ),
    "distances": lambda x, y, labels, pairs: (
        pairwise_distances(x.flatten(0, -2), y.flatten(0, -2)).square().mean()
    ),
}


SEEDS, SHAPES = (182, 183), [(20, 8), (3, 12, 8)]


def test_rounding_cannot_reorder_the_edges_that_the_losses_compare():
    for shape in SHAPES:
        x, y = (gaussian(seed, *shape).view(-1, *shape[-2:]) for seed in SEEDS)
        a, b, c = (torch.cdist(z, z) for z in (x, y, y[..., :5]))
        largest = [d.amax((1, 2), keepdim=True) for d in (a, c)]
        joined = torch.minimum(a, c), torch.minimum(a / largest[0], c / largest[1])
        i, j = torch.triu_indices(*a.shape[1:], 1)
        for lengths in (matrix[:, i, j].sort().values for matrix in (a, b, c, *joined)):
            assert bool((lengths.diff() > 2e-5 * lengths[:, 1:]).all())


@on_accelerator
@pytest.mark.parametrize("dtype", dtypes())
@pytest.mark.parametrize("shape", SHAPES, ids=["one", "batch"])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_losses_and_gradients_on_an_accelerator_are_those_of_the_cpu(loss, shape, dtype):
    def on(device):
        source, target = (gaussian(seed, *shape).to(device, dtype) for seed in SEEDS)
        views = source.requires_grad_(), target.requires_grad_()
        labels = (torch.arange(math.prod(shape[:-1])) // 4).view(shape[:-1]).to(device)
        value = loss(*views, labels, RIPS.all_pairs(source, 1))
        gradients = torch.autograd.grad(value, views, allow_unused=True, materialize_grads=True)
        assert all(part.device == source.device for part in (value, *gradients))
        return [part.cpu() for part in (value.detach(), *gradients)]

    tolerances = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {}
    found, expected = on(DEVICE), on("cpu")
    assert expected[1].abs().max() > 1e-3  # there is something to compare
    assert_close(found, expected, **tolerances)


@on_accelerator
@pytest.mark.skipif(
    DEVICE is None or DEVICE.type != "cuda", reason="only CUDA says when something waits for it"
)
def test_nothing_waits_for_the_accelerator():
    points = torch.randn(4, 50, 8, device="cuda", requires_grad=True)
    target = torch.randn(4, 50, 8, device="cuda")
    rips = RipsFiltration(check_values=False)
    rips.pairs(points)  # kernels load, streams open
    torch.cuda.set_sync_debug_mode("error")
    try:
        pairs = rips.pairs(points)
        TrackCoincidence()(points, target, pairs=pairs).backward()
        TrackCoincidence(filtration=rips)(points, target).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@on_accelerator
def test_tensors_of_two_devices_do_not_mix():
    """Without this a pretended accelerator would show nothing."""
    with pytest.raises(RuntimeError, match="two devices"):
        torch.ones(3).to(DEVICE) + torch.ones(3)
    with pytest.raises((TypeError, RuntimeError), match="numpy"):
        torch.ones(3).to(DEVICE).numpy()


@pytest.mark.skipif(DEVICE is not None, reason="there is an accelerator, or this pretends one")
@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this version of torch takes no device type from Python",
)
@pytest.mark.parametrize("precision", ["double", "single"])
def test_the_tests_of_accelerators_pass_on_a_pretended_one(precision):
    here = Path(__file__).parent
    files = [str(f) for f in here.rglob("test_*.py") if "@on_accelerator" in f.read_text("utf-8")]
    path = os.pathsep.join([str(here), *sys.path])  # plugins are imported before the settings
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "pretend", "-m", "gpu", "-q", *files],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=here.parent,
        env=os.environ | {"PYTHONPATH": path, "PRETEND": precision},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (passed,) = re.findall(r"(\d+) passed, 1 skipped", done.stdout)  # that of CUDA alone
    assert int(passed) > len(LOSSES)


@pytest.mark.parametrize(
    ("device", "engine", "found_by"),
    [
        ("cpu", "auto", "prim"),
        ("cpu", "boruvka", "boruvka"),
        ("cuda", "auto", "trees_on_device"),
        ("cuda", "boruvka", "boruvka"),
        ("cuda", "prim", "prim"),
        ("privateuseone", "auto", "trees_on_device"),
    ],
)
def test_where_dimension_0_is_found(device, engine, found_by):
    assert _dispatch._trees(device, [1], engine) is getattr(_dispatch, found_by)
    nothing = "boruvka" if engine == "boruvka" else "prim"
    assert _dispatch._trees(device, [], engine) is getattr(_dispatch, nothing)


@pytest.mark.parametrize("values", [(), (3,), (0, 4, 8), (2, 2, 2), (5, 1, 7)])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_integers_are_written_on_the_device(values, device):
    found = numbers(values, torch.empty(0, device=device))
    assert (found.shape, found.dtype, found.device.type) == ((len(values),), torch.int64, device)
    if device == "cpu":
        assert found.tolist() == list(values)


def test_only_records_limit_the_vertices(monkeypatch):
    """Two vertices of a record have 16 bits each; trees have no such limit."""
    monkeypatch.setattr(_dispatch, "MOST_VERTICES", 5)
    points = gaussian(0, 5, 3)
    for engine in ("auto", "prim", "boruvka"):
        same_pairs(RipsFiltration(engine=engine).pairs(points), RIPS.pairs(points))
    for engine, dimension in (("auto", 1), ("annotations", 0), ("gudhi", 0)):
        with pytest.raises(ValueError, match="`points` should have fewer than 5 vertices"):
            RipsFiltration(engine=engine).pairs(points, dimension)


def test_the_engine_that_is_asked_for_is_used(monkeypatch):
    points = gaussian(0, 6, 3)
    expected = RIPS.pairs(points)
    for name in ("prim", "boruvka", "annotate"):
        monkeypatch.setattr(_dispatch, name, lambda *_: pytest.fail("asked"))
    same_pairs(RipsFiltration(engine="gudhi").pairs(points), expected)


VOLUME = torch.rand(2, 5, 6, 7, generator=torch.Generator().manual_seed(1))
WIDE = gaussian(3, 40, 20, dtype=torch.float32)
MANY = gaussian(4, 1500, 64, dtype=torch.float32)
DIAGRAM = torch.tensor([[0.0, 1.0], [0.5, 3.0]])
GRAPH = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]])


def counted(metric, *images):
    """What a metric gives after one batch."""
    metric.update(*images)
    return metric.compute()


ON_THE_CPU = {
    "diagram": lambda: topreg.RipsFiltration()(WIDE),
    "loops": lambda: topreg.RipsFiltration()(WIDE, 1),
    "many points": lambda: topreg.RipsFiltration().pairs(MANY).death_edges,
    "a batch": lambda: topreg.RipsFiltration().pairs(WIDE.view(4, 10, 20)).death_edges,
    "precomputed": lambda: topreg.RipsFiltration(metric="precomputed")(pairwise_distances(WIDE)),
    "distances": lambda: pairwise_distances(WIDE, WIDE),
    "tree": lambda: minimum_spanning_tree(pairwise_distances(WIDE)),
    "graph": lambda: topreg.FlagFiltration(GRAPH, 4)(WIDE[0, :5].abs(), 1),
    "images": lambda: topreg.CubicalFiltration()(VOLUME[0], 1),
    "volumes": lambda: topreg.CubicalFiltration(ndim=3)(VOLUME, 2),
    "total persistence": lambda: total_persistence(WIDE, dimensions=(0, 1)),
    "signature": lambda: signature_loss(WIDE.view(4, 10, 20), WIDE.view(4, 10, 20)[..., :3]),
    "coincidence": lambda: track_coincidence(WIDE, WIDE.flip(1), dimensions=(0, 1)),
    "perturbation": lambda: deviating_perturbation(WIDE, WIDE.flip(1), torch_labels()),
    "connectivity": lambda: connectivity_loss(WIDE, scale=1.0),
    "entropy": lambda: persistence_entropy(WIDE),
    "rtd": lambda: rtd(WIDE, WIDE[:, :3]),
    "rtd_lite": lambda: rtd_lite(WIDE, WIDE[:, :3]),
    "Wasserstein": lambda: topreg.wasserstein_distance(DIAGRAM, DIAGRAM[:1]),
    "sliced Wasserstein": lambda: sliced_wasserstein_distance(DIAGRAM, DIAGRAM[:1]),
    "persistence image": lambda: topreg.persistence_image(
        DIAGRAM, bandwidth=0.5, birth_range=(0, 1), persistence_range=(0, 3)
    ),
    "landscape": lambda: topreg.persistence_landscape(DIAGRAM, sample_range=(0, 3), count=2),
    "Betti matching": lambda: topreg.betti_matching_loss(VOLUME[0], VOLUME[0] > 0.5),
    "diagram matching": lambda: topreg.diagram_matching_loss(VOLUME[0], VOLUME[0] > 0.5),
    "Betti prior": lambda: topreg.betti_prior_loss(VOLUME[0], betti_numbers=(1, 0)),
    "landmarks": lambda: farthest_point_sampling(WIDE, 5).indices,
    "stored pairs": lambda: (
        PersistencePairs.from_tensors(topreg.RipsFiltration().pairs(WIDE).to_tensors()).death_edges
    ),
    "Betti numbers": lambda: counted(BETTI_NUMBERS, VOLUME[0]),
    "Betti matching error": lambda: counted(BETTI_ERROR, VOLUME[0], VOLUME[1]),
}
BETTI_NUMBERS, BETTI_ERROR = BettiNumbers(), BettiMatchingError()


def torch_labels():
    """Four labels, in turn."""
    return torch.arange(40, device="cpu") % 4


@pytest.mark.parametrize("name", ON_THE_CPU)
def test_a_default_device_elsewhere_changes_nothing(name):
    for metric in (BETTI_NUMBERS, BETTI_ERROR):
        metric.reset()
    expected = ON_THE_CPU[name]()
    for metric in (BETTI_NUMBERS, BETTI_ERROR):
        metric.reset()
    with torch.device("meta"):
        found = ON_THE_CPU[name]()
    assert found.device.type == "cpu"
    assert torch.equal(found, expected)


def test_gradients_on_the_cpu_need_no_default_device():
    batch = (4, 10, 20)
    losses = total_persistence, lambda x: signature_loss(x.view(batch), x.view(batch)[..., :3])
    for loss in losses:
        x = WIDE.clone().requires_grad_()
        (expected,) = torch.autograd.grad(loss(x), x)
        with torch.device("meta"):
            (found,) = torch.autograd.grad(loss(x), x)
        assert torch.equal(found, expected)
