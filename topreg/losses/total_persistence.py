"""Total persistence and its polynomial relatives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from topreg import _checks
from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs
from topreg._repr import constructor_call
from topreg._safe import safe_power
from topreg.filtrations import Filtration
from topreg.losses import _common


def total_persistence(
    points: Clouds,
    *,
    pairs: PersistencePairs | Sequence[PersistencePairs] | None = None,
    filtration: Filtration | None = None,
    dimensions: Sequence[int] = (0,),
    power: float = 1.0,
    midpoint_power: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    r"""Sum of powers of the :term:`persistence`, weighted by powers of the midpoints.

    .. math::

        \sum_\mu |a_d - a_b|^p \left(\frac{a_b + a_d}{2}\right)^q

    Minimise it to remove classes, subtract it to keep them. To leave the most persistent ones out,
    or to take only those of a band, ``select`` pairs first by
    :func:`~topreg.most_persistent` or :func:`~topreg.persistence_between`.

    Args:
        points: Point cloud, or what the filtration filters.
        pairs: :term:`Persistence pairs <persistence pair>` of one or several dimensions, found
            before.
        filtration: Finds the pairs and measures births and deaths;
            :class:`~topreg.RipsFiltration` if left out.
        dimensions: Homology dimensions whose sums are added; read if ``pairs`` are not given.
        power: :math:`p`, positive.
        midpoint_power: :math:`q`, not negative.
        reduction: ``"mean"`` over the clouds, ``"none"`` one value a cloud.

    Returns:
        The sum, in the :math:`(p + q)`-th power of the units of the filtration; 0 without a pair.

    Raises:
        TypeError: If ``points`` are not floating point.
        ValueError: If an option is out of range, or the pairs belong to another number of vertices.

    Shape:
        - points: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``points``; a class of persistence 0 has the subgradient 0. Midpoints
        should not be negative, as they may be where vertices are born below 0. Essential classes
        are left out. Time and memory :math:`O(m d)` beside finding the pairs.

    Source:
        Gabrielsson et al., A topology layer for machine learning, AISTATS 2020, equation 2 with
        :math:`i_0 = 1`; Cohen-Steiner et al. 2010 for :math:`q = 0`.

    Example:
        >>> import torch
        >>> from topreg import total_persistence
        >>> total_persistence(torch.tensor([[0.0], [1.0], [3.0]]))
        tensor(3.)
    """
    check_options(power, midpoint_power, reduction)
    dimensions = _common.check_dimensions(dimensions)
    terms = []
    for part, diagram in _common.diagrams_of(points, pairs, filtration, dimensions):
        birth, death = diagram.unbind(1)
        values = safe_power((death - birth).abs(), power)
        if midpoint_power:
            values = values * safe_power((birth + death) / 2, midpoint_power)
        terms.append(_common.over_clouds(values, part, reduction))
    return torch.stack(terms).sum(0)


def check_options(power: float, midpoint_power: float, reduction: str) -> None:
    """Refuse powers and reductions that are none."""
    _checks.is_positive("power", power)
    _checks.is_at_least("midpoint_power", midpoint_power, 0)
    _checks.is_option("reduction", reduction, _common.REDUCTIONS)


class TotalPersistence(nn.Module):
    """Module form of :func:`total_persistence`.

    Args:
        filtration: As in the function.
        dimensions: :term:`Homology dimensions <homology dimension>`, as in the function.
        power: As in the function.
        midpoint_power: As in the function.
        reduction: As in the function.

    Example:
        >>> import torch
        >>> from topreg import TotalPersistence
        >>> TotalPersistence(power=2.0)(torch.tensor([[0.0], [1.0], [3.0]]))
        tensor(5.)
    """

    def __init__(
        self,
        filtration: Filtration | None = None,
        dimensions: Sequence[int] = (0,),
        *,
        power: float = 1.0,
        midpoint_power: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        check_options(power, midpoint_power, reduction)
        _common.check_filtration(filtration, ("diagram",))
        self.filtration = filtration
        self.dimensions = _common.check_dimensions(dimensions)
        self.power = power
        self.midpoint_power = midpoint_power
        self.reduction = reduction

    def forward(
        self,
        points: Clouds,
        *,
        pairs: PersistencePairs | Sequence[PersistencePairs] | None = None,
    ) -> Tensor:
        """The sum over the pairs, found in ``points`` if they are not given."""
        return total_persistence(
            points, pairs=pairs, filtration=self.filtration, dimensions=self.dimensions,
            power=self.power, midpoint_power=self.midpoint_power, reduction=self.reduction,
        )  # fmt: skip

    def __repr__(self) -> str:
        """The call that makes an equal module."""
        return constructor_call(self)
