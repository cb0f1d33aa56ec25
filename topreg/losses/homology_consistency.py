"""Homology consistency: equation 7."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from topreg import _checks
from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs
from topreg._repr import constructor_call
from topreg.filtrations import Filtration
from topreg.losses import _common
from topreg.losses.deviating_perturbation import check_options as check_perturbation
from topreg.losses.deviating_perturbation import deviating_perturbation
from topreg.losses.track_coincidence import check_options as check_coincidence
from topreg.losses.track_coincidence import coincidence_over


class HomologyTerms(NamedTuple):
    """The parts of :term:`homology consistency`, each a loss without its weight.

    Args:
        track_coincidence: Sum over dimensions, equation 5.
        deviating_perturbation: Of dimension 0, equation 6.

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
    pairs: Sequence[PersistencePairs],
    *,
    perturbation_weight: float,
    orientation: str = "index",
    undirected: str = "skip",
    related: str = "endpoints",
    match_norms: bool = False,
    unrelated: str = "skip",
    reduction: str = "mean",
    eps: float = 1e-8,
) -> Tensor:
    r"""Track coincidence over several dimensions with a deviating perturbation on dimension 0.

    .. math::

        \mathcal{L}_{HC}(\Gamma, X, T) = \sum_p \mathcal{L}_{TC}(\Gamma_p, X, T)
        + \lambda \mathcal{L}_{DP}(\Gamma_0, X, T)

    Args:
        source: Point cloud in the first space.
        target: Point cloud in the second space.
        labels: Label of each vertex.
        pairs: :term:`Persistence pairs <persistence pair>` of each dimension, dimension 0 first.
        perturbation_weight: :term:`Perturbation weight` :math:`\lambda`, dimensionless.
        orientation: As in :func:`~topreg.track_coincidence`.
        undirected: As in :func:`~topreg.track_coincidence`.
        related: As in :func:`~topreg.deviating_perturbation`.
        match_norms: As in :func:`~topreg.deviating_perturbation`.
        unrelated: As in :func:`~topreg.deviating_perturbation`.
        reduction: ``"mean"`` or ``"none"``, for both terms.
        eps: For both terms.

    Returns:
        The loss, dimensionless, in at least single precision.

    Raises:
        TypeError: As in the two losses.
        ValueError: As in the two losses, or if ``pairs`` does not begin with dimension 0 or
            the weight is not finite.

    Shape:
        - source, target: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - labels: :math:`(n,)`, :math:`(b, n)` or a sequence of :math:`(n_i,)`, integers.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``; not through ``pairs``.

    Source:
        Zhang et al., NeurIPS 2024, equation 7.

    Example:
        >>> import torch
        >>> from topreg import RipsFiltration, homology_consistency
        >>> images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])
        >>> texts, labels = torch.zeros(3, 2), torch.tensor([0, 0, 1])
        >>> pairs = RipsFiltration().all_pairs(images, 0)
        >>> homology_consistency(images, texts, labels, pairs, perturbation_weight=2.5)
        tensor(2.5000)
    """
    module = HomologyConsistency(
        perturbation_weight=perturbation_weight, orientation=orientation, undirected=undirected,
        related=related, match_norms=match_norms, unrelated=unrelated, reduction=reduction,
        eps=eps,
    )  # fmt: skip
    loss: Tensor = module(source, target, labels, pairs=pairs)
    return loss


class HomologyConsistency(nn.Module):
    """Module form of :func:`homology_consistency`, which finds the pairs when not given.

    Args:
        filtration: Orders the edges; :class:`~topreg.RipsFiltration` if left out.
        dimensions: Homology dimensions of the :term:`track coincidence`, 0 first.
        perturbation_weight: As in the function, and so the rest.
        orientation: As in the function; flips are decided in ``geometry``, else in ``source``.
        undirected: As in the function.
        related: As in the function.
        match_norms: As in the function.
        unrelated: As in the function.
        reduction: As in the function.
        eps: As in the function.

    Raises:
        ValueError: If an option is unknown, the weight is not finite, or the dimensions do not
            begin with 0.

    Example:
        >>> from topreg import HomologyConsistency
        >>> HomologyConsistency(perturbation_weight=2.5)
        HomologyConsistency(perturbation_weight=2.5)
    """

    def __init__(
        self,
        filtration: Filtration | None = None,
        dimensions: Sequence[int] = (0,),
        *,
        perturbation_weight: float,
        orientation: str = "index",
        undirected: str = "skip",
        related: str = "endpoints",
        match_norms: bool = False,
        unrelated: str = "skip",
        reduction: str = "mean",
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        _common.check_filtration(filtration)
        self.filtration = filtration
        self.dimensions = _common.check_dimensions(dimensions)
        if self.dimensions[0] != 0:
            raise ValueError(f"`dimensions` should begin with 0. Got {dimensions!r}.")
        _checks.is_finite("perturbation_weight", perturbation_weight)
        self.perturbation_weight = perturbation_weight
        self.orientation = orientation
        self.undirected = undirected
        self.related = related
        self.match_norms = match_norms
        self.unrelated = unrelated
        self.reduction = reduction
        self.eps = eps
        check_coincidence(orientation, undirected, reduction, eps)
        check_perturbation(related, unrelated, reduction, eps)

    def terms(
        self,
        source: Clouds,
        target: Clouds,
        labels: Clouds,
        *,
        pairs: PersistencePairs | Sequence[PersistencePairs] | None = None,
        geometry: Clouds | None = None,
    ) -> HomologyTerms:
        """The two terms before they are weighted and added.

        Args:
            source: Point cloud in the first space.
            target: Point cloud in the second space.
            labels: Label of each vertex.
            pairs: Pairs found before, dimension 0 first.
            geometry: What the filtration filters, in which pairs and flips are found; ``source``
                if left out. If these are edge weights or distances, flips are found in ``source``.

        Returns:
            ``track_coincidence`` and ``deviating_perturbation``.

        Raises:
            TypeError: As in the two losses.
            ValueError: As in the two losses, or if ``pairs`` does not begin with dimension 0.
        """
        points = _common.flips_from(self.filtration, geometry, source)
        within = source if geometry is None else geometry
        pairs = _common.given_or_found(pairs, self.filtration, self.dimensions, within)
        _begin_with_dimension_0(pairs)
        return HomologyTerms(
            coincidence_over(
                pairs, source, target, points, orientation=self.orientation,
                undirected=self.undirected, reduction=self.reduction, eps=self.eps,
            ),
            deviating_perturbation(
                source, target, labels, pairs[0], related=self.related,
                match_norms=self.match_norms, unrelated=self.unrelated,
                reduction=self.reduction, eps=self.eps,
            ),
        )  # fmt: skip

    def forward(
        self,
        source: Clouds,
        target: Clouds,
        labels: Clouds,
        *,
        pairs: PersistencePairs | Sequence[PersistencePairs] | None = None,
        geometry: Clouds | None = None,
    ) -> Tensor:
        """The loss; arguments as in :meth:`terms`."""
        return self._weighted(self.terms(source, target, labels, pairs=pairs, geometry=geometry))

    def _weighted(self, terms: HomologyTerms) -> Tensor:
        """Equation 7."""
        return terms.track_coincidence + self.perturbation_weight * terms.deviating_perturbation

    def __repr__(self) -> str:
        """The call that makes an equal module."""
        return constructor_call(self)


def _begin_with_dimension_0(pairs: Sequence[PersistencePairs]) -> None:
    """Refuse pairs whose first dimension is not that of the perturbation."""
    if pairs[0].dimension != 0:
        raise ValueError(
            f"`pairs` should begin with those of dimension 0. Got {pairs[0].dimension}."
        )
