"""Homology consistency: equation 7."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds
from topreg.filtrations import Filtration
from topreg.losses import _common
from topreg.losses._common import Pairs
from topreg.losses._loss import Loss
from topreg.losses.deviating_perturbation import check_labels, perturbation
from topreg.losses.deviating_perturbation import check_options as check_perturbation
from topreg.losses.track_coincidence import check_options as check_coincidence
from topreg.losses.track_coincidence import coincidence


class HomologyTerms(NamedTuple):
    """The two parts of :term:`homology consistency`, each a loss without its weight.

    Args:
        track_coincidence: Equation 5, summed over the dimensions.
        deviating_perturbation: Equation 6 in dimension 0.

    Shape:
        - Both :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Example:
        >>> import torch
        >>> from topreg import HomologyConsistency
        >>> images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])
        >>> terms = HomologyConsistency(perturbation_weight=2.0).terms(
        ...     images, -images, torch.tensor([0, 1, 2])
        ... )
        >>> terms.track_coincidence
        tensor(2.)
    """

    track_coincidence: Tensor
    deviating_perturbation: Tensor


def homology_consistency(
    source: Clouds,
    target: Clouds,
    labels: Clouds,
    *,
    pairs: Pairs | None = None,
    geometry: Clouds | None = None,
    filtration: Filtration | None = None,
    dimensions: Sequence[int] = (0,),
    perturbation_weight: float,
    orientation: str = "index",
    related: str = "endpoints",
    match_norms: bool = False,
    undefined: str = "skip",
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    r"""Track coincidence over several dimensions with a deviating perturbation in dimension 0.

    .. math::

        \mathcal{L}_{HC}(\Gamma, X, T) = \sum_p \mathcal{L}_{TC}(\Gamma_p, X, T)
        + \lambda \mathcal{L}_{DP}(\Gamma_0, X, T)

    Args:
        source: Point cloud in the first space.
        target: Point cloud in the second space, with as many coordinates as the first.
        labels: Label of each vertex.
        pairs: :term:`Persistence pairs <persistence pair>` on the common vertices, one object or
            one per dimension, dimension 0 among them. If left out they are found in ``geometry``.
        geometry: Data in which pairs are found; ``source`` if left out.
        filtration: Finds the pairs; :class:`~topreg.RipsFiltration` if left out.
        dimensions: Homology dimensions in which pairs are found, 0 among them.
        perturbation_weight: :term:`Perturbation weight` :math:`\lambda`, dimensionless.
        orientation: ``"index"`` orients edges from the smaller vertex to the larger; ``"aligned"``
            flips death edge vectors that oppose their birth edge vectors in ``source``.
        related: ``"endpoints"`` seeks relatives among the end points of the pairs, ``"all"`` among
            all samples of the cloud.
        match_norms: Rescale each source row to the length of its target row before offsets are
            compared. A source row no longer than ``eps`` stays.
        undefined: ``"skip"`` leaves undefined terms out of the mean, ``"zero"`` counts them: a
            class without direction with the cosine 0, an end point without a relative with 0.
        eps: Tracks and offsets no longer than this have no direction.
        reduction: ``"none"`` gives one value per cloud, ``"mean"`` and ``"sum"`` reduce them.

    Returns:
        The loss, dimensionless, in at least single precision.

    Raises:
        TypeError: As in the two losses.
        ValueError: As in the two losses, or if dimension 0 is missing or the weight is not finite.

    Shape:
        - source, target: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - labels: :math:`(n,)`, :math:`(b, n)` or a sequence of :math:`(n_i,)`, integers.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``; not through the pairs.

    Source:
        Zhang et al., NeurIPS 2024, equation 7.

    Example:
        >>> import torch
        >>> from topreg import homology_consistency
        >>> images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])
        >>> texts, labels = torch.zeros(3, 2), torch.tensor([0, 0, 1])
        >>> homology_consistency(images, texts, labels, perturbation_weight=2.5)
        tensor(2.5000)
    """
    coincident, perturbed = _terms(
        source,
        target,
        labels,
        pairs,
        geometry,
        filtration,
        dimensions,
        perturbation_weight,
        orientation,
        related,
        match_norms,
        undefined,
        eps,
        reduction,
    )
    return coincident + perturbation_weight * perturbed


def _terms(
    source: Clouds,
    target: Clouds,
    labels: Clouds,
    pairs: Pairs | None,
    geometry: Clouds | None,
    filtration: Filtration | None,
    dimensions: Sequence[int],
    perturbation_weight: float,
    orientation: str,
    related: str,
    match_norms: bool,
    undefined: str,
    eps: float,
    reduction: str,
) -> HomologyTerms:
    """The two terms before they are weighted and added."""
    dimensions = check_options(
        filtration,
        dimensions,
        perturbation_weight,
        orientation,
        related,
        match_norms,
        undefined,
        eps,
        reduction,
    )
    x, y, sizes = _common.views(source, target)
    joined = check_labels(labels, x, sizes)
    found = _common.find(pairs, filtration, dimensions, source if geometry is None else geometry)
    _common.check_all(found, x, sizes)
    of_zero = [part for part in found if part.dimension == 0]
    if not of_zero:
        raise ValueError(f"`pairs` should hold those of dimension 0. Got {found[0].dimension}.")
    return HomologyTerms(
        _common.reduced(coincidence(x, y, found, orientation, undefined, eps), reduction),
        _common.reduced(
            perturbation(x, y, joined, of_zero, related, match_norms, undefined, eps), reduction
        ),
    )


def check_options(
    filtration: Filtration | None,
    dimensions: Sequence[int],
    perturbation_weight: float,
    orientation: str,
    related: str,
    match_norms: bool,
    undefined: str,
    eps: float,
    reduction: str,
) -> tuple[int, ...]:
    """Raise if an option is unknown or out of range; return the dimensions."""
    check_perturbation(filtration, dimensions, related, match_norms, undefined, eps, reduction)
    listed = check_coincidence(filtration, dimensions, orientation, undefined, eps, reduction)
    if 0 not in listed:
        raise ValueError(f"`dimensions` should contain 0. Got {dimensions!r}.")
    _checks.is_finite("perturbation_weight", perturbation_weight)
    return listed


class HomologyConsistency(Loss):
    """Module form of :func:`homology_consistency`.

    Args:
        filtration: Finds the pairs; :class:`~topreg.RipsFiltration` if left out.
        dimensions: Homology dimensions of the :term:`track coincidence`, 0 among them.
        perturbation_weight: Weight of the deviating perturbation, dimensionless.
        orientation: ``"index"`` orients edges from the smaller vertex to the larger; ``"aligned"``
            flips death edge vectors that oppose their birth edge vectors in ``source``.
        related: ``"endpoints"`` seeks relatives among the end points of the pairs, ``"all"`` among
            all samples of the cloud.
        match_norms: Rescale each source row to the length of its target row before offsets are
            compared.
        undefined: ``"skip"`` leaves undefined terms out of the mean, ``"zero"`` counts them with a
            cosine or a term of 0.
        eps: Tracks and offsets no longer than this have no direction.
        reduction: ``"none"`` gives one value per cloud, ``"mean"`` and ``"sum"`` reduce them.

    Raises:
        ValueError: If an option is unknown, the weight is not finite, or 0 is missing among the
            dimensions.

    Example:
        >>> from topreg import HomologyConsistency
        >>> HomologyConsistency(perturbation_weight=2.5)
        HomologyConsistency(perturbation_weight=2.5)
    """

    _check = staticmethod(check_options)

    def __init__(
        self,
        *,
        filtration: Filtration | None = None,
        dimensions: Sequence[int] = (0,),
        perturbation_weight: float,
        orientation: str = "index",
        related: str = "endpoints",
        match_norms: bool = False,
        undefined: str = "skip",
        eps: float = 1e-8,
        reduction: str = "mean",
    ) -> None:
        super().__init__(
            filtration=filtration,
            dimensions=dimensions,
            perturbation_weight=perturbation_weight,
            orientation=orientation,
            related=related,
            match_norms=match_norms,
            undefined=undefined,
            eps=eps,
            reduction=reduction,
        )

    def terms(
        self,
        source: Clouds,
        target: Clouds,
        labels: Clouds,
        *,
        pairs: Pairs | None = None,
        geometry: Clouds | None = None,
    ) -> HomologyTerms:
        """Return the two terms before they are weighted and added, for instance for a log.

        Args:
            source: Point cloud in the first space.
            target: Point cloud in the second space.
            labels: Label of each vertex.
            pairs: Pairs found before, one object or one per dimension.
            geometry: Data in which pairs are found; ``source`` if left out.

        Returns:
            ``track_coincidence`` and ``deviating_perturbation``.

        Raises:
            TypeError: As in the two losses.
            ValueError: As in the two losses, or if dimension 0 is missing.
        """
        return _terms(source, target, labels, pairs, geometry, **self._options())

    def forward(
        self,
        source: Clouds,
        target: Clouds,
        labels: Clouds,
        *,
        pairs: Pairs | None = None,
        geometry: Clouds | None = None,
    ) -> Tensor:
        """Return the loss; arguments as in :meth:`terms`."""
        return homology_consistency(
            source, target, labels, pairs=pairs, geometry=geometry, **self._options()
        )
