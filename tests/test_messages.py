"""Every ``raise`` of the library: its class, its whole text, and that none is left out."""

import ast
import itertools
import math
import pathlib
import traceback
from functools import partial
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from asserts import refused
from torch.testing import assert_close

import topreg
from topreg import (
    RTD,
    BettiMatchingLoss,
    BettiPriorLoss,
    ConnectivityLoss,
    CrossBatchMemory,
    CubicalFiltration,
    DeviatingPerturbation,
    DiagramMatchingLoss,
    FlagFiltration,
    HomologyConsistency,
    PersistenceEntropy,
    PersistencePairs,
    RipsFiltration,
    RTDLite,
    SignatureLoss,
    TotalPersistence,
    TrackCoincidence,
    balanced_backward,
    betti_matching_loss,
    betti_prior_loss,
    connectivity_loss,
    deviating_perturbation,
    diagram_matching_loss,
    edge_vectors,
    exponential_affinity,
    farthest_point_sampling,
    homology_consistency,
    label_indicators,
    minimum_spanning_tree,
    most_persistent,
    pairwise_distances,
    persistence_between,
    persistence_entropy,
    persistence_image,
    persistence_landscape,
    persistence_tracks,
    rtd,
    rtd_lite,
    signature_loss,
    total_persistence,
    track_coincidence,
    wasserstein_distance,
)
from topreg.filtrations import SUPERLEVEL
from topreg.image_metrics import BettiError, BettiMatchingError, BettiNumbers
from topreg.interop import (
    from_persistence_information,
    numpy_diagram,
    to_persistence_information,
)
from topreg.persistence import find_pairs
from topreg.persistence.library import _giotto

RIPS = RipsFiltration()
PRECOMPUTED = RipsFiltration(metric="precomputed")
NAN, INF = math.nan, math.inf

three = torch.eye(3)
labels = torch.tensor([0, 0, 1])
one_hot = torch.nn.functional.one_hot(labels)
pairs = RIPS.pairs(three)
one_loop, one_edge = torch.tensor([[1, 1]]), torch.tensor([[0, 1]])
of_dimension_1 = PersistencePairs(1, one_edge, torch.tensor([[1, 2]]), one_loop, (3,))
leaf = torch.ones(2, requires_grad=True)


def points_with(*rows):
    """Six rows of which some are spoilt: (row, value)."""
    points = torch.arange(12.0).reshape(6, 2)
    for row, value in rows:
        points[row, 1] = value
    return points


def matrix_with(*entries):
    """A distance matrix of three points with some entries replaced."""
    matrix = 1 - torch.eye(3)
    for i, j, value in entries:
        matrix[i, j] = value
    return matrix


path = torch.tensor([[0, 1], [1, 2]])
FLAG = FlagFiltration(path, 3)


def without_extra(call):
    """A call on a machine without the ``tda`` extra."""
    with mock.patch("topreg.persistence._dispatch.available", return_value=False):
        call()


def with_little_memory(call):
    """A call on a machine with 300 MB free."""
    with mock.patch("topreg._room.free_memory", return_value=300_000_000):
        call()


def without_memory(call):
    """A call on a machine where tensors cannot be allocated."""
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory")
    with mock.patch.object(torch.Tensor, "new_empty", side_effect=error):
        call()


def several(count):
    """As many metric values as a callable needs not give."""
    return lambda x, y: x.new_zeros(count)


row = torch.zeros(1, 2)
many = row.expand(1 << 15, 2)


def filled_memory():
    """A memory that holds one batch."""
    memory = CrossBatchMemory()
    memory.join(labels, images=three)
    return memory


def without(module, call):
    """A call on a machine where some module is not installed."""
    with mock.patch("importlib.util.find_spec", return_value=None):
        call()


def information(**fields):
    """What torch_topological gives, with some fields replaced."""
    return SimpleNamespace(**({"pairing": torch.zeros(0, 3), "dimension": 0} | fields))


OTHERS = {
    "`labels` should have one entry per vertex, shape (3,). Got (1,).": (
        lambda: deviating_perturbation(three, three, labels[:1], pairs=pairs)
    ),
    "`pairs` should index 3 vertices. Got vertex 3. Were the pairs found on another batch?": (
        lambda: TrackCoincidence()(three, three, pairs=RIPS.pairs(torch.eye(4)))
    ),
    "`pairs` and `source` should be of clouds of the same sizes. Got (1, 2) and (3,). "
    "Do they belong to the same batch?": lambda: track_coincidence(
        three, three, pairs=RIPS.pairs([three[:1], three[:2]])
    ),
    "`images` should be on cpu, like the stored rows. Got meta. Call `clear()` first.": (
        lambda: filled_memory().join(labels, images=three.to("meta"))
    ),
    "`images` should be torch.float32, like the stored rows. Got torch.float64. "
    "Call `clear()` first.": lambda: filled_memory().join(labels, images=three.double()),
    "`order` should be finite. Got inf. "
    "For the bottleneck distance use `gudhi.bottleneck_distance`.": (
        lambda: wasserstein_distance(row, row, order=INF)
    ),
    "`first` should have no death before its birth. Got 1 such row, first at row 0. "
    "Did the points move since the pairs were found? Find them again, or drop such rows.": (
        lambda: wasserstein_distance(torch.tensor([[3.0, 1.0]]), row)
    ),
    "`resolution` should be (columns, rows). Got 5.": lambda: persistence_image(
        row, bandwidth=1.0, birth_range=(0, 1), persistence_range=(0, 1), resolution=5
    ),
    "`first` should have finite births. Got 1 infinite birth, first at row 0.": (
        lambda: wasserstein_distance(row - INF, row)
    ),
    "`first` should have deaths that are finite or +inf. Got 1 death of -inf, first at row 0.": (
        lambda: wasserstein_distance(torch.tensor([[0.0, -INF]]), row)
    ),
    "`first` should be free of NaN. Got 1 row with NaN, first at row 0.": (
        lambda: wasserstein_distance(row * NAN, row)
    ),
    "`diagram` should be free of NaN. Got 1 row with NaN, first at row 0.": (
        lambda: persistence_landscape([row * NAN], sample_range=(0, 1))
    ),
    "`diagram` should have shape (m, 2). Got (1, 3).": (
        lambda: persistence_landscape([three[:1]], sample_range=(0, 1))
    ),
    "`diagram` should hold at least one diagram. Got an empty sequence.": (
        lambda: persistence_landscape([], sample_range=(0, 1))
    ),
    "`sample_range` should be a tuple (low, high) with finite low <= high. Got (1, 0).": (
        lambda: persistence_landscape(row, sample_range=(1, 0))
    ),
    "`ground` should be 1, 2 or math.inf. Got 3.": lambda: wasserstein_distance(row, row, ground=3),
    "`to_persistence_information` needs torch_topological. "
    'Run `pip install "topreg[tda]"` with Python 3.12 or older.': lambda: without(
        "torch_topological", lambda: to_persistence_information(pairs, three)
    ),
    "`pairs` should be of one cloud. Got 2. Use `pairs.split()`.": (
        lambda: to_persistence_information(RIPS.pairs([three, three]), [three, three])
    ),
    "`information` should have a dimension. Got None. Pass one of the list.": (
        lambda: from_persistence_information([information()], 3)
    ),
    "`information` should have a dimension. Got None.": (
        lambda: from_persistence_information(information(dimension=None), 3)
    ),
    "`information.pairing` should have shape (m, 3) in dimension 0. Got (1, 4).": (
        lambda: from_persistence_information(information(pairing=torch.zeros(1, 4)), 3)
    ),
    "`images` should have one row per label, 3. Got (2, 3).": (
        lambda: CrossBatchMemory().join(labels, images=three[:2])
    ),
    "`tensors` should have the names images of the batch before. Got (none). "
    "Call `clear()` first.": (lambda: filled_memory().join(labels)),
    "`pairs` and `points` should be of clouds of the same sizes. Got (2, 1) and (3,). "
    "Do they belong to the same batch?": (
        lambda: total_persistence(
            three, pairs=[pairs, RIPS.pairs([three[:2], three[2:]], 1)], dimensions=(0, 1)
        )
    ),
    "`pairs` should hold one PersistencePairs for each dimension. Got two of dimension 0. "
    "Put the clouds of a batch together with `PersistencePairs.join`.": (
        lambda: total_persistence([three, three], pairs=[pairs, pairs])
    ),
    "`target_pairs` should hold one PersistencePairs for each dimension. Got two of dimension 0. "
    "Put the clouds of a batch together with `PersistencePairs.join`.": (
        lambda: signature_loss([three, three], [three, three], target_pairs=[pairs, pairs])
    ),
    "`weight` should be finite. Got nan.": lambda: balanced_backward(
        leaf.sum(), leaf.sum(), [leaf], weight=math.nan
    ),
    "`weight` should be finite. Got inf.": lambda: balanced_backward(
        leaf.sum(), leaf.sum(), [leaf], weight=math.inf
    ),
    "`birth_edges` should be edges (i, j), i <= j, within a cloud. Got (2, 1).": (
        lambda: PersistencePairs.from_tensors(
            RIPS.pairs(three, 1).to_tensors()
            | {"birth_edges": torch.tensor([[2, 1]]), "death_edges": torch.tensor([[0, 1]])}
        )
    ),
    "`tensors` should have the names images of the batch before. Got texts. "
    "Call `clear()` first.": (lambda: filled_memory().join(labels, texts=three)),
    "`images` should have rows of shape (3,), like the stored rows. Got (2,). "
    "Call `clear()` first.": lambda: filled_memory().join(labels, images=three[:, :2]),
    "`state_dict` should be what `state_dict()` returned. Got the name 'images'.": (
        lambda: CrossBatchMemory().load_state_dict({"images": three})
    ),
    '`state_dict` should hold labels. Got no "0.labels".': (
        lambda: CrossBatchMemory().load_state_dict({"0.images": three})
    ),
}
SHAPES = {
    "`points` should have shape (n, d). Got (3,).": lambda: RIPS.pairs([three, three[0]]),
    "`points` should have shape (n, d). Got (1, 1, 3, 3). Use `.flatten(1)` if each row is a "
    "point.": lambda: RIPS.pairs(three[None, None]),
    "`data` should have one weight per edge, shape (2,) or (b, 2). Got (2, 1). "
    "Use `.squeeze(1)`.": lambda: FLAG.pairs(torch.ones(2, 1)),
    "`points` should be dense. Got torch.sparse_coo. Use `.to_dense()`.": (
        lambda: RIPS.pairs(matrix_with().to_sparse())
    ),
    **{
        f"`{name}` should be dense. Got torch.sparse_coo. Absent entries are not zero distances. "
        "With `graph = matrix.to_sparse_coo().coalesce()`, pass `graph.values()` to "
        "`FlagFiltration(graph.indices(), matrix.shape[0], "
        'duplicate_edges="min")`.': call
        for name, call in {
            "points": lambda: PRECOMPUTED.pairs(matrix_with().to_sparse()),
            "distances": lambda: minimum_spanning_tree([matrix_with().to_sparse()]),
            "data": lambda: FLAG.pairs(matrix_with().to_sparse()),
            "metric(x, y)": lambda: RipsFiltration(
                metric=lambda x, y: torch.cdist(x, y).to_sparse()
            ).pairs(three),
        }.items()
    },
    "`data` should be dense. Got torch.sparse_coo. Absent entries are not zero distances. "
    "Pass those that exist to `FlagFiltration`.": lambda: FLAG.pairs(torch.ones(2).to_sparse()),
    "`points` should be dense. Got a nested tensor. Pass its parts, `.unbind()`.": (
        lambda: RIPS.pairs(torch.nested.nested_tensor([three, three[:2]], layout=torch.jagged))
    ),
    "`target_pairs` and `source` should be of clouds of the same sizes. Got (1, 2) and (3,). "
    "Do they belong to the same batch?": lambda: signature_loss(
        three, three, target_pairs=RIPS.pairs([three[:1], three[:2]])
    ),
    "`source` should have finite distances up to the quantile `normalize`. "
    "Got an infinite one in cloud 0. Pass a smaller `normalize`.": lambda: rtd_lite(
        matrix_with((0, 1, math.inf), (1, 0, math.inf)),
        matrix_with(),
        filtration=PRECOMPUTED,
        normalize=1.0,
    ),
    "`labels` should have shape (n,). Got (3, 1).": lambda: DeviatingPerturbation()(
        [three], [three], [labels[:, None]]
    ),
    "`power` should be positive. Got 0.": lambda: total_persistence(three, power=0),
    "`diagram` should have shape (m, 2). Got (3, 3).": lambda: persistence_between(three, 1),
    "`count` should be a non-negative integer. Got -1.": lambda: most_persistent(three[:, :2], -1),
    "`clouds` should have one entry per pair, shape (3,). Got (2,).": (
        lambda: most_persistent(three[:, :2], 1, torch.arange(2))
    ),
    "`vertices` should be distinct. Got vertex 0 more than once.": (
        lambda: pairs.renumber(torch.zeros(3, dtype=torch.int64), (9,))
    ),
    "`vertices` should stay in their clouds. "
    "Got vertex 1 of another cloud. Number them cloud after cloud.": (
        lambda: RIPS.pairs([three[:1], three[:2]]).renumber(torch.arange(3), (9, 9))
    ),
    "`memory_budget` should be a positive integer. Got 0.": lambda: RipsFiltration(memory_budget=0),
    "`dimensions` should be 1 or above. Got (0, 1).": lambda: rtd(three, three, dimensions=(0, 1)),
    "`source` and `target` should be clouds of the same sizes, rows in the same order. "
    "Got (3,) and (2,).": lambda: rtd(three, three[:2]),
    "`low` should be at most `high`. Got 2 and 1.": lambda: persistence_between(three[:, :2], 2, 1),
    "`count` should be between 1 and the 3 points of the smallest cloud. Got 4.": (
        lambda: farthest_point_sampling(three, 4)
    ),
    "`start` should be a vertex of every cloud, 0 to 2. Got 3.": (
        lambda: farthest_point_sampling(three, 1, start=3)
    ),
    "`vertices` should have one entry per vertex of the pairs, shape (3,). Got (2,).": (
        lambda: pairs.renumber(torch.arange(2), (9,))
    ),
    "`cloud_sizes` should name 1 clouds. Got 2.": lambda: pairs.renumber(torch.arange(3), (9, 9)),
    '`metric` should be "euclidean", "cosine" or "manhattan" with `engine="tiled"`. '
    "Got 'precomputed'. Use `engine=\"auto\"`.": (
        lambda: RipsFiltration(metric="precomputed", engine="tiled")
    ),
    "`points` should have shape (n, d). Got (5,).": lambda: RIPS.pairs(torch.ones(5)),
    "`x` should have shape (n, d). Got (5,).": lambda: pairwise_distances(torch.ones(5)),
    "`y` should have shape (n, d). Got (5,).": lambda: pairwise_distances(three, torch.ones(5)),
    "`keys` should have shape (n, d). Got (3,).": lambda: exponential_affinity(
        three, three[0], sharpness=1.0
    ),
    "`source` should have shape (n, d). Got (3,).": lambda: track_coincidence(
        three[0], three, pairs=pairs
    ),
    "`labels` should have one entry per vertex, shape (3,). Got (3, 2). "
    "Use `labels.argmax(1)` if they are one-hot.": lambda: pairs.between(one_hot),
    "`labels` should have one entry per vertex, shape (3,). Got (3, 1). Use `labels.squeeze(1)`.": (
        lambda: deviating_perturbation(three, three, labels[:, None])
    ),
    "`points` should be a square matrix (n, n). Got (3,). Turn a condensed vector into a matrix "
    "with `scipy.spatial.distance.squareform`.": lambda: PRECOMPUTED.pairs(torch.pdist(three)),
    "`points` should be a square matrix (n, n). Got (4,).": lambda: PRECOMPUTED.pairs(
        torch.ones(4)
    ),
    "`points` should not come from `torch.func.vmap` where pairs are found. Got a tensor "
    "batched by it. Pass the whole batch, or `pairs=` found before. For one gradient per cloud use "
    '`torch.func.jacrev` with `reduction="none"`.': (
        lambda: torch.func.vmap(total_persistence)(three[None])
    ),
    "`data` should not come from `torch.func.vmap` where pairs are found. Got a tensor "
    "batched by it. Pass the whole batch, or `pairs=` found before. For one gradient per cloud use "
    '`torch.func.jacrev` with `reduction="none"`.': (
        lambda: torch.func.vmap(torch.func.grad(lambda w: FLAG(w).sum()))(torch.ones(1, 2))
    ),
    "`labels` should have shape (n,). Got ().": lambda: label_indicators(labels[0], labels),
    "`cached_labels` should have shape (c,). Got ().": lambda: label_indicators(labels, labels[0]),
    "`main` should have shape (). Got (2,).": lambda: balanced_backward(
        leaf * 2, leaf.sum(), [leaf], weight=1.0
    ),
    "`regularizer` should have shape (). Got (2,).": lambda: balanced_backward(
        leaf.sum(), leaf * 2, [leaf], weight=1.0
    ),
    "`edges` should have shape (m, 2). Got (4,).": lambda: edge_vectors(
        three, torch.zeros(4, dtype=torch.int64)
    ),
    "`death_edges` should have shape (m, 2). Got (1, 3).": lambda: PersistencePairs(
        0, one_loop, torch.zeros(1, 3, dtype=torch.int64), one_loop, (3,)
    ),
    "`essential_edges` should have shape (m, 2). Got (2,).": lambda: PersistencePairs(
        0, one_loop, one_edge, one_loop[0], (3,)
    ),
    "`birth_edges` and `death_edges` should have one row per pair. Got 2 and 1 rows.": (
        lambda: PersistencePairs(0, one_loop.repeat(2, 1), one_edge, one_loop, (3,))
    ),
    "`points` should be a square matrix (n, n). Got (2, 3).": lambda: PRECOMPUTED.pairs(three[:2]),
    "`distances` should be a square matrix (n, n). Got (3,). Turn a condensed vector into a "
    "matrix with `scipy.spatial.distance.squareform`.": lambda: minimum_spanning_tree(three[0]),
    "`points` should hold square matrices (b, n, n). Got (1, 2, 3).": lambda: PRECOMPUTED.pairs(
        three[None, :2]
    ),
    "`distances` should hold square matrices (b, n, n). Got (1, 2, 3).": (
        lambda: minimum_spanning_tree(three[None, :2])
    ),
    "`points` should hold at least one cloud. Got an empty sequence.": lambda: RIPS.pairs([]),
    "`distances` should hold at least one cloud. Got an empty sequence.": (
        lambda: minimum_spanning_tree([])
    ),
    "`points` should hold clouds with the same number of coordinates. Got 2, 3.": (
        lambda: RIPS.pairs([three, three[:, :2]])
    ),
    "`points` should hold clouds of one dtype on one device. Got torch.float32 on cpu and "
    "torch.float64 on cpu.": lambda: RIPS.pairs([three, three.double()]),
    "`points` should hold matrices of one dtype on one device. Got torch.float32 on cpu and "
    "torch.float64 on cpu.": lambda: PRECOMPUTED.pairs([matrix_with(), matrix_with().double()]),
    "`source` and `target` should be clouds of the same sizes, rows in the same order. "
    "Got (1, 2) and (2, 1).": (
        lambda: TrackCoincidence()([three[:1], three[1:]], [three[:2], three[2:]])
    ),
    "`pairs` and `points` should be of clouds of the same sizes. Got (2, 1) and (1, 2). "
    "Do they belong to the same batch?": (
        lambda: total_persistence([three[:1], three[1:]], pairs=RIPS.pairs([three[:2], three[2:]]))
    ),
    "`pairs` and `labels` should be of clouds of the same sizes. Got (2, 1) and (1, 2). "
    "Do they belong to the same batch?": (
        lambda: RIPS.pairs([three[:2], three[2:]]).between([labels[:1], labels[1:]])
    ),
    "`metric(x, y)` should have shape (len(x), len(y)) = (3, 3). Got (2,).": lambda: RipsFiltration(
        metric=several(2)
    ).pairs(three),
    "`metric(x, y)` should have shape (len(x), len(y)) = (3, 3). Got float.": (
        lambda: RipsFiltration(metric=lambda x, y: 0.5).pairs(three)
    ),
    "`x` and `y` should have the same number of coordinates. Got 3 and 2.": (
        lambda: pairwise_distances(three, three[:, :2])
    ),
    "`points` and `keys` should have the same number of coordinates. Got 3 and 2.": (
        lambda: exponential_affinity(three, three[:, :2], sharpness=1.0)
    ),
    "`mask` should have one entry per pair, shape (2,). Got (3,).": lambda: pairs.select(
        torch.ones(3, dtype=torch.bool)
    ),
    "`labels` should have one entry per vertex, shape (3,). Got (2,).": lambda: pairs.between(
        labels[:2]
    ),
    "`labels` should have shape (n,). Got (1, 3, 1).": (
        lambda: deviating_perturbation(three, three, labels[None, :, None], pairs=pairs)
    ),
    "`source` and `target` should have one row per vertex, in the same order. Got 5 and 3 rows. "
    "To pair samples with class prototypes, pass `prototypes[labels]`.": lambda: track_coincidence(
        torch.ones(5, 3), three, pairs=pairs
    ),
    "`source` and `target` should have the same number of coordinates. Got 512 and 1024. "
    "Map both into a common space first, for instance with `exponential_affinity`.": lambda: (
        track_coincidence(torch.ones(3, 512), torch.ones(3, 1024), pairs=pairs)
    ),
}

TYPES = {
    "`tensors` should be a dictionary. Got NoneType.": lambda: PersistencePairs.from_tensors(None),
    "`parameters` should be an iterable of tensors. Got int.": (
        lambda: balanced_backward(leaf.sum(), leaf.sum(), 1, weight=1.0)
    ),
    "`information` should be a PersistenceInformation. Got PersistencePairs.": (
        lambda: from_persistence_information(pairs, 3)
    ),
    "`filtration` should be a filtration such as `RipsFiltration()`. Got str. "
    "Pass other options by name.": lambda: numpy_diagram(pairs, three, "euclidean"),
    "`dtype` should be floating point. Got float.": (
        lambda: label_indicators(labels, labels, dtype="float")
    ),
    "`sharpness` should be a number. Got None.": (
        lambda: exponential_affinity(three, three, sharpness=None)
    ),
    "`low` should be a number. Got '0'.": lambda: persistence_between(three[:, :2], "0"),
    "`birth_range` should be a number. Got None.": lambda: persistence_image(
        three[:, :2], bandwidth=1.0, birth_range=(None, 1.0), persistence_range=(0.0, 1.0)
    ),
    "`scale` should be a number. Got array([1., 2.]).": (
        lambda: connectivity_loss(three, scale=np.array([1.0, 2.0]))
    ),
    "`points` should be float16, bfloat16, float32 or float64. Got torch.float8_e4m3fn.": (
        lambda: RIPS.pairs(three.to(torch.float8_e4m3fn))
    ),
    "`points` should be floating point. Got torch.int32. Use `.float()`.": lambda: (
        PRECOMPUTED.pairs(matrix_with()[None].int())
    ),
    "`parameters` should be an iterable of tensors. Got one. Put it in a list.": (
        lambda: balanced_backward(leaf.sum(), leaf.sum(), leaf, weight=1.0)
    ),
    "`metric(x, y)` should be floating point. Got torch.int64. Use `.float()`.": (
        lambda: pairwise_distances(three, metric=lambda x, y: (x @ y.T).long())
    ),
    "`dtype` should be floating point. Got torch.int64.": (
        lambda: label_indicators(labels, labels, dtype=torch.int64)
    ),
    "`pairs` should be one PersistencePairs. Got list. Pass one dimension at a time.": (
        lambda: to_persistence_information([pairs], three)
    ),
    "`source` and `target` should have one dtype. Got torch.float64 and torch.float32. Use "
    "`target.to(source.dtype)`.": (lambda: track_coincidence(three.double(), three, pairs=pairs)),
    "`vertices` should be torch.int64. Got torch.float32.": lambda: pairs.renumber(three[0], (9,)),
    "`edge_index` should be torch.int64. Got torch.int32. Use `.long()`.": lambda: FlagFiltration(
        path.int(), 3
    ),
    "`edge_index` should be torch.int64. Got torch.float32.": lambda: FlagFiltration(
        path.float(), 3
    ),
    "`edge_index` should be a torch.Tensor. Got list. Convert it with `torch.as_tensor`.": (
        lambda: FlagFiltration([[0], [1]], 2)
    ),
    "`vertex_births` should be floating point. Got torch.int64. Use `.float()`.": lambda: (
        FlagFiltration(path, 3, vertex_births=torch.ones(3, dtype=torch.int64))
    ),
    "`data` should be floating point. Got torch.int64. Use `.float()`.": lambda: FLAG.pairs(
        torch.ones(2, dtype=torch.int64)
    ),
    "`data` should be a torch.Tensor. Got list. Convert it with `torch.as_tensor`.": (
        lambda: FLAG.pairs([1.0, 2.0])
    ),
    "`x` and `y` should have one dtype. Got torch.float32 and torch.float64. Use "
    "`y.to(x.dtype)`.": lambda: pairwise_distances(three, three.double()),
    "`points` should be floating point. Got torch.int64. Use `.float()`.": lambda: RIPS.pairs(
        three.long()
    ),
    "`points` should be floating point. Got torch.bool. Use `.float()`.": lambda: RIPS.pairs(
        three[None].bool()
    ),
    "`distances` should be floating point. Got torch.int64. Use `.float()`.": lambda: (
        minimum_spanning_tree(three.long())
    ),
    "`x` should be floating point. Got torch.complex64.": lambda: pairwise_distances(
        three.to(torch.complex64)
    ),
    "`points` should be a torch.Tensor. Got ndarray. Convert it with `torch.as_tensor`.": (
        lambda: RIPS.pairs(three.numpy())
    ),
    "`points` should be a torch.Tensor. Got float. Convert it with `torch.as_tensor`.": (
        lambda: RIPS.pairs([1.0, 2.0])
    ),
    "`distances` should be a torch.Tensor. Got list. Convert it with `torch.as_tensor`.": (
        lambda: minimum_spanning_tree([[0.0]])
    ),
    "`labels` should be a torch.Tensor. Got int. Convert it with `torch.as_tensor`.": (
        lambda: pairs.between([0, 0, 1])
    ),
    "`birth_edges` should be a torch.Tensor. Got list. Convert it with `torch.as_tensor`.": (
        lambda: PersistencePairs(0, [[1, 1]], one_edge, one_loop, (3,))
    ),
    "`pairs` should hold PersistencePairs. Got int.": (
        lambda: homology_consistency(
            three, three, labels, pairs=[pairs, 1], perturbation_weight=1.0
        )
    ),
    "`cloud_sizes` should be integers. Got torch.float32.": lambda: PersistencePairs.from_tensors(
        pairs.to_tensors() | {"cloud_sizes": torch.tensor([2.5])}
    ),
    "`death_edges` should be torch.int64. Got torch.int32. Use `.long()`.": lambda: (
        PersistencePairs(0, one_loop, one_edge.int(), one_loop, (3,))
    ),
    "`mask` should be torch.bool. Got torch.int64.": lambda: pairs.select(torch.tensor([0, 1])),
    "`labels` should be integers. Got torch.float32.": lambda: pairs.between(labels.float()),
    "`labels` should be integers. Got torch.complex64.": lambda: deviating_perturbation(
        three, three, labels.to(torch.complex64), pairs=pairs
    ),
    "`source` and `target` should have one dtype. Got torch.float32 and torch.float64. Use "
    "`target.to(source.dtype)`.": lambda: track_coincidence(three, three.double(), pairs=pairs),
    "`pairs` should be one PersistencePairs. Got tuple. Pass one dimension at a time.": (
        lambda: RIPS.diagram((pairs,), three)
    ),
    "`pairs` should be one PersistencePairs. Got NoneType.": lambda: RIPS.diagram(None, three),
    "`pairs` should be one PersistencePairs. Got Tensor.": lambda: RIPS.diagram(three, three),
    "`points` should be a torch.Tensor. Got PersistencePairs. "
    "Births and deaths are `filtration.diagram(pairs, points)`.": (
        lambda: RIPS.diagram(three, pairs)
    ),
    "`labels` should be integers (n,). Got torch.float32 of shape (3, 2). "
    "Use `labels.argmax(1)` if they are one-hot.": (
        lambda: deviating_perturbation(three, three, one_hot.float())
    ),
    "`labels` should be integers (n,). Got torch.float32 of shape (3, 1). "
    "Use `labels.squeeze(1)`.": (lambda: pairs.between(one_hot[:, :1].float())),
    "`filtration` should be a filtration such as `RipsFiltration()`. Got tuple. Pass other options "
    "by name.": lambda: TrackCoincidence(filtration=(0, 1)),
    "`target_filtration` should be a filtration such as `RipsFiltration()`. Got str. Pass other "
    "options by name.": lambda: signature_loss(three, three, target_filtration="cosine"),
    "`filtration` should be a RipsFiltration. Got FlagFiltration.": (
        lambda: rtd(three, three, filtration=FLAG)
    ),
    "`target_filtration` should be a RipsFiltration with `normalize`. Got FlagFiltration.": (
        lambda: signature_loss(three, three, target_filtration=FLAG, normalize=1.0)
    ),
    "`filtration` should be a filtration such as `RipsFiltration()`. Got the class RipsFiltration. "
    "Pass an instance of it.": lambda: total_persistence(three, filtration=RipsFiltration),
    "`max_edge_length` should be a number. Got None.": lambda: RipsFiltration(max_edge_length=None),
    "`progress` should be True, False, None or a function of (stage, done, total). Got 'bar'.": (
        lambda: RipsFiltration(progress="bar")
    ),
    "`cloud_sizes` should be a sequence of integers. Got 3. Use `(n,)` for one cloud of n.": (
        lambda: PersistencePairs(0, one_edge[:0], one_edge[:0], one_edge[:0], 3)
    ),
    "`normalize` should be a number. Got 'max'.": lambda: rtd(three, three, normalize="max"),
    "`power` should be a number. Got '2'.": lambda: total_persistence(three, power="2"),
    "`power` should be a number. Got True.": lambda: total_persistence(three, power=True),
    "`power` should be a number. Got <class 'float'>.": lambda: total_persistence(
        three, power=float
    ),
    "`target_pairs` should hold PersistencePairs. Got int.": (
        lambda: signature_loss(three, three, target_pairs=[3])
    ),
    "`parts` should be a list or tuple of PersistencePairs. Got PersistencePairs.": (
        lambda: PersistencePairs.join(pairs)
    ),
    "`parts` should hold PersistencePairs. Got tuple. Join the pairs of each dimension "
    "separately.": lambda: PersistencePairs.join([RIPS.all_pairs(three, 1)]),
    "`cloud_sizes` should be a sequence of integers. Got 5. Use `(n,)` for one cloud of n.": (
        lambda: pairs.renumber(torch.arange(3), 5)
    ),
    "`diagram` should be a tensor or a sequence of them. Got PersistencePairs. "
    "Births and deaths are `filtration.diagram(pairs, points)`.": (
        lambda: persistence_image(
            pairs, bandwidth=1.0, birth_range=(0, 1), persistence_range=(0, 1)
        )
    ),
    "`diagram` should be a tensor or a sequence of them. Got ndarray. Convert it with "
    "`torch.as_tensor`.": (
        lambda: persistence_image(
            np.zeros((2, 2)), bandwidth=1.0, birth_range=(0, 1), persistence_range=(0, 1)
        )
    ),
}

VALUES = {
    "`points` should have values. Got a tensor on the meta device.": (
        lambda: RIPS.pairs(three.to("meta"))
    ),
    "`labels` should be dense. Got torch.sparse_coo. Use `.to_dense()`.": (
        lambda: deviating_perturbation(three, three, labels.to_sparse())
    ),
    "`edges` should be dense. Got torch.sparse_coo. Use `.to_dense()`.": (
        lambda: edge_vectors(three, one_edge.to_sparse())
    ),
    "`dimension` should be below 32,768. Got 2147483648.": lambda: RIPS.pairs(three, 1 << 31),
    "`points` should be finite. Got 2 rows with NaN or infinity, first at row 4.": (
        lambda: RIPS.pairs(points_with((4, NAN), (5, INF)))
    ),
    "`points` should be finite. Got 1 row with NaN or infinity, first at row 0.": (
        lambda: RipsFiltration(metric="manhattan").pairs(points_with((0, -INF)))
    ),
    '`points` should have no zero row under `metric="cosine"`. Got 1 zero row, first at row 1.': (
        lambda: RipsFiltration(metric="cosine").pairs(torch.tensor([[1.0], [0.0]]))
    ),
    '`points` should have no zero row under `metric="cosine"`. Got 2 zero rows, first at row 0.': (
        lambda: RipsFiltration(metric="cosine").pairs(torch.tensor([[0.0], [-0.0], [1.0]]))
    ),
    "`points` should be free of NaN. Got 1 row with NaN, first at row 2.": (
        lambda: PRECOMPUTED.pairs(matrix_with((2, 1, NAN)))
    ),
    "`points` should be free of NaN. Got 3 rows with NaN, first at row 0.": (
        lambda: PRECOMPUTED.pairs(matrix_with((0, 1, NAN), (1, 0, NAN), (2, 2, NAN)))
    ),
    "`distances` should be non-negative. Got -0.5 at (0, 2).": lambda: minimum_spanning_tree(
        matrix_with((0, 2, -0.5), (2, 0, -0.5))
    ),
    "`points` should be non-negative. Got -1 at (0, 1).": lambda: PRECOMPUTED.pairs(
        matrix_with((0, 1, -1.0), (1, 0, -1.0)).bfloat16()
    ),
    "`distances` should be non-negative. Got -inf at (0, 2).": lambda: minimum_spanning_tree(
        matrix_with((0, 2, -INF), (2, 0, -INF))
    ),
    "`points` should be zero on the diagonal. Got 1 at (0, 0). "
    "A similarity is not a distance; 1 minus it may be.": lambda: PRECOMPUTED.pairs(
        three / 2 + 0.5
    ),
    "`points` should be non-negative. Got -0.6 at (0, 1). "
    "A similarity is not a distance; 1 minus it may be.": lambda: PRECOMPUTED.pairs(
        torch.tensor([[1.0, -0.6], [-0.6, 1.0]])
    ),
    "`points` should be zero on the diagonal. Got 0.25 at (1, 1).": lambda: PRECOMPUTED.pairs(
        matrix_with((1, 1, 0.25))
    ),
    "`points` should be zero on the diagonal. Got inf at (1, 1).": lambda: PRECOMPUTED.pairs(
        matrix_with((1, 1, INF))
    ),
    "`points` should be symmetric. Got 1.5 at (0, 1) and 1 at (1, 0).": lambda: PRECOMPUTED.pairs(
        matrix_with((0, 1, 1.5))
    ),
    "`points` should be symmetric. Got 1 at (1, 2) and inf at (2, 1).": lambda: PRECOMPUTED.pairs(
        [matrix_with(), matrix_with((2, 1, INF))]
    ),
    "`metric(points, points)` should be non-negative. Got -1 at (0, 0).": lambda: RipsFiltration(
        metric=lambda x, y: -x @ y.T
    ).pairs(three),
    "`metric(points, points)` should be least on the diagonal. Got 1 at (0, 0). A similarity is "
    "not a distance; 1 minus it may be.": (
        lambda: RipsFiltration(metric=lambda x, y: x @ y.T).pairs(three)
    ),
    "`pairs` should index 3 vertices. Got vertex 7. Were the pairs found on another batch?": (
        lambda: persistence_tracks(three, RIPS.pairs(torch.eye(8)))
    ),
    "`pairs` should index 8 vertices. Got pairs of 3 vertices. Were the pairs found on another "
    "batch?": lambda: track_coincidence(torch.eye(8), torch.eye(8), pairs=pairs),
    "`pairs` should index 4 vertices. Got pairs of 3 vertices. Were the pairs found on another "
    "batch?": lambda: deviating_perturbation(
        torch.eye(4), torch.eye(4), torch.zeros(4).long(), pairs=pairs
    ),
    "`pairs` should index 2 vertices. Got vertex 2. Were the pairs found on another batch?": (
        lambda: PRECOMPUTED.diagram(pairs, torch.zeros(2, 2))
    ),
    "`pairs` should index 1 vertices. Got vertex 2. Were the pairs found on another batch?": (
        lambda: RIPS.diagram(pairs, torch.zeros(1, 2))
    ),
    "`essential_edges` should index 2 vertices. Got vertex 2.": lambda: (
        PersistencePairs.from_tensors(
            pairs.to_tensors()
            | {
                "cloud_sizes": torch.tensor([2]),
                "birth_edges": one_loop,
                "death_edges": one_edge,
                "essential_edges": 2 * one_loop,
            }
        )
    ),
    "`death_edges` should index 3 vertices. Got vertex -1.": lambda: PersistencePairs.from_tensors(
        pairs.to_tensors() | {"death_edges": -one_loop}
    ),
    "`birth_edges` should be edges (v, v) in dimension 0. Got (0, 1).": (
        lambda: PersistencePairs.from_tensors(
            pairs.to_tensors() | {"birth_edges": one_edge.repeat(2, 1)}
        )
    ),
    "`death_edges` should be edges (i, j), i <= j, within a cloud. Got (1, 0).": (
        lambda: PersistencePairs.from_tensors(
            pairs.to_tensors() | {"death_edges": one_edge.flip(1)}
        )
    ),
    "`death_edges` should be edges (i, j), i <= j, within a cloud. Got (0, 1).": (
        lambda: PersistencePairs.from_tensors(
            pairs.to_tensors() | {"death_edges": one_edge, "cloud_sizes": torch.tensor([1, 2])}
        )
    ),
    "`cloud_sizes` should be non-negative, and less than 2^63 in all. Got [-1, 4].": (
        lambda: PersistencePairs.from_tensors(
            pairs.to_tensors() | {"cloud_sizes": torch.tensor([-1, 4])}
        )
    ),
    "`cloud_sizes` should be non-negative, and less than 2^63 in all. "
    f"Got [{1 << 62}, {1 << 62}].": lambda: PersistencePairs.from_tensors(
        pairs.to_tensors() | {"cloud_sizes": torch.tensor([1 << 62, 1 << 62])}
    ),
    "`death_edges` should have shape (m, 2). Got (3,).": lambda: PersistencePairs.from_tensors(
        pairs.to_tensors() | {"death_edges": torch.zeros(3, dtype=torch.int64)}
    ),
    "`dimension` should have shape (). Got (1,).": lambda: PersistencePairs.from_tensors(
        pairs.to_tensors() | {"dimension": torch.tensor([0])}
    ),
    "`tensors` should hold the fields of PersistencePairs. Got no 'cloud_sizes'.": (
        lambda: PersistencePairs.from_tensors({"dimension": torch.tensor(0)})
    ),
    "`pairs` should be of dimension 0. Got 1.": lambda: connectivity_loss(
        three, pairs=of_dimension_1, scale=1.0
    ),
    "`pairs` should hold one PersistencePairs for each dimension. Got an empty sequence.": (
        lambda: TrackCoincidence()(three, three, pairs=[])
    ),
    "`parts` should hold at least one PersistencePairs. Got an empty sequence.": (
        lambda: PersistencePairs.join([])
    ),
    "`parts` should be of one dimension. Got 0 and 1. Join the pairs of each dimension "
    "separately.": lambda: PersistencePairs.join(RIPS.all_pairs(three, 1)),
    "`pairs` and `points` should be of clouds of the same sizes. Got (3,) and (2, 1). "
    "Do they belong to the same batch?": lambda: PRECOMPUTED.diagram(
        pairs, [torch.zeros(2, 2), torch.zeros(1, 1)]
    ),
    "`pairs` should include dimension 0. Got 1.": lambda: homology_consistency(
        three, three, labels, pairs=[of_dimension_1], perturbation_weight=1.0
    ),
    "`parameters` should hold a tensor that requires a gradient. Got none.": (
        lambda: balanced_backward(leaf.sum(), leaf.sum(), [three], weight=1.0)
    ),
}

DEVICES = {
    "`source` and `pairs` should be on one device. Got meta and cpu. Use "
    "`pairs.to(source.device)`.": lambda: track_coincidence(
        three.to("meta"), three.to("meta"), pairs=pairs
    ),
    "`source` and `target` should be on one device. Got cpu and meta. Use "
    "`target.to(source.device)`.": lambda: track_coincidence(three, three.to("meta"), pairs=pairs),
    "`parts` should be on one device. Got cpu and meta. Move each with `pairs.to(device)`.": (
        lambda: PersistencePairs.join([pairs, pairs.to("meta")])
    ),
    "`points` and `pairs` should be on one device. Got cpu and meta. Use "
    "`pairs.to(points.device)`.": lambda: persistence_tracks(three, pairs.to("meta")),
    "`x` and `y` should be on one device. Got cpu and meta. Use `y.to(x.device)`.": (
        lambda: pairwise_distances(three, three.to("meta"))
    ),
}

QUANTILE = "`normalize` should be a quantile in (0, 1], or None. Got "
NAMED = '"euclidean", "cosine", "manhattan" or "precomputed"'
OPTIONS = {
    "`parameters` should be leaves, which keep a gradient. Got a tensor computed from others.": (
        lambda: balanced_backward(leaf.sum(), leaf.sum(), [leaf, 2 * leaf], weight=1.0)
    ),
    f"{QUANTILE}True.": lambda: rtd(three, three, normalize=True),
    f"{QUANTILE}False.": lambda: signature_loss(three, three, normalize=False),
    f"{QUANTILE}1.5.": lambda: rtd(three, three, normalize=1.5),
    f"{QUANTILE}nan.": lambda: rtd(three, three, normalize=NAN),
    '`undefined` should be "skip" or "zero". Got \'drop\'.': lambda: TrackCoincidence(
        undefined="drop"
    ),
    '`reduction` should be "mean", "sum" or "none". Got None.': lambda: total_persistence(
        three, reduction=None
    ),
    "`scale` should be a float if it is that large. Got 10000000000000000. Use `float(scale)`.": (
        lambda: connectivity_loss(three, scale=10**16)
    ),
    "`max_dimension` should be a non-negative integer. Got -1.": lambda: RIPS.all_pairs(three, -1),
    "`max_dimension` should be 0 or 1 for a FlagFiltration. Got 2.": (
        lambda: FLAG.all_pairs(torch.ones(2), 2)
    ),
    "`birth_range` should be a tuple (low, high) with finite low <= high. Got 5.": (
        lambda: persistence_image(
            torch.zeros(1, 2), bandwidth=1.0, birth_range=5, persistence_range=(0, 1)
        )
    ),
    "`birth_range` should be a tuple (low, high) with finite low <= high. Got (-inf, 1).": (
        lambda: persistence_image(
            row, bandwidth=1.0, birth_range=(-math.inf, 1), persistence_range=(0, 1)
        )
    ),
    "`sample_range` should be a tuple (low, high) with finite low <= high. Got (0, inf).": (
        lambda: persistence_landscape(torch.zeros(1, 2), sample_range=(0, INF))
    ),
    f"`metric` should be {NAMED}. Got 'l1'.": lambda: RipsFiltration(metric="l1"),
    '`y` should be left out with `metric="precomputed"`. Got shape (3, 3). Pass the distances '
    "within one cloud as `x`.": lambda: pairwise_distances(
        torch.zeros(3, 3), torch.zeros(3, 3), metric="precomputed"
    ),
    f"`metric` should be {NAMED}. Got 'l2'.": lambda: pairwise_distances(three, metric="l2"),
    f"`metric` should be {NAMED}. Got 2.": lambda: pairwise_distances(three, metric=2),
    '`engine` should be "auto", "prim", "boruvka", "tiled", "annotations" or "gudhi". '
    "Got 'ripser'.": (lambda: RipsFiltration(engine="ripser")),
    "`max_edge_length` should be at least 0. Got -1.": lambda: RipsFiltration(max_edge_length=-1),
    "`max_edge_length` should be at least 0. Got nan.": lambda: RipsFiltration(max_edge_length=NAN),
    "`dimension` should be a non-negative integer. Got -1.": lambda: RIPS.pairs(three, -1),
    "`dimension` should be a non-negative integer. Got 1.0.": lambda: RIPS.pairs(three, 1.0),
    "`dimension` should be a non-negative integer. Got True.": lambda: RIPS.pairs(three, True),
    '`dimension` should be 0 with `engine="prim"`. Got 1. Use `engine="auto"`.': (
        lambda: RipsFiltration(engine="prim").pairs(three, 1)
    ),
    '`max_dimension` should be 0 or 1 with `engine="annotations"`. Got 2. Use `engine="auto"`.': (
        lambda: RipsFiltration(engine="annotations").all_pairs(three, 2)
    ),
    "`dimension` should be 0 or 1 without the `tda` extra. Got 2. "
    'Run `pip install "topreg[tda]"`.': lambda: without_extra(
        lambda: TrackCoincidence(dimensions=(0, 2))(three, three)
    ),
    '`engine="gudhi"` needs the `tda` extra. Run `pip install "topreg[tda]"`.': (
        lambda: without_extra(lambda: RipsFiltration(engine="gudhi").pairs(three))
    ),
    "`points` should have fewer than 65,536 vertices in dimension 1 and above. Got 65,536. "
    "Choose landmarks with `farthest_point_sampling`, or filter a graph of nearest neighbours with "
    "`FlagFiltration`.": (lambda: find_pairs(torch.empty(0), [3, 1 << 16], INF, [1])),
    "`points` should have at most 110,000 vertices per cloud for Boruvka's algorithm on matrices. "
    'Got 110,001. Use `engine="prim"`.': (
        lambda: find_pairs(torch.empty(0), [3, 110_001], INF, [0], engine="boruvka")
    ),
    "`source` should have fewer than 32,768 points. Got 32,768. Choose landmarks with "
    "`farthest_point_sampling`, or use `rtd_lite`.": (lambda: rtd(many, many)),
    "`dimension` should be 0 or 1 for a FlagFiltration. Got 2.": (
        lambda: FLAG.pairs(torch.ones(2), 2)
    ),
    "`dimensions` should be a sequence of distinct non-negative integers, such as (0, 1). "
    "Got (0, 0).": lambda: TrackCoincidence(dimensions=(0, 0)),
    "`dimensions` should be a sequence of distinct non-negative integers, such as (0, 1). "
    "Got ().": lambda: TrackCoincidence(dimensions=()),
    "`dimensions` should be a sequence of distinct non-negative integers, such as (0, 1). "
    "Got [0, -1].": (lambda: HomologyConsistency(dimensions=[0, -1], perturbation_weight=1.0)),
    "`dimensions` should be a sequence of distinct non-negative integers, such as (0, 1). "
    "Got (0.5,).": lambda: TrackCoincidence(dimensions=(0.5,)),
    "`dimensions` should contain 0. Got (1, 2).": lambda: HomologyConsistency(
        dimensions=(1, 2), perturbation_weight=1.0
    ),
    "`perturbation_weight` should be finite. Got nan.": lambda: HomologyConsistency(
        perturbation_weight=NAN
    ),
    '`orientation` should be "index" or "aligned". Got \'none\'.': lambda: persistence_tracks(
        three, pairs, orientation="none"
    ),
    '`norm` should be "global", "per_parameter" or "rowwise". Got \'l2\'.': (
        lambda: balanced_backward(leaf.sum(), leaf.sum(), [leaf], weight=1.0, norm="l2")
    ),
}

GRAPHS = {
    "`edge_index` should have shape (2, e). Got (3, 2). "
    "Transpose a list of edges with `edges.T`.": (
        lambda: FlagFiltration(torch.zeros(3, 2, dtype=torch.int64), 3)
    ),
    "`num_vertices` should be a non-negative integer. Got -1.": lambda: FlagFiltration(path, -1),
    "`num_vertices` should be a non-negative integer. Got 3.0.": lambda: FlagFiltration(path, 3.0),
    "`num_vertices` should be at most 3,037,000,499. Got 3,037,000,500.": (
        lambda: FlagFiltration(path, 3_037_000_500)
    ),
    "`edge_index` should index 2 vertices. Got vertex 2.": lambda: FlagFiltration(path, 2),
    "`edge_index` should index 3 vertices. Got vertex -1.": lambda: FlagFiltration(path - 1, 3),
    "`edge_index` should have shape (2, e). Got (2,).": lambda: FlagFiltration(path[0], 3),
    '`duplicate_edges` should be "error", "min" or "mean". Got \'max\'.': (
        lambda: FlagFiltration(path, 3, duplicate_edges="max")
    ),
    "`edge_index` should have no self-loop. Got one at vertex 1. With "
    "`proper = edge_index[0] != edge_index[1]`, keep `edge_index[:, proper]` and "
    "`edge_weights[proper]`.": lambda: FlagFiltration(torch.tensor([[0, 1], [1, 1]]), 3),
    "`edge_index` should name every edge once, in one direction. Got the edge between 0 and 1 "
    "several times. Combine the weights of such an edge with "
    '`duplicate_edges="min"` or `duplicate_edges="mean"`.': (
        lambda: FlagFiltration(torch.tensor([[0, 1, 1], [1, 2, 0]]), 3)
    ),
    "`vertex_births` should have one entry per vertex, shape (3,). Got (2,).": (
        lambda: FlagFiltration(path, 3, vertex_births=torch.ones(2))
    ),
    "`vertex_births` should be finite. Got 1 row with NaN or infinity, first at row 2.": (
        lambda: FlagFiltration(path, 3, vertex_births=torch.tensor([0.0, 0.0, NAN]))
    ),
    "`data` should have one weight per edge, shape (2,) or (b, 2). Got (3,). "
    "In losses of two views, pass the weights as `geometry`.": (lambda: FLAG.pairs(torch.ones(3))),
    "`data` should be free of NaN. Got 2 entries, first at entry 0.": (
        lambda: FLAG.pairs(torch.tensor([NAN, NAN]))
    ),
    "`data` should be at least the births of the vertices. Got -1 for edge (1, 2) "
    "with a vertex born at 0. Pass smaller `vertex_births`.": (
        lambda: FLAG.pairs(torch.tensor([1.0, -1.0]))
    ),
    "`data` should be at least the births of the vertices. Got 1 for edge (0, 1) "
    "with a vertex born at 2. Pass smaller `vertex_births`.": (
        lambda: FlagFiltration(path, 3, vertex_births=torch.tensor([0.0, 2.0, 0.0])).pairs(
            torch.ones(2)
        )
    ),
    "`pairs` should hold edges of this graph. Got (0, 2). Were the pairs found on another graph?": (
        lambda: FLAG.diagram(
            PersistencePairs(0, one_loop, torch.tensor([[0, 2]]), one_loop, (3,)), torch.ones(2)
        )
    ),
    "`pairs` should index 3 vertices. Got vertex 3. Were the pairs found on another batch?": (
        lambda: FLAG.diagram(RIPS.pairs(torch.eye(4)), torch.ones(2))
    ),
}

CUBES = CubicalFiltration(ndim=3)
image, cube = torch.rand(3, 4), torch.rand(4, 4, 4)
IN_LOSSES = (
    "Pass `dimensions=(0, 2)`. `topreg.image_metrics.BettiNumbers` also counts the loops of masks."
)
FEW_DIMENSIONS = (
    "Find dimensions 0 and 2 with `pairs`. `topreg.image_metrics.BettiNumbers` also counts the "
    "loops of masks."
)
IMAGES = {
    "`preds` should be free of NaN. Got 1 entry with NaN, first at entry 1.": (
        lambda: BettiNumbers().update(torch.tensor([[0.0, NAN]]))
    ),
    "`betti_numbers` should be a sequence, such as (1, 0). Got 1.": (
        lambda: betti_prior_loss(image, betti_numbers=1)
    ),
    "`order` should be 1 or 2. Got array([1, 2]).": (
        lambda: diagram_matching_loss(image, image, order=np.array([1, 2]))
    ),
    "`order` should be 1 or 2. Got True.": (
        lambda: diagram_matching_loss(image, image, order=True)
    ),
    "`betti_numbers` should be a non-negative integer. Got -1.": (
        lambda: betti_prior_loss(image, betti_numbers=(-1, 0))
    ),
    '`construction` should be "T" or "V". Got \'cells\'.': (
        lambda: CubicalFiltration(construction="cells")
    ),
    '`outside` should be "open" or "foreground". Got \'background\'.': (
        lambda: CubicalFiltration(outside="background")
    ),
    "`ndim` should be 2 or 3. Got 1.": lambda: CubicalFiltration(ndim=1),
    "`ndim` should be 2 or 3. Got 4.": lambda: BettiNumbers(ndim=4),
    "`ndim` should be 2. Got 3.": lambda: BettiMatchingError(ndim=3),
    "`images` should have shape (h, w), (b, h, w) or (b, c, h, w). Got (4,).": (
        lambda: CubicalFiltration().pairs(image[0])
    ),
    "`preds` should have shape (h, w), (b, h, w) or (b, c, h, w). Got (4,).": (
        lambda: BettiNumbers().update(image[0])
    ),
    "`images` should have shape (h, w), (b, h, w) or (b, c, h, w). Got (1, 1, 4, 4, 4). "
    "For volumes use `CubicalFiltration(ndim=3)`, with `superlevel=True` for masks.": (
        lambda: CubicalFiltration().pairs(cube[None, None])
    ),
    "`images` should hold at least one image. Got an empty sequence.": (
        lambda: CubicalFiltration().pairs([])
    ),
    "`images` should hold images of one dtype on one device. Got torch.float32 on cpu and "
    "torch.float64 on cpu.": lambda: CubicalFiltration().pairs([image, image.double()]),
    "`images` should have shape (h, w). Got (4,).": (
        lambda: CubicalFiltration().pairs([image, image[0]])
    ),
    "`images` should be finite. Got 1 entry with NaN or infinity, first at entry 1.": (
        lambda: CubicalFiltration().pairs(torch.tensor([[0.0, NAN]]))
    ),
    "`dimension` should be 0 or 1 for a CubicalFiltration with `ndim=2`. Got 2.": (
        lambda: CubicalFiltration().pairs(image, 2)
    ),
    f"`dimension` should be 0 or 2 for volumes. Got 1. {FEW_DIMENSIONS}": (
        lambda: CUBES.pairs(cube, 1)
    ),
    f"`max_dimension` should be 0 for volumes. Got 2. {FEW_DIMENSIONS}": (
        lambda: CUBES.all_pairs(cube, 2)
    ),
    "`images` should have fewer than 2^31 pixels each. Got 2,147,483,648. Crop them.": (
        lambda: CubicalFiltration().pairs(torch.empty(1, 1).expand(1 << 16, 1 << 15))
    ),
    "`source` and `target` should be images of the same shapes. Got (3, 4) and (4, 3).": (
        lambda: betti_matching_loss([image], [image.T])
    ),
    "`source` and `target` should be images of the same shapes. Got (3, 4) and (2, 3, 4).": (
        lambda: betti_matching_loss(image, image.expand(2, 3, 4))
    ),
    "`source` and `target` should be images of the same shapes. Got 1 images and 2.": (
        lambda: betti_matching_loss([image], [image, image])
    ),
    "`source` and `target` should be images of the same shapes. Got (2, 3, 3, 4) and (3, 2, 3, 4)"
    ".": (lambda: betti_matching_loss(image.expand(2, 3, 3, 4), image.expand(3, 2, 3, 4))),
    "`source` and `target` should be images of the same shapes. Got (2, 3, 3, 4) and (2, 3, 4). "
    "Turn class numbers into channels: `one_hot(target, c).movedim(-1, 1)`.": (
        lambda: betti_matching_loss(image.expand(2, 3, 3, 4), image.expand(2, 3, 4))
    ),
    "`target` should hold 0 and 1 if it holds integers. Got 255. Divide masks of 0 and 255 by 255. "
    "Turn class numbers into channels: `one_hot(target, c).movedim(-1, 1)`.": (
        lambda: diagram_matching_loss(image, 255 * (image > -1).byte())
    ),
    f"`dimensions` should be 0 or 2 for volumes. Got 1. {IN_LOSSES}": (
        lambda: diagram_matching_loss(cube, cube, filtration=CUBES)
    ),
    "`preds` and `target` should be images of the same shapes. Got (3, 4) and (4, 3).": (
        lambda: BettiError().update(image, image.T)
    ),
    "`source` should have shape (b, c, ...) with two channels or more under "
    "`include_background=False`. Got (3, 4).": (
        lambda: diagram_matching_loss(image, image, include_background=False)
    ),
    "`source` should have shape (b, c, ...) with two channels or more under "
    "`include_background=False`. Got (2, 1, 3, 4).": (
        lambda: betti_matching_loss(
            image.expand(2, 1, 3, 4), image.expand(2, 1, 3, 4), include_background=False
        )
    ),
    "`filtration` should have `ndim=2` for Betti matching. Got `ndim=3`. For volumes use "
    "`diagram_matching_loss` in the dimensions (0, 2).": (
        lambda: betti_matching_loss(cube, cube, filtration=CUBES, dimensions=(0,))
    ),
    "`order` should be 1 or 2. Got 3.": lambda: diagram_matching_loss(image, image, order=3),
    "`pairs` and `target_pairs` should be of the same dimensions. Got [0] and [1].": (
        lambda: diagram_matching_loss(
            image, image, pairs=SUPERLEVEL.pairs(image), target_pairs=SUPERLEVEL.pairs(image, 1)
        )
    ),
    "`betti_numbers` should have one number for each of the dimensions (0, 1). Got (1,).": (
        lambda: betti_prior_loss(image, betti_numbers=(1,))
    ),
    "`pairs` should have 2 dimensions, as many as `betti_numbers`. Got 1.": (
        lambda: betti_prior_loss(image, betti_numbers=(1, 0), pairs=SUPERLEVEL.pairs(image))
    ),
}
IMAGE_TYPES = {
    "`symmetric` should be True or False. Got Tensor.": (
        lambda: rtd(three, three, symmetric=torch.tensor([1, 0]))
    ),
    "`match_norms` should be True or False. Got Tensor.": (
        lambda: deviating_perturbation(three, three, labels, match_norms=labels)
    ),
    "`logits` and other options of BettiMatchingLoss should have their names. Got bool without "
    "one. Data belong to the call of the module.": lambda: BettiMatchingLoss(True),
    "`preds` should be integers. Got torch.complex64.": (
        lambda: BettiNumbers().update(image.to(torch.complex64))
    ),
    "`logits` should be True or False. Got Tensor.": (
        lambda: betti_matching_loss(image, image, logits=image)
    ),
    "`images` should be floating point. Got torch.uint8. Use `.float()`.": (
        lambda: CubicalFiltration().pairs(image.byte())
    ),
    "`filtration` should be a CubicalFiltration. Got RipsFiltration.": (
        lambda: betti_matching_loss(image, image, filtration=RIPS)
    ),
    "`data` should be floating point. Got torch.uint8. Use `.float()`.": (
        lambda: betti_prior_loss([image.byte()], betti_numbers=(1, 0), logits=True)
    ),
    "`source` should be a torch.Tensor. Got int. Convert it with `torch.as_tensor`.": (
        lambda: betti_matching_loss([1], [image], logits=True)
    ),
    "`preds` should be a torch.Tensor. Got ndarray. Convert it with `torch.as_tensor`.": (
        lambda: BettiNumbers().update(image.numpy())
    ),
}
CURE = (
    " Choose landmarks with `farthest_point_sampling`, filter a graph of nearest neighbours with "
    '`FlagFiltration`, or find dimension 0 of points with `RipsFiltration(engine="tiled")`.'
)
MEMORY = {
    "`images` should be small enough that their pairs fit into memory. Got 4,194,304 pixels, which "
    "need at least 0.537 GB; 0.3 GB are free. Split the batch, or crop the images.": (
        lambda: with_little_memory(
            lambda: CubicalFiltration().pairs(torch.empty(1, 1).expand(1 << 11, 1 << 11))
        )
    ),
    "`points` should be few enough for giotto-ph. Its process ended with exit code 1. Choose "
    'landmarks with `farthest_point_sampling`, or use `engine="gudhi"`.': (
        lambda: _giotto._server.answer({"no such option": 0})
    ),
    "`points` should be few enough that their distances fit into memory. Got 10,000 vertices, "
    f"which need at least 0.4 GB; 0.3 GB are free.{CURE}": (
        lambda: with_little_memory(lambda: RIPS.pairs(many[:10_000]))
    ),
    "`points` should be few enough that their distances fit into memory. Got 6 vertices in 2 "
    f"clouds, which may need 7.2e-08 GB; an allocation failed.{CURE}": (
        lambda: without_memory(lambda: rtd_lite([three, three], [three, three]))
    ),
}
CASES = [
    *(
        (ValueError, text, call)
        for text, call in itertools.chain(
            SHAPES.items(),
            VALUES.items(),
            DEVICES.items(),
            OPTIONS.items(),
            GRAPHS.items(),
            OTHERS.items(),
            IMAGES.items(),
        )
    ),
    *((TypeError, text, call) for text, call in (TYPES | IMAGE_TYPES).items()),
    *((MemoryError, text, call) for text, call in MEMORY.items()),
]


@pytest.mark.parametrize(("kind", "text", "call"), CASES, ids=[text[:70] for _, text, _ in CASES])
def test_text(kind, text, call):
    with refused(kind, text):
        call()


two_and_one, one_and_two = [three[:2], three[2:]], [three[:1], three[1:]]
two_and_one_pairs, divided_labels = RIPS.pairs(two_and_one), [labels[:1], labels[1:]]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("points", lambda pairs: persistence_tracks(one_and_two, pairs)),
        ("points", lambda pairs: RIPS.diagram(pairs, one_and_two)),
        ("source", lambda pairs: track_coincidence(one_and_two, one_and_two, pairs=pairs)),
        ("labels", lambda pairs: pairs.between(divided_labels)),
    ],
)
def test_clouds_divided_otherwise_than_their_pairs_are_named(name, call):
    with refused(
        ValueError,
        f"`pairs` and `{name}` should be of clouds of the same sizes. Got (2, 1) and (1, 2). "
        "Do they belong to the same batch?",
    ):
        call(two_and_one_pairs)


def test_the_pairs_of_the_spaces_of_a_signature_are_of_the_same_clouds():
    with refused(
        ValueError,
        "`pairs` and `target` should be of clouds of the same sizes. Got (2, 1) and (1, 2). "
        "Do they belong to the same batch?",
    ):
        signature_loss(one_and_two, one_and_two, pairs=two_and_one_pairs)


def test_labels_are_divided_as_the_points():
    batch = torch.eye(6).view(2, 3, 6)
    divided = torch.tensor([[0, 0, 1], [0, 1, 1]])
    joined = [deviating_perturbation(x, x + 1, one) for x, one in zip(batch, divided, strict=True)]
    assert_close(
        deviating_perturbation(batch, batch + 1, divided, reduction="none"), torch.stack(joined)
    )
    for wrong, sizes in ((divided.T, (2, 2, 2)), (divided.flatten(), (6,))):
        with refused(
            ValueError,
            "`labels` and `source` should be of clouds of the same sizes. "
            f"Got {sizes} and (3, 3). Do they belong to the same batch?",
        ):
            deviating_perturbation(batch, batch, wrong)
        with refused(
            ValueError,
            "`pairs` and `labels` should be of clouds of the same sizes. "
            f"Got (3, 3) and {sizes}. Do they belong to the same batch?",
        ):
            RIPS.pairs(batch).between(wrong)


def test_labels_of_clouds_of_other_sizes_are_refused():
    with refused(
        ValueError,
        "`labels` and `source` should be of clouds of the same sizes. "
        "Got (1, 2) and (2, 1). Do they belong to the same batch?",
    ):
        deviating_perturbation(two_and_one, two_and_one, divided_labels)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_strided_nested_tensors_are_refused_too():
    nested = torch.nested.nested_tensor([three, three])
    for call in (pairwise_distances, PRECOMPUTED.pairs, RIPS.pairs):
        with pytest.raises(ValueError, match=r"should be dense\. Got a nested tensor\."):
            call(nested)
    nested = torch.nested.nested_tensor([labels[:2], labels[2:]])
    for call in (
        pairs.between,
        lambda labels: deviating_perturbation(three, three, labels, pairs=pairs),
    ):
        with pytest.raises(ValueError, match=r"`labels` should be dense\. Got a nested tensor\."):
            call(nested)


@pytest.mark.parametrize(
    "call",
    [
        lambda: ConnectivityLoss(filtration=(0, 1), scale=1.0),
        lambda: DeviatingPerturbation(filtration=(0, 1)),
        lambda: HomologyConsistency(filtration=(0, 1), perturbation_weight=1.0),
        lambda: PersistenceEntropy(filtration=(0, 1)),
        lambda: RTD(filtration=(0, 1)),
        lambda: RTDLite(filtration=(0, 1)),
        lambda: SignatureLoss(filtration=(0, 1)),
        lambda: TotalPersistence(filtration=(0, 1)),
        lambda: TrackCoincidence(filtration=(0, 1)),
        lambda: persistence_entropy(three, filtration=(0, 1)),
        lambda: total_persistence(three, pairs=pairs, filtration=(0, 1)),
    ],
)
def test_another_option_in_the_place_of_a_filtration(call):
    with pytest.raises(TypeError, match=r"^`filtration` should be a filtration .* Got tuple\."):
        call()


class Duck:
    """Has the methods of a filtration, but is not one."""

    def pairs(self, data, dimension=0):
        return RIPS.pairs(data, dimension)

    def all_pairs(self, data, max_dimension):
        return RIPS.all_pairs(data, max_dimension)

    def diagram(self, pairs, data):
        return RIPS.diagram(pairs, data)


EVERY_MODULE = [
    TrackCoincidence,
    DeviatingPerturbation,
    partial(HomologyConsistency, perturbation_weight=1.0),
    partial(ConnectivityLoss, scale=1.0),
    TotalPersistence,
    PersistenceEntropy,
    SignatureLoss,
    RTD,
    RTDLite,
    BettiMatchingLoss,
    DiagramMatchingLoss,
    partial(BettiPriorLoss, betti_numbers=(1, 0)),
]


@pytest.mark.parametrize("wrong", [pairs, PersistencePairs, RipsFiltration, Duck, Duck()])
@pytest.mark.parametrize("module", EVERY_MODULE)
def test_what_is_not_a_filtration_is_refused(module, wrong):
    with pytest.raises(TypeError, match=r"^`filtration` should be a filtration such as "):
        module(filtration=wrong)


def test_what_is_not_a_filtration_is_refused_where_pairs_are_given():
    for wrong in (pairs, PersistencePairs, Duck()):
        with pytest.raises(TypeError, match=r"^`filtration` should be a filtration such as "):
            total_persistence(three, pairs=pairs, filtration=wrong)


CHOICES = {
    "orientation": ('"index" or "aligned"', "upwards"),
    "undefined": ('"skip" or "zero"', "drop"),
    "related": ('"endpoints" or "all"', "none"),
    "reduction": ('"mean", "sum" or "none"', "add"),
}
LOSSES = {
    "orientation": (track_coincidence, TrackCoincidence, HomologyConsistency),
    "undefined": (
        track_coincidence,
        TrackCoincidence,
        deviating_perturbation,
        DeviatingPerturbation,
        homology_consistency,
        HomologyConsistency,
    ),
    "related": (deviating_perturbation, DeviatingPerturbation, HomologyConsistency),
    "reduction": (
        track_coincidence,
        TrackCoincidence,
        deviating_perturbation,
        DeviatingPerturbation,
        homology_consistency,
        HomologyConsistency,
    ),
}


def call_loss(loss, **options):
    """Make the module, or call the function on good arguments."""
    if loss in (HomologyConsistency, homology_consistency):
        options["perturbation_weight"] = 1.0
    if isinstance(loss, type):
        return loss(**options)
    with_labels = () if loss is track_coincidence else (labels,)
    return loss(three, three, *with_labels, pairs=pairs, **options)


@pytest.mark.parametrize(
    ("name", "loss"), [(name, loss) for name, losses in LOSSES.items() for loss in losses]
)
def test_every_loss_refuses_unknown_options_at_once(name, loss):
    listed, wrong = CHOICES[name]
    with refused(ValueError, f"`{name}` should be {listed}. Got {wrong!r}."):
        call_loss(loss, **{name: wrong})


@pytest.mark.parametrize("module", EVERY_MODULE)
def test_every_module_refuses_an_unknown_reduction_at_once(module):
    with refused(ValueError, '`reduction` should be "mean", "sum" or "none". Got \'add\'.'):
        module(reduction="add")


@pytest.mark.parametrize("loss", LOSSES["reduction"])
@pytest.mark.parametrize("eps", [-1e-9, NAN])
def test_every_loss_refuses_a_negative_eps_at_once(loss, eps):
    with refused(ValueError, f"`eps` should be at least 0. Got {eps}."):
        call_loss(loss, eps=eps)


def test_good_arguments_are_not_refused():
    for loss in LOSSES["reduction"]:
        call_loss(loss)


# Checks of values can be switched off, those of shapes cannot


@pytest.mark.parametrize(
    ("metric", "points"),
    [
        ("euclidean", points_with((4, NAN))),
        ("cosine", torch.zeros(2, 2)),
        ("precomputed", matrix_with((0, 1, 5.0))),
        (lambda x, y: -x @ y.T, three),
    ],
)
def test_unchecked_values_are_not_refused(metric, points):
    filtration = RipsFiltration(metric=metric, check_values=False)
    assert filtration.pairs(points).cloud_sizes == (len(points),)
    assert TotalPersistence(filtration=filtration)(points).shape == ()


@pytest.mark.parametrize("weights", [[NAN, 1.0], [1.0, -1.0]])
def test_unchecked_weights_are_not_refused(weights):
    filtration = FlagFiltration(path, 3, check_values=False)
    assert filtration.pairs(torch.tensor(weights)).cloud_sizes == (3,)
    with pytest.raises(ValueError, match=r"^`data` should be "):
        FLAG.pairs(torch.tensor(weights))


def test_shapes_are_checked_without_values():
    with refused(ValueError, "`points` should have shape (n, d). Got (5,)."):
        RipsFiltration(check_values=False).pairs(torch.ones(5))
    with refused(ValueError, "`points` should be a square matrix (n, n). Got (2, 3)."):
        RipsFiltration(metric="precomputed", check_values=False).pairs(three[:2])


@pytest.mark.parametrize(
    "search",
    [
        RIPS.pairs,
        PRECOMPUTED.pairs,
        minimum_spanning_tree,
        lambda x: rtd(x, x),
        lambda x: rtd_lite(x, x),
        lambda x: signature_loss(x, x, normalize=1.0),
        lambda x: track_coincidence(x, x),
    ],
)
def test_every_search_inside_vmap_is_refused(search):
    matrices = torch.stack([matrix_with(), 2 * matrix_with()])
    with pytest.raises(ValueError, match=r"should not come from `torch\.func\.vmap` where pairs"):
        torch.func.vmap(search)(matrices)


# None is left out


def raises_in(path):
    """Line ranges of the ``raise`` statements of a file, re-raised errors apart."""
    tree = ast.parse(path.read_text())
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Raise) and isinstance(n.exc, ast.Call)]
    return {(path.name, node.lineno, node.end_lineno) for node in found}


def test_every_raise_of_the_library_has_a_case():
    package = pathlib.Path(topreg.__file__).parent
    # their own tests do this
    elsewhere = {package / "distributed.py", package / "__init__.py", *package.glob("plot/*.py")}
    stated = set().union(*map(raises_in, set(package.rglob("*.py")) - elsewhere))
    assert len(stated) > 20
    seen = set()
    for kind, _, call in CASES:
        with pytest.raises(kind, match=r"^`") as caught:
            call()
        last = traceback.extract_tb(caught.value.__traceback__)[-1]
        seen.add((pathlib.Path(last.filename).name, last.lineno))
    missed = {
        (name, first)
        for name, first, last in stated
        if not any(name == file and first <= line <= last for file, line in seen)
    }
    assert missed == set()


def test_only_built_in_classes_are_raised_and_nothing_is_asserted():
    package = pathlib.Path(topreg.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not isinstance(node, ast.Assert), path
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                built_in = {"ValueError", "TypeError", "MemoryError"}
                if path.name == "__init__.py":  # which Python asks for attributes
                    built_in.add("AttributeError")
                assert node.exc.func.id in built_in, path


@pytest.mark.parametrize(
    "module", [DeviatingPerturbation(), HomologyConsistency(perturbation_weight=1)]
)
def test_no_pairs_are_refused_by_every_module(module):
    with pytest.raises(ValueError, match="`pairs` should hold one PersistencePairs for each"):
        module(three, three, labels, pairs=[])
