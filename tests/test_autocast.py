"""Neither autocast nor a global precision setting changes pairs; losses stay sound."""

import contextlib
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from asserts import in_loss_range, same_pairs
from strategies import gaussian
from torch.testing import assert_close

from topreg import (
    DeviatingPerturbation,
    HomologyConsistency,
    RipsFiltration,
    TrackCoincidence,
    exponential_affinity,
    label_indicators,
    minimum_spanning_tree,
    pairwise_distances,
    sliced_wasserstein_distance,
    wasserstein_distance,
)


@contextlib.contextmanager
def medium_precision():
    """Products of matrices may be rounded to bfloat16."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


FULL = {"highest", "ieee"}  # the older setting and those of torch 2.9
SETTINGS = {
    "autocast bfloat16": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast float16": lambda: torch.autocast("cpu", torch.float16),
    "medium": medium_precision,
}
everywhere = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)


def chebyshev(x, y):
    return (x[:, None] - y[None]).abs().amax(2)


def in_force():
    """What the settings say about products: the older one, or from torch 2.9 on for the CPU."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return torch.backends.mkldnn.matmul.fp32_precision


def by_products(x, y):
    """A metric that autocast would round, and so would some processors if the settings let them."""
    if in_force() not in FULL:
        x, y = x.bfloat16().to(x.dtype), y.bfloat16().to(y.dtype)
    return (2 - 2 * (x @ y.T)).clamp(min=1e-6) * (1 - torch.eye(len(x)))


@everywhere
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan", chebyshev, by_products])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pairs_are_the_same(setting, metric, dtype):
    if metric is by_products and dtype == torch.float64:
        dtype = torch.float32
    points = torch.nn.functional.normalize(gaussian(0, 120, 64), dim=1).to(dtype)
    filtration = RipsFiltration(metric=metric)
    expected = filtration.pairs(points)
    others = [] if callable(metric) else ["boruvka", "tiled"]
    others = [RipsFiltration(metric=metric, engine=engine) for engine in others]
    chosen = [other.pairs(points) for other in others]
    with setting():
        same_pairs(filtration.pairs(points), expected)
        for other, pairs in zip(others, chosen, strict=True):
            same_pairs(other.pairs(points), pairs)
        same_pairs(filtration.pairs([points, points[:9]]).split()[0], expected)


@everywhere
@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
def test_distances_are_the_same(setting, metric):
    points = gaussian(0, 120, 64, dtype=torch.float32)
    own, cross = (pairwise_distances(points, y, metric=metric) for y in (None, points[:30]))
    with setting():
        assert_close(pairwise_distances(points, metric=metric), own, rtol=0, atol=0)
        assert_close(pairwise_distances(points, points[:30], metric=metric), cross, rtol=0, atol=0)
        tree = minimum_spanning_tree(own)
    assert_close(tree, minimum_spanning_tree(own))


@everywhere
@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize(
    "module",
    [
        TrackCoincidence(),
        DeviatingPerturbation(related="all", match_norms=True),
        DeviatingPerturbation(),
        HomologyConsistency(perturbation_weight=0.5),
    ],
    ids=repr,
)
def test_losses_and_gradients_are_close(module, offset, setting):
    source = torch.nn.functional.normalize(gaussian(0, 60, 128), dim=1).float() + offset
    target = source.roll(1, 0) + 0.01 * gaussian(1, 60, 128).float()
    labels = () if isinstance(module, TrackCoincidence) else (torch.arange(60) % 3,)
    results = []
    for context in (contextlib.nullcontext, setting):
        leaf = source.clone().requires_grad_()
        with context():
            loss = module(leaf, target, *labels)
        loss.backward()
        results.append((loss.detach(), leaf.grad))
    assert results[1][0].dtype == torch.float32
    in_loss_range(results[1][0] / (1.5 if isinstance(module, HomologyConsistency) else 1))
    assert_close(results[1], results[0], rtol=1e-3, atol=1e-4)


PRECISION_SETTINGS = {
    "older": ["torch.backends.cuda.matmul.allow_tf32 = True"],
    "newer": [  # of torch 2.9; reading the older ones is an error from then on
        "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'",
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
        "torch.backends.fp32_precision = 'tf32'",
    ],
    "inherited": [
        "torch.backends.fp32_precision = 'bf16'",
        "assert torch.backends.mkldnn.matmul.fp32_precision == 'bf16'",
        "torch.backends.fp32_precision = 'ieee'",
        "assert torch.backends.mkldnn.matmul.fp32_precision == 'ieee'",
    ],
    "both": [
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.mkldnn.matmul.fp32_precision = 'ieee'",
        "assert torch.get_float32_matmul_precision() == 'medium'",
    ],
}


@pytest.mark.parametrize("statements", PRECISION_SETTINGS.values(), ids=PRECISION_SETTINGS)
def test_no_way_of_setting_precision_changes_pairs(statements):
    """In a fresh interpreter, as torch cannot take these settings back."""
    code = """
import sys, torch
from test_autocast import FULL, in_force
from topreg import RipsFiltration, farthest_point_sampling, pairwise_distances, rtd_lite
product, seen = torch.mm, []
def spy(*args, **options):  # not every processor rounds when it is allowed to
    seen.append(in_force())
    return product(*args, **options)
def metric(x, y):
    seen.append(in_force())
    return torch.cdist(x, y)
def fails(x, y):
    seen.append(in_force())
    raise ArithmeticError
torch.mm = spy
points = torch.randn(300, 100, generator=torch.Generator().manual_seed(0))
before = RipsFiltration().pairs(points)
own = RipsFiltration(metric=metric)
for statement in sys.argv[1:]:
    exec(statement)
    for search in (
        lambda: RipsFiltration().pairs(points),
        lambda: own.pairs(points),
        lambda: own.diagram(before, points),
        lambda: pairwise_distances(points, metric=metric),
        lambda: farthest_point_sampling(points, 3, metric=metric),
        lambda: rtd_lite(points, points, filtration=own),
        lambda: pairwise_distances(points, metric=fails),
    ):
        seen.clear()
        try:
            search()
        except ArithmeticError:
            pass
        assert seen and FULL.issuperset(seen), (statement, seen)
        name, _, value = statement.partition(" = ")
        assert not value or eval(name) == eval(value)
    after = RipsFiltration().pairs(points)
    assert torch.equal(before.death_edges, after.death_edges)
"""
    if hasattr(torch.backends, "fp32_precision") or "allow" in statements[0]:
        run = subprocess.run(
            [sys.executable, "-c", code, *statements],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert run.returncode == 0, run.stderr


def test_a_callable_metric_is_not_rounded_by_autocast():
    """Nor are the matrix and the diagram that it gives."""

    def metric(x, y):
        return (x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T).clamp(min=0)

    points = gaussian(3, 40, 8)
    filtration = RipsFiltration(metric=metric)
    pairs, matrix = filtration.pairs(points), pairwise_distances(points, metric=metric)
    diagram = filtration.diagram(pairs, points)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same_pairs(filtration.pairs(points), pairs)
        assert_close(pairwise_distances(points, metric=metric), matrix, rtol=0, atol=0)
        assert_close(filtration.diagram(pairs, points), diagram, rtol=0, atol=0)


def test_a_metric_is_not_rounded_when_another_thread_ends():
    """The settings belong to the process: the last thread within puts them back, not the first."""
    within, ended, seen = threading.Event(), threading.Event(), []

    def first(x, y):
        assert within.wait(60)
        return torch.cdist(x, y)

    def second(x, y):
        within.set()
        assert ended.wait(60)
        seen.append(in_force())
        return torch.cdist(x, y)

    points = gaussian(3, 9, 2, dtype=torch.float32)
    with medium_precision(), ThreadPoolExecutor(2) as pool:
        ends = pool.submit(pairwise_distances, points, metric=first)
        goes_on = pool.submit(pairwise_distances, points, metric=second)
        ends.result()
        ended.set()
        assert_close(goes_on.result(), ends.result())
    assert seen == ["highest"]


@pytest.mark.parametrize("result", [torch.zeros(3), torch.zeros(3, 2), 1.0])
def test_a_callable_metric_of_another_shape_is_refused(result):
    points = gaussian(3, 3, 2)
    for other in (None, points):
        with pytest.raises(ValueError, match=r"`metric\(x, y\)` should have shape"):
            pairwise_distances(points, other, metric=lambda x, y: result)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_views_of_half_and_single_precision(dtype):
    """One view is given, the other came out of a product under autocast."""
    given, rows = gaussian(0, 2, 30, 8).float().unbind(0)
    keys, labels = gaussian(1, 12, 8).float(), torch.arange(30) % 3
    with torch.autocast("cpu", dtype):
        made = rows @ torch.eye(8)
        assert made.dtype == dtype
        pairs = RipsFiltration().pairs(given)
        for left, right in ((given, made), (made, given)):
            value = TrackCoincidence()(left, right, pairs=pairs)
            assert_close(value, TrackCoincidence()(left.float(), right.float(), pairs=pairs))
            HomologyConsistency(perturbation_weight=0.5)(left, right, labels)
        proxies = exponential_affinity(given, keys, sharpness=5.0)
        TrackCoincidence()(proxies, label_indicators(labels, torch.arange(12) % 3), geometry=given)
    mixed = exponential_affinity(made, keys, sharpness=5.0)
    assert_close(mixed, exponential_affinity(made.float(), keys, sharpness=5.0))
    cross = pairwise_distances(made, keys)
    assert_close(cross, pairwise_distances(made.float(), keys), rtol=0, atol=0)


def test_distances_of_diagrams_are_as_without_autocast():
    first, second = (torch.cumsum(gaussian(seed, 9, 2).abs().float(), 1) for seed in (0, 1))
    for distance in (sliced_wasserstein_distance, wasserstein_distance):
        expected = distance(first, second)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert_close(distance(first, second), expected, rtol=0, atol=0)
