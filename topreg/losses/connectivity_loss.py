"""Connectivity loss: make components merge at one scale."""

from torch import Tensor

from topreg._clouds import Clouds
from topreg._module import checked
from topreg._pairs import are_of_dimension_0
from topreg.filtrations import Filtration
from topreg.losses import _common
from topreg.losses._common import CHECKS, Loss, Pairs


@checked(CHECKS)
def connectivity_loss(
    points: Clouds,
    *,
    pairs: Pairs | None = None,
    filtration: Filtration | None = None,
    scale: float,
    reduction: str = "mean",
) -> Tensor:
    r"""Return the mean difference between the scales at which components merge and ``scale``.

    .. math::

        \frac{1}{|\Gamma_0|} \sum_{\mu \in \Gamma_0} |a_d - \eta|

    Minimising it brings every point to the distance :math:`\eta` from its neighbours in the
    :term:`minimum spanning tree`, so that the points of a class become dense. To treat each class
    separately, pass a list of clouds, one per class.

    Args:
        points: Point cloud, or other data of the filtration.
        pairs: :term:`Persistence pairs <persistence pair>` in dimension 0, found before.
        filtration: Finds the pairs and measures deaths; :class:`~topreg.RipsFiltration` if left
            out.
        scale: The wanted :term:`filtration value` :math:`\eta`, in the units of the filtration.
        reduction: ``"none"`` gives one value per cloud, ``"mean"`` and ``"sum"`` reduce them.

    Returns:
        The loss, in the units of the filtration. A cloud without a pair has the value 0.

    Raises:
        TypeError: If ``points`` are not floating point, or ``pairs`` has the wrong type.
        ValueError: If ``scale`` is negative, the reduction is unknown, the pairs belong to another
            number of vertices, or are not of dimension 0.

    Shape:
        - points: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``points``. Time and memory :math:`O(m d)` in addition to finding the
        pairs.

    Source:
        Hofer et al., Connectivity-optimized representation learning via persistent homology, ICML
        2019, equation 4. The paper sums over the pairs; the mean does not depend on the size of the
        batch.

    Example:
        >>> import torch
        >>> from topreg import connectivity_loss
        >>> connectivity_loss(torch.tensor([[0.0], [1.0], [3.0]]), scale=1.0)
        tensor(0.5000)
    """
    found = _common.diagrams_of(points, pairs, filtration, (0,))
    terms = []
    for part, diagram in found:
        are_of_dimension_0(part)
        gaps = (diagram[:, 1] - scale).abs()
        cloud, clouds = _common.cloud_numbers(part), len(part.cloud_sizes)
        terms.append(_common.means(gaps, None, cloud, clouds)[0])
    return _common.reduce_values(_common.add_dimensions(terms), reduction)


class ConnectivityLoss(Loss, function=connectivity_loss):
    """Module form of :func:`connectivity_loss`.

    Example:
        >>> import torch
        >>> from topreg import ConnectivityLoss
        >>> ConnectivityLoss(scale=1.0)(torch.tensor([[0.0], [1.0], [3.0]]))
        tensor(0.5000)
    """

    scale: float
