"""Betti matching between a predicted and a true segmentation."""

from collections.abc import Sequence

import torch
from torch import Tensor

from topreg._clouds import Clouds
from topreg._module import checked
from topreg.filtrations import Filtration
from topreg.losses import _common, _images
from topreg.persistence.images._images import Images, compare_pixels


def _is_flat(name: str, filtration: Filtration | None) -> None:
    """Raise if a filtration is not of images."""
    _images.is_cubical(name, filtration)
    if _images.cubical(filtration).ndim != 2:
        raise ValueError(
            f"`{name}` should have `ndim=2` for Betti matching. Got `ndim=3`. "
            "For volumes use `diagram_matching_loss` in the dimensions (0, 2)."
        )


@checked(_images.CHECKS | {"filtration": _is_flat}, _images.have_dimensions)
def betti_matching_loss(
    source: Clouds,
    target: Clouds,
    *,
    logits: bool = False,
    include_background: bool = True,
    filtration: Filtration | None = None,
    dimensions: Sequence[int] = (0, 1),
    reduction: str = "mean",
) -> Tensor:
    r"""Compare the components and holes of two images, each with its counterpart.

    .. math::

        2 \sum_{(\mu, \nu)} \bigl[(b_\mu - b_\nu)^2 + (d_\mu - d_\nu)^2\bigr]
        + \sum_{\text{unmatched } \mu} (b_\mu - d_\mu)^2

    Each class, or bar, :math:`\mu` has a birth :math:`b_\mu` and a death :math:`d_\mu`. Let c be
    the pixelwise union of both images: the larger value in superlevel filtrations, the smaller one
    in sublevel filtrations. Bars :math:`\mu` of ``source`` and :math:`\nu` of ``target`` match if
    both map to the same bar of c. So features match only where they overlap.

    Args:
        source: Predicted probabilities, or logits.
        target: True masks, or probabilities; of any dtype.
        logits: Whether ``source`` holds logits; the loss then takes their sigmoid.
        include_background: Whether the first channel counts.
        filtration: A :class:`~topreg.CubicalFiltration` with ``ndim=2``; superlevel sets in the
            T-construction if left out.
        dimensions: :term:`Homology dimensions <homology dimension>` whose sums are added.
        reduction: ``"none"`` gives one value per channel of each image, ``"mean"`` and ``"sum"``
            reduce them.

    Returns:
        The loss, in squared units of the images.

    Raises:
        TypeError: If ``source`` is not floating point, or the filtration is not cubical.
        ValueError: If shapes differ, a pixel is NaN or infinite, or an option is unknown.

    Shape:
        - source, target: :math:`(h, w)`, :math:`(b, h, w)`, :math:`(b, c, h, w)` or a sequence of
          :math:`(h_i, w_i)`.
        - Output: :math:`()`, or :math:`(b c,)` with ``reduction="none"``.

    Note:
        Differentiable in both images; not through the matching. Essential components match each
        other, and only their births count. Bars that become empty in c match nothing. Ties may
        decide which of several bars match: equal pixels are ordered by index, and a pixel that
        joins more than two components joins them one after the other around it, starting at the
        upper left. Takes the time of five searches for pairs. Volumes are not matched.

    Source:
        Stucki et al., Topologically faithful image segmentation via induced matching of persistence
        barcodes, ICML 2023, which defines the matching. Their C++ code also matches bars that are
        empty in c; by the definition these do not match. It uses the V-construction: pass
        ``CubicalFiltration(construction="V", superlevel=True)``.

    Example:
        >>> import torch
        >>> from topreg import betti_matching_loss
        >>> mask = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
        >>> prediction = torch.tensor([[0.5, 0.5, 0.0, 0.25]])  # (1 - 1/2)^2 twice, and (1/4)^2
        >>> betti_matching_loss(prediction, mask)
        tensor(0.5625)
    """
    x, y = _images.both(source, target, logits, include_background, filtration)
    options = [0 in dimensions, 1 in dimensions, *_images.cubical(filtration)._rules()]
    found = compare_pixels(x.pixels.detach(), y.pixels.detach(), x.sides, options)
    *bars, numbers, first = found
    terms = [_of_bars(x, y, bars[p], numbers[p]) for p in dimensions]
    if 0 in dimensions:
        terms.append(_of_essential(x, y, first))
    return _common.reduce_values(_common.add_dimensions(terms), reduction)


def _of_bars(x: Images, y: Images, bars: Tensor, numbers: Tensor) -> Tensor:
    """Return the sum over the bars of one dimension for each image, (b,)."""
    clouds = torch.repeat_interleave(numbers, output_size=bars.shape[1])
    own, other = bars[0] >= 0, bars[2] >= 0
    first, second = _values(x, bars[:2]), _values(y, bars[2:])
    matched = 2 * (first - second).square().sum(0)
    alone = torch.where(own, first.diff(dim=0), second.diff(dim=0)).square().squeeze(0)
    return _images.sum_per_image(torch.where(own & other, matched, alone), clouds, x)


def _of_essential(x: Images, y: Images, first: Tensor) -> Tensor:
    """Return twice the squared distance of the births of the essential components, (b,)."""
    gaps = _values(x, first[0]) - _values(y, first[1])
    return torch.where(first[0] >= 0, 2 * gaps.square(), 0.0)


def _values(images: Images, places: Tensor) -> Tensor:
    """Return the values of pixels; any value for -1, which stands for no pixel."""
    if images.pixels.numel() == 0:
        return images.pixels.new_zeros(places.shape)
    return images.pixels.index_select(0, places.flatten().clamp(min=0)).view(places.shape)


class BettiMatchingLoss(_images.ImageLoss, function=betti_matching_loss):
    """Module form of :func:`betti_matching_loss`.

    Example:
        >>> import torch
        >>> from topreg import BettiMatchingLoss
        >>> mask = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
        >>> BettiMatchingLoss()(torch.tensor([[0.5, 0.5, 0.0, 0.25]]), mask)
        tensor(0.5625)
    """

    include_background: bool = True
