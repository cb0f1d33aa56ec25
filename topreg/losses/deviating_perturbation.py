"""Deviating perturbation: equation 6."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from topreg import _checks
from topreg._clouds import Clouds, cloud_of, join_labels, partition
from topreg._pairs import PersistencePairs, are_of_dimension_0, check_rows, one_object
from topreg._repr import constructor_call
from topreg.filtrations import Filtration
from topreg.losses import _common
from topreg.losses._offsets import sums_of_cosines, with_norms_of

RELATED = ("endpoints", "all")
UNRELATED = ("skip", "zero")


def deviating_perturbation(
    source: Clouds,
    target: Clouds,
    labels: Clouds,
    pairs: PersistencePairs,
    *,
    related: str = "endpoints",
    match_norms: bool = False,
    unrelated: str = "skip",
    reduction: str = "mean",
    eps: float = 1e-8,
) -> Tensor:
    r"""How differently the samples of a class lie around their common counterpart.

    .. math::

        \mathcal{L}_{DP}(\Gamma_0, X, T) = \frac{1}{|X_{\Gamma_0}|} \sum_{x_i \in X_{\Gamma_0}}
        \Bigl(1 - \frac{1}{|X'_i|} \sum_{x'_i \in X'_i}
        \cos\bigl(x_i - t_i,\; x'_i - t_i\bigr)\Bigr)

    :math:`X_{\Gamma_0}` are the end points of the pairs, :math:`X'_i` the relatives of i: other
    samples of its label in its cloud.

    Args:
        source: Point cloud in the first space.
        target: Point cloud in the second space; with class prototypes pass ``prototypes[labels]``.
        labels: Label of each vertex.
        pairs: :term:`Persistence pairs <persistence pair>` in dimension 0.
        related: ``"endpoints"`` seeks relatives among the end points of the pairs, ``"all"`` among
            all samples of the cloud.
        match_norms: Rescale each source row to the length of its target row first; a source row no
            longer than ``eps`` stays.
        unrelated: What becomes of an end point without a relative: ``"skip"`` leaves it out of the
            mean, ``"zero"`` counts it with 0.
        reduction: ``"mean"`` over all counted samples, ``"none"`` one value a cloud.
        eps: An offset no longer than this has no direction; its cosines count as 0.

    Returns:
        The loss, dimensionless, in :math:`[0, 2]`, in at least single precision; 0 if no sample has
        a relative.

    Raises:
        TypeError: If one view alone is in double precision, ``labels`` are not integers, or
            ``pairs`` are several.
        ValueError: If ``source`` and ``target`` differ in length or width, labels or pairs belong
            to another number of vertices or lie on another device, the pairs are not of dimension
            0, clouds are divided otherwise, an option is unknown, or ``eps`` is negative.

    Shape:
        - source, target: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - labels: :math:`(n,)`, :math:`(b, n)` or a sequence of :math:`(n_i,)`, integers.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``; not through ``pairs``. With r relatives in all
        the cosines are listed, time and memory :math:`O(n^2 + rd)`, or where r is large come from
        products of matrices, time :math:`O(n^2 d)`, memory :math:`O(n^2 + nd)`. A compiled program
        and an accelerator, which do not wait to look at values, multiply in double precision.

    Source:
        Zhang et al., NeurIPS 2024, equation 6. ``related="all"`` and ``match_norms=True`` follow
        the authors' code, as does ``unrelated="skip"``; ``"zero"`` is the equation read literally.

    Example:
        >>> import torch
        >>> from topreg import RipsFiltration, deviating_perturbation
        >>> images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])
        >>> texts = torch.zeros(3, 2)
        >>> pairs = RipsFiltration().pairs(images)
        >>> deviating_perturbation(images, texts, torch.tensor([0, 0, 1]), pairs)
        tensor(1.)
    """
    check_options(related, unrelated, reduction, eps)
    x, y = _common.views(source, target)
    joined = join_labels(labels)
    _checks.are_labels(joined, len(x))
    _checks.on_one_device("source", x, "labels", joined.device)
    check_rows(one_object(pairs), x, "source", partition(source))
    divisions = {"source": partition(source), "target": partition(target)}
    known = [(sizes, name) for name, sizes in divisions.items() if sizes is not None]
    _are_divided(labels, *(known or [(pairs.cloud_sizes, "pairs")])[0])
    are_of_dimension_0(pairs)
    if match_norms:
        x = with_norms_of(x, y, eps)
    parts = zip(x.split(pairs.cloud_sizes), y.split(pairs.cloud_sizes), strict=True)
    sums = [partial(sums_of_cosines, *part, eps=eps) for part in parts]
    none = (x[:0] + y[:0]).sum(1)  # attaches the loss of no cloud to the graph
    return _mean_over_samples(sums, none, joined, pairs, related, unrelated, reduction)


def _are_divided(labels: Clouds, sizes: Sequence[int], name: str) -> None:
    """Refuse labels of clouds other than these; one vector may be that of several."""
    own = partition(labels, 2)
    if own is not None:
        _checks.of_clouds(own, sizes, name, "labels")


def _mean_over_samples(
    sums: Sequence[Callable[[Tensor], Tensor]],
    none: Tensor,
    labels: Tensor,
    pairs: PersistencePairs,
    related: str,
    unrelated: str,
    reduction: str,
) -> Tensor:
    """Equation 6 from the sums of cosines that each cloud gives for its relatives."""
    sizes = list(pairs.cloud_sizes)
    endpoints = torch.zeros(len(labels), dtype=torch.bool, device=pairs.death_edges.device)
    endpoints = endpoints.index_fill(0, pairs.death_edges.flatten(), True)  # copies no constant
    relatives = torch.ones_like(endpoints) if related == "all" else endpoints
    parts = zip(
        sums, labels.split(sizes), endpoints.split(sizes), relatives.split(sizes), strict=True
    )
    terms = [_terms(*part, unrelated) for part in parts if len(part[1])]
    values = torch.cat([none, *(value for value, _ in terms)])
    counted = torch.cat([endpoints[:0], *(counts for _, counts in terms)])
    cloud = cloud_of(torch.arange(len(labels), device=endpoints.device), sizes)
    return _common.mean_of_counted(values, counted, cloud, len(sizes), reduction)[0]


def _terms(
    sums: Callable[[Tensor], Tensor],
    labels: Tensor,
    endpoints: Tensor,
    relatives: Tensor,
    unrelated: str,
) -> tuple[Tensor, Tensor]:
    """Summand of each sample of one cloud, and whether it is counted."""
    related = (labels[:, None] == labels[None, :]) & relatives[None, :]
    related = related & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    count = related.sum(1)
    has = count > 0
    values = torch.where(has, 1 - sums(related) / count.clamp(min=1), 0.0)
    return values, endpoints & has if unrelated == "skip" else endpoints


def check_options(related: str, unrelated: str, reduction: str, eps: float) -> None:
    """Refuse unknown options."""
    _checks.is_option("related", related, RELATED)
    _checks.is_option("unrelated", unrelated, UNRELATED)
    _checks.is_option("reduction", reduction, _common.REDUCTIONS)
    _checks.is_at_least("eps", eps, 0)


class DeviatingPerturbation(nn.Module):
    """Module form of :func:`deviating_perturbation`, which finds the pairs when not given.

    Args:
        filtration: Orders the :term:`edges <edge>`; :class:`~topreg.RipsFiltration` if left out.
        related: As in the function.
        match_norms: As in the function.
        unrelated: As in the function.
        reduction: As in the function.
        eps: As in the function.

    Example:
        >>> import torch
        >>> from topreg import DeviatingPerturbation
        >>> images, labels = torch.eye(3), torch.tensor([0, 0, 1])
        >>> DeviatingPerturbation(related="all")(images, torch.zeros(3, 3), labels)
        tensor(1.)
    """

    def __init__(
        self,
        filtration: Filtration | None = None,
        *,
        related: str = "endpoints",
        match_norms: bool = False,
        unrelated: str = "skip",
        reduction: str = "mean",
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        check_options(related, unrelated, reduction, eps)
        _common.check_filtration(filtration)
        self.filtration = filtration
        self.related = related
        self.match_norms = match_norms
        self.unrelated = unrelated
        self.reduction = reduction
        self.eps = eps

    def forward(
        self,
        source: Clouds,
        target: Clouds,
        labels: Clouds,
        *,
        pairs: PersistencePairs | Sequence[PersistencePairs] | None = None,
        geometry: Clouds | None = None,
    ) -> Tensor:
        """The loss on the pairs of dimension 0.

        Args:
            source: Point cloud in the first space.
            target: Point cloud in the second space.
            labels: Label of each vertex.
            pairs: Pairs found before; of several the first is used.
            geometry: Points in which pairs are found; ``source`` if left out.

        Returns:
            The loss, :math:`()` or one value for each cloud.
        """
        geometry = source if geometry is None else geometry
        return deviating_perturbation(
            source, target, labels,
            _common.given_or_found(pairs, self.filtration, (0,), geometry)[0],
            related=self.related, match_norms=self.match_norms, unrelated=self.unrelated,
            reduction=self.reduction, eps=self.eps,
        )  # fmt: skip

    def __repr__(self) -> str:
        """The call that makes an equal module."""
        return constructor_call(self)
