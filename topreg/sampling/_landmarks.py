"""Landmarks: a few points that represent a large cloud, and their distance to the others."""

from typing import NamedTuple

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, have_one_size, join, join_matrices
from topreg._safe import plain_tensor, power_of_two
from topreg.metrics import Metric, at_least_single, prepare
from topreg.metrics._metric import by_callable, check_metric


class Landmarks(NamedTuple):
    """Landmarks of each :term:`point cloud`, and how well they cover it.

    Args:
        indices: Vertices of the landmarks, ascending, numbered cloud after cloud.
        cover_radius: For each cloud the largest distance of a point to its nearest landmark.

    Shape:
        - indices: :math:`(b k,)`, int64; cover_radius: :math:`(b,)`.

    Example:
        >>> import torch
        >>> from topreg import farthest_point_sampling
        >>> landmarks = farthest_point_sampling(torch.tensor([[0.0], [1.0], [5.0], [6.0]]), 2)
        >>> landmarks.indices
        tensor([0, 3])
    """

    indices: Tensor
    cover_radius: Tensor


@torch.no_grad()
def farthest_point_sampling(
    points: Clouds, count: int, *, metric: Metric = "euclidean", start: int = 0
) -> Landmarks:
    r"""Choose landmarks one after the other, each the point farthest from those before it.

    .. math::

        l_{k+1} = \arg\max_i \min_{j \le k} d(x_i, x_{l_j}), \qquad
        r = \max_i \min_{j} d(x_i, x_{l_j})

    If d is a metric, the :term:`persistence diagram` of the landmarks lies within bottleneck
    distance :math:`2 r` of the diagram of the full cloud, in every dimension. The cosine distance
    is not a metric.

    Args:
        points: Point clouds, or distance matrices with ``metric="precomputed"``.
        count: Number k of landmarks of each cloud.
        metric: ``"euclidean"``, ``"cosine"``, ``"manhattan"``, a callable
            ``f(x, y) -> (len(x), len(y))``, or ``"precomputed"``.
        start: Vertex of each cloud that is its first landmark.

    Returns:
        The landmarks, and the cover radius r of each cloud in the units of the metric. Among
        points equally far away the one with the smallest number is chosen.

    Raises:
        TypeError: If ``points`` are not floating point.
        ValueError: If shapes do not fit, the metric is unknown, or a cloud has fewer than ``count``
            points or no vertex ``start``.

    Shape:
        - points: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`; matrices
          likewise with d = n.
        - indices: :math:`(b k,)`, int64; cover_radius: :math:`(b,)`.

    Note:
        The result has no gradient. Time :math:`O(k n d)`, memory :math:`O(n d)`, on the device of
        the points; values are neither checked nor read back. Clouds of one size are sampled
        together. :meth:`PersistencePairs.renumber` converts pairs of the landmarks to vertices of
        the full cloud.

    Source:
        Gonzalez, Clustering to minimize the maximum intercluster distance, 1985. The bound: Chazal,
        de Silva and Oudot, Persistence stability for geometric complexes, 2014, theorem 5.2.

    Example:
        >>> import torch
        >>> from topreg import RipsFiltration, farthest_point_sampling
        >>> angles = torch.arange(1000) * (2 * torch.pi / 1000)
        >>> circle = torch.stack([angles.cos(), angles.sin()], dim=1)
        >>> indices, cover_radius = farthest_point_sampling(circle, 64)
        >>> loops = RipsFiltration().pairs(circle[indices], 1).renumber(indices, (1000,))
        >>> loops
        PersistencePairs(dimension=1, pairs=1, essential=0, cloud_sizes=(1000,))
    """
    check_metric(metric)
    given = metric == "precomputed"
    values, sizes = join_matrices(points) if given else join(points)
    count, start = _check_numbers(count, start, sizes)
    exact = given or callable(metric)
    values = at_least_single(values) if exact else prepare(values, str(metric))
    groups = [(len(sizes), sizes[0])] if have_one_size(sizes) else [(1, n) for n in sizes]
    rows = [b * n * (n if given else 1) for b, n in groups]
    parts, vertex = [], 0
    batches = values.split(rows) if len(rows) != 1 else [values]
    for batch, (b, n) in zip(batches, groups, strict=True):
        clouds = batch.view(b, n, n if given else batch.shape[1])
        chosen, cover = _sample(clouds, count, metric, start)
        first = torch.arange(vertex, vertex + b * n, n, device=batch.device)
        parts.append(((chosen + first[:, None]).flatten(), cover))
        vertex += b * n
    indices, radius = (torch.cat(same) for same in zip(*parts, strict=True))
    return Landmarks(plain_tensor(indices), plain_tensor(radius))


def _sample(clouds: Tensor, count: int, metric: Metric, start: int) -> tuple[Tensor, Tensor]:
    """Return landmarks (b, k), ascending, and cover radii (b,) of clouds (b, n, d)."""
    newest = torch.full((len(clouds), 1), start, device=clouds.device)
    chosen, gaps = [newest], clouds.new_full(clouds.shape[:2], torch.inf)
    exact = callable(metric) or metric == "precomputed"
    scale = clouds.new_ones(1) if exact else power_of_two(clouds)
    clouds = clouds / scale  # squares stay in range
    for _ in range(count - 1):
        gaps = _shrunk(gaps, clouds, newest, metric)
        newest = gaps.argmax(1, keepdim=True)
        chosen.append(newest)
    radius = _shrunk(gaps, clouds, newest, metric).amax(1).clamp(min=0) * scale.flatten()
    if metric == "cosine":  # of unit vectors: half of the squared distance
        radius = radius.square() / 2
    return torch.cat(chosen, dim=1).sort(dim=1).values, radius


def _shrunk(gaps: Tensor, clouds: Tensor, newest: Tensor, metric: Metric) -> Tensor:
    """Return distances to the nearest landmark; -1 for landmarks, so that none is chosen twice."""
    landmark = clouds.gather(1, newest[:, :, None].expand(-1, 1, clouds.shape[2]))
    return torch.minimum(gaps, _distances(clouds, landmark, metric)).scatter(1, newest, -1.0)


def _distances(clouds: Tensor, landmark: Tensor, metric: Metric) -> Tensor:
    """Return the distances (b, n) of the points of each cloud to one landmark, by differences."""
    if callable(metric):
        pairs = zip(clouds, landmark, strict=True)
        return torch.stack([by_callable(metric, cloud, one)[:, 0] for cloud, one in pairs])
    if metric == "precomputed":
        return landmark[:, 0]  # a row of the matrix
    gaps = clouds - landmark
    if metric == "manhattan":
        return gaps.abs().sum(2)
    lengths: Tensor = torch.linalg.vector_norm(gaps, dim=2)
    return lengths


def _check_numbers(count: object, start: object, sizes: tuple[int, ...]) -> tuple[int, int]:
    """Return both numbers as int; raise if some cloud has fewer points."""
    smallest = min(sizes, default=0)
    landmarks, first = _checks.natural(count), _checks.natural(start)
    if not 1 <= landmarks <= smallest:
        raise ValueError(
            f"`count` should be between 1 and the {smallest} points of the smallest cloud. "
            f"Got {count!r}."
        )
    if not 0 <= first < smallest:
        raise ValueError(
            f"`start` should be a vertex of every cloud, 0 to {smallest - 1}. Got {start!r}."
        )
    return landmarks, first
