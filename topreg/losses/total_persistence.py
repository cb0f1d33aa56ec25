"""Total persistence, and polynomials of births and deaths."""

from collections.abc import Sequence

from torch import Tensor

from topreg._clouds import Clouds
from topreg._module import checked
from topreg._safe import safe_power
from topreg.filtrations import Filtration
from topreg.losses import _common
from topreg.losses._common import CHECKS, Loss, Pairs


@checked(CHECKS)
def total_persistence(
    points: Clouds,
    *,
    pairs: Pairs | None = None,
    filtration: Filtration | None = None,
    dimensions: Sequence[int] = (0,),
    power: float = 1.0,
    midpoint_power: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    r"""Return the sum of powers of the :term:`persistence`, weighted by powers of the midpoints.

    .. math::

        \sum_\mu |a_d - a_b|^p \left(\frac{a_b + a_d}{2}\right)^q

    Minimise it to remove classes; subtract it to keep them. To leave out the most persistent
    classes, or to take only a band of them, pass ``pairs.select(mask)`` with a mask of
    :func:`~topreg.most_persistent` or :func:`~topreg.persistence_between`.

    Args:
        points: Point cloud, or other data of the filtration.
        pairs: :term:`Persistence pairs <persistence pair>` found before, one object or one per
            dimension.
        filtration: Finds the pairs and measures births and deaths;
            :class:`~topreg.RipsFiltration` if left out.
        dimensions: :term:`Homology dimensions <homology dimension>` in which pairs are found; their
            sums are added.
        power: :math:`p`, the exponent of the persistence, positive.
        midpoint_power: :math:`q`, the exponent of the midpoint, not negative.
        reduction: ``"none"`` gives one value per cloud, ``"mean"`` and ``"sum"`` reduce them.

    Returns:
        The sum, in the :math:`(p + q)`-th power of the units of the filtration; 0 without a pair.

    Raises:
        TypeError: If ``points`` are not floating point.
        ValueError: If an option is out of range, or the pairs belong to another number of vertices.

    Shape:
        - points: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``points``; a class of persistence 0 has gradient 0. With
        ``midpoint_power`` no midpoint may be negative, as it can be if vertices are born below 0.
        Essential classes are left out. Time and memory :math:`O(m d)` in addition to finding the
        pairs.

    Source:
        Gabrielsson et al., A topology layer for machine learning, AISTATS 2020, equation 2 with
        :math:`i_0 = 1`; Cohen-Steiner et al. 2010 for :math:`q = 0`.

    Example:
        >>> import torch
        >>> from topreg import total_persistence
        >>> total_persistence(torch.tensor([[0.0], [1.0], [3.0]]))
        tensor(3.)
    """
    terms = []
    for part, diagram in _common.diagrams_of(points, pairs, filtration, dimensions):
        birth, death = diagram.unbind(1)
        values = safe_power((death - birth).abs(), power)
        if midpoint_power:
            values = values * safe_power((birth + death) / 2, midpoint_power)
        terms.append(_common.sums(values, part))
    return _common.reduce_values(_common.add_dimensions(terms), reduction)


class TotalPersistence(Loss, function=total_persistence):
    """Module form of :func:`total_persistence`.

    Example:
        >>> import torch
        >>> from topreg import TotalPersistence
        >>> TotalPersistence(power=2.0)(torch.tensor([[0.0], [1.0], [3.0]]))
        tensor(5.)
    """

    dimensions: Sequence[int] = (0,)
    power: float = 1.0
    midpoint_power: float = 0.0
