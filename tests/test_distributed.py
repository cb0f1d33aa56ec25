"""Two gloo processes give what one gives, and none waits for another that failed."""

import time

import processes
import pytest
import torch
from asserts import gradients_are_right, refused
from processes import Ranks, cloud, loss_of, pairs_of
from strategies import gaussian, two_clusters
from torch.testing import assert_close

from topreg import RipsFiltration, minimum_spanning_tree
from topreg.distributed import all_gather
from topreg.distributed import minimum_spanning_tree as distributed_tree


@pytest.fixture(scope="module")
def ranks():
    both = Ranks()
    yield both
    both.stop()


@pytest.mark.parametrize("cut", [5, 1, 0, 9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_gathered_rows_and_their_gradient(ranks, cut, dtype):
    points, classes = gaussian(0, 2, 9, 3)
    joined = points.to(dtype).clone().requires_grad_()
    loss_of(joined, classes.to(dtype)).backward()
    for rank, (rows, gradient) in enumerate(
        ranks.run(processes.gradient, points, classes, cut, dtype)
    ):
        assert rows.dtype == dtype
        assert_close(rows, joined.detach(), rtol=0, atol=0)
        expected = 2 * processes.share(rank, joined.grad, cut)  # both ranks have the loss
        assert_close(gradient, expected)


def test_a_rank_receives_the_sum_of_the_gradients_of_all_losses(ranks):
    points = gaussian(0, 7, 2)
    for rank, gradient in enumerate(ranks.run(processes.local_losses, points, 3)):
        assert_close(gradient, (1 + 2) * 2 * processes.share(rank, points, 3))


def test_second_derivatives(ranks):
    points = gaussian(0, 7, 2)
    for rank, gradient in enumerate(ranks.run(processes.second_derivative, points, 3)):
        own = processes.share(rank, points, 3)
        first, slope = 2 * 3 * own.square(), 2 * 6 * own  # each from two equal losses
        assert_close(gradient, 2 * 2 * first * slope)


@pytest.mark.parametrize("cut", [5, 2])
def test_distributed_data_parallel_has_the_gradients_of_one_process(ranks, cut):
    points, classes = gaussian(0, 9, 4), gaussian(1, 9, 3)
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3, dtype=points.dtype)
    loss_of(model(points), classes).backward()
    for gradients in ranks.run(processes.parallel_step, points, classes, cut):
        assert_close(gradients, [p.grad for p in model.parameters()])


def special_clouds():
    """Ties, duplicates, clusters, one and two points."""
    integers = torch.randint(0, 3, (60, 3), generator=torch.Generator().manual_seed(0)).float()
    return [
        cloud(0, 70),
        cloud(1, 40).repeat(3, 1)[torch.randperm(120, generator=torch.Generator().manual_seed(0))],
        integers,
        two_clusters(0, 40, 16),
        torch.eye(50),
        cloud(2, 1),
        cloud(3, 2),
        cloud(4, 0),
        gaussian(5, 50, 4),
    ]


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "manhattan"])
def test_the_tree_is_that_of_one_process(ranks, metric):
    clouds = [c + 10.0 if metric == "cosine" else c for c in special_clouds()]
    options = {"metric": metric, "memory_budget": 3000}
    filtration = RipsFiltration(metric=metric, engine="tiled")
    for found in ranks.run(processes.trees, clouds, 17, options):
        for edges, points in zip(found, clouds, strict=True):
            assert_close(edges, filtration.pairs(points).death_edges)


def test_a_threshold_leaves_the_forest_of_one_process(ranks):
    points = cloud(0, 60)
    expected = RipsFiltration(max_edge_length=1.5, engine="tiled").pairs(points).death_edges
    assert 0 < len(expected) < 59
    for edges in ranks.run(processes.tree, points, 20, {"max_edge_length": 1.5}):
        assert_close(edges, expected)


def test_progress_may_be_told_to_one_rank(ranks):
    told, silent = ranks.run(processes.stages, cloud(0, 50))
    assert silent == []
    assert {stage for stage, _, _ in told} == {"neighbours", "tree"}
    assert told[-1] == ("tree", 49, 49)


def test_groups_of_one(ranks):
    points = cloud(0, 8)
    for rank, (rows, edges) in enumerate(ranks.run(processes.in_a_group_of_one, points)):
        assert_close(rows, points + rank)
        assert_close(edges, pairs_of(points).death_edges)


def test_a_group_without_the_rank_that_calls(ranks):
    for rank, found in enumerate(ranks.run(processes.in_a_group_of_others, cloud(0, 8))):
        text = f"`group` should have the rank that calls. Got a group without rank {rank}. "
        assert found == (ValueError, text + "Call this on its ranks alone.")


@pytest.mark.parametrize("wrong", ["1.5", True, None])
def test_a_threshold_that_is_no_number(wrong):
    with refused(TypeError, f"`max_edge_length` should be a number. Got {wrong!r}."):
        distributed_tree(TWO, max_edge_length=wrong)


TWO = torch.zeros(2, 3)
NAN = torch.full((2, 3), torch.nan)
ELSEWHERE = (
    "`{}` should be valid on every rank. Got an invalid value on rank {}. "
    "See the error of that rank."
)
MISMATCHES = {
    "width": (
        all_gather,
        (TWO, TWO[:, :2]),
        "`x` should have the same number of coordinates on every rank. "
        "Got 3 on rank 0 and 2 on rank 1.",
        None,
    ),
    "dtype": (
        all_gather,
        (TWO, TWO.double()),
        "`x` should have one dtype on every rank. "
        "Got torch.float32 on rank 0 and torch.float64 on rank 1.",
        None,
    ),
    "shape": (
        all_gather,
        (TWO, TWO[0]),
        ELSEWHERE.format("x", 1),
        "`x` should have shape (n, d). Got (3,).",
    ),
    "list": (
        distributed_tree,
        (TWO, TWO.tolist()),
        ELSEWHERE.format("points", 1),
        "`points` should be a torch.Tensor. Got list. Convert it with `torch.as_tensor`.",
    ),
    "float8": (
        all_gather,
        (TWO, TWO.to(torch.float8_e4m3fn)),
        ELSEWHERE.format("x", 1),
        "`x` should be float16, bfloat16, float32 or float64. Got torch.float8_e4m3fn.",
    ),
    "points": (
        distributed_tree,
        (TWO, TWO[:, :1]),
        "`points` should have the same number of coordinates on every rank. "
        "Got 3 on rank 0 and 1 on rank 1.",
        None,
    ),
    "values": (
        distributed_tree,
        (TWO, NAN),
        ELSEWHERE.format("points", 1),
        "`points` should be finite. Got 2 rows with NaN or infinity, first at row 0.",
    ),
}


@pytest.mark.parametrize(("function", "inputs", "text", "own"), MISMATCHES.values(), ids=MISMATCHES)
def test_a_mismatch_is_an_error_on_every_rank(ranks, function, inputs, text, own):
    errors = ranks.run(processes.different, function, inputs)
    assert errors[0] == (ValueError, text)
    assert errors[1][0] in (ValueError, TypeError)
    assert errors[1][1] == (own or text)
    assert len(ranks.run(processes.tree, cloud(0, 9), 4, {})[0]) == 8  # the group goes on


def test_a_gradient_wanted_on_one_rank_only_is_an_error_on_both(ranks):
    text = (
        "`x` should require a gradient, or none, on every rank. "
        "Got True on rank 0 and False on rank 1."
    )
    for function in (processes.frozen, processes.without_grad):
        assert ranks.run(function, torch.zeros(2, 3)) == [(ValueError, text)] * 2


@pytest.mark.parametrize("budgets", [(3000, 2000), (1, 10**7)])
def test_the_smallest_budget_counts(ranks, budgets):
    points = cloud(0, 60, 5)
    options = [{"memory_budget": budget} for budget in budgets]
    expected = pairs_of(torch.cat([points, points])).death_edges
    for edges in ranks.run(processes.with_options, points, options):
        assert_close(edges, expected)


OPTIONS = {
    "`metric` should be the same on every rank. Got euclidean on rank 0 and cosine on rank 1.": (
        {},
        {"metric": "cosine"},
    ),
    "`max_edge_length` should be the same on every rank. Got inf on rank 0 and 1.0 on rank 1.": (
        {},
        {"max_edge_length": 1.0},
    ),
}


@pytest.mark.parametrize(("text", "options"), OPTIONS.items(), ids=["metric", "threshold"])
def test_options_that_differ_are_an_error_on_both(ranks, text, options):
    found = ranks.run(processes.with_options, torch.ones(3, 2), options)
    assert found == [(ValueError, text)] * 2


def test_a_rank_that_dies_is_an_error_on_the_other():
    pair = Ranks()
    try:
        pair.run(processes.tree, cloud(0, 9), 4, {})
        start = time.perf_counter()
        (kind, _), dead = pair.run(processes.die, cloud(0, 60))
        assert issubclass(kind, RuntimeError)
        assert dead is None
        assert time.perf_counter() - start < processes.PATIENCE
    finally:
        pair.stop()


def test_without_a_group_everything_is_done_here():
    points = cloud(0, 30)
    assert all_gather(points) is points
    assert_close(distributed_tree(points), minimum_spanning_tree(torch.cdist(points, points)))
    gradients_are_right(lambda x: all_gather(x).square(), gaussian(0, 3, 2))
    with refused(ValueError, "`x` should have shape (n, d). Got (3,)."):
        all_gather(torch.zeros(3))
