"""The distance matrix: accuracy, exactness, gradients, and agreement with the filtration."""

import math

import mpmath
import numpy as np
import pytest
import torch
from asserts import gradients_are_right, reads_bits_in_vmap, same_pairs
from hypothesis import given
from hypothesis import strategies as st
from oracles import kruskal
from strategies import (
    SEEDS,
    distances_by_differences,
    fewer_examples,
    gaussian,
    integer_clouds,
    repeated_clouds,
    two_clusters,
    wide_integer_clouds,
)
from torch.testing import assert_close

from topreg import RipsFiltration, minimum_spanning_tree, pairwise_distances
from topreg.metrics._selection import FEW_COORDINATES, estimated_weights, prepare

DTYPES = (torch.float32, torch.float64)
METRICS = ("euclidean", "cosine", "manhattan")
RELATIVE_ERROR = {torch.float32: 1e-5, torch.float64: 1e-12}
WIDTHS = (1, 2, 8, 9, 64, 512, 1024)


def reference(x, y, metric):
    """By differences in float64 (cosine: of unit rows, half the squared distance)."""
    x, y = x.double(), y.double()
    if metric == "cosine":
        x, y = (z / z.square().sum(1, keepdim=True).sqrt() for z in (x, y))
    differences = x[:, None] - y[None]
    if metric == "manhattan":
        return differences.abs().sum(2)
    squares = differences.square().sum(2)
    return squares / 2 if metric == "cosine" else squares.sqrt()


def high_precision(x, y):
    """Euclidean distances with 60 digits, rounded once."""
    with mpmath.workdps(60):
        rows = [[mpmath.mpf(v) for v in row] for row in x.tolist()]
        columns = [[mpmath.mpf(v) for v in row] for row in y.tolist()]
        entries = [
            [
                float(mpmath.sqrt(mpmath.fsum((a - b) ** 2 for a, b in zip(r, c, strict=True))))
                for c in columns
            ]
            for r in rows
        ]
    return torch.tensor(entries, dtype=torch.float64)


def hard_clouds(width, dtype):
    """Clouds on which a plain Gram product fails, by name."""
    points = gaussian(width, 24, width)
    return {
        "plain": points,
        "duplicates": torch.cat([points, points[:8]]),
        "offset": 1e-2 * points + 1e4,
        "clusters": two_clusters(width, 12, width, 1e-3, 1e3, torch.float64),
        "near duplicates": torch.cat([points, points * (1 + 1e-6)]),
        "an outlier": torch.cat([1e-3 * points, 1e5 * points[:1]]),
        "heavy tails": points.sinh().sinh().clamp(-1e6, 1e6),
        "tiny": 1e-18 * points,
        "squares that underflow": (1e-21 if dtype == torch.float32 else 1e-140) * points,
        "huge": 1e15 * points,
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_relative_errors_within_a_cloud(width, dtype):
    for name, cloud in hard_clouds(width, dtype).items():
        points = cloud.to(dtype)
        expected = distances_by_differences(points)
        actual = pairwise_distances(points).double()
        error = (actual - expected).abs() / expected.where(expected > 0, 1)
        assert float(error.max()) < RELATIVE_ERROR[dtype], name
        assert_close(actual == 0, expected == 0, msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
def test_relative_errors_between_two_clouds(width, dtype):
    for name, cloud in hard_clouds(width, dtype).items():
        x, y = cloud.to(dtype)[:13], cloud.to(dtype)[7:]
        expected = reference(x, y, "euclidean")
        actual = pairwise_distances(x, y).double()
        error = (actual - expected).abs() / expected.where(expected > 0, 1)
        assert float(error.max()) < RELATIVE_ERROR[dtype], name


@pytest.mark.parametrize("width", [3, 40])
def test_double_precision_against_sixty_digits(width):
    for name, points in hard_clouds(width, torch.float64).items():
        expected = high_precision(points[:20], points[10:])
        actual = pairwise_distances(points[:20], points[10:])
        assert_close(actual, expected, rtol=1e-12, atol=0, msg=name)
        expected = high_precision(points, points)
        assert_close(pairwise_distances(points), expected, rtol=1e-12, atol=0, msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_equals_its_reference(metric, width, dtype):
    x, y = gaussian(0, 2, 17, width, dtype=dtype)
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    actual = pairwise_distances(x, y, metric=metric)
    assert actual.dtype == dtype
    # a cosine distance near 0 inherits the rounding of the unit rows themselves
    atol = tolerance**1.5 if metric == "cosine" else 0
    assert_close(actual.double(), reference(x, y, metric), rtol=3 * tolerance, atol=atol)
    assert_close(
        pairwise_distances(x, metric=metric).double(),
        reference(x, x, metric),
        rtol=3 * tolerance,
        atol=atol,
    )


@pytest.mark.parametrize("metric", METRICS)
@fewer_examples
@given(data=st.data())
def test_symmetry_and_the_diagonal_are_exact(metric, data):
    points, _ = data.draw(repeated_clouds(max_width=20, dtype=data.draw(st.sampled_from(DTYPES))))
    distances = pairwise_distances(points, metric=metric)
    assert_close(distances, distances.T, rtol=0, atol=0)
    assert_close(distances.diagonal(), torch.zeros(len(points)).to(points), rtol=0, atol=0)
    assert float(distances.min()) >= 0


@pytest.mark.parametrize("n", [1, 15, 16, 17, 255, 256, 257, 530])
@pytest.mark.parametrize("dtype", DTYPES)
def test_symmetry_is_exact_across_tiles_and_blocks(n, dtype):
    points = gaussian(n, n, 12, dtype=dtype)
    distances = pairwise_distances(points)
    assert_close(distances, distances.T, rtol=0, atol=0)
    assert_close(distances.double(), distances_by_differences(points), rtol=1e-5, atol=0)


@given(wide_integer_clouds(), st.sampled_from(DTYPES))
def test_equal_distances_of_small_integer_points_come_out_equal(points, dtype):
    expected = distances_by_differences(points).to(dtype)
    assert_close(pairwise_distances(points.to(dtype)), expected, rtol=0, atol=0)
    if len(points) > 2:
        actual = pairwise_distances(points[:2].to(dtype), points[1:].to(dtype))
        assert_close(actual, expected[:2, 1:], rtol=0, atol=0)


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("width", [9, 64, 300])
def test_integer_points_in_many_coordinates_are_exact(width, offset):
    generator = torch.Generator().manual_seed(width)
    points = torch.randint(0, 4, (60, width), generator=generator).float() + offset
    expected = distances_by_differences(points).float()
    assert_close(pairwise_distances(points), expected, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_centring_shifts_by_a_point_of_the_cloud_or_not_at_all(dtype):
    from topreg.metrics import _kernels

    generator = torch.Generator().manual_seed(0)
    near = torch.randint(-3, 4, (20, 12), generator=generator).to(dtype)
    out = torch.empty_like(near)
    _kernels.shift_rows(out.numpy(), near.numpy())
    assert_close(out, near, rtol=0, atol=0)  # the origin is as good as any point
    _kernels.shift_rows(out.numpy(), (near + 1000).numpy())
    middle = (near - near.mean(0)).norm(dim=1).argmin()
    assert_close(near + 1000 - out, (near[middle] + 1000).expand(20, 12), rtol=0, atol=0)
    _kernels.shift_rows(out[:0].numpy(), near[:0].numpy())


def test_clouds_are_centred_one_by_one(monkeypatch):
    # without it far clouds would be right, but measured again, entry by entry
    from topreg.metrics import _kernels

    called, shift = [], _kernels.shift_rows

    def spy(out, points):
        called.append(len(points))
        shift(out, points)

    monkeypatch.setattr(_kernels, "shift_rows", spy)
    monkeypatch.setattr("topreg.filtrations._rips.pairs_of_few", lambda *_: None)
    for dimension in (0, 1):
        RipsFiltration().pairs([gaussian(0, 5, 9), gaussian(1, 7, 9)], dimension)
    pairwise_distances(gaussian(0, 5, 9), gaussian(1, 7, 9))
    RipsFiltration().pairs(gaussian(0, 5, 8))  # few coordinates: by differences
    assert called == [5, 7, 5, 7, 12]


@fewer_examples
@given(integer_clouds(dtype=torch.float32), SEEDS)
def test_coincident_points_have_distance_zero(points, seed):
    cloud = gaussian(seed, 20, 30, dtype=torch.float32)[points.sum(1).long()]
    same = (cloud[:, None] == cloud[None]).all(2)
    for distances in (pairwise_distances(cloud), pairwise_distances(cloud, cloud.clone())):
        assert_close(distances == 0, same)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
@fewer_examples
@given(data=st.data())
def test_the_filtration_orders_edges_by_this_matrix(metric, dtype, data):
    points, _ = data.draw(repeated_clouds(max_width=20, dtype=dtype))
    distances = pairwise_distances(points, metric=metric)
    of_points = RipsFiltration(metric=metric).pairs(points)
    same_pairs(RipsFiltration(metric="precomputed").pairs(distances), of_points)
    assert list(map(tuple, of_points.death_edges.tolist())) == kruskal(distances)[0]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, *DTYPES])
def test_the_filtration_orders_edges_by_this_matrix_on_large_clouds(metric, dtype):
    points = (gaussian(5, 300, 33) + 2).to(dtype)
    distances = pairwise_distances(points, metric=metric)
    of_points = RipsFiltration(metric=metric).pairs(points)
    same_pairs(RipsFiltration(metric="precomputed").pairs(distances), of_points)
    diagram = RipsFiltration(metric=metric).diagram(of_points, points)
    i, j = of_points.death_edges.T
    assert_close(diagram[:, 1], distances[i, j], rtol=2e-5, atol=1e-12)


@pytest.mark.parametrize("width", [2, 16, 512, 1024])
def test_the_tree_of_two_tight_clusters_is_right(width):
    size = 12
    for trial in range(100):
        points = two_clusters(2 * trial, size, width, spread=1e-3, gap=1e2)
        truth = distances_by_differences(points)
        edges = RipsFiltration().pairs(points).death_edges
        expected = torch.tensor(kruskal(truth)[0])
        lengths, right = (truth[e[:, 0], e[:, 1]] for e in (edges, expected))
        assert_close(lengths, right, rtol=1e-5, atol=0)
        # within clusters the very edges, unless float32 cannot tell two lengths apart
        gaps = right[:-1].diff() / right[1:-1]
        if float(gaps.min()) > 1e-6:
            within = {tuple(e) for e in edges[:-1].tolist()}
            assert within == {tuple(e) for e in expected[:-1].tolist()}
        assert bool((edges[-1] // size == torch.tensor([0, 1])).all())


def test_the_longest_edge_between_two_clusters_is_the_gap():
    points = torch.cat([gaussian(0, 5, 3) * 1e-3, gaussian(1, 5, 3) * 1e-3 + 10])
    pairs = RipsFiltration().pairs(points)
    gap = reference(points[:5], points[5:], "euclidean").min()
    assert_close(RipsFiltration().diagram(pairs, points)[-1, 1], gap)
    assert pairs.birth_edges[-1].tolist() == [5, 5]


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("metric", METRICS)
def test_half_precision_gives_single(metric, half):
    x = gaussian(0, 9, 20).to(half)
    assert pairwise_distances(x, metric=metric).dtype == torch.float32
    actual = pairwise_distances(x, x[:4], metric=metric)
    assert_close(actual, pairwise_distances(x.float(), x[:4].float(), metric=metric))
    x.requires_grad_()
    pairwise_distances(x, metric=metric).sum().backward()
    assert x.grad.dtype == half
    assert bool(x.grad.isfinite().all())


# Gradients


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("width", [2, 12])
def test_gradients_of_both_orders(metric, width):
    x, y = gaussian(0, 2, 5, width)
    gradients_are_right(lambda a: pairwise_distances(a, metric=metric), x, second=True)
    gradients_are_right(lambda a, b: pairwise_distances(a, b, metric=metric), x, y[:3], second=True)


@pytest.mark.parametrize("metric", METRICS)
def test_coincident_points_contribute_the_subgradient_zero(metric):
    def of_distinct(points):
        distances = pairwise_distances(points, metric=metric)
        return distances[0, 2] + distances[1, 2] + distances[2, 3]

    x = gaussian(0, 4, 3)
    x[1] = x[0]
    gradients_are_right(of_distinct, x)
    whole = x.clone().requires_grad_()
    pairwise_distances(whole, metric=metric)[0, 1].backward()
    assert_close(whole.grad, torch.zeros_like(x), rtol=0, atol=0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("width", [3, 12])
def test_second_derivatives_at_duplicates_are_finite(metric, width):
    x = gaussian(0, 3, width).repeat(2, 1).requires_grad_()
    total = pairwise_distances(x, metric=metric).square().sum()
    total = total + pairwise_distances(x, metric=metric).sum()
    (first,) = torch.autograd.grad(total, x, create_graph=True)
    # `+ 0 * x` keeps the graph where the first derivative is piecewise constant
    (second,) = torch.autograd.grad((first + 0 * x).square().sum(), x)
    assert bool(first.isfinite().all())
    assert bool(second.isfinite().all())


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_far_from_the_origin_are_those_at_the_origin(dtype):
    x = gaussian(0, 12, 16).to(torch.bfloat16).to(dtype)  # few digits: the shift is exact
    grads = []
    for offset in (0, 1024):
        leaf = (x + offset).requires_grad_()
        pairwise_distances(leaf).pow(2).sum().sqrt().backward()
        grads.append(leaf.grad)
    assert_close(*grads, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_empty_clouds(metric, n, m):
    x = torch.ones(n, 9, requires_grad=True)
    y = torch.ones(m, 9, requires_grad=True)
    distances = pairwise_distances(x, y, metric=metric)
    assert distances.shape == (n, m)
    distances.sum().backward()
    assert_close(x.grad, torch.zeros(n, 9))
    assert_close(y.grad, torch.zeros(m, 9))
    alone = pairwise_distances(x, metric=metric)
    assert_close(alone, torch.zeros(n, n))


# Callable metrics


def test_a_callable_metric_is_made_symmetric():
    def lopsided(x, y):
        return (x[:, None] - y[None]).clamp(min=0).sum(2)

    x = gaussian(0, 5, 2)
    distances = pairwise_distances(x, metric=lopsided)
    assert_close(distances, reference(x, x, "manhattan") / 2)
    assert_close(pairwise_distances(x, x[:2], metric=lopsided), lopsided(x, x[:2]))
    gradients_are_right(lambda a: pairwise_distances(a, metric=lopsided), x)


def test_a_learned_metric_gets_gradients_through_the_diagram():
    scale = torch.tensor(2.0, requires_grad=True)
    calls = []

    def learned(x, y):
        calls.append((len(x), len(y)))
        return scale * (x[:, None] - y[None]).abs().sum(2)

    points = gaussian(0, 80, 2, dtype=torch.float32)
    filtration = RipsFiltration(metric=learned)
    pairs = filtration.pairs(points)
    calls.clear()
    diagram = filtration.diagram(pairs, points)
    assert max(calls) <= (64, 64)  # blocks of edges, not a matrix of all end points
    diagram[:, 1].sum().backward()
    expected = RipsFiltration(metric="manhattan").diagram(pairs, points)[:, 1].sum()
    assert_close(scale.grad, expected)
    assert_close(diagram[:, 0], torch.zeros(79))


@pytest.mark.parametrize("metric", METRICS)
def test_diagram_gradients_at_fixed_pairs(metric):
    points = gaussian(0, 7, 3)
    filtration = RipsFiltration(metric=metric)
    pairs = filtration.pairs(points)
    gradients_are_right(lambda p: filtration.diagram(pairs, p), points, second=True)


@pytest.mark.parametrize("metric", METRICS)
def test_diagram_gradients_at_duplicates_are_zero(metric):
    points = gaussian(0, 3, 3)[[0, 0, 1, 2, 2]].requires_grad_()
    filtration = RipsFiltration(metric=metric)
    zero = filtration.diagram(filtration.pairs(points), points)[:2, 1]
    assert_close(zero, torch.zeros(2, dtype=torch.float64), rtol=0, atol=0)
    zero.sum().backward()
    assert_close(points.grad, torch.zeros_like(points), rtol=0, atol=0)


def test_minimum_spanning_tree_of_a_leaf():
    matrix = pairwise_distances(gaussian(0, 5, 2)).requires_grad_()
    edges = minimum_spanning_tree(matrix)
    assert not edges.requires_grad
    assert list(map(tuple, edges.tolist())) == kruskal(matrix.detach())[0]


def test_cosine_distances_are_dissimilarities():
    half = math.sqrt(0.5)
    points = torch.tensor([[1.0, 0], [half, half], [0, 1]])
    distances = pairwise_distances(points, metric="cosine")
    assert_close(distances[0], torch.tensor([0, 1 - half, 1.0]))
    assert float(distances[0, 1] + distances[1, 2]) < float(distances[0, 2])


@pytest.mark.parametrize("spread", [1e-2, 1e-4, 1e-5])
def test_single_precision_gradient_within_tight_clusters_far_apart(spread):
    points = 10 * gaussian(0, 2, 32).repeat_interleave(20, 0) + spread * gaussian(1, 40, 32)
    weights = gaussian(2, 40, 40)
    single = points.float().requires_grad_()
    double = single.detach().double().requires_grad_()
    (pairwise_distances(single) * weights.float()).sum().backward()
    differences = (double[:, None] - double[None]).square().sum(2)
    apart = ~torch.eye(40, dtype=torch.bool)
    (differences[apart].sqrt() * weights[apart]).sum().backward()
    assert_close(single.grad.double(), double.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [0, 1, 3, 4, 5, 7, 8, 70])
def test_many_at_a_time_equal_one_at_a_time_bit_for_bit(width, dtype):
    from topreg.metrics import _kernels

    x = gaussian(width, _kernels.RUN + 5, width, dtype=dtype)
    rows = x.numpy()
    for metric, one in (
        ("euclidean", lambda a, b: math.sqrt(_kernels.squared_difference(a, b))),
        ("manhattan", _kernels.absolute_difference),
    )[width > FEW_COORDINATES :]:  # of wide rows the Gram matrix gives Euclidean distances
        some = [0, 1, _kernels.RUN - 1, _kernels.RUN, len(x) - 1]
        expected = torch.tensor([[one(rows[i], b) for b in rows] for i in some], dtype=dtype)
        within = pairwise_distances(x, metric=metric)
        assert_close(within[some], expected, rtol=0, atol=0)
        few = torch.cat([pairwise_distances(part, x, metric=metric) for part in x.split(5)])
        for found in (within.T, pairwise_distances(x, x, metric=metric), few):
            assert_close(found, within, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1e-30, 1e-13, 1e20, 1e37])
def test_the_cosine_of_short_and_long_rows(dtype, size):
    points = gaussian(0, 6, 3).to(dtype)
    expected = pairwise_distances(points, metric="cosine")
    rows = points * size
    assert_close(pairwise_distances(rows, metric="cosine"), expected)
    assert_close(
        pairwise_distances(rows, points, metric="cosine"),
        pairwise_distances(points, points, metric="cosine"),
    )
    cosine = RipsFiltration(metric="cosine")
    pairs = cosine.pairs(points)
    same_pairs(cosine.pairs(rows), pairs)
    leaf = rows.requires_grad_()
    diagram = cosine.diagram(pairs, leaf)
    assert_close(diagram, cosine.diagram(pairs, points))
    diagram.sum().backward()
    assert bool(leaf.grad.isfinite().all())


def test_powers_of_two_change_no_bit_of_a_cosine():
    points = gaussian(0, 7, 4, dtype=torch.float32)
    scaled = points * torch.tensor([2.0**k for k in range(-3, 4)])[:, None]
    expected = pairwise_distances(points, metric="cosine")
    assert torch.equal(pairwise_distances(scaled, metric="cosine"), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_gradients_of_distances_by_torch_func(metric):
    points = gaussian(0, 5, 3)
    leaf = points.clone().requires_grad_()
    pairwise_distances(leaf, metric=metric).square().sum().backward()
    found = torch.func.grad(lambda x: pairwise_distances(x, metric=metric).square().sum())(points)
    assert_close(found, leaf.grad)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("width", [3, 12])
def test_distances_of_a_batch_by_vmap(metric, width, capfd):
    """Without torch's warning that an operator lacks a batching rule; to the bit by our loops."""
    if metric == "cosine" and not reads_bits_in_vmap():
        pytest.skip("this version of torch has no batching rule for views of another dtype")
    exact = {} if metric == "cosine" else {"rtol": 0, "atol": 0}  # torch normalises the rows
    batch, other = gaussian(0, 2, 5, width), gaussian(1, 4, width)

    def own(x):
        return pairwise_distances(x, metric=metric)

    def cross(x, y=other):
        return pairwise_distances(x, y, metric=metric)

    for distances in (own, cross, lambda x: cross(other, x)):
        found = torch.func.vmap(distances)(batch)
        assert_close(found, torch.stack([distances(x) for x in batch]), **exact)
        gradient = torch.func.grad(lambda x, d=distances: d(x).square().sum())
        expected = torch.stack([gradient(x) for x in batch])
        assert_close(torch.func.vmap(gradient)(batch), expected)
    assert_close(torch.func.vmap(cross)(batch, batch), torch.func.vmap(own)(batch))
    last = torch.func.vmap(own, in_dims=2)(batch.permute(1, 2, 0))
    assert_close(last, torch.func.vmap(own)(batch), **exact)
    nested = torch.func.vmap(torch.func.vmap(own))(torch.stack([batch, batch.flip(0)]))
    assert_close(nested, torch.stack([last, last.flip(0)]), **exact)
    assert capfd.readouterr().err == ""  # where torch does not raise its warning


def test_given_distances_are_returned_symmetric():
    matrix = torch.tensor([[0.0, 1.0, 4.0], [3.0, 0.5, 1.0], [4.0, 1.0, 0.0]], requires_grad=True)
    found = pairwise_distances(matrix, metric="precomputed")
    assert_close(found, torch.tensor([[0.0, 2.0, 4.0], [2.0, 0.0, 1.0], [4.0, 1.0, 0.0]]))
    (slopes,) = torch.autograd.grad(found[0, 1] + found[1, 1], matrix)
    expected = torch.zeros(3, 3)
    expected[0, 1] = expected[1, 0] = 0.5
    assert_close(slopes, expected)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("width", [9, 64, 600])
@pytest.mark.parametrize("offset", [0.0, 3.0, 1e3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_estimates_keep_within_the_errors_that_they_state(metric, width, offset, dtype):
    generator = torch.Generator().manual_seed(width)
    points = torch.randn(60, width, generator=generator, dtype=torch.float64) + offset
    points[30:] *= torch.logspace(-3, 0, 30, dtype=torch.float64)[:, None]
    rows = prepare(points.to(dtype), metric)
    weights, errors = estimated_weights(rows, [60], metric)
    exact = rows.numpy().astype(np.longdouble)
    squares = ((exact[:, None] - exact[None]) ** 2).sum(2)
    apart = ~np.eye(60, dtype=bool)
    truth = squares / 2 if metric == "cosine" else np.sqrt(squares)
    relative = np.abs(weights.view(60, 60).numpy() - truth)[apart] / truth[apart]
    unit = 2.0**-24 if dtype == torch.float32 else 2.0**-53
    bound = float(errors) / squares[apart] * (2 if metric == "cosine" else 1)
    assert (relative / unit <= bound + 2).all()  # and the roundings of the weight itself


def test_the_errors_of_estimates_are_those_of_the_largest_cloud():
    small, large = gaussian(0, 5, 40), 100 * gaussian(1, 6, 40)
    alone = estimated_weights(large, [6], "euclidean")[1]
    together = estimated_weights(torch.cat([small, large]), [5, 6], "euclidean")[1]
    assert_close(together, alone)
    assert estimated_weights(small[:0], [], "euclidean")[1] == 0
