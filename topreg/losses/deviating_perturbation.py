"""Deviating perturbation: equation 6."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from topreg import _checks
from topreg._clouds import Clouds, cloud_of, join_labels
from topreg._pairs import PersistencePairs, check_rows
from topreg._repr import constructor_call
from topreg.filtrations import Filtration
from topreg.losses import _common
from topreg.metrics import safe_norm

RELATED = ("endpoints", "all")
LISTED_COST = 8  # a listed pair costs about as much as so many entries of the matrix products


def deviating_perturbation(
    source: Clouds,
    target: Clouds,
    labels: Clouds,
    pairs: PersistencePairs,
    *,
    related: str = "endpoints",
    match_norms: bool = False,
    reduction: str = "mean",
    eps: float = 1e-8,
) -> Tensor:
    r"""How differently the samples of a class lie around their common counterpart.

    .. math::

        \mathcal{L}_{DP}(\Gamma_0, X, T) = \frac{1}{|X_{\Gamma_0}|} \sum_{x_i \in X_{\Gamma_0}}
        \Bigl(1 - \frac{1}{|X'_i|} \sum_{x'_i \in X'_i}
        \cos\bigl(x_i - t_i,\; x'_i - t_i\bigr)\Bigr)

    :math:`X_{\Gamma_0}` are the end points of the pairs, :math:`X'_i` the relatives of i: other
    samples of its label in its cloud. Samples without a relative are left out of the mean.

    Args:
        source: Point cloud in the first space.
        target: Point cloud in the second space; with class prototypes pass ``prototypes[labels]``.
        labels: Label of each vertex.
        pairs: :term:`Persistence pairs <persistence pair>` in dimension 0.
        related: ``"endpoints"`` seeks relatives among the end points of the pairs, ``"all"`` among
            all samples of the cloud.
        match_norms: Rescale each source row to the length of its target row first; a source row no
            longer than ``eps`` stays.
        reduction: ``"mean"`` over all samples with a relative, ``"none"`` one value a cloud.
        eps: An offset no longer than this has no direction; its cosines count as 0.

    Returns:
        The loss, dimensionless, in :math:`[0, 2]`, in at least single precision; 0 if no sample has
        a relative.

    Raises:
        TypeError: If dtypes differ, ``labels`` are not integers, or ``pairs`` are several.
        ValueError: If ``source`` and ``target`` differ in length or width, labels or pairs belong
            to another number of vertices, or the pairs are not of dimension 0.

    Shape:
        - source, target: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - labels: :math:`(n,)`, :math:`(b, n)` or a sequence of :math:`(n_i,)`, integers.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``; not through ``pairs``. With r relatives in all
        the cosines are listed, time and memory :math:`O(n^2 + rd)`, or where r is large come from
        products of matrices, time :math:`O(n^2 d)`, memory :math:`O(n^2 + nd)`.

    Source:
        Zhang et al., NeurIPS 2024, equation 6. ``related="all"`` and ``match_norms=True`` follow
        the authors' code, as does leaving out samples without a relative.

    Example:
        >>> import torch
        >>> from topreg import RipsFiltration, deviating_perturbation
        >>> images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])
        >>> texts = torch.zeros(3, 2)
        >>> pairs = RipsFiltration().pairs(images)
        >>> deviating_perturbation(images, texts, torch.tensor([0, 0, 1]), pairs)
        tensor(1.)
    """
    check_options(related, reduction, eps)
    source, target = _common.views(source, target)
    labels = join_labels(labels)
    _checks.are_labels(labels, len(source))
    check_rows(_common.one_object(pairs), source, "source")
    _common.are_of_dimension_0(pairs)
    if match_norms:
        source = _with_norms_of(source, target, eps)
    endpoints = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    endpoints = endpoints.index_fill(0, pairs.death_edges.flatten(), True)  # copies no constant
    relatives = torch.ones_like(endpoints) if related == "all" else endpoints
    sizes = list(pairs.cloud_sizes)
    parts = zip(
        source.split(sizes), target.split(sizes), labels.split(sizes),
        endpoints.split(sizes), relatives.split(sizes), strict=True,
    )  # fmt: skip
    terms = [_terms(*part, eps) for part in parts if len(part[0])]
    none = (source[:0] + target[:0]).sum(1)  # attaches the loss of no cloud to the graph
    values = torch.cat([none, *(value for value, _ in terms)])
    counted = torch.cat([endpoints[:0], *(has for _, has in terms)])
    cloud = cloud_of(torch.arange(len(source), device=source.device), sizes)
    return _common.mean_of_counted(values, counted, cloud, len(sizes), reduction)[0]


def _terms(
    source: Tensor,
    target: Tensor,
    labels: Tensor,
    endpoints: Tensor,
    relatives: Tensor,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Summand of each sample of one cloud, and whether it is an end point with a relative."""
    related = (labels[:, None] == labels[None, :]) & relatives[None, :]
    related = related & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    count = related.sum(1)
    cosines = _sums_of_cosines(source, target, related, count, eps)
    return 1 - cosines / count.clamp(min=1), endpoints & (count > 0)


def _sums_of_cosines(
    source: Tensor, target: Tensor, related: Tensor, count: Tensor, eps: float
) -> Tensor:
    """Sum over the relatives k of i of the cosine between their offsets from ``target_i``.

    Few relatives are cheaper listed than multiplied; only the CPU may look how many there are
    without waiting for the device.
    """
    may_look = source.device.type == "cpu" and not torch.compiler.is_compiling()
    if may_look and LISTED_COST * int(count.sum()) <= related.numel():
        i, k = related.nonzero().unbind(1)
        cosines = _listed_cosines(source, target, i, k, eps)
        return cosines.new_zeros(len(source)).index_add(0, i, cosines)
    return torch.where(related, _dense_cosines(source, target, related, eps), 0.0).sum(1)


def _listed_cosines(source: Tensor, target: Tensor, i: Tensor, k: Tensor, eps: float) -> Tensor:
    """Cosine between ``source_i - target_i`` and ``source_k - target_i`` for each listed pair."""
    centres = target.index_select(0, i)
    own, other = source.index_select(0, i) - centres, source.index_select(0, k) - centres
    squares, others = own.square().sum(1), other.square().sum(1)
    directed = ~((squares <= eps * eps) | (others <= eps * eps))  # NaN stays NaN
    return _common.safe_cosines((own * other).sum(1), squares, others, directed)


def _dense_cosines(source: Tensor, target: Tensor, related: Tensor, eps: float) -> Tensor:
    """For each relative k of i the cosine of ``source_i - target_i`` and ``source_k - target_i``.

    With the offsets ``a_k = source_k - target_k`` the second vector is ``a_k + target_k -
    target_i``, so that inner products and squares follow from three products of matrices. Only
    differences of relatives' targets occur: each is taken from the first of its relatives, so that
    nothing cancels where relatives share a target.
    """
    offsets = source - target
    rows = torch.arange(len(target), device=target.device)
    first = torch.minimum(rows, torch.where(related, rows, len(rows)).amin(1))
    target = target - target.detach().index_select(0, first)
    with torch.autocast(source.device.type, enabled=False):  # squares cancel in half precision
        gram, cross, inner = offsets @ offsets.T, offsets @ target.T, target @ target.T
    squares, shifts, lengths = gram.diagonal(), cross.diagonal(), inner.diagonal()
    dots = gram + cross - shifts[:, None]
    moved = lengths[None, :] + lengths[:, None] - 2 * inner
    others = squares[None, :] + 2 * (shifts[None, :] - cross.T) + moved
    directed = ~((squares[:, None] <= eps * eps) | (others <= eps * eps))
    return _common.safe_cosines(dots, squares[:, None], others, directed)


def _with_norms_of(source: Tensor, target: Tensor, eps: float) -> Tensor:
    """Source rows at the lengths of the target rows."""
    squares = source.square().sum(1, keepdim=True)
    directed = squares > eps * eps
    length = safe_norm(target)[:, None]
    return torch.where(
        directed, source * length / torch.where(directed, squares, 1.0).sqrt(), source
    )


def check_options(related: str, reduction: str, eps: float) -> None:
    """Refuse unknown options."""
    _checks.is_option("related", related, RELATED)
    _checks.is_option("reduction", reduction, _common.REDUCTIONS)
    _checks.is_at_least("eps", eps, 0)


class DeviatingPerturbation(nn.Module):
    """Module form of :func:`deviating_perturbation`, which finds the pairs when not given.

    Args:
        filtration: Orders the edges; :class:`~topreg.RipsFiltration` if left out.
        related: As in the function.
        match_norms: As in the function.
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
        reduction: str = "mean",
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        check_options(related, reduction, eps)
        self.filtration = filtration
        self.related = related
        self.match_norms = match_norms
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
            related=self.related, match_norms=self.match_norms,
            reduction=self.reduction, eps=self.eps,
        )  # fmt: skip

    def __repr__(self) -> str:
        """The call that makes an equal module."""
        return constructor_call(self)
