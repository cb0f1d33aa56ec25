"""RTD-Lite: how much shorter trees become when two graphs are joined."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from topreg import _checks
from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs
from topreg._repr import constructor_call
from topreg.losses import _common, _spaces
from topreg.metrics import Metric, check_metric


def rtd_lite(
    source: Clouds,
    target: Clouds,
    *,
    symmetric: bool = True,
    normalize: bool = False,
    metric: Metric = "euclidean",
    reduction: str = "mean",
) -> Tensor:
    r"""Difference between the trees of two spaces and the tree of their smaller distances.

    .. math::

        \frac{1}{2} \bigl( w(A) + w(B) \bigr) - w(\min(A, B)), \qquad
        w(D) = \min_{T \text{ spans } V} \sum_{(i, j) \in T} D_{ij}

    w is the length of the :term:`minimum spanning tree`. The difference is 0 where both spaces have
    the same components at every scale. Row i of ``source`` and row i of ``target`` are the same
    vertex; widths may differ, scales should not: see ``normalize``.

    Args:
        source: :term:`Point cloud` with the distances A.
        target: Point cloud with the distances B.
        symmetric: The mean of both directions as above; else :math:`w(A) - w(\min(A, B))`.
        normalize: Divide the distances of each cloud by the largest, which takes part in the
            gradient; a cloud of coincident points is divided by 1.
        metric: As in :func:`~topreg.pairwise_distances`.
        reduction: ``"mean"`` over the clouds, ``"none"`` one value a cloud.

    Returns:
        The loss, not negative up to rounding, in the units of the metric, or dimensionless if
        normalised; 0 for fewer than two points.

    Raises:
        TypeError: If one of them alone is in double precision.
        ValueError: If the clouds do not belong to the same vertices or have NaN or infinity, or an
            option is unknown.
        MemoryError: If the distance matrices take more memory than is free.

    Shape:
        - source: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - target: the same with another width.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``: of an edge of the third tree the shorter length
        takes part. Three spanning trees, time :math:`O(n^2 d)`; autograd keeps :math:`O(n d)`.

    Source:
        Tulchinskii et al., RTD-Lite: scalable topological analysis for comparing weighted graphs in
        learning tasks, AISTATS 2025. They normalise by the 0.9-quantile of the distances: divide
        the points by it.

    Example:
        >>> import torch
        >>> from topreg import rtd_lite
        >>> source = torch.tensor([[0.0], [1.0], [3.0]])
        >>> target = torch.tensor([[0.0], [3.0], [1.0]])
        >>> rtd_lite(source, target)  # trees of length 3, 3 and 1 + 1
        tensor(1.)
    """
    _checks.is_option("reduction", reduction, _common.REDUCTIONS)
    x, y = _spaces.two_spaces(source, target, metric, normalize)
    x.check_room(5 if normalize else 3)  # A and B, divided too, and the smaller of both
    one, other = x.weights(), y.weights()

    def tree_of(matrices: list[Tensor]) -> PersistencePairs:
        return _spaces.pairs_of(matrices, [0], x.rows)[0]

    tree = tree_of(one)
    total = _common.over_clouds(x.lengths(tree.death_edges), tree, reduction)
    if symmetric:
        tree = tree_of(other)
        length = _common.over_clouds(y.lengths(tree.death_edges), tree, reduction)
        total = (total + length) / 2
    tree = tree_of(list(map(torch.minimum, one, other)))
    shorter = torch.minimum(x.lengths(tree.death_edges), y.lengths(tree.death_edges))
    return total - _common.over_clouds(shorter, tree, reduction)


class RTDLite(nn.Module):
    """Module form of :func:`rtd_lite`.

    Args:
        symmetric: As in the function.
        normalize: As in the function.
        metric: Of both :term:`point clouds <point cloud>`, as in the function.
        reduction: As in the function.

    Example:
        >>> import torch
        >>> from topreg import RTDLite
        >>> RTDLite()(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [3.0], [1.0]]))
        tensor(1.)
    """

    def __init__(
        self,
        *,
        symmetric: bool = True,
        normalize: bool = False,
        metric: Metric = "euclidean",
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        check_metric(metric)
        _checks.is_option("reduction", reduction, _common.REDUCTIONS)
        self.symmetric = symmetric
        self.normalize = normalize
        self.metric = metric
        self.reduction = reduction

    def forward(self, source: Clouds, target: Clouds) -> Tensor:
        """The loss of two clouds, or batches of clouds, on the same vertices."""
        return rtd_lite(
            source, target, symmetric=self.symmetric, normalize=self.normalize, metric=self.metric,
            reduction=self.reduction,
        )  # fmt: skip

    def __repr__(self) -> str:
        """The call that makes an equal module."""
        return constructor_call(self)
