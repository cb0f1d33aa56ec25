"""Constants made in inference mode serve in a training step outside it."""

from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from strategies import gaussian
from torch.testing import assert_close

from topreg import (
    CrossBatchMemory,
    FlagFiltration,
    PersistencePairs,
    RipsFiltration,
    distributed,
    farthest_point_sampling,
    label_indicators,
    minimum_spanning_tree,
    most_persistent,
    pairwise_distances,
    persistence_between,
)
from topreg.interop import from_persistence_information, to_persistence_information

POINTS = gaussian(0, 2, 8, 3)
CLOUD, ROWS = POINTS[0], POINTS.flatten(0, 1)
DISTANCES = torch.cdist(POINTS, POINTS)
RIPS = RipsFiltration()
PAIRS = RIPS.pairs(POINTS)
LOOPS = PersistencePairs(
    dimension=1,
    birth_edges=torch.tensor([[2, 3], [8, 10]]),
    death_edges=torch.tensor([[0, 9], [2, 11]]).T,  # `to_tensors` copies what is not contiguous
    essential_edges=torch.tensor([[8, 11]]),
    cloud_sizes=(8, 8),
)
DIAGRAM = RIPS.diagram(PAIRS, POINTS)
LABELS = torch.arange(16) % 3
PATH = FlagFiltration(torch.tensor([[0, 1], [1, 2]]), 3)
WEIGHTS = torch.tensor([2.0, 1.0])


def filled_memory(classes="current"):
    """A memory that holds one batch."""
    memory = CrossBatchMemory(classes=classes)
    memory.join(LABELS, rows=ROWS)
    return memory


def loaded_memory(classes="current"):
    """A memory that took its batch from tensors."""
    memory = CrossBatchMemory(classes=classes)
    memory.load_state_dict({"0.labels": LABELS, "0.rows": ROWS})
    return memory


FUNCTIONS = {
    "farthest_point_sampling": lambda: farthest_point_sampling(POINTS, 3),
    "farthest_point_sampling of a sequence": lambda: farthest_point_sampling([CLOUD, CLOUD[:4]], 3),
    "label_indicators": lambda: label_indicators(LABELS, LABELS[:4]),
    "most_persistent": lambda: most_persistent(DIAGRAM, 3),
    "most_persistent of each cloud": lambda: most_persistent(DIAGRAM, 3, PAIRS.cloud()),
    "persistence_between": lambda: persistence_between(DIAGRAM, 0.5, 1.5),
    "minimum_spanning_tree": lambda: minimum_spanning_tree(DISTANCES[0]),
    "minimum_spanning_tree of a batch": lambda: minimum_spanning_tree(DISTANCES),
    "distributed.minimum_spanning_tree": lambda: distributed.minimum_spanning_tree(CLOUD),
    "RipsFiltration.pairs": lambda: RIPS.pairs(POINTS),
    "RipsFiltration.all_pairs": lambda: RIPS.all_pairs(POINTS, 1),
    "FlagFiltration.pairs": lambda: PATH.pairs(WEIGHTS),
    "FlagFiltration.all_pairs": lambda: PATH.all_pairs(WEIGHTS, 1),
    "CrossBatchMemory.join": lambda: filled_memory().join(LABELS, rows=ROWS),
    "CrossBatchMemory.state_dict": lambda: filled_memory().state_dict(),
    "from_persistence_information": lambda: from_persistence_information(
        SimpleNamespace(pairing=torch.tensor([[1, 1, 0], [2, 2, 1]]), dimension=0), 3
    ),
}
METHODS = {
    "between": lambda: PAIRS.between(LABELS.view(2, 8)),
    "cloud": lambda: PAIRS.cloud(),
    "from_tensors": lambda: PersistencePairs.from_tensors(PAIRS.to_tensors()),
    "join": lambda: PersistencePairs.join([PAIRS, PAIRS]),
    "renumber": lambda: PAIRS.renumber(torch.arange(16), (8, 8)),
    "select": lambda: PAIRS.select(torch.arange(14) < 9),
    "split": lambda: PAIRS.split(),
    "to": lambda: LOOPS.to("cpu"),
    "to_tensors": lambda: LOOPS.to_tensors(),
    "vertices": lambda: LOOPS.vertices(),
}


def tensors_in(made):
    """All tensors of a constant, in order."""
    if isinstance(made, torch.Tensor):
        return [made]
    if isinstance(made, PersistencePairs):
        return [made.birth_edges, made.death_edges, made.essential_edges]
    parts = made.values() if isinstance(made, dict) else made
    return [tensor for part in parts for tensor in tensors_in(part)]


def gradient_of_step(constants):
    """Gradients of products with the constants, which autograd keeps for its backward pass."""
    factors = [torch.ones(c.shape, dtype=torch.float64, requires_grad=True) for c in constants]
    for factor, constant in zip(factors, constants, strict=True):
        (factor * constant).sum().backward()
    return [factor.grad for factor in factors]


@pytest.mark.parametrize(
    "make", [*FUNCTIONS.values(), *METHODS.values()], ids=[*FUNCTIONS, *METHODS]
)
def test_constants_made_in_inference_mode_serve_in_training(make):
    with torch.inference_mode():
        constants = tensors_in(make())
    expected = tensors_in(make())
    assert_close(constants, expected)
    assert_close(gradient_of_step(constants), gradient_of_step(expected))


@pytest.mark.skipif(find_spec("torch_topological") is None, reason="giotto-ph has no wheels")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ImportWarning")
def test_pairings_made_in_inference_mode_serve_in_training():
    pairs = RIPS.pairs(CLOUD)
    with torch.inference_mode():
        pairing = to_persistence_information(pairs, CLOUD).pairing
    expected = torch.cat([pairs.birth_edges[:, :1], pairs.death_edges], dim=1)
    assert_close(gradient_of_step([pairing]), gradient_of_step([expected]))


def test_every_method_of_pairs_is_tried():
    public = {name for name in vars(PersistencePairs) if not name.startswith("_")}
    assert public == set(METHODS)


@pytest.mark.parametrize("classes", ["current", "all"])
@pytest.mark.parametrize("fill", [filled_memory, loaded_memory])
def test_rows_stored_in_inference_mode_serve_in_training(fill, classes):
    gradients = []
    for mode in (True, False):
        with torch.inference_mode(mode):
            memory = fill(classes)
        rows = ROWS.clone().requires_grad_()
        _, joined = memory.join(LABELS[:5], rows=rows[:5])
        assert len(joined) > 5
        (joined @ rows.T).square().sum().backward()
        gradients.append(rows.grad)
    assert_close(*gradients)


def test_graphs_made_in_inference_mode_serve_in_training():
    gradients = []
    for mode in (True, False):
        with torch.inference_mode(mode):
            births = torch.tensor([0.0, 0.5, 0.25])
            path = FlagFiltration(torch.tensor([[0, 1], [1, 2]]), 3, vertex_births=births)
        weights = WEIGHTS.clone().requires_grad_()
        path.diagram(path.pairs(weights), weights).square().sum().backward()
        gradients.append(weights.grad)
    assert_close(*gradients)


@pytest.mark.parametrize("inference", [False, True])
def test_constants_compile(inference):
    def constants(points, labels):
        landmarks = farthest_point_sampling(points, 3)
        diagram = points[:, :2]
        masks = most_persistent(diagram, 2), persistence_between(diagram, 0.1)
        return (*landmarks, *masks, label_indicators(labels, labels))

    torch._dynamo.reset()
    compiled = torch.compile(constants, backend="aot_eager", fullgraph=True)
    with torch.inference_mode(inference):
        found = compiled(CLOUD, LABELS)
    torch._dynamo.reset()
    assert_close(found, constants(CLOUD, LABELS))


def test_distances_from_points_made_in_inference_mode():
    with torch.inference_mode():
        constant = CLOUD.clone()
    x, expected = (CLOUD.clone().requires_grad_() for _ in range(2))
    pairwise_distances(x, constant).sum().backward()
    pairwise_distances(expected, CLOUD).sum().backward()
    assert_close(x.grad, expected.grad)
