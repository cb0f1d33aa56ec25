"""Choose pairs by their persistence: masks for :meth:`PersistencePairs.select`."""

import math

import torch
from torch import Tensor

from topreg import _checks
from topreg._safe import plain_tensor


def most_persistent(diagram: Tensor, count: int, clouds: Tensor | None = None) -> Tensor:
    r"""Return a mask of the pairs with the largest :term:`persistence`.

    .. math::

        |\{\nu : l_\nu > l_\mu\}| < k, \qquad l = a_d - a_b

    Args:
        diagram: Births and deaths.
        count: Number k of pairs to keep in each cloud.
        clouds: Number of the cloud of each pair, see :meth:`PersistencePairs.cloud`. If left out,
            all pairs belong to one cloud.

    Returns:
        A mask, true for the ``count`` most persistent pairs of each cloud. Among pairs with equal
        persistence the first ones are kept.

    Raises:
        TypeError: If ``diagram`` is not floating point or ``clouds`` are not integers.
        ValueError: If ``diagram`` is not a diagram, ``clouds`` have another length or device, or
            ``count`` is negative.

    Shape:
        - diagram: :math:`(m, 2)`; clouds: :math:`(m,)`. Output: :math:`(m,)`, bool.

    Note:
        The mask has no gradient. Time :math:`O(m \log m)`.

    Source:
        Gabrielsson et al., A topology layer for machine learning, AISTATS 2020. Their sums from
        :math:`i_0` on leave out the most persistent pairs: invert the mask.

    Example:
        >>> import torch
        >>> from topreg import RipsFiltration, most_persistent, total_persistence
        >>> points, rips = torch.tensor([[0.0], [1.0], [3.0], [9.0]]), RipsFiltration()
        >>> pairs = rips.pairs(points)
        >>> small = ~most_persistent(rips.diagram(pairs, points), 1)
        >>> total_persistence(points, pairs=pairs.select(small))  # all but the longest
        tensor(3.)
    """
    _checks.is_diagram("diagram", diagram)
    count = _checks.is_natural("count", count)
    if clouds is None:
        clouds = torch.zeros(len(diagram), dtype=torch.int64, device=diagram.device)
    _checks.is_integer("clouds", clouds)
    _checks.one_each("clouds", clouds, len(diagram), "pair")
    _checks.on_one_device("diagram", diagram, "clouds", clouds.device)
    clouds = clouds.long()
    lengths = (diagram[:, 1] - diagram[:, 0]).detach()
    return plain_tensor(ranks(lengths, clouds) < count)


def ranks(lengths: Tensor, clouds: Tensor) -> Tensor:
    """Return how many pairs of the same cloud come before each pair, the longest being first."""
    order = lengths.argsort(dim=0, descending=True, stable=True)
    order = order[clouds[order].argsort(dim=0, stable=True)]
    own = clouds[order]
    place = torch.arange(len(order), device=order.device) - torch.searchsorted(own, own)
    return torch.empty_like(order).scatter(0, order, place)


def persistence_between(diagram: Tensor, low: float, high: float = math.inf) -> Tensor:
    r"""Return a mask of the pairs whose :term:`persistence` lies in a band.

    .. math::

        l_{low} \le a_d - a_b \le l_{high}

    Args:
        diagram: Births and deaths.
        low: Smallest persistence to keep, in the units of the filtration.
        high: Largest persistence to keep.

    Returns:
        A mask, true for the pairs in the band, its ends included.

    Raises:
        TypeError: If ``diagram`` is not floating point.
        ValueError: If ``diagram`` is not a diagram, or the band is empty.

    Shape:
        - diagram: :math:`(m, 2)`. Output: :math:`(m,)`, bool.

    Note:
        The mask has no gradient. Time :math:`O(m)`.

    Source:
        Common practice. Cohen-Steiner et al., Stability of persistence diagrams, 2007, bound the
        persistence of classes that noise causes. It is at most ``low`` if noise changes filtration
        values by at most ``low / 2``, or moves each point by at most ``low / 4``.

    Example:
        >>> import torch
        >>> from topreg import persistence_between
        >>> persistence_between(torch.tensor([[0.0, 0.1], [0.0, 1.0], [0.5, 3.0]]), 0.2, 2.0)
        tensor([False,  True, False])
    """
    _checks.is_diagram("diagram", diagram)
    low, high = _checks.is_number("low", low), _checks.is_number("high", high)
    if not low <= high:
        raise ValueError(f"`low` should be at most `high`. Got {low} and {high}.")
    lengths = diagram[:, 1] - diagram[:, 0]
    return plain_tensor((lengths >= low) & (lengths <= high))
