"""Persistence images."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from topreg import _checks, _diagrams
from topreg._module import FunctionModule, checked
from topreg._safe import safe_power

Range = tuple[float, float]
FAR = 40.0  # bandwidths from a centre, where a Gaussian is 0 in double precision too


def _is_resolution(name: str, resolution: object) -> None:
    """Raise unless a resolution is two positive integers."""
    if not isinstance(resolution, Sequence) or len(resolution) != 2:
        raise ValueError(f"`{name}` should be (columns, rows). Got {resolution!r}.")
    for steps in resolution:
        _checks.is_count(name, steps)


@checked(
    {
        "bandwidth": partial(_checks.is_number, what="positive"),
        "birth_range": _diagrams.check_range,
        "persistence_range": _diagrams.check_range,
        "resolution": _is_resolution,
        "weight_power": partial(_checks.is_number, what="at least 0"),
    }
)
def persistence_image(
    diagram: Tensor | Sequence[Tensor],
    *,
    bandwidth: float,
    birth_range: Range,
    persistence_range: Range,
    resolution: tuple[int, int] = (20, 20),
    weight_power: float = 1.0,
) -> Tensor:
    r"""Return the image of a :term:`persistence diagram`: a sum of Gaussians, one per class.

    .. math::

        I(u, v) = \sum_\mu \frac{|l_\mu|^w}{2 \pi \sigma^2}
        \exp\Bigl(-\frac{(a_b - u)^2 + (l_\mu - v)^2}{2 \sigma^2}\Bigr), \qquad l_\mu = a_d - a_b

    Args:
        diagram: Births and deaths; several diagrams give a batch. Essential classes (death
            infinite) are left out.
        bandwidth: Standard deviation :math:`\sigma` of the Gaussians, in the units of the diagram.
        birth_range: :term:`Births <birth>` u of the first and the last column.
        persistence_range: Persistences v of the first and the last row.
        resolution: Numbers of columns and rows.
        weight_power: w, the power of its persistence by which a class is weighted; 0 weights all
            equally.

    Returns:
        The image, with persistence rising from row to row, in at least single precision.

    Raises:
        TypeError: If a diagram is not floating point.
        ValueError: If it is not a diagram, has NaN, an infinite birth or a death of -inf, or an
            option is out of range.

    Shape:
        - diagram: :math:`(m, 2)` or a sequence of b such.
        - Output: (rows, columns), or (b, rows, columns).

    Note:
        Differentiable in the diagram, with finite gradients. If ``weight_power`` is at least 1, a
        small change of the diagram changes the image little. Time and memory
        :math:`O(m \cdot \text{columns} \cdot \text{rows})`.

    Source:
        Adams et al., Persistence images, JMLR 2017. Values equal those of GUDHI's
        ``PersistenceImage`` with ``weight=lambda x: abs(x[1]) ** w``, which returns one row.

    Example:
        >>> import torch
        >>> from topreg import persistence_image
        >>> image = persistence_image(
        ...     torch.tensor([[0.0, 1.0]]), bandwidth=1.0, birth_range=(0, 1),
        ...     persistence_range=(0, 1), resolution=(2, 2),
        ... )
        >>> 2 * torch.pi * image
        tensor([[0.6065, 0.3679],
                [1.0000, 0.6065]])
    """

    def gaussians(gaps: Tensor) -> Tensor:
        gaps = gaps.clamp(-FAR * bandwidth, FAR * bandwidth)  # whose square does not overflow
        return (-(gaps / bandwidth).square() / 2).exp() / (bandwidth * math.sqrt(2 * math.pi))

    def of_one(points: Tensor) -> Tensor:
        lengths = points[:, 1] - points[:, 0]
        columns = _diagrams.grid(birth_range, resolution[0], points)
        rows = _diagrams.grid(persistence_range, resolution[1], points)
        across, along = gaussians(columns - points[:, :1]), gaussians(rows - lengths[:, None])
        near = torch.where(along.amax(1) > 0, lengths, 0.0)  # the power of others may overflow
        powers = safe_power(near.abs(), weight_power)
        weights = powers if weight_power else torch.ones_like(lengths)
        with torch.autocast(points.device.type, enabled=False):
            return (weights[:, None] * along).T @ across

    return _diagrams.each(diagram, of_one)


class PersistenceImage(FunctionModule, function=persistence_image):
    """Module form of :func:`persistence_image`.

    Example:
        >>> import torch
        >>> from topreg import PersistenceImage
        >>> image = PersistenceImage(bandwidth=0.1, birth_range=(0, 1), persistence_range=(0, 1))
        >>> image([torch.tensor([[0.0, 1.0]]), torch.zeros(0, 2)]).shape
        torch.Size([2, 20, 20])
    """

    bandwidth: float
    birth_range: Range
    persistence_range: Range
    resolution: tuple[int, int] = (20, 20)
    weight_power: float = 1.0
