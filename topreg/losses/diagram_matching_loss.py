"""Matching of persistence diagrams of a predicted and a true segmentation."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds
from topreg._module import checked
from topreg._operators import operator
from topreg._pairs import PersistencePairs
from topreg.filtrations import Filtration
from topreg.losses import _common, _images
from topreg.losses._common import Pairs
from topreg.losses._matching import costs_of, matching
from topreg.persistence.images._images import Images


def _is_order(name: str, order: object) -> None:
    """Raise unless an order is 1 or 2."""
    if _checks.natural(order) not in (1, 2):
        raise ValueError(f"`{name}` should be 1 or 2. Got {order!r}.")


@checked(_images.CHECKS | {"order": _is_order}, _images.have_dimensions)
def diagram_matching_loss(
    source: Clouds,
    target: Clouds,
    *,
    logits: bool = False,
    include_background: bool = True,
    pairs: Pairs | None = None,
    target_pairs: Pairs | None = None,
    filtration: Filtration | None = None,
    dimensions: Sequence[int] = (0, 1),
    order: int = 2,
    reduction: str = "mean",
) -> Tensor:
    r"""Return the cost of the best matching between the persistence diagrams of two images.

    .. math::

        \min_{\gamma} \sum_{\mu} \|\mu - \gamma(\mu)\|_q^q

    In each dimension the matching :math:`\gamma` assigns bars (birth, death) of ``source`` to bars
    of ``target`` or to the diagonal. Minimising the loss moves matched bars to those of the target,
    and all others to the diagonal, where they vanish.

    Args:
        source: Predicted probabilities, or logits.
        target: True masks, or probabilities; of any dtype.
        logits: Whether ``source`` holds logits; the loss then takes their sigmoid.
        include_background: Whether the first channel counts.
        pairs: :term:`Persistence pairs <persistence pair>` of ``source`` found before, one object
            or one per dimension; without the first channel if that does not count.
        target_pairs: Persistence pairs of ``target``.
        filtration: A :class:`~topreg.CubicalFiltration`; superlevel sets in the T-construction if
            left out.
        dimensions: :term:`Homology dimensions <homology dimension>` whose costs are added.
        order: q, 1 or 2.
        reduction: ``"none"`` gives one value per channel of each image, ``"mean"`` and ``"sum"``
            reduce them.

    Returns:
        The loss, in the q-th power of the units of the images.

    Raises:
        TypeError: If ``source`` is not floating point, or the filtration is not cubical.
        ValueError: If shapes differ, the pairs belong to other images or other dimensions, a pixel
            is NaN or infinite, or an option is unknown.

    Shape:
        - source, target: :math:`(h, w)`, :math:`(b, h, w)`, :math:`(b, c, h, w)` or a sequence of
          :math:`(h_i, w_i)`; volumes with :math:`(d, h, w)` in place of :math:`(h, w)`.
        - Output: :math:`()`, or :math:`(b c,)` with ``reduction="none"``.

    Note:
        Differentiable in both images; not through the matching. Essential components match each
        other, and only their births count. The matching ignores positions: a false component may
        take the place of a true one that is less persistent. If that matters, use
        :func:`~topreg.betti_matching_loss`. If the k bars of the target have d different values,
        only the best k candidates for each value are compared, which does not change the optimum:
        memory :math:`O(d k^2)`. A mask has d = 1, and takes :math:`O(m)` for m bars.

    Source:
        Hu et al., Topology-preserving deep image segmentation, NeurIPS 2019, equation 2. The
        released code lowers components that it should keep, compares logits with probabilities,
        works on patches, and scrambles those that are not square.

    Example:
        >>> import torch
        >>> from topreg import diagram_matching_loss
        >>> mask = torch.tensor([[1.0, 0.0, 1.0]])
        >>> diagram_matching_loss(torch.tensor([[1.0, 0.0, 0.5]]), mask)  # (1 - 1/2)^2
        tensor(0.2500)
    """
    x, y = _images.both(source, target, logits, include_background, filtration)
    given, name = (target_pairs, "target_pairs") if pairs is None else (pairs, "pairs")
    if given is not None:
        dimensions = tuple(part.dimension for part in _common.as_list(given, name))
    found = _images.find(x, pairs, filtration, dimensions, "source", "pairs")
    others = _images.find(y, target_pairs, filtration, dimensions, "target", "target_pairs")
    by_dimension = {part.dimension: part for part in others}
    if sorted(by_dimension) != sorted(part.dimension for part in found):
        raise ValueError(
            "`pairs` and `target_pairs` should be of the same dimensions. "
            f"Got {[part.dimension for part in found]} and {list(by_dimension)}."
        )
    superlevel = _images.cubical(filtration).superlevel
    terms = [_cost(x, y, part, by_dimension[part.dimension], superlevel, order) for part in found]
    return _common.reduce_values(_common.add_dimensions(terms), reduction)


def _cost(
    x: Images,
    y: Images,
    pairs: PersistencePairs,
    others: PersistencePairs,
    superlevel: bool,
    order: int,
) -> Tensor:
    """Return the cost of the matching in one dimension for each image, (b,)."""
    first, second = _images.bars_of(x, pairs, superlevel), _images.bars_of(y, others, superlevel)
    clouds, other_clouds = _images.clouds_of(pairs), _images.clouds_of(others)
    m, k = len(pairs), len(others)
    sign = -1 if superlevel else 1  # so that deaths come after births
    bars = sign * first[:m].detach(), sign * second[:k].detach()
    matched = _assign(*bars, clouds[:m], other_clouds[:k], len(x.shapes), order)
    matched = torch.cat([matched, k + torch.arange(len(second) - k, device=matched.device)])
    costs, left = costs_of(
        first,
        second,
        matched,
        lambda gaps: gaps.abs().pow(order).sum(1),
        partial(_to_diagonal, order),
    )
    total = _images.sum_per_image(costs, clouds, x)
    return total + _images.sum_per_image(left, other_clouds, x)


def _to_diagonal(order: int, bars: Tensor) -> Tensor:
    """Return the cost of matching each bar with the diagonal."""
    return bars.diff(dim=1).squeeze(1).abs().pow(order) / (1 if order == 1 else 2)


@operator(lambda first, second, clouds, *_: torch.empty_like(clouds))
def _assign(
    first: Tensor, second: Tensor, clouds: Tensor, other_clouds: Tensor, images: int, order: int
) -> Tensor:
    """Return the row of ``second`` that is matched with each row of ``first``, or -1."""
    assigned = torch.full_like(clouds, -1)
    begins, ends = (
        numbers.argsort(stable=True).split(torch.bincount(numbers, minlength=images).tolist())
        for numbers in (clouds, other_clouds)
    )
    for own, theirs in zip(begins, ends, strict=True):
        if len(own) and len(theirs):
            own = own[_candidates(first[own], second[theirs], order)]
            matched = matching(first[own], second[theirs], float(order), float(order))
            used = matched < len(theirs)
            assigned[own[used]] = theirs[matched[used]]
    return assigned


def _candidates(x: Tensor, y: Tensor, order: int) -> Tensor:
    """Return rows of ``x`` that suffice for a best matching with ``y``.

    With k columns, a row matched to a column but not among the best k for its value can be
    exchanged for one of these, since at least one of them is free.
    """
    k = len(y)
    if k >= len(x):
        return torch.arange(len(x), device=x.device)
    lengths, best = _to_diagonal(order, x), []
    for value in y.unique(dim=0):
        costs = (x - value).abs().pow(order).sum(1) - lengths
        best.append(costs.topk(k, largest=False).indices)
    return torch.cat(best).unique()  # type: ignore[no-any-return]


class DiagramMatchingLoss(_images.ImageLoss, function=diagram_matching_loss):
    """Module form of :func:`diagram_matching_loss`.

    Example:
        >>> import torch
        >>> from topreg import DiagramMatchingLoss
        >>> mask = torch.tensor([[1.0, 0.0, 1.0]])
        >>> DiagramMatchingLoss()(torch.tensor([[1.0, 0.0, 0.5]]), mask)
        tensor(0.2500)
    """

    include_background: bool = True
    order: int = 2
