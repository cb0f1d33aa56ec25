"""The minimum spanning tree of a distance matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import join_matrices
from topreg.persistence._dispatch import find_pairs
from topreg.persistence._weights import check_weights


def minimum_spanning_tree(distances: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
    r"""Return the :term:`minimum spanning tree` of a complete graph, given its distance matrix.

    .. math::

        \arg\min_{T \text{ spans } V} \sum_{(i, j) \in T} D_{ij}

    The tree is unique, because edges are ordered by (weight, i, j) with i < j. Zero distances are
    edges. Infinite distances are not, so that the result may be a forest.

    Args:
        distances: Symmetric matrix with a zero diagonal, or several.

    Returns:
        The edges in the total order; for several matrices a list.

    Raises:
        TypeError: If ``distances`` is not a floating-point tensor.
        ValueError: If a matrix is not square, not symmetric, negative, not zero on the diagonal,
            or has NaN.

    Shape:
        - distances: :math:`(n, n)`, :math:`(b, n, n)` or a sequence of :math:`(n_i, n_i)`.
        - Output: :math:`(n - 1, 2)` int64 with i < j, or a list of such tensors.

    Note:
        Time :math:`O(n^2)`, memory :math:`O(n)` in addition to the matrix. The edges have no
        gradient.

    Source:
        Prim 1957; the edges are the death edges in dimension 0.

    Example:
        >>> import torch
        >>> from topreg import minimum_spanning_tree
        >>> minimum_spanning_tree(torch.tensor([[0.0, 1, 3], [1, 0, 2], [3, 2, 0]]))
        tensor([[0, 1],
                [1, 2]])
    """
    with torch.no_grad():
        entries, sizes = join_matrices(distances, "distances")
        _checks.is_readable("distances", entries)
        weights = check_weights(entries, sizes, name="distances", check_values=True)
        (pairs,) = find_pairs(weights, sizes, math.inf, [0])
    if isinstance(distances, Tensor) and distances.ndim == 2:
        return pairs.death_edges
    return [cloud.death_edges for cloud in pairs.split()]
