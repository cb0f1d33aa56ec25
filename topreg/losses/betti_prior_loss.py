"""Betti numbers that are known in advance, as a prior for segmentation."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds
from topreg._module import checked
from topreg.features._filters import ranks
from topreg.filtrations import Filtration
from topreg.losses import _common, _images
from topreg.losses._common import Pairs


def _fit(dimensions: Sequence[int], betti_numbers: Any = ..., **others: Any) -> None:
    """Raise unless there is one Betti number per dimension, or none is given at all."""
    _images.have_dimensions(dimensions=dimensions, **others)
    if betti_numbers is ...:
        return
    if len(betti_numbers) != len(dimensions):
        raise ValueError(
            f"`betti_numbers` should have one number for each of the dimensions {dimensions}. "
            f"Got {betti_numbers!r}."
        )


def _are_naturals(name: str, numbers: Any) -> tuple[int, ...]:
    """Return numbers as a tuple; raise unless they are non-negative integers."""
    if not hasattr(numbers, "__iter__"):
        raise ValueError(f"`{name}` should be a sequence, such as (1, 0). Got {numbers!r}.")
    return tuple([_checks.is_natural(name, number) for number in numbers])


@checked(_images.CHECKS | {"betti_numbers": _are_naturals}, _fit)
def betti_prior_loss(
    data: Clouds,
    *,
    betti_numbers: Sequence[int],
    logits: bool = False,
    pairs: Pairs | None = None,
    filtration: Filtration | None = None,
    dimensions: Sequence[int] = (0, 1),
    reduction: str = "mean",
) -> Tensor:
    r"""Measure how far an image is from having given numbers of components and holes.

    .. math::

        \sum_p \Bigl[\, \sum_{i \le k_p} \bigl(1 - l_{p,i}^2\bigr)
        + \sum_{i > k_p} l_{p,i}^2 \Bigr], \qquad l_{p,1} \ge l_{p,2} \ge \dots

    :math:`l_{p,i}` is the :term:`persistence` of class i in dimension p. Minimising the loss
    increases the :math:`k_p` largest and decreases all others. No target is needed.

    Args:
        data: Predicted probabilities, or logits.
        betti_numbers: The wanted number of classes :math:`k_p` of each of the ``dimensions``.
        logits: Whether ``data`` holds logits; the loss then takes their sigmoid.
        pairs: :term:`Persistence pairs <persistence pair>` found before, one object or one per
            dimension; in the order of ``dimensions``.
        filtration: A :class:`~topreg.CubicalFiltration`; superlevel sets in the T-construction if
            left out.
        dimensions: :term:`Homology dimensions <homology dimension>` whose sums are added.
        reduction: ``"none"`` gives one value per channel of each image, ``"mean"`` and ``"sum"``
            reduce them.

    Returns:
        The loss, dimensionless. A missing class counts 1.

    Raises:
        TypeError: If ``data`` are not floating point, or the filtration is not cubical.
        ValueError: If there is not one Betti number per dimension, the pairs belong to other
            images, a pixel is NaN or infinite, or an option is unknown.

    Shape:
        - data: :math:`(h, w)`, :math:`(b, h, w)`, :math:`(b, c, h, w)` or a sequence of
          :math:`(h_i, w_i)`; volumes with :math:`(d, h, w)` in place of :math:`(h, w)`.
        - Output: :math:`()`, or :math:`(b c,)` with ``reduction="none"``.

    Note:
        Differentiable in ``data``. The essential component always counts as the first of the
        :math:`k_0` classes; it dies at 0, in sublevel filtrations at 1. Classes of equal
        persistence are in the order of the pairs.

    Source:
        Clough et al., A topological loss function for deep-learning based image segmentation using
        persistent homology, PAMI 2020, equation 3. Their code pads images with a frame, which is
        then the essential component.

    Example:
        >>> import torch
        >>> from topreg import betti_prior_loss
        >>> image = torch.tensor([[1.0, 0.0, 0.5]])  # two components, one is wanted
        >>> betti_prior_loss(image, betti_numbers=(1, 0))
        tensor(0.2500)
    """
    chosen = _images.cubical(filtration)
    images = chosen._join(_images.probabilities(data, logits, "data"), "data")
    found = _images.find(images, pairs, filtration, dimensions, "data", "pairs")
    if len(found) != len(betti_numbers):
        raise ValueError(
            f"`pairs` should have {len(betti_numbers)} dimensions, as many as `betti_numbers`. "
            f"Got {len(found)}."
        )
    terms = []
    for part, wanted in zip(found, betti_numbers, strict=True):
        lengths = _images.bars_of(images, part, chosen.superlevel).diff(dim=1).squeeze(1)
        squares, clouds = lengths.square(), _images.clouds_of(part)
        place = torch.arange(len(squares), device=squares.device)
        longest = torch.where(place < len(part), squares.detach(), torch.inf)  # essential first
        signed = torch.where(ranks(longest, clouds) < wanted, -squares, squares)
        terms.append(wanted + _images.sum_per_image(signed, clouds, images))
    return _common.reduce_values(_common.add_dimensions(terms), reduction)


class BettiPriorLoss(_images.ImageLoss, function=betti_prior_loss):
    """Module form of :func:`betti_prior_loss`.

    Example:
        >>> import torch
        >>> from topreg import BettiPriorLoss
        >>> BettiPriorLoss(betti_numbers=(1, 0))(torch.tensor([[1.0, 0.0, 0.5]]))
        tensor(0.2500)
    """

    betti_numbers: Sequence[int]
