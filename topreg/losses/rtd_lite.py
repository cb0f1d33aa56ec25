"""RTD-Lite: compare minimum spanning trees of two spaces."""

import math

import torch
from torch import Tensor

from topreg._clouds import Clouds
from topreg._module import checked
from topreg._pairs import PersistencePairs
from topreg.filtrations import RipsFiltration
from topreg.filtrations._rips import Space
from topreg.losses import _common
from topreg.losses._common import Loss
from topreg.persistence import find_pairs


@checked(_common.OF_RIPS)
def rtd_lite(
    source: Clouds,
    target: Clouds,
    *,
    filtration: RipsFiltration | None = None,
    target_filtration: RipsFiltration | None = None,
    symmetric: bool = True,
    normalize: float | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Compare the minimum spanning trees of two spaces with that of their smaller distances.

    .. math::

        \frac{1}{2} \bigl( w(A) + w(B) \bigr) - w(\min(A, B)), \qquad
        w(D) = \min_{T \text{ spans } V} \sum_{(i, j) \in T} D_{ij}

    Here w is the length of the :term:`minimum spanning tree`. The difference is 0 if both spaces
    have the same components at every scale. Row i of ``source`` and row i of ``target`` are the
    same vertex. Their widths may differ. If their scales differ, pass ``normalize``.

    If A lacks edges, it may never join some components. Then their edges in the third tree have no
    counterpart, and are not subtracted from w(A); likewise for B.

    Args:
        source: Point cloud, or distance matrix, with the distances A.
        target: Point cloud, or distance matrix, with the distances B.
        filtration: The :class:`~topreg.RipsFiltration` that measures A; the default one if left
            out.
        target_filtration: Measures B; ``filtration`` if left out.
        symmetric: Whether to return the mean of both directions, or only
            :math:`w(A) - w(\min(A, B))`.
        normalize: Divide the distances of each space by this quantile of all distances of their
            :term:`point cloud`. 1.0 is the largest distance, 0.9 the published protocol. The
            gradient includes the quantile. A cloud of coincident points is divided by 1.
        reduction: ``"none"`` gives one value per cloud, ``"mean"`` and ``"sum"`` reduce them.

    Returns:
        The loss, non-negative up to rounding, in the units of the metric, or dimensionless if
        normalised. A cloud of fewer than two points has the value 0.

    Raises:
        TypeError: If only one space is in double precision, or a filtration is not a
            RipsFiltration.
        ValueError: If the clouds do not belong to the same vertices or have NaN or infinity, or an
            option is unknown.
        MemoryError: If the distance matrices take more memory than is free.

    Shape:
        - source: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - target: like ``source``; d may differ.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``. An edge of the third tree has the gradient of
        the shorter of its two lengths. Time :math:`O(n^2 d)` for the three trees; autograd keeps
        :math:`O(n d)`.

    Source:
        Tulchinskii et al., RTD-Lite: scalable topological analysis for comparing weighted graphs in
        learning tasks, AISTATS 2025.

    Example:
        >>> import torch
        >>> from topreg import rtd_lite
        >>> source = torch.tensor([[0.0], [1.0], [3.0]])
        >>> target = torch.tensor([[0.0], [3.0], [1.0]])
        >>> rtd_lite(source, target)  # trees of length 3, 3 and 1 + 1
        tensor(1.)
    """
    x, y = _common.two_spaces(source, target, filtration, target_filtration)
    x.check_room(3 if normalize is None else 5)  # A and B, divided too, and the smaller of both
    for space in (x, y):
        space.normalize(normalize)
    one, other = x.distances(), y.distances()
    union = torch.minimum(one, other)
    total = _merged(x, one, union, y)
    if symmetric:
        total = (total + _merged(y, other, union, x)) / 2
    tree = _tree(union, x.sizes)
    shorter = torch.minimum(x.lengths(tree.death_edges), y.lengths(tree.death_edges))
    return _common.reduce_values(total - _common.sums(shorter, tree), reduction)


def _merged(own: Space, entries: Tensor, union: Tensor, other: Space) -> Tensor:
    """Return the length of a space's forest and of the union's edges that join its trees, (b,)."""
    sizes = own.sizes
    forest = _tree(entries, sizes)
    total = _common.sums(own.lengths(forest.death_edges), forest)
    if torch.compiler.is_compiling():  # where numbers of edges are not known yet
        whole = not own.precomputed and own.filtration.max_edge_length == math.inf
    else:
        whole = len(forest.essential_edges) <= sum(map(bool, sizes))
    if whole:
        return total
    joined = _tree(torch.where(entries.isfinite(), 0.0, union), sizes)
    lengths = other.lengths(joined.death_edges)
    apart = own.lengths(joined.death_edges).isinf()
    return total + _common.sums(torch.where(apart, lengths, 0.0), joined)


def _tree(entries: Tensor, sizes: tuple[int, ...]) -> PersistencePairs:
    """Find the pairs of dimension 0; their death edges are the spanning forest."""
    with torch.no_grad():
        return find_pairs(entries, sizes, math.inf, [0])[0]


class RTDLite(Loss, function=rtd_lite):
    """Module form of :func:`rtd_lite`.

    Example:
        >>> import torch
        >>> from topreg import RTDLite
        >>> RTDLite()(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [3.0], [1.0]]))
        tensor(1.)
    """

    filtration: RipsFiltration | None = None
    target_filtration: RipsFiltration | None = None
    symmetric: bool = True
    normalize: float | None = None
