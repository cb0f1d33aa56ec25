"""Every cure that an error message gives is applied, and what comes of it is compared."""

import math
import pathlib
import re
import sys
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import pytest
import scipy.sparse
import test_messages
import torch
from asserts import listed, same_pairs
from oracles import gudhi_of_edges, kruskal, ordered_edges, reduction
from scipy.spatial.distance import squareform
from strategies import distances_by_differences, gaussian
from torch.testing import assert_close

from topreg import (
    CrossBatchMemory,
    CubicalFiltration,
    FlagFiltration,
    PersistencePairs,
    RipsFiltration,
    TotalPersistence,
    TrackCoincidence,
    balanced_backward,
    betti_matching_loss,
    connectivity_loss,
    diagram_matching_loss,
    exponential_affinity,
    minimum_spanning_tree,
    pairwise_distances,
    persistence_image,
    persistence_tracks,
    rtd,
    rtd_lite,
    total_persistence,
    track_coincidence,
    wasserstein_distance,
)
from topreg.image_metrics import BettiNumbers
from topreg.interop import from_persistence_information, to_persistence_information

ROOT = pathlib.Path(__file__).parents[1]
RIPS = RipsFiltration()
PRECOMPUTED = RipsFiltration(metric="precomputed")

points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 0.0], [3.0, 4.0]])  # gaps 1, 2, 4
GAPS = torch.tensor([1.0, 2.0, 4.0])
pairs = RIPS.pairs(points)
labels = torch.tensor([0, 0, 1, 1])
distances = distances_by_differences(points)
circle = torch.tensor([[0, 1, 1, 3, 3], [1, 0, 2, 2, 0]])  # a 4-cycle, one edge from both ends
circle_weights = torch.tensor([2.0, 5.0, 3.0, 4.0, 6.0])
square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
bent = torch.cat([torch.tensor([[0.9, 0.9]], dtype=torch.float64), square[1:]])
target = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
two_clouds = [points[:2], points[1:]]
of_two = RIPS.pairs(two_clouds)
PATH = FlagFiltration(torch.tensor([[0, 1, 2], [1, 2, 3]]), 4)
whole = torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]], dtype=torch.float64)
broken = torch.tensor([[0.0, 1.0, math.inf], [1.0, 0.0, 1.0], [math.inf, 1.0, 0.0]]).double()
two_diagrams = torch.tensor([[0.0, 4.0]]), torch.tensor([[0.0, 5.0], [1.0, 2.0]])
opposite = torch.tensor([[3.0, 1.0], [0.0, 2.0]])  # the first dies before its birth
CUBES = CubicalFiltration(ndim=3)
cubes = torch.zeros(2, 3, 3, 3)
cubes[:, 1, 1, 1] = 1
binary = torch.eye(4)
classes = torch.tensor([[[0, 1, 2], [2, 1, 0]], [[1, 1, 0], [0, 2, 2]]])
channels = torch.nn.functional.one_hot(classes, 3).movedim(-1, 1).float()
huge = torch.zeros(1, 1).expand(1 << 16, 1 << 15)
information = SimpleNamespace(
    pairing=torch.tensor([[1, 1, 0]]), diagram=torch.tensor([[0.0, 1.0]]), dimension=0
)


class Case(NamedTuple):
    """A call that raises, the cure in its message, that cure applied, and the right result."""

    call: Callable[[], Any]
    cure: str
    cured: Callable[[], Any]
    expected: Any


def betti_numbers(masks):
    """Mean Betti numbers of volumes."""
    metric = BettiNumbers(ndim=3)
    metric.update(masks)
    return metric.compute()


def little(images):
    """Pairs of images where a gigabyte is free in all."""
    with mock.patch("topreg._room.free_memory", return_value=10**8):
        return CubicalFiltration().pairs(images)


def deaths(found, values, filtration=RIPS):
    """Sorted deaths of some pairs."""
    return filtration.diagram(found, values)[:, 1].sort().values


def total_gradient(backward):
    """Gradient of a loss in a leaf of twos."""
    leaf = torch.full((3,), 2.0, requires_grad=True)
    backward(leaf)
    return leaf.grad


def balanced(leaf, parameters):
    """The regularizer's gradient, 1 each, grows to the main one's, 4 each."""
    balanced_backward((leaf**2).sum(), leaf.sum(), parameters, weight=1.0)


def stacked_deaths(leaf):
    """Sum of the deaths along a path whose weights are a list of numbers."""
    weights = torch.stack(list(leaf))
    PATH.diagram(PATH.pairs(weights), weights)[:, 1].sum().backward()


def of_circle(how):
    """Deaths and numbers of essential classes of a 4-cycle, one edge named from both ends."""
    filtration = FlagFiltration(circle, 4, duplicate_edges=how)
    components, loops = filtration.all_pairs(circle_weights, 1)
    found = filtration.diagram(components, circle_weights)[:, 1].tolist()
    return found, len(components.essential_edges), len(loops), loops.essential_edges.tolist()


def without_loops():
    """Deaths of a path of which one vertex is joined with itself."""
    edge_index, edge_weights = torch.tensor([[0, 1, 1], [1, 1, 2]]), torch.tensor([1.0, 2.0, 3.0])
    proper = edge_index[0] != edge_index[1]
    filtration, weights = FlagFiltration(edge_index[:, proper], 3), edge_weights[proper]
    return deaths(filtration.pairs(weights), weights, filtration)


def born_early():
    """Births and deaths along a path of negative weights."""
    filtration = FlagFiltration(PATH.edge_index, 4, vertex_births=torch.full((4,), -5.0))
    return filtration.diagram(filtration.pairs(-GAPS), -GAPS)


def neighbour_graph(cloud, neighbours):
    """Every vertex with its nearest ones, as scikit-learn and PyTorch Geometric list them."""
    matrix = distances_by_differences(cloud)
    nearest = matrix.topk(neighbours + 1, largest=False).indices[:, 1:]
    edges = torch.stack([torch.arange(len(cloud)).repeat_interleave(neighbours), nearest.flatten()])
    return edges, matrix[edges[0], edges[1]]


def few_points_of_two_spaces():
    """RTD where clouds of four points are too large."""
    module = sys.modules["topreg.losses.rtd"]  # Python 3.10 finds the function of this name
    with mock.patch.object(module, "MOST_VERTICES", 8):
        rtd(square, 2 * square)


def few_vertices(call):
    """A call where clouds of four points are too large for dimension 1."""
    with mock.patch("topreg.persistence._dispatch.MOST_VERTICES", 4):
        return call()


def few_vertices_for_boruvka():
    """A call where clouds of four points are too large for Boruvka's algorithm."""
    with mock.patch("topreg.persistence.dense._boruvka.MOST_VERTICES", 1):
        RipsFiltration(engine="boruvka").pairs(points)


def all_neighbours():
    edges, weights = neighbour_graph(square, 3)
    return FlagFiltration(edges, 4, duplicate_edges="min").pairs(weights, 1)


def in_common_space(affinity):
    """A loss between views of different widths."""
    views = (points.double(), points[:, :2].double()), (target.double(), target.double())
    return track_coincidence(*(affinity(view, keys) for view, keys in views), pairs=pairs)


def affinity_by_hand(view, keys):
    rows = [
        [math.exp(sum(a * b for a, b in zip(x, k, strict=True)) - 1) for k in keys.tolist()]
        for x in view.tolist()
    ]
    return torch.tensor(rows, dtype=torch.float64)


def filled_memory():
    """A memory that holds a batch."""
    memory = CrossBatchMemory()
    memory.join(labels, images=points)
    return memory


def join_after_clear(**tensors):
    """Labels that a memory gives at the second batch after it held something else."""
    memory = filled_memory()
    memory.clear()
    memory.join(labels[:2], **tensors)
    return memory.join(labels[:2], **tensors)[0]


batch = torch.stack([points, 2 * points.flip(0)])


def gradients_per_cloud():
    """Whether the ways that avoid a search in vmap give the gradients of clouds one by one."""
    expected = torch.stack([torch.func.grad(total_persistence)(cloud) for cloud in batch])
    whole = torch.func.grad(partial(total_persistence, reduction="sum"))(batch)
    rows = torch.func.jacrev(partial(total_persistence, reduction="none"))(batch)
    along = torch.func.vmap(torch.func.grad(lambda cloud: total_persistence(cloud, pairs=pairs)))(
        batch[:1]
    )
    found = [whole, torch.stack([rows[0, 0], rows[1, 1]]), along]
    return [torch.equal(one, expected[: len(one)]) for one in found]


def unit(x):
    return x / x.norm(dim=1, keepdim=True)


def nested():
    return torch.nested.nested_tensor(two_clouds, layout=torch.jagged)


class Frame:
    """Converts as a data frame does."""

    def __init__(self, tensor):
        self.array = tensor.numpy()

    def to_numpy(self):
        return self.array


class DataSet:
    """A sequence, which torch would read item by item."""

    def __len__(self):
        return 2**40

    def __getitem__(self, index):
        raise AssertionError("an error message should not read a data set")


CASES = {
    "the largest order": Case(
        lambda: wasserstein_distance(*two_diagrams, order=math.inf),
        "For the bottleneck distance use `gudhi.bottleneck_distance`.",
        lambda: round(pytest.importorskip("gudhi").bottleneck_distance(*two_diagrams, e=0), 6),
        1.0,
    ),
    "an integer that torch cannot compare with": Case(
        lambda: connectivity_loss(square, scale=10**16),
        "Use `float(scale)`.",
        lambda: connectivity_loss(square, scale=float(10**16)).item(),
        pytest.approx(1e16),
    ),
    "pairs of two dimensions": Case(
        lambda: PersistencePairs.join([*RIPS.all_pairs(square, 1), *RIPS.all_pairs(square, 1)]),
        "Join the pairs of each dimension separately.",
        lambda: [
            len(PersistencePairs.join(same))
            for same in zip(*[RIPS.all_pairs(square, 1)] * 2, strict=True)
        ],
        [6, 2],
    ),
    "pairs on two devices": Case(
        lambda: PersistencePairs.join([RIPS.pairs(square), RIPS.pairs(square).to("meta")]),
        "Move each with `pairs.to(device)`.",
        lambda: PersistencePairs.join([RIPS.pairs(square).to("cpu")] * 2).cloud_sizes,
        (4, 4),
    ),
    "a list": Case(
        lambda: RIPS.pairs(points.tolist()),
        "Convert it with `torch.as_tensor`.",
        lambda: deaths(RIPS.pairs(torch.as_tensor(points.tolist())), points),
        GAPS,
    ),
    "a list of vertices": Case(
        lambda: FlagFiltration(circle[:, 1:].tolist(), 4),
        "Convert it with `torch.as_tensor`.",
        lambda: len(
            FlagFiltration(torch.as_tensor(circle[:, 1:].tolist()), 4)
            .pairs(torch.ones(4), 1)
            .essential_edges
        ),
        1,
    ),
    "an array": Case(
        lambda: RIPS.pairs(points.numpy()),
        "Convert it with `torch.as_tensor`.",
        lambda: deaths(RIPS.pairs(torch.as_tensor(points.numpy())), points),
        GAPS,
    ),
    "labels": Case(
        lambda: pairs.between(labels.tolist()),
        "Convert it with `torch.as_tensor`.",
        lambda: pairs.between(torch.as_tensor(labels.tolist())).death_edges,
        torch.tensor([[1, 2]]),
    ),
    "an array of births and deaths": Case(
        lambda: wasserstein_distance(opposite[1:].numpy(), opposite[1:]),
        "Convert it with `torch.as_tensor`.",
        lambda: wasserstein_distance(torch.as_tensor(opposite[1:].numpy()), opposite[1:]),
        torch.tensor(0.0),
    ),
    "a frame": Case(
        lambda: RIPS.pairs(Frame(points)),
        "Convert it with `torch.as_tensor(frame.to_numpy())`.",
        lambda: deaths(RIPS.pairs(torch.as_tensor(Frame(points).to_numpy())), points),
        GAPS,
    ),
    "a list of frames": Case(
        lambda: RIPS.pairs([Frame(points)]),
        "Convert it with `torch.as_tensor(frame.to_numpy())`.",
        lambda: deaths(RIPS.pairs([torch.as_tensor(Frame(points).to_numpy())]), points),
        GAPS,
    ),
    "a generator of clouds": Case(
        lambda: RIPS.pairs(iter(two_clouds)),
        "Make a list of it with `list`.",
        lambda: RIPS.pairs(list(iter(two_clouds))).death_edges,
        torch.tensor([[0, 1], [2, 3], [3, 4]]),
    ),
    "a list of weights": Case(
        lambda: FlagFiltration(circle[:, 1:], 4).pairs([torch.tensor(1.0)] * 4),
        "Convert it with `torch.stack`.",
        lambda: total_gradient(stacked_deaths),
        torch.ones(3),
    ),
    "a list of rows": Case(
        lambda: pairwise_distances(list(points)),
        "Convert it with `torch.stack`.",
        lambda: pairwise_distances(torch.stack(list(points))),
        distances.float(),
    ),
    "sparse points": Case(
        lambda: RIPS.pairs(points.to_sparse()),
        "Use `.to_dense()`.",
        lambda: deaths(RIPS.pairs(points.to_sparse().to_dense()), points),
        GAPS,
    ),
    "SciPy's sparse points": Case(
        lambda: RIPS.pairs(scipy.sparse.csr_array(points.numpy())),
        "Convert it with `torch.as_tensor(matrix.toarray())`.",
        lambda: deaths(
            RIPS.pairs(torch.as_tensor(scipy.sparse.csr_array(points.numpy()).toarray())), points
        ),
        GAPS,
    ),
    "distances in another layout": Case(
        lambda: PRECOMPUTED.pairs(distances.float().to_mkldnn()),
        "Use `.to_dense()`.",
        lambda: deaths(PRECOMPUTED.pairs(distances.float().to_mkldnn().to_dense()), points),
        GAPS,
    ),
    "a nested tensor": Case(
        lambda: RIPS.pairs(nested()),
        "Pass its parts, `.unbind()`.",
        lambda: RIPS.pairs(nested().unbind()).death_edges,
        of_two.death_edges,
    ),
    "pairs for a diagram": Case(
        lambda: persistence_image(
            pairs, bandwidth=1.0, birth_range=(0, 1), persistence_range=(0, 1)
        ),
        "Births and deaths are `filtration.diagram(pairs, points)`.",
        lambda: RIPS.diagram(pairs, points)[:, 1],
        GAPS,
    ),
    "pairs between diagrams": Case(
        lambda: wasserstein_distance(pairs, pairs),
        "Births and deaths are `filtration.diagram(pairs, points)`.",
        lambda: wasserstein_distance(RIPS.diagram(pairs, points), RIPS.diagram(pairs, points)),
        torch.tensor(0.0),
    ),
    "an edge from both ends": Case(
        lambda: FlagFiltration(circle, 4),
        "Combine the weights of such an edge with "
        '`duplicate_edges="min"` or `duplicate_edges="mean"`.',
        lambda: [of_circle("min"), of_circle("mean")],
        [([2.0, 3.0, 4.0], 1, 0, [[0, 3]]), ([3.0, 3.5, 4.0], 1, 0, [[0, 3]])],
    ),
    "a self-loop": Case(
        lambda: FlagFiltration(torch.tensor([[0, 1, 1], [1, 1, 2]]), 3),
        "With `proper = edge_index[0] != edge_index[1]`, keep `edge_index[:, proper]` and "
        "`edge_weights[proper]`.",
        without_loops,
        torch.tensor([1.0, 3.0]),
    ),
    "rows of edges": Case(
        lambda: FlagFiltration(torch.tensor([[0, 1], [1, 2], [2, 3]]), 4),
        "Transpose a list of edges with `edges.T`.",
        lambda: FlagFiltration(torch.tensor([[0, 1], [1, 2], [2, 3]]).T, 4).pairs(GAPS).death_edges,
        torch.tensor([[0, 1], [1, 2], [2, 3]]),
    ),
    "weights for a module": Case(
        lambda: TrackCoincidence(filtration=PATH)(points, points),
        "In losses of two views, pass the weights as `geometry`.",
        lambda: TrackCoincidence(filtration=PATH)(points, 2 * points, geometry=GAPS),
        torch.tensor(0.0),
    ),
    "negative weights": Case(
        lambda: PATH.pairs(-GAPS),
        "Pass smaller `vertex_births`.",
        born_early,
        torch.tensor([[-5.0, -4.0], [-5.0, -2.0], [-5.0, -1.0]]),
    ),
    "many vertices": Case(
        lambda: few_vertices(lambda: RIPS.pairs(square, 1)),
        "Choose landmarks with `farthest_point_sampling`, or filter a graph of nearest neighbours "
        "with `FlagFiltration`.",
        lambda: listed(few_vertices(all_neighbours)),
        listed(RIPS.pairs(square, 1)),
    ),
    "many points of two spaces": Case(
        few_points_of_two_spaces,
        "Choose landmarks with `farthest_point_sampling`, or use `rtd_lite`.",
        lambda: rtd_lite(square, 2 * square),
        torch.tensor(1.5, dtype=torch.float64),  # trees of length 3, 6 and 3
    ),
    "a quantile among missing edges": Case(
        lambda: rtd_lite(broken, whole, filtration=PRECOMPUTED, normalize=1.0),
        "Pass a smaller `normalize`.",
        lambda: rtd_lite(broken, whole, filtration=PRECOMPUTED, normalize=0.5),
        torch.tensor(0.0, dtype=torch.float64),  # both trees have the edges (0, 1), (1, 2)
    ),
    "many vertices for Boruvka": Case(
        few_vertices_for_boruvka,
        'Use `engine="prim"`.',
        lambda: deaths(RipsFiltration(engine="prim").pairs(points), points),
        GAPS,
    ),
    "another engine": Case(
        lambda: RipsFiltration(engine="prim").pairs(square, 1),
        'Use `engine="auto"`.',
        lambda: listed(RipsFiltration(engine="auto").pairs(square, 1)),
        reduction(ordered_edges(distances_by_differences(square)), 4),
    ),
    "tiles of a matrix": Case(
        lambda: RipsFiltration(metric="precomputed", engine="tiled"),
        'Use `engine="auto"`.',
        lambda: deaths(
            RipsFiltration(metric="precomputed", engine="auto").pairs(distances), points
        ),
        GAPS,
    ),
    "a similarity": Case(
        lambda: RipsFiltration(metric=lambda x, y: unit(x) @ unit(y).T).pairs(1 + points),
        "A similarity is not a distance; 1 minus it may be.",
        lambda: (
            RipsFiltration(metric=lambda x, y: 1 - unit(x) @ unit(y).T)
            .pairs(1 + points)
            .death_edges
        ),
        RipsFiltration(metric="cosine").pairs(1 + points).death_edges,
    ),
    "fewer prototypes than samples": Case(
        lambda: track_coincidence(points, points[:2], pairs=pairs),
        "To pair samples with class prototypes, pass `prototypes[labels]`.",
        lambda: track_coincidence(points, points[:2][labels], pairs=pairs),
        track_coincidence(points, torch.stack([points[i] for i in (0, 0, 1, 1)]), pairs=pairs),
    ),
    "two widths": Case(
        lambda: track_coincidence(points, target, pairs=pairs),
        "Map both into a common space first, for instance with `exponential_affinity`.",
        lambda: in_common_space(partial(exponential_affinity, sharpness=1.0)),
        in_common_space(affinity_by_hand),
    ),
    "two dtypes": Case(
        lambda: track_coincidence(points, points.double(), pairs=pairs),
        "Use `target.to(source.dtype)`.",
        lambda: track_coincidence(points, points.double().to(points.dtype), pairs=pairs),
        torch.tensor(0.0),
    ),
    "distances in two dtypes": Case(
        lambda: pairwise_distances(points, points.double()),
        "Use `y.to(x.dtype)`.",
        lambda: pairwise_distances(points, points.double().to(points.dtype)),
        distances.float(),
    ),
    "pairs on another device": Case(
        lambda: persistence_tracks(points.to("meta"), pairs),
        "Use `pairs.to(points.device)`.",
        lambda: persistence_tracks(points.to("meta"), pairs.to(points.to("meta").device)),
        torch.empty(3, 2, device="meta"),
    ),
    "pairs of losses on another device": Case(
        lambda: track_coincidence(points.to("meta"), points.to("meta"), pairs=pairs),
        "Use `pairs.to(source.device)`.",
        lambda: track_coincidence(points.to("meta"), points.to("meta"), pairs=pairs.to("meta")),
        torch.empty((), device="meta"),
    ),
    "a view on another device": Case(
        lambda: track_coincidence(points.to("meta"), points, pairs=pairs.to("meta")),
        "Use `target.to(source.device)`.",
        lambda: track_coincidence(points.to("meta"), points.to("meta"), pairs=pairs.to("meta")),
        torch.empty((), device="meta"),
    ),
    "keys on another device": Case(
        lambda: pairwise_distances(points.to("meta"), points),
        "Use `y.to(x.device)`.",
        lambda: pairwise_distances(points.to("meta"), points.to("meta")),
        torch.empty(4, 4, device="meta"),
    ),
    "given distances between two clouds": Case(
        lambda: pairwise_distances(torch.zeros(2, 2), torch.zeros(2, 2), metric="precomputed"),
        "Pass the distances within one cloud as `x`.",
        lambda: pairwise_distances(torch.tensor([[0.0, 2.0], [2.0, 0.0]]), metric="precomputed"),
        torch.tensor([[0.0, 2.0], [2.0, 0.0]]),
    ),
    "vertices of another cloud": Case(
        lambda: of_two.renumber(torch.arange(5), (9, 9)),
        "Number them cloud after cloud.",
        lambda: of_two.renumber(torch.tensor([0, 1, 9, 10, 11]), (9, 9)).death_edges,
        torch.tensor([[0, 1], [9, 10], [10, 11]]),
    ),
    "a number of vertices": Case(
        lambda: pairs.renumber(torch.arange(4), 9),
        "Use `(n,)` for one cloud of n.",
        lambda: list(pairs.renumber(torch.arange(4), (9,)).cloud_sizes),
        [9],
    ),
    "pairs of two clouds": Case(
        lambda: to_persistence_information(of_two, two_clouds),
        "Use `pairs.split()`.",
        lambda: [part.death_edges.tolist() for part in of_two.split()],
        [[[0, 1]], [[0, 1], [1, 2]]],
    ),
    "a list of what torch_topological gives": Case(
        lambda: from_persistence_information([information], 2),
        "Pass one of the list.",
        lambda: from_persistence_information([information][0], 2).death_edges,
        torch.tensor([[0, 1]]),
    ),
    "a list of pairs": Case(
        lambda: RIPS.diagram([pairs], points),
        "Pass one dimension at a time.",
        lambda: torch.stack([RIPS.diagram(part, points)[:, 1] for part in [pairs]]),
        GAPS[None],
    ),
    "pairs per cloud": Case(
        lambda: track_coincidence(two_clouds, two_clouds, pairs=of_two.split()),
        "Put the clouds of a batch together with `PersistencePairs.join`.",
        lambda: track_coincidence(
            two_clouds, two_clouds, pairs=PersistencePairs.join(of_two.split()), reduction="none"
        ),
        torch.zeros(2),
    ),
    "whole numbers": Case(
        lambda: RIPS.pairs(points.long()),
        "Use `.float()`.",
        lambda: deaths(RIPS.pairs(points.long().float()), points),
        GAPS,
    ),
    "short indices": Case(
        lambda: FlagFiltration(PATH.edge_index.int(), 4),
        "Use `.long()`.",
        lambda: FlagFiltration(PATH.edge_index.int().long(), 4).pairs(GAPS).death_edges,
        torch.tensor([[0, 1], [1, 2], [2, 3]]),
    ),
    "a condensed vector of distances": Case(
        lambda: PRECOMPUTED.pairs(torch.pdist(points)),
        "Turn a condensed vector into a matrix with `scipy.spatial.distance.squareform`.",
        lambda: deaths(PRECOMPUTED.pairs(torch.as_tensor(squareform(torch.pdist(points)))), points),
        GAPS,
    ),
    "a matrix of similarities": Case(
        lambda: PRECOMPUTED.pairs(unit(1 + points) @ unit(1 + points).T),
        "A similarity is not a distance; 1 minus it may be.",
        lambda: PRECOMPUTED.pairs(1 - unit(1 + points) @ unit(1 + points).T).death_edges,
        RipsFiltration(metric="cosine").pairs(1 + points).death_edges,
    ),
    **{
        f"one-hot labels: {kind}": Case(
            lambda one_hot=one_hot: pairs.between(one_hot),
            "Use `labels.argmax(1)` if they are one-hot.",
            lambda one_hot=one_hot: pairs.between(one_hot.argmax(1)).death_edges,
            torch.tensor([[1, 2]]),
        )
        for kind, one_hot in {
            "integers": torch.nn.functional.one_hot(labels),
            "numbers": torch.nn.functional.one_hot(labels).float(),
        }.items()
    },
    "a column of labels": Case(
        lambda: pairs.between(labels[:, None]),
        "Use `labels.squeeze(1)`.",
        lambda: pairs.between(labels[:, None].squeeze(1)).death_edges,
        torch.tensor([[1, 2]]),
    ),
    "vmap": Case(
        lambda: torch.func.vmap(torch.func.grad(total_persistence))(batch),
        "Pass the whole batch, or `pairs=` found before. For one gradient per cloud use "
        '`torch.func.jacrev` with `reduction="none"`.',
        gradients_per_cloud,
        [True, True, True],
    ),
    "dimensions for a filtration": Case(
        lambda: TrackCoincidence(filtration=(0, 1)),
        "Pass other options by name.",
        lambda: list(TrackCoincidence(dimensions=(0, 1)).dimensions),
        [0, 1],
    ),
    "pairs for a filtration": Case(
        lambda: TrackCoincidence(filtration=pairs),
        "Pass other options by name.",
        lambda: TrackCoincidence()(points, 2 * points, pairs=pairs),
        torch.tensor(0.0),
    ),
    "a class for a filtration": Case(
        lambda: TotalPersistence(filtration=RipsFiltration),
        "Pass an instance of it.",
        lambda: TotalPersistence(filtration=RipsFiltration())(points),
        torch.tensor(7.0),
    ),
    "one parameter": Case(
        lambda: total_gradient(lambda leaf: balanced(leaf, leaf)),
        "Put it in a list.",
        lambda: total_gradient(lambda leaf: balanced(leaf, [leaf])),
        torch.full((3,), 8.0),
    ),
    **{
        f"another batch: {name}": Case(
            lambda wrong=wrong: filled_memory().join(labels[:2], **wrong),
            "Call `clear()` first.",
            lambda wrong=wrong: join_after_clear(**wrong),
            torch.zeros(4, dtype=torch.int64),
        )
        for name, wrong in {
            "names": {"texts": points[:2]},
            "no names": {},
            "widths": {"images": points[:2, :1]},
            "dtypes": {"images": points[:2].double()},
        }.items()
    },
    "a device of another batch": Case(
        lambda: filled_memory().join(labels[:2], images=points[:2].to("meta")),
        "Call `clear()` first.",
        lambda: join_after_clear(images=points[:2].to("meta")),
        torch.zeros(4, dtype=torch.int64),
    ),
    "a batch of volumes": Case(
        lambda: CubicalFiltration().pairs(cubes[None]),
        "For volumes use `CubicalFiltration(ndim=3)`, with `superlevel=True` for masks.",
        lambda: list(CUBES.pairs(cubes[None]).cloud_sizes),
        [27, 27],
    ),
    "loops of a volume": Case(
        lambda: CUBES.pairs(cubes, 1),
        "Find dimensions 0 and 2 with `pairs`. `topreg.image_metrics.BettiNumbers` also counts "
        "the loops of masks.",
        lambda: [
            CUBES(cubes, 0).tolist(),
            CUBES(cubes, 2).tolist(),
            betti_numbers(cubes < 1).tolist(),
        ],
        [[], [[0.0, 1.0], [0.0, 1.0]], [1.0, 0.0, 1.0]],
    ),
    "the loops of a loss of volumes": Case(
        lambda: diagram_matching_loss(cubes, cubes, filtration=CUBES),
        "Pass `dimensions=(0, 2)`. `topreg.image_metrics.BettiNumbers` also counts the loops of "
        "masks.",
        lambda: [
            diagram_matching_loss(cubes, 0 * cubes, filtration=CUBES, dimensions=(0, 2)).item(),
            betti_numbers(cubes < 1).tolist(),
        ],
        [0.5, [1.0, 0.0, 1.0]],
    ),
    "a mask of 0 and 255": Case(
        lambda: betti_matching_loss(binary, 255 * binary.byte()),
        "Divide masks of 0 and 255 by 255. Turn class numbers into channels: "
        "`one_hot(target, c).movedim(-1, 1)`.",
        lambda: [
            betti_matching_loss(binary, 255 * binary.byte() / 255).item(),
            betti_matching_loss(
                channels, torch.nn.functional.one_hot(classes, 3).movedim(-1, 1)
            ).item(),
        ],
        [0.0, 0.0],
    ),
    "class numbers in place of channels": Case(
        lambda: betti_matching_loss(channels, classes.float()),
        "Turn class numbers into channels: `one_hot(target, c).movedim(-1, 1)`.",
        lambda: betti_matching_loss(
            channels, torch.nn.functional.one_hot(classes, 3).movedim(-1, 1)
        ),
        torch.tensor(0.0),
    ),
    "images in place of points": Case(
        lambda: RIPS.pairs(torch.zeros(4, 1, 1, 2) + points[:, None, None]),
        "Use `.flatten(1)` if each row is a point.",
        lambda: RIPS((torch.zeros(4, 1, 1, 2) + points[:, None, None]).flatten(1))[:, 1],
        GAPS,
    ),
    "a column of weights": Case(
        lambda: PATH.pairs(GAPS[:, None]),
        "Use `.squeeze(1)`.",
        lambda: PATH(GAPS[:, None].squeeze(1))[:, 1],
        GAPS,
    ),
    "an option without a name": Case(
        lambda: TotalPersistence(RIPS),
        "Data belong to the call of the module.",
        lambda: TotalPersistence(filtration=RIPS)(points),
        torch.tensor(7.0),
    ),
    "a huge image": Case(
        lambda: CubicalFiltration().pairs(huge),
        "Crop them.",
        lambda: list(CubicalFiltration().pairs(huge[:2, :3]).cloud_sizes),
        [6],
    ),
    "images that do not fit into memory": Case(
        lambda: little(huge[: 1 << 11, : 1 << 11].expand(2, -1, -1)),
        "Split the batch, or crop the images.",
        lambda: list(little(huge[: 1 << 10, : 1 << 10]).cloud_sizes),
        [1 << 20],
    ),
    "Betti matching of volumes": Case(
        lambda: betti_matching_loss(cubes, cubes, filtration=CUBES, dimensions=(0,)),
        "For volumes use `diagram_matching_loss` in the dimensions (0, 2).",
        lambda: diagram_matching_loss(cubes, 0 * cubes, filtration=CUBES, dimensions=(0, 2)),
        torch.tensor(0.5),  # each hole goes to the diagonal, 2 * (1/2)^2
    ),
    "a death before its birth": Case(
        lambda: wasserstein_distance(opposite, opposite[1:]),
        "Find them again, or drop such rows.",
        lambda: wasserstein_distance(opposite[opposite[:, 0] <= opposite[:, 1]], opposite[1:]),
        torch.tensor(0.0),
    ),
    "pairs of points that moved": Case(
        lambda: wasserstein_distance(RIPS.diagram(RIPS.pairs(square, 1), bent), square[:0]),
        "Find them again, or drop such rows.",
        lambda: wasserstein_distance(RIPS.diagram(RIPS.pairs(bent, 1), bent), square[:0]),
        torch.tensor(0.0, dtype=torch.float64),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_cure_gives_what_is_right(name):
    case = CASES[name]
    with pytest.raises((TypeError, ValueError, MemoryError), match=re.escape(case.cure) + "$"):
        case.call()
    found = case.cured()
    if isinstance(case.expected, torch.Tensor):
        assert_close(found, case.expected)
    else:
        assert found == case.expected


def cure_of(text):
    """What an error message says after the value, questions left out."""
    sentences = re.split(r"(?<=[.?]) (?=[A-Z`])", text)
    value = next(n for n, sentence in enumerate(sentences) if sentence.startswith("Got"))
    return " ".join(s for s in sentences[value + 1 :] if not s.endswith("?"))


def test_no_cure_is_left_out():
    """Each cure that the library's messages give is among those that are applied here."""
    applied = {case.cure for case in CASES.values()}
    missed = set()
    for _, text, _ in test_messages.CASES:
        if "Got" in text:
            cure = cure_of(text)
            known = cure in applied or "FlagFiltration" in cure or cure.startswith("Run `pip")
            missed |= {cure} if cure and not known else set()
    assert missed == set()


def test_extras_to_install_are_those_of_the_project():
    project = (ROOT / "pyproject.toml").read_text()
    named = set()
    for path in ROOT.glob("topreg/**/*.py"):
        named |= set(re.findall(r"pip install \"topreg\[(\w+)\]\"", path.read_text()))
    assert named
    for extra in named:
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE), extra


# What cannot be converted is not said to be

NOT_CONVERTED = {
    "text": "text",
    "None": None,
    "a mapping": {"weights": torch.ones(3)},
    "a set": {1.0, 2.0, 3.0},
    "rows of different lengths": [[1.0, 2.0], [3.0]],
    "tensors of different shapes": [torch.ones(1), torch.ones(2)],
    "tensors and numbers": [torch.tensor(1.0), 2.0, 4.0],
    "several matrices": [torch.ones(3, 2), torch.ones(3, 2)],
    "an array of objects": np.array([None, None]),
    "a frame of texts": Frame(SimpleNamespace(numpy=lambda: np.array(["a", "b"]))),
    "a data set": DataSet(),
    "a mask": slice(0, 3),
}


@pytest.mark.parametrize("value", NOT_CONVERTED.values(), ids=NOT_CONVERTED)
def test_there_is_no_cure_where_none_works(value):
    with pytest.raises(TypeError, match=rf"Got {type(value).__name__}\.$"):
        PATH.pairs(value)


@pytest.mark.parametrize("value", [(x for x in (1.0, 2.0, 4.0)), map(float, (1, 2, 4))])
def test_what_gives_numbers_one_by_one_becomes_a_list_then_a_tensor(value):
    with pytest.raises(TypeError, match=r"Make a list of it with `list`\.$"):
        PATH.pairs(value)
    weights = list(value)
    with pytest.raises(TypeError, match=r"Convert it with `torch\.as_tensor`\.$"):
        PATH.pairs(weights)
    weights = torch.as_tensor(weights)
    assert_close(deaths(PATH.pairs(weights), weights, PATH), GAPS)


@pytest.mark.parametrize("wrong", [points, "pairs", 3])
def test_what_are_not_pairs_need_not_be_taken_apart(wrong):
    with pytest.raises(TypeError, match=rf"Got {type(wrong).__name__}\.$"):
        track_coincidence(points, points, pairs=wrong)


def test_loaded_batches_that_do_not_match_are_not_cured_by_forgetting():
    tensors = {"0.labels": labels, "0.x": points, "1.labels": labels, "1.x": points.double()}
    with pytest.raises(ValueError, match=r"Got torch\.float64\.$"):
        CrossBatchMemory(2).load_state_dict(tensors)


# Sparse matrices: the code of the message runs as it is printed


def with_absent_edges(*lengths):
    """Distances along a path, other edges absent, and one vertex alone."""
    matrix = torch.zeros(len(lengths) + 2, len(lengths) + 2)
    for vertex, length in enumerate(lengths):
        matrix[vertex, vertex + 1] = matrix[vertex + 1, vertex] = length
    return matrix


def dense(matrix):
    """Absent edges are infinitely long."""
    absent = (matrix == 0) & ~torch.eye(len(matrix), dtype=torch.bool)
    return torch.where(absent, math.inf, matrix)


SPARSE = {
    "coo": lambda matrix: matrix.to_sparse_coo(),
    "csr": lambda matrix: matrix.to_sparse_csr(),
    "csc": lambda matrix: matrix.to_sparse_csc(),
    "csr_matrix": lambda matrix: scipy.sparse.csr_matrix(matrix.numpy()),
    "coo_array": lambda matrix: scipy.sparse.coo_array(matrix.numpy()),
    "lil_array": lambda matrix: scipy.sparse.lil_array(matrix.numpy()),
}
READS_DISTANCES = {
    "search": PRECOMPUTED.pairs,
    "diagram": lambda matrix: PRECOMPUTED.diagram(pairs, matrix),
    "tree": minimum_spanning_tree,
    "several": lambda matrix: PRECOMPUTED.pairs([matrix, matrix]),
    "several trees": lambda matrix: minimum_spanning_tree((matrix, matrix)),
    "loss": TotalPersistence(filtration=PRECOMPUTED),
    "graph": PATH.pairs,
}


def cured(message, matrix):
    """The filtration and its weights, by the code of the message."""
    assert "to_dense" not in message
    assert "as_tensor`" not in message
    _, graph, weights, filtration = re.findall(r"`([^`]*)`", message)
    names = {"matrix": matrix, "np": np, "torch": torch, "FlagFiltration": FlagFiltration}
    exec(graph, names)
    return eval(filtration, names), eval(weights, names)


@pytest.mark.filterwarnings("ignore:Sparse CS[RC] tensor support is in beta")
@pytest.mark.parametrize("layout", SPARSE)
@pytest.mark.parametrize("call", READS_DISTANCES.values(), ids=READS_DISTANCES)
def test_absent_distances_are_absent_edges(call, layout):
    matrix = SPARSE[layout](with_absent_edges(7.0, 5.0))
    with pytest.raises((TypeError, ValueError), match="Absent entries are not zero") as caught:
        call(matrix)
    filtration, weights = cured(str(caught.value), matrix)
    found = filtration.pairs(weights)
    assert filtration.diagram(found, weights).tolist() == [[0.0, 5.0], [0.0, 7.0]]
    assert found.death_edges.tolist() == [[1, 2], [0, 1]]
    assert found.essential_edges.tolist() == [[0, 0], [3, 3]]
    same_pairs(found, PRECOMPUTED.pairs(dense(with_absent_edges(7.0, 5.0))))


@pytest.mark.parametrize("call", [PRECOMPUTED.pairs, minimum_spanning_tree])
def test_a_sparse_batch(call):
    batch = torch.stack([with_absent_edges(7.0, 5.0), with_absent_edges(1.0, 2.0)])
    with pytest.raises(ValueError, match="Absent entries are not zero") as caught:
        call(batch.to_sparse())
    for matrix, expected in zip(batch.to_sparse(), batch, strict=True):
        filtration, weights = cured(str(caught.value), matrix)
        same_pairs(filtration.pairs(weights), PRECOMPUTED.pairs(dense(expected)))


@pytest.mark.filterwarnings("ignore:Sparse BSR tensor support is in beta")
@pytest.mark.parametrize(
    "convert", [lambda m: m.to_sparse_bsr((2, 2)), lambda m: m.to_sparse(1)], ids=["blocks", "rows"]
)
def test_blocks_hold_zeros_that_are_not_distances(convert):
    """Entries of the graph that the user has must be told by the user."""
    matrix = with_absent_edges(7.0, 5.0)
    with pytest.raises(
        ValueError, match=r"distances\. Pass those that exist to `FlagFiltration`\.$"
    ):
        PRECOMPUTED.pairs(convert(matrix))
    edges = matrix.nonzero().T
    filtration, weights = (
        FlagFiltration(edges, 4, duplicate_edges="min"),
        matrix[edges[0], edges[1]],
    )
    same_pairs(filtration.pairs(weights), PRECOMPUTED.pairs(dense(matrix)))


# Graphs of nearest neighbours


@pytest.mark.parametrize("seed", range(40))
def test_neighbours_from_one_end_and_from_both(seed):
    n, cloud = 30, gaussian(seed, 30, 3)
    edges, weights = neighbour_graph(cloud, 2 + seed % 3)
    with pytest.raises(ValueError, match='`duplicate_edges="min"`'):
        FlagFiltration(edges, n)
    matrix = torch.full((n, n), math.inf, dtype=weights.dtype).fill_diagonal_(0)
    matrix[edges[0], edges[1]] = matrix[edges[1], edges[0]] = weights
    for how in ("min", "mean"):
        filtration = FlagFiltration(edges, n, duplicate_edges=how)
        zero, one = filtration.all_pairs(weights, 1)
        ends, _, elders = kruskal(matrix)
        assert zero.death_edges.tolist() == [list(edge) for edge in ends]
        assert zero.essential_edges[:, 0].tolist() == elders
        assert listed(one) == gudhi_of_edges(ordered_edges(matrix), n, 1)
        assert_close(filtration.diagram(one, weights), PRECOMPUTED.diagram(one, matrix))
    graph = scipy.sparse.coo_array((np.ones(len(weights)), edges.numpy()), (n, n))
    components, _ = scipy.sparse.csgraph.connected_components(graph, directed=False)
    assert len(zero.essential_edges) == components


def test_drawings(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure
    from topreg import plot

    cloud = gaussian(0, 6, 3)
    found = RIPS.pairs(cloud)
    with pytest.raises(ValueError, match=r"instance with `torch\.pca_lowrank`\.$"):
        plot.spanning_tree(cloud, found)
    torch.manual_seed(0)
    _, _, axes = torch.pca_lowrank(cloud)
    flat = cloud @ axes[:, :2]
    drawn = plot.spanning_tree(flat, found, ax=figure().subplots())
    (segments,) = (c.get_segments() for c in drawn.collections if hasattr(c, "get_segments"))
    assert_close(torch.tensor(np.array(segments)), flat[found.death_edges])
    centred = cloud - cloud.mean(0)
    exact = torch.linalg.svdvals(centred)[:2].square().sum()
    assert_close((flat - flat.mean(0)).square().sum(), exact, rtol=1e-3, atol=0)
    with pytest.raises(ValueError, match=r"Got \(6, 1\)\.$"):
        plot.spanning_tree(cloud[:, :1], found)

    ends = torch.tensor([0.25, 0.5])
    loops = torch.tensor([[1.0, 3.0]])
    with pytest.raises(ValueError, match="only essential classes, pass an empty diagram"):
        plot.barcode({"a": loops}, essential={"b": ends})
    drawn = plot.barcode(
        {"a": loops, "b": torch.empty(0, 2)}, essential={"b": ends}, ax=figure().subplots()
    )
    kinds = [c.get_segments() for c in drawn.collections if hasattr(c, "get_segments")]
    births = sorted(float(segment[0][0]) for segments in kinds for segment in segments)
    assert births == [0.25, 0.5, 1.0]
