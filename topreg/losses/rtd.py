"""Representation topology divergence on the doubled complex."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from topreg import _checks
from topreg._clouds import Clouds, cloud_of, numbers, starts
from topreg._repr import constructor_call
from topreg._safe import safe_power
from topreg.losses import _common, _spaces
from topreg.metrics import Metric, check_metric
from topreg.persistence import MOST_VERTICES


def rtd(
    source: Clouds,
    target: Clouds,
    *,
    dimensions: Sequence[int] = (1,),
    symmetric: bool = True,
    normalize: bool = False,
    power: float = 1.0,
    metric: Metric = "euclidean",
    reduction: str = "mean",
) -> Tensor:
    r"""Total :term:`persistence` of what one space has and its union with the other has not.

    .. math::

        \frac{1}{2} \bigl( R(A, B) + R(B, A) \bigr), \qquad
        R(A, B) = \sum_{\mu \in \Gamma_1(M)} (a_d - a_b)^q, \qquad
        M = \begin{pmatrix} 0 & A \\ A & \min(A, B) \end{pmatrix}

    The flag complex of M has every vertex twice. In dimension 1 it has the homology of the mapping
    cone of the inclusion of the complex of A into that of :math:`\min(A, B)`: R is 0 where that
    joins no components of A and brings no loop that A does not have. Row i of ``source`` and row i
    of ``target`` are the same vertex; widths may differ, scales should not: see ``normalize``.

    Args:
        source: Point cloud with the distances A.
        target: Point cloud with the distances B.
        dimensions: Homology dimensions of the doubled complex whose sums are added, from 1 on:
            dimension 1 compares components, and loops of the union that A does not have. From 2 on
            M follows the authors' code and is no mapping cone: it may miss classes.
        symmetric: The mean of both directions as above; else R(A, B).
        normalize: Divide the distances of each cloud by the largest, which takes part in the
            gradient; a cloud of coincident points is divided by 1.
        power: q, positive.
        metric: As in :func:`~topreg.pairwise_distances`.
        reduction: ``"mean"`` over the clouds, ``"none"`` one value a cloud.

    Returns:
        The divergence, in the q-th power of the units of the metric, or dimensionless if
        normalised; 0 for fewer than two points.

    Raises:
        TypeError: If one of them alone is in double precision.
        ValueError: If the clouds do not belong to the same vertices or have NaN or infinity, a
            dimension is 0 or not available, an option is unknown, or a cloud has 32,768 points or
            more.
        MemoryError: If the distance matrices take more memory than is free.

    Shape:
        - source: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - target: the same with another width.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``: of an edge of the union the shorter length
        takes part. Pairs of 2n vertices; the matrices take :math:`O(n^2)`, autograd keeps
        :math:`O(m d)`.

    Source:
        Barannikov et al., Representation topology divergence, ICML 2022; as a loss Trofimov et al.,
        Learning topology-preserving data representations, ICLR 2023, with the block of zeros of
        their code. The first paper sums dimension 1 and normalises by the 0.9-quantile of the
        distances: divide the points by it.

    Example:
        >>> import torch
        >>> from topreg import rtd
        >>> source = torch.tensor([[0.0], [1.0], [3.0]])
        >>> target = torch.tensor([[0.0], [3.0], [1.0]])
        >>> rtd(source, target)
        tensor(1.)
    """
    check_options(dimensions, power, reduction)
    x, y = _spaces.two_spaces(source, target, metric, normalize)
    most = MOST_VERTICES // 2  # the doubled complex has every vertex twice
    if max(x.sizes, default=0) >= most:
        raise ValueError(
            f"`source` should have fewer than {most:,} points. Got {max(x.sizes):,}. "
            "Choose landmarks with `farthest_point_sampling`, or use `rtd_lite`."
        )
    x.check_room(9 if normalize else 7)  # A and B, divided too, the smaller of both, and M
    one, other = x.weights(), y.weights()
    union = list(map(torch.minimum, one, other))

    def divergence(own: list[Tensor], space: _spaces.Space) -> Tensor:
        doubled = [_doubled(a, both) for a, both in zip(own, union, strict=True)]
        terms = []
        for pairs in _spaces.pairs_of(doubled, dimensions, x.rows):
            birth, death = (
                _entries(edges, space, x, y) for edges in (pairs.birth_edges, pairs.death_edges)
            )
            lives = (death - birth).clamp(min=0)  # measured again, equal ones may cross by rounding
            terms.append(_common.over_clouds(safe_power(lives, power), pairs, reduction))
        return torch.stack(terms).sum(0)

    total = divergence(one, x)
    return (total + divergence(other, y)) / 2 if symmetric else total


def _doubled(a: Tensor, union: Tensor) -> Tensor:
    """The matrix M (2n, 2n): a copy of the vertices without distances, joined to the union by A."""
    return torch.cat([torch.cat([torch.zeros_like(a), a], 1), torch.cat([a, union], 1)])


def _vertices(edges: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Vertices (m, 2) behind edges of doubled clouds, and how many ends (m,) are of the union."""
    doubled = [2 * n for n in sizes]
    cloud = cloud_of(edges[:, 0], doubled)
    size, first = numbers(sizes, edges), numbers(starts(sizes), edges)
    local = edges - 2 * first[cloud][:, None]
    second = local >= size[cloud][:, None]
    vertices = local - second * size[cloud][:, None] + first[cloud][:, None]
    return vertices, second.sum(1)


def _entries(edges: Tensor, own: _spaces.Space, x: _spaces.Space, y: _spaces.Space) -> Tensor:
    """Entries of M: 0 among the copies, A between the two parts, the smaller one in the union."""
    vertices, copies = _vertices(edges, x.sizes)
    between, both = own.lengths(vertices), torch.minimum(x.lengths(vertices), y.lengths(vertices))
    return torch.where(copies == 0, 0.0, torch.where(copies == 1, between, both))


def check_options(dimensions: Sequence[int], power: float, reduction: str) -> None:
    """Refuse dimension 0, and options that are none."""
    _common.check_dimensions(dimensions)
    if 0 in dimensions:
        raise ValueError(f"`dimensions` should be 1 or above. Got {tuple(dimensions)}.")
    _checks.is_positive("power", power)
    _checks.is_option("reduction", reduction, _common.REDUCTIONS)


class RTD(nn.Module):
    """Module form of :func:`rtd`.

    Args:
        dimensions: :term:`Homology dimensions <homology dimension>`, as in the function.
        symmetric: As in the function.
        normalize: As in the function.
        power: As in the function.
        metric: As in the function.
        reduction: As in the function.

    Example:
        >>> import torch
        >>> from topreg import RTD
        >>> RTD()(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [3.0], [1.0]]))
        tensor(1.)
    """

    def __init__(
        self,
        *,
        dimensions: Sequence[int] = (1,),
        symmetric: bool = True,
        normalize: bool = False,
        power: float = 1.0,
        metric: Metric = "euclidean",
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        check_options(dimensions, power, reduction)
        check_metric(metric)
        self.dimensions = tuple(dimensions)
        self.symmetric = symmetric
        self.normalize = normalize
        self.power = power
        self.metric = metric
        self.reduction = reduction

    def forward(self, source: Clouds, target: Clouds) -> Tensor:
        """The divergence of two clouds, or batches of clouds, on the same vertices."""
        return rtd(
            source, target, dimensions=self.dimensions, symmetric=self.symmetric,
            normalize=self.normalize, power=self.power, metric=self.metric,
            reduction=self.reduction,
        )  # fmt: skip

    def __repr__(self) -> str:
        """The call that makes an equal module."""
        return constructor_call(self)
