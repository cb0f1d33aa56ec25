"""Entropy of the persistences."""

from collections.abc import Sequence

import torch
from torch import Tensor

from topreg._clouds import Clouds
from topreg._module import checked
from topreg._pairs import PersistencePairs
from topreg.filtrations import Filtration
from topreg.losses import _common
from topreg.losses._common import CHECKS, Loss, Pairs


@checked(CHECKS)
def persistence_entropy(
    points: Clouds,
    *,
    pairs: Pairs | None = None,
    filtration: Filtration | None = None,
    dimensions: Sequence[int] = (0,),
    reduction: str = "mean",
) -> Tensor:
    r"""Measure how evenly the :term:`persistence` of a cloud is spread over its classes.

    .. math::

        -\sum_\mu \frac{l_\mu}{L} \log \frac{l_\mu}{L}, \qquad l_\mu = |a_d - a_b|,
        \quad L = \sum_\mu l_\mu

    Args:
        points: Point cloud, or other data of the filtration.
        pairs: :term:`Persistence pairs <persistence pair>` found before, one object or one per
            dimension.
        filtration: Finds the pairs and measures births and deaths;
            :class:`~topreg.RipsFiltration` if left out.
        dimensions: :term:`Homology dimensions <homology dimension>` in which pairs are found; their
            entropies are added.
        reduction: ``"none"`` gives one value per cloud, ``"mean"`` and ``"sum"`` reduce them.

    Returns:
        The entropy in nats. One cloud with m classes has at most :math:`\log m` per dimension, and
        0 if no class has positive persistence.

    Raises:
        TypeError: If ``points`` are not floating point.
        ValueError: If the reduction is unknown, or the pairs belong to another number of vertices.

    Shape:
        - points: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``points``. A class of persistence 0 contributes 0, with gradient 0.
        Scaling the points changes nothing. Essential classes are left out. If the points have moved
        since the pairs were found, a death may lie below its birth; hence the absolute value.
        Time and memory :math:`O(m d)` in addition to finding the pairs.

    Source:
        Rucco et al. 2016; Atienza et al., On the stability of persistent entropy, 2020.

    Example:
        >>> import torch
        >>> from topreg import persistence_entropy
        >>> persistence_entropy(torch.tensor([[0.0], [1.0], [2.0]]))  # log 2
        tensor(0.6931)
    """
    terms = [
        _entropy(part, (diagram[:, 1] - diagram[:, 0]).abs())
        for part, diagram in _common.diagrams_of(points, pairs, filtration, dimensions)
    ]
    return _common.reduce_values(_common.add_dimensions(terms), reduction)


def _entropy(pairs: PersistencePairs, lengths: Tensor) -> Tensor:
    """Return the entropy of each cloud in one dimension, (b,)."""
    total = _common.sums(lengths, pairs).index_select(0, pairs.cloud())
    shares = lengths / torch.where(total == 0, 1.0, total)
    shares = torch.where(shares == 0, 1.0, shares)  # so that they count 0
    return _common.sums(-shares * shares.log(), pairs)


class PersistenceEntropy(Loss, function=persistence_entropy):
    """Module form of :func:`persistence_entropy`.

    Example:
        >>> import torch
        >>> from topreg import PersistenceEntropy
        >>> PersistenceEntropy()(torch.tensor([[0.0], [1.0], [2.0]]))
        tensor(0.6931)
    """

    dimensions: Sequence[int] = (0,)
