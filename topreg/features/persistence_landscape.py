"""Persistence landscapes."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from topreg import _checks, _diagrams
from topreg._module import FunctionModule, checked


@checked(
    {
        "sample_range": _diagrams.check_range,
        "count": _checks.is_count,
        "resolution": _checks.is_count,
    }
)
def persistence_landscape(
    diagram: Tensor | Sequence[Tensor],
    *,
    sample_range: tuple[float, float],
    count: int = 5,
    resolution: int = 100,
) -> Tensor:
    r"""Sample the landscape functions of a :term:`persistence diagram`.

    .. math::

        \lambda_k(t) = \sqrt{2} \; \mathrm{kmax}_\mu \, \min(t - a_b, \; a_d - t)_+

    Each class is a tent. It rises from 0 at the birth to a peak halfway and falls to 0 at the
    death. The k-th function is at each scale t the height of the k-th highest tent, kmax.

    Args:
        diagram: Births and deaths; several diagrams give a batch. Essential classes (death
            infinite) are left out.
        sample_range: First and last scale t, a :term:`filtration value`, that is sampled.
        count: Number of functions, k = 1 to ``count``; those beyond the number of classes are 0.
        resolution: Number of samples of each function.

    Returns:
        The values of the functions, in the units of the diagram, in at least single precision.

    Raises:
        TypeError: If a diagram is not floating point.
        ValueError: If it is not a diagram, has NaN, an infinite birth or a death of -inf, or an
            option is out of range.

    Shape:
        - diagram: :math:`(m, 2)` or a sequence of b such.
        - Output: (count, resolution), or (b, count, resolution).

    Note:
        Differentiable in the diagram, with finite gradients. Time and memory
        :math:`O(m \cdot \text{resolution})`.

    Source:
        Bubenik, Statistical topological data analysis using persistence landscapes, JMLR 2015. The
        paper has no factor :math:`\sqrt{2}`. GUDHI's ``Landscape`` has it, and returns the same
        values in one row.

    Example:
        >>> import torch
        >>> from topreg import persistence_landscape
        >>> diagram = torch.tensor([[0.0, 4.0], [1.0, 3.0]])
        >>> persistence_landscape(diagram, sample_range=(0, 4), count=2, resolution=5) / 2**0.5
        tensor([[0., 1., 2., 1., 0.],
                [0., 0., 1., 0., 0.]])
    """

    def of_one(points: Tensor) -> Tensor:
        birth, death = points[:, :1], points[:, 1:]
        scales = _diagrams.grid(sample_range, resolution, points)
        tents = torch.minimum(scales - birth, death - scales).clamp(min=0)
        missing = max(0, count - len(tents))
        tents = torch.nn.functional.pad(tents, (0, 0, 0, missing))
        return math.sqrt(2) * tents.topk(count, dim=0).values

    return _diagrams.each(diagram, of_one)


class PersistenceLandscape(FunctionModule, function=persistence_landscape):
    """Module form of :func:`persistence_landscape`.

    Example:
        >>> import torch
        >>> from topreg import PersistenceLandscape
        >>> landscape = PersistenceLandscape(sample_range=(0, 1), count=3, resolution=10)
        >>> landscape([torch.tensor([[0.0, 1.0]]), torch.zeros(0, 2)]).shape
        torch.Size([2, 3, 10])
    """

    sample_range: tuple[float, float]
    count: int = 5
    resolution: int = 100
