"""Homology consistency: equation 7."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from topreg._clouds import Clouds
from topreg._module import checked
from topreg.filtrations import Filtration
from topreg.losses import _common
from topreg.losses._common import CHECKS, Loss, Pairs, check_dimensions
from topreg.losses.deviating_perturbation import check_labels, perturbation
from topreg.losses.track_coincidence import coincidence


class HomologyTerms(NamedTuple):
    """The two terms of :term:`homology consistency`, before they are weighted and added.

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


def _have_zero(name: str, dimensions: object) -> tuple[int, ...]:
    """Return the dimensions as a tuple; raise if 0 is missing."""
    listed = check_dimensions(name, dimensions)
    if 0 not in listed:
        raise ValueError(f"`{name}` should contain 0. Got {dimensions!r}.")
    return listed


@checked(CHECKS | {"dimensions": _have_zero})
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
    r"""Add track coincidence in several dimensions and deviating perturbation in dimension 0.

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
        dimensions: :term:`Homology dimensions <homology dimension>` in which pairs are found, 0
            among them.
        perturbation_weight: :term:`Perturbation weight` :math:`\lambda`, dimensionless.
        orientation: ``"index"`` orients edges from the smaller vertex to the larger; ``"aligned"``
            flips death edge vectors that oppose their birth edge vectors in ``source``.
        related: ``"endpoints"`` seeks relatives (samples of the same label) among the end points
            of the pairs, ``"all"`` among all samples of the cloud.
        match_norms: Rescale each source row to the length of its target row before offsets are
            compared. A source row no longer than ``eps`` stays.
        undefined: ``"skip"`` leaves undefined terms out of the mean, ``"zero"`` counts them: a
            class without direction with cosine 0, an end point without a relative with 0.
        eps: Tracks and offsets no longer than this have no direction.
        reduction: ``"none"`` gives one value per cloud, ``"mean"`` and ``"sum"`` reduce them.

    Returns:
        The loss, dimensionless, in at least single precision.

    Raises:
        TypeError: If only one view is in double precision, a view is not floating point,
            ``labels`` are not integers, or ``pairs`` or ``filtration`` has the wrong type.
        ValueError: If ``source`` and ``target`` differ in length, width or the sizes of their
            clouds, labels or pairs belong to other clouds, dimension 0 is missing, an option is
            unknown, ``eps`` is negative, or the weight is not finite.

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
        filtration=filtration,
        dimensions=dimensions,
        orientation=orientation,
        related=related,
        match_norms=match_norms,
        undefined=undefined,
        eps=eps,
        reduction=reduction,
    )
    return coincident + perturbation_weight * perturbed


def _terms(
    source: Clouds,
    target: Clouds,
    labels: Clouds,
    pairs: Pairs | None,
    geometry: Clouds | None,
    **options: Any,
) -> HomologyTerms:
    """Return both terms for the options of :func:`homology_consistency`."""
    search = pairs, geometry, options["filtration"], options["dimensions"]
    x, y, sizes, found = _common.paired(source, target, *search)
    joined = check_labels(labels, x, sizes)
    of_zero = [part for part in found if part.dimension == 0]
    if not of_zero:
        raise ValueError(f"`pairs` should include dimension 0. Got {found[0].dimension}.")
    undefined, eps = options["undefined"], options["eps"]
    values = (
        coincidence(x, y, found, options["orientation"], undefined, eps),
        perturbation(
            x, y, joined, of_zero, options["related"], options["match_norms"], undefined, eps
        ),
    )
    return HomologyTerms(*(_common.reduce_values(value, options["reduction"]) for value in values))


class HomologyConsistency(Loss, function=homology_consistency):
    """Module form of :func:`homology_consistency`.

    Example:
        >>> from topreg import HomologyConsistency
        >>> HomologyConsistency(perturbation_weight=2.5)
        HomologyConsistency(perturbation_weight=2.5)
    """

    dimensions: Sequence[int] = (0,)
    perturbation_weight: float
    orientation: str = "index"
    related: str = "endpoints"
    match_norms: bool = False
    undefined: str = "skip"
    eps: float = 1e-8

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

        :func:`homology_consistency` describes the arguments.
        """
        return _terms(source, target, labels, pairs, geometry, **self._options())
