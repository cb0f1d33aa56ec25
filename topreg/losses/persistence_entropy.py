"""Entropy of the persistences."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from topreg import _checks
from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs
from topreg._repr import constructor_call
from topreg.filtrations import Filtration
from topreg.losses import _common


def persistence_entropy(
    points: Clouds,
    *,
    pairs: PersistencePairs | Sequence[PersistencePairs] | None = None,
    filtration: Filtration | None = None,
    dimensions: Sequence[int] = (0,),
    reduction: str = "mean",
) -> Tensor:
    r"""How evenly the :term:`persistence` of a cloud is spread over its classes.

    .. math::

        -\sum_\mu \frac{l_\mu}{L} \log \frac{l_\mu}{L}, \qquad l_\mu = |a_d - a_b|,
        \quad L = \sum_\mu l_\mu

    Args:
        points: Point cloud, or what the filtration filters.
        pairs: :term:`Persistence pairs <persistence pair>` of one or several dimensions, found
            before.
        filtration: Finds the pairs and measures births and deaths;
            :class:`~topreg.RipsFiltration` if left out.
        dimensions: Homology dimensions whose entropies are added; read if ``pairs`` are not given.
        reduction: ``"mean"`` over the clouds, ``"none"`` one value a cloud.

    Returns:
        The entropy in nats, in :math:`[0, \log m]` for the m classes of one cloud and dimension; 0
        without a class of positive persistence.

    Raises:
        TypeError: If ``points`` are not floating point.
        ValueError: If the reduction is unknown, or the pairs belong to another number of vertices.

    Shape:
        - points: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``points``; a class of persistence 0 counts 0, with the subgradient 0.
        Unchanged by scaling. Of pairs found before, a death may lie below its birth once the
        points have moved: the absolute value counts. Essential classes are left out.
        Time and memory :math:`O(m d)` beside finding the pairs.

    Source:
        Rucco et al. 2016; Atienza et al., On the stability of persistent entropy, 2020.

    Example:
        >>> import torch
        >>> from topreg import persistence_entropy
        >>> persistence_entropy(torch.tensor([[0.0], [1.0], [2.0]]))  # log 2
        tensor(0.6931)
    """
    _checks.is_option("reduction", reduction, _common.REDUCTIONS)
    dimensions = _common.check_dimensions(dimensions)
    terms = [
        _entropy(part, (diagram[:, 1] - diagram[:, 0]).abs(), reduction)
        for part, diagram in _common.diagrams_of(points, pairs, filtration, dimensions)
    ]
    return torch.stack(terms).sum(0)


def _entropy(pairs: PersistencePairs, lengths: Tensor, reduction: str) -> Tensor:
    """Entropy of one dimension."""
    totals = _common.over_clouds(lengths, pairs, "none")
    total = totals.index_select(0, pairs.cloud())
    shares = lengths / torch.where(total == 0, 1.0, total)
    shares = torch.where(shares == 0, 1.0, shares)  # so that they count 0
    return _common.over_clouds(-shares * shares.log(), pairs, reduction)


class PersistenceEntropy(nn.Module):
    """Module form of :func:`persistence_entropy`.

    Args:
        filtration: As in the function.
        dimensions: :term:`Homology dimensions <homology dimension>`, as in the function.
        reduction: As in the function.

    Example:
        >>> import torch
        >>> from topreg import PersistenceEntropy
        >>> PersistenceEntropy()(torch.tensor([[0.0], [1.0], [2.0]]))
        tensor(0.6931)
    """

    def __init__(
        self,
        filtration: Filtration | None = None,
        dimensions: Sequence[int] = (0,),
        *,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        _checks.is_option("reduction", reduction, _common.REDUCTIONS)
        _common.check_filtration(filtration, ("diagram",))
        self.filtration = filtration
        self.dimensions = _common.check_dimensions(dimensions)
        self.reduction = reduction

    def forward(
        self,
        points: Clouds,
        *,
        pairs: PersistencePairs | Sequence[PersistencePairs] | None = None,
    ) -> Tensor:
        """The entropy of the pairs, found in ``points`` if they are not given."""
        return persistence_entropy(
            points, pairs=pairs, filtration=self.filtration, dimensions=self.dimensions,
            reduction=self.reduction,
        )  # fmt: skip

    def __repr__(self) -> str:
        """The call that makes an equal module."""
        return constructor_call(self)
