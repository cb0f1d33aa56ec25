"""Wasserstein distance between two diagrams."""

import math
from functools import partial

import torch
from torch import Tensor

from topreg import _checks
from topreg._diagrams import check_two, finite_part
from topreg._module import FunctionModule, checked
from topreg._safe import safe_norm, safe_power
from topreg.losses._matching import costs_of, matching


def _is_order(name: str, order: float) -> float:
    """Return an order as a number; raise if it is below 1 or infinite."""
    order = _checks.is_number(name, order, "at least 1")
    if order == math.inf:
        raise ValueError(
            f"`{name}` should be finite. Got inf. "
            "For the bottleneck distance use `gudhi.bottleneck_distance`."
        )
    return order


def _is_ground(name: str, ground: float) -> None:
    """Raise if a norm is unknown."""
    if ground not in (1, 2, math.inf):
        raise ValueError(f"`{name}` should be 1, 2 or math.inf. Got {ground!r}.")


@checked({"order": _is_order, "ground": _is_ground})
def wasserstein_distance(
    first: Tensor, second: Tensor, *, order: float = 1.0, ground: float = math.inf
) -> Tensor:
    r"""Cost of the best matching between two diagrams and the diagonal.

    .. math::

        W_q(D, D') = \Bigl( \min_{\gamma} \sum_{x \in D \cup \Delta}
        |x - \gamma(x)|_p^q \Bigr)^{1/q}

    :math:`\gamma` matches the points of both diagrams with each other or with the nearest point of
    the diagonal :math:`\Delta`. Essential classes (death infinite) are matched with each other in
    the order of their births and cost :math:`|b - b'|^q`. If the diagrams differ in their number,
    the distance is infinite, with gradient 0.

    Args:
        first: :term:`Persistence diagram` D, births and deaths.
        second: Births and deaths D'.
        order: q, the power to which lengths are raised, at least 1 and finite. For :math:`q =
            \infty`, the bottleneck distance, use ``gudhi.bottleneck_distance`` or
            ``persim.bottleneck``.
        ground: p, the norm in the plane of a :term:`persistence diagram`: 1, 2 or infinity.

    Returns:
        The distance, in the units of the diagrams, in at least single precision.

    Raises:
        TypeError: If the diagrams are not floating point, or only one is in double precision.
        ValueError: If they are not diagrams, have NaN, an infinite birth or a death before its
            birth, or an option is out of range.

    Shape:
        - first: :math:`(m, 2)`; second: :math:`(k, 2)`. Output: :math:`()`.

    Note:
        Differentiable in both diagrams; the matching is constant for autograd. The gradient is
        finite everywhere, and 0 where matched points coincide. The matching is optimal even if
        lengths differ by many orders of magnitude, for example if a large death stands in for
        infinity. Where costs that vanish next to the largest ones decide, sums are exact, which
        takes up to about 50 times as long. The matching is found on the CPU in time
        :math:`O(mk(m + k))` at worst and memory :math:`O(mk)`.

    Source:
        Cohen-Steiner et al., Lipschitz functions have :math:`L_p`-stable persistence, 2010. In
        GUDHI q is ``order`` and p is ``internal_p``. persim's ``wasserstein`` has
        :math:`q = 1, p = 2`. POT's ``emd2`` on the matrix of :math:`|x - y|_p^q`, with the diagonal
        as one more point, gives :math:`W_q^q`.

    Example:
        >>> import torch
        >>> from topreg import wasserstein_distance
        >>> wasserstein_distance(torch.tensor([[0.0, 4.0]]), torch.tensor([[0.0, 5.0], [1.0, 2.0]]))
        tensor(1.5000)
    """
    check_two(first, second)
    (x, x_stays), (y, y_stays) = (
        _points(name, diagram) for name, diagram in (("first", first), ("second", second))
    )
    j = matching(x.detach(), y.detach(), float(order), float(ground))
    j = torch.where(j < len(y), j, -1)
    costs = torch.cat(costs_of(x, y, j, partial(_norm, ground), partial(_to_diagonal, ground)))
    if len(x_stays) != len(y_stays):
        return (0 * torch.cat([x.flatten(), x_stays, y.flatten(), y_stays])).sum() + torch.inf
    gaps = (x_stays.sort().values - y_stays.sort().values).abs()
    return _root_of_powers(torch.cat([costs, gaps]), order)


def _points(name: str, diagram: Tensor) -> tuple[Tensor, Tensor]:
    """Return the points of classes that die, and the births of those that do not.

    Raise if a death comes before its birth.
    """
    points, stays = finite_part(name, diagram)
    early = points[:, 1] < points[:, 0]
    cure = " Did the points move since the pairs were found? Find them again, or drop such rows."
    _checks.have_none(name, early, "have no death before its birth", "such row", cure=cure)
    return points, stays


def _root_of_powers(lengths: Tensor, order: float) -> Tensor:
    """Return the norm of some lengths; dividing by the largest keeps powers from overflowing."""
    if order == 1:
        return lengths.sum()
    largest = lengths.detach().amax() if len(lengths) else lengths.new_zeros(())
    scale = torch.where(largest > 0, largest, 1.0)
    return scale * safe_power(safe_power(lengths / scale, order).sum(), 1 / order)


def _norm(ground: float, vectors: Tensor) -> Tensor:
    """Return the length of each row in a norm of the plane, with a finite derivative at 0."""
    if ground == math.inf:
        return torch.maximum(vectors[:, 0].abs(), vectors[:, 1].abs())
    if ground == 1:
        return vectors.abs().sum(1)
    largest = vectors.detach().abs().amax(1)
    scale = torch.where(largest > 0, largest, 1.0)  # so that no square overflows or vanishes
    return scale * safe_norm(vectors / scale[:, None])


def _to_diagonal(ground: float, points: Tensor) -> Tensor:
    """Return the distance of each point to the diagonal, with derivative 0 on it."""
    return (points[:, 1] - points[:, 0]).abs() * 2 ** (1 / ground - 1)


class WassersteinDistance(FunctionModule, function=wasserstein_distance):
    """Module form of :func:`wasserstein_distance`.

    Example:
        >>> import torch
        >>> from topreg import WassersteinDistance
        >>> WassersteinDistance(order=2.0)(torch.tensor([[0.0, 4.0]]), torch.tensor([[0.0, 5.0]]))
        tensor(1.)
    """

    order: float = 1.0
    ground: float = math.inf
