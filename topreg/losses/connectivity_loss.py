"""Connectivity loss: components that merge at one scale."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from topreg import _checks
from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs, are_of_dimension_0, one_object
from topreg._repr import constructor_call
from topreg.filtrations import Filtration
from topreg.losses import _common


def connectivity_loss(
    points: Clouds,
    *,
    scale: float,
    pairs: PersistencePairs | None = None,
    filtration: Filtration | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Mean distance of the scales at which components merge from one that is wanted.

    .. math::

        \frac{1}{|\Gamma_0|} \sum_{\mu \in \Gamma_0} |a_d - \eta|

    It draws every point to the distance :math:`\eta` from its neighbours in the
    :term:`minimum spanning tree`, so that batches of one class come to lie densely. For one class
    at a time pass a list of clouds, a cloud a class.

    Args:
        points: Point cloud, or what the filtration filters.
        scale: :math:`\eta`, in the units of the filtration.
        pairs: :term:`Persistence pairs <persistence pair>` in dimension 0, found before.
        filtration: Finds the pairs and measures deaths; :class:`~topreg.RipsFiltration` if left
            out.
        reduction: ``"mean"`` over the pairs of all clouds, ``"none"`` one mean a cloud.

    Returns:
        The loss, in the units of the filtration; 0 without a pair.

    Raises:
        TypeError: If ``points`` are not floating point, or ``pairs`` not one object.
        ValueError: If ``scale`` is negative, the reduction is unknown, the pairs belong to another
            number of vertices, or are not of dimension 0.

    Shape:
        - points: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``points``. Time and memory :math:`O(m d)` beside finding the pairs.

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
    _checks.is_at_least("scale", scale, 0)
    _checks.is_option("reduction", reduction, _common.REDUCTIONS)
    ((part, diagram),) = _common.diagrams_of(
        points, None if pairs is None else one_object(pairs), filtration, (0,)
    )
    are_of_dimension_0(part)
    gaps = (diagram[:, 1] - scale).abs()
    every, clouds = torch.ones_like(gaps, dtype=torch.bool), len(part.cloud_sizes)
    return _common.mean_of_counted(gaps, every, part.cloud(), clouds, reduction)[0]


class ConnectivityLoss(nn.Module):
    """Module form of :func:`connectivity_loss`.

    Args:
        filtration: As in the function.
        scale: A :term:`filtration value`, as in the function.
        reduction: As in the function.

    Example:
        >>> import torch
        >>> from topreg import ConnectivityLoss
        >>> ConnectivityLoss(scale=1.0)(torch.tensor([[0.0], [1.0], [3.0]]))
        tensor(0.5000)
    """

    def __init__(
        self, filtration: Filtration | None = None, *, scale: float, reduction: str = "mean"
    ) -> None:
        super().__init__()
        _checks.is_at_least("scale", scale, 0)
        _checks.is_option("reduction", reduction, _common.REDUCTIONS)
        _common.check_filtration(filtration, ("diagram",))
        self.filtration = filtration
        self.scale = scale
        self.reduction = reduction

    def forward(
        self,
        points: Clouds,
        *,
        pairs: PersistencePairs | Sequence[PersistencePairs] | None = None,
    ) -> Tensor:
        """The loss on the pairs of dimension 0, found if not given; of several the first."""
        return connectivity_loss(
            points, scale=self.scale, filtration=self.filtration, reduction=self.reduction,
            pairs=None if pairs is None else _common.listed(pairs)[0],
        )  # fmt: skip

    def __repr__(self) -> str:
        """The call that makes an equal module."""
        return constructor_call(self)
