"""Deviating perturbation: equation 6."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, cloud_of, join_labels
from topreg._module import checked
from topreg._pairs import PersistencePairs
from topreg._safe import in_range, safe_cosines, safe_norm
from topreg.filtrations import Filtration
from topreg.losses import _common
from topreg.losses._common import CHECKS, Loss, Pairs

# measured: one coordinate of a listed pair takes as long as LISTED_COST multiplications in a matrix
# product; the other work per entry of the product takes as long as NARROW multiplications
LISTED_COST, NARROW = 100, 1000
ROUNDING = 4  # a square below so many machine epsilons of its terms is only rounding
LOST = 3  # a square below so many roots of machine epsilon of its terms has lost half its digits


@checked(CHECKS)
def deviating_perturbation(
    source: Clouds,
    target: Clouds,
    labels: Clouds,
    *,
    pairs: Pairs | None = None,
    geometry: Clouds | None = None,
    filtration: Filtration | None = None,
    dimensions: Sequence[int] = (0,),
    related: str = "endpoints",
    match_norms: bool = False,
    undefined: str = "skip",
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    r"""Measure how differently the samples of a class lie around their common counterpart.

    .. math::

        \mathcal{L}_{DP}(\Gamma_0, X, T) = \frac{1}{|X_{\Gamma_0}|} \sum_{x_i \in X_{\Gamma_0}}
        \Bigl(1 - \frac{1}{|X'_i|} \sum_{x'_i \in X'_i}
        \cos\bigl(x_i - t_i,\; x'_i - t_i\bigr)\Bigr)

    :math:`X_{\Gamma_0}` are the end points of the pairs, see
    :meth:`~topreg.PersistencePairs.vertices`. :math:`X'_i` are the relatives of i: the other
    samples with its label in its cloud. The losses of several dimensions are added.

    Args:
        source: Point cloud in the first space.
        target: Point cloud in the second space; with class prototypes pass ``prototypes[labels]``.
        labels: Label of each vertex.
        pairs: :term:`Persistence pairs <persistence pair>` on the common vertices, one object or
            one per dimension. If left out they are found in ``geometry``.
        geometry: Data in which pairs are found; ``source`` if left out.
        filtration: Finds the pairs; :class:`~topreg.RipsFiltration` if left out.
        dimensions: :term:`Homology dimensions <homology dimension>` in which pairs are found; the
            paper has (0,).
        related: ``"endpoints"`` seeks relatives among the end points of the pairs, ``"all"`` among
            all samples of the cloud.
        match_norms: Rescale each source row to the length of its target row first. A source row no
            longer than ``eps`` stays.
        undefined: ``"skip"`` leaves an end point without a relative out of the mean, ``"zero"``
            counts it with 0.
        eps: An offset no longer than this has no direction; its cosines count as 0.
        reduction: ``"none"`` gives one value per cloud, ``"mean"`` and ``"sum"`` reduce them.

    Returns:
        The loss, dimensionless, in :math:`[0, 2]` per dimension, in at least single precision. A
        cloud in which no sample has a relative has the value 0.

    Raises:
        TypeError: If only one view is in double precision, ``labels`` are not integers, or
            ``pairs`` or ``filtration`` has the wrong type.
        ValueError: If ``source`` and ``target`` differ in length, width or the sizes of their
            clouds, labels or pairs belong to other clouds or another device, an option is unknown,
            or ``eps`` is negative.

    Shape:
        - source, target: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - labels: :math:`(n,)`, :math:`(b, n)` or a sequence of :math:`(n_i,)`, integers.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``; not through the pairs. If all samples together
        have few relatives, r, time and memory are :math:`O(n^2 + rd)`. Otherwise matrix products
        take time :math:`O(n^2 d)` and memory :math:`O(n^2 + nd)`. Under ``torch.compile`` and on an
        accelerator they are always used, in double precision.

    Source:
        Zhang et al., NeurIPS 2024, equation 6. ``related="all"`` and ``match_norms=True`` follow
        the authors' code, as does ``undefined="skip"``; ``"zero"`` is the equation read literally.

    Example:
        >>> import torch
        >>> from topreg import deviating_perturbation
        >>> images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-3.0, 0.0]])
        >>> texts = torch.zeros(3, 2)
        >>> deviating_perturbation(images, texts, torch.tensor([0, 0, 1]))
        tensor(1.)
    """
    x, y, sizes, found = _common.paired(source, target, pairs, geometry, filtration, dimensions)
    joined = check_labels(labels, x, sizes)
    values = perturbation(x, y, joined, found, related, match_norms, undefined, eps)
    return _common.reduce_values(values, reduction)


def check_labels(labels: Clouds, rows: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Return the labels of all clouds as one vector; raise if they are not one per vertex."""
    joined, own = join_labels(labels)
    if own != sizes:
        _checks.have_no_columns(labels, sizes)
        _checks.one_each("labels", joined, len(rows), "vertex")
        _checks.of_clouds(own, sizes, "source", "labels")
    _checks.on_one_device("source", rows, "labels", joined.device)
    return joined


def perturbation(
    source: Tensor,
    target: Tensor,
    labels: Tensor,
    pairs: Sequence[PersistencePairs],
    related: str,
    match_norms: bool,
    undefined: str,
    eps: float,
) -> Tensor:
    """Return equation 6 per cloud, summed over the dimensions, for checked rows."""
    x, y = in_range(source, target)
    if match_norms:
        x = _with_norms_of(x, y, eps)
    terms = []
    for part in pairs:
        sizes = list(part.cloud_sizes)
        endpoints = torch.zeros(len(labels), dtype=torch.bool, device=labels.device)
        ends = part.death_edges if part.dimension == 0 else _both_edges(part)
        endpoints = endpoints.index_fill(0, ends.flatten(), True)  # copies no constant
        relatives = torch.ones_like(endpoints) if related == "all" else endpoints
        clouds = zip(*(t.split(sizes) for t in (x, y, labels, endpoints, relatives)), strict=True)
        summands = [_summands(cloud, undefined, eps) for cloud in clouds if len(cloud[0])]
        values = torch.cat([(x[:0] + y[:0]).sum(1), *(value for value, _ in summands)])
        counted = torch.cat([endpoints[:0], *(counts for _, counts in summands)])
        cloud = cloud_of(torch.arange(len(labels), device=labels.device), sizes)
        several = cloud if len(sizes) != 1 else None
        terms.append(_common.means(values, counted, several, len(sizes))[0])
    return _common.add_dimensions(terms).to(source.dtype)


def _both_edges(pairs: PersistencePairs) -> Tensor:
    """Return the death edges and the birth edges that are not (v, v)."""
    births, deaths = pairs.birth_edges, pairs.death_edges
    at_vertex = births[:, :1] == births[:, 1:]
    return torch.cat([torch.where(at_vertex, deaths, births), deaths])


def _summands(cloud: tuple[Tensor, ...], undefined: str, eps: float) -> tuple[Tensor, Tensor]:
    """Return the summand of each sample of one cloud, and whether it is counted."""
    source, target, labels, endpoints, relatives = cloud
    related = (labels[:, None] == labels[None, :]) & relatives[None, :]
    related = related & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    count = related.sum(1)
    has = count > 0
    means = _sums_of_cosines(source, target, related, eps=eps) / count.clamp(min=1)
    return torch.where(has, 1 - means, 0.0), endpoints & has if undefined == "skip" else endpoints


def _sums_of_cosines(source: Tensor, target: Tensor, related: Tensor, *, eps: float) -> Tensor:
    """Sum, over the relatives k of i, the cosine between both offsets from ``target_i``.

    If there are few relatives, their pairs are listed; otherwise matrix products are cheaper.
    Counting relatives, or finding lost digits, would wait for a device other than the CPU. Such a
    device, and a compiled program, always multiply; their rows are in double precision.
    """
    width = source.shape[1]
    may_look = source.device.type == "cpu" and not torch.compiler.is_compiling()
    listed = LISTED_COST * width * int(related.sum()) if may_look else math.inf
    if listed <= (width + NARROW) * related.numel():
        i, k = related.nonzero().unbind(1)
        cosines = _listed_cosines(source, target, i, k, eps)
        return cosines.new_zeros(len(source)).index_add(0, i, cosines)
    if not may_look:
        digits = ROUNDING * torch.finfo(source.dtype).eps
        cosines, _ = _dense_cosines(source, target, related, eps, digits)
        return torch.where(related, cosines, 0.0).sum(1)
    digits = LOST * math.sqrt(torch.finfo(source.dtype).eps)
    cosines, lost = _dense_cosines(source, target, related, eps, digits)
    if bool(lost.any()):
        i, k = lost.nonzero().unbind(1)
        cosines = cosines.index_put((i, k), _listed_cosines(source, target, i, k, eps))
    return torch.where(related, cosines, 0.0).sum(1)


def _listed_cosines(source: Tensor, target: Tensor, i: Tensor, k: Tensor, eps: float) -> Tensor:
    """Return the cosine of ``source_i - target_i`` and ``source_k - target_i`` for each pair."""
    centres = target.index_select(0, i)
    own, other = source.index_select(0, i) - centres, source.index_select(0, k) - centres
    squares, others = own.square().sum(1), other.square().sum(1)
    return _cosines((own * other).sum(1), squares, others, eps * eps, eps * eps)


def _dense_cosines(
    source: Tensor, target: Tensor, related: Tensor, eps: float, digits: float
) -> tuple[Tensor, Tensor]:
    """Return the cosine of ``source_i - target_i`` and ``source_k - target_i``, k a relative of i.

    Return also which cosines were lost in rounding, and are 0: the square of the second vector is
    below ``digits`` times the size of its terms.

    With the offsets ``a_k = source_k - target_k`` the second vector is ``a_k + target_k -
    target_i``, so that inner products and squares follow from three products of matrices. Only
    differences between targets of relatives occur. Subtracting from each target that of its first
    relative avoids cancellation where relatives share a target.
    """
    offsets = source - target
    rows = torch.arange(len(target), device=target.device)
    first = torch.minimum(rows, torch.where(related, rows, len(rows)).amin(1))
    centres = target - target.detach().index_select(0, first)
    with torch.autocast(source.device.type, enabled=False):
        inner, cross, outer = offsets @ offsets.T, offsets @ centres.T, centres @ centres.T
    squares, shifts, lengths = inner.diagonal(), cross.diagonal(), outer.diagonal()
    dots = inner + cross - shifts[:, None]
    moved = lengths[None, :] + lengths[:, None] - 2 * outer
    others = squares[None, :] + 2 * (shifts[None, :] - cross.T) + moved
    with torch.no_grad():
        least = digits * (squares + lengths + lengths[:, None])
        lost = related & (others <= least) & (least > eps * eps)
    return _cosines(dots, squares[:, None], others, eps * eps, least.clamp(min=eps * eps)), lost


def _cosines(
    dots: Tensor,
    squares: Tensor,
    others: Tensor,
    least: Tensor | float,
    least_others: Tensor | float,
) -> Tensor:
    """Return the cosine where both squares exceed their least values, else 0."""
    directed = ~((squares <= least) | (others <= least_others))  # NaN stays NaN
    return safe_cosines(dots, squares, others, directed)


def _with_norms_of(source: Tensor, target: Tensor, eps: float) -> Tensor:
    """Return the source rows, rescaled to the lengths of the target rows."""
    squares = source.square().sum(1, keepdim=True)
    directed = squares > eps * eps
    length = safe_norm(target)[:, None]
    return torch.where(
        directed, source * length / torch.where(directed, squares, 1.0).sqrt(), source
    )


class DeviatingPerturbation(Loss, function=deviating_perturbation):
    """Module form of :func:`deviating_perturbation`.

    Example:
        >>> import torch
        >>> from topreg import DeviatingPerturbation
        >>> images, labels = torch.eye(3), torch.tensor([0, 0, 1])
        >>> DeviatingPerturbation(related="all")(images, torch.zeros(3, 3), labels)
        tensor(1.)
    """

    dimensions: Sequence[int] = (0,)
    related: str = "endpoints"
    match_norms: bool = False
    undefined: str = "skip"
    eps: float = 1e-8
