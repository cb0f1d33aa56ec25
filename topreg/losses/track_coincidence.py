"""Track coincidence: equation 5."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from topreg import _checks
from topreg._clouds import Clouds, join, partition
from topreg._pairs import PersistencePairs, check_rows, one_object
from topreg._repr import constructor_call
from topreg._safe import safe_cosines
from topreg._tracks import ORIENTATIONS, death_flips, oriented_tracks
from topreg.filtrations import Filtration
from topreg.losses import _common

UNDIRECTED = ("skip", "zero")


def track_coincidence(
    source: Clouds,
    target: Clouds,
    pairs: PersistencePairs,
    *,
    orientation: str = "index",
    undirected: str = "skip",
    reduction: str = "mean",
    eps: float = 1e-8,
) -> Tensor:
    r"""One minus the mean cosine between the persistence tracks of two paired point clouds.

    .. math::

        \mathcal{L}_{TC}(\Gamma_p, X, T) = 1 - \frac{1}{|\Gamma_p|} \sum_{\mu \in \Gamma_p}
        \cos\bigl(\mathrm{tra}_p(\mu, X), \mathrm{tra}_p(\mu, T)\bigr)

    Row ``i`` of ``source`` and row ``i`` of ``target`` are two views of the same vertex ``i``;
    ``pairs`` says which edges to compare and may come from either cloud or from a third one.

    Args:
        source: Point cloud in the first space.
        target: Point cloud in the second space, with as many coordinates as the first.
        pairs: :term:`Persistence pairs <persistence pair>` on the common vertices.
        orientation: ``"index"`` or ``"aligned"``, see :func:`~topreg.persistence_tracks`; flips
            are decided in ``source`` and applied to both.
        undirected: What becomes of a class with a track no longer than ``eps`` in either space:
            ``"skip"`` leaves it out of the mean, ``"zero"`` counts its cosine as 0.
        reduction: ``"mean"`` over all classes, ``"none"`` one value for each cloud.
        eps: Tracks no longer than this, in the units of their space, have no direction.

    Returns:
        The loss, dimensionless, in :math:`[0, 2]`, in at least single precision; 0 if no class is
        counted.

    Raises:
        TypeError: If one view alone is in double precision, a view is not floating point, or
            ``pairs`` are several.
        ValueError: If ``source`` and ``target`` differ in length, width or the sizes of their
            clouds, the pairs belong to others, an option is unknown, or ``eps`` is negative.

    Shape:
        - source, target: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``. Not differentiable through ``pairs``: which
        edges are compared is constant between two changes of the filtration order.
        Time and memory :math:`O(md)`.

    Source:
        Zhang et al., NeurIPS 2024, equations 4 and 5. ``"skip"`` follows the authors' code, which
        drops edges between samples of one label; ``"zero"`` is equation 5 read literally.

    Example:
        >>> import torch
        >>> from topreg import RipsFiltration, track_coincidence
        >>> images = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
        >>> pairs = RipsFiltration().pairs(images)
        >>> track_coincidence(images, -images, pairs)
        tensor(2.)
    """
    return coincidence_over(
        [one_object(pairs)], source, target, source,
        orientation=orientation, undirected=undirected, reduction=reduction, eps=eps,
    )  # fmt: skip


def coincidence_over(
    pairs: Sequence[PersistencePairs],
    source: Clouds,
    target: Clouds,
    geometry: Clouds,
    *,
    orientation: str,
    undirected: str,
    reduction: str,
    eps: float,
) -> Tensor:
    """Sum of equation 5 over the pairs of several dimensions; flips are decided in ``geometry``."""
    check_options(orientation, undirected, reduction, eps)
    x, y = _common.views(source, target)
    terms = []
    for part in pairs:
        check_rows(part, x, "source", partition(source))
        flips = _flips(geometry, part) if orientation == "aligned" else None
        terms.append(_coincidence(x, y, part, flips, undirected, reduction, eps))
    return torch.stack(terms).sum(0)


def _coincidence(
    source: Tensor,
    target: Tensor,
    pairs: PersistencePairs,
    flips: Tensor | None,
    undirected: str,
    reduction: str,
    eps: float,
) -> Tensor:
    """Equation 5 on checked views, with the flips given."""
    a = oriented_tracks(source, pairs, flips)
    b = oriented_tracks(target, pairs, flips)
    squares_a, squares_b = a.square().sum(1), b.square().sum(1)
    directed = ~((squares_a <= eps * eps) | (squares_b <= eps * eps))  # NaN stays NaN
    cosines = safe_cosines((a * b).sum(1), squares_a, squares_b, directed)
    return _one_minus_mean(cosines, directed, pairs, undirected, reduction)


def _one_minus_mean(
    cosines: Tensor, directed: Tensor, pairs: PersistencePairs, undirected: str, reduction: str
) -> Tensor:
    """One minus the mean of the counted cosines; 0 where none is counted."""
    counted = directed if undirected == "skip" else torch.ones_like(directed)
    mean, some = _common.mean_of_counted(
        cosines, counted, pairs.cloud(), len(pairs.cloud_sizes), reduction
    )
    return torch.where(some, 1 - mean, mean)


def _flips(geometry: Clouds, pairs: PersistencePairs) -> Tensor:
    """Flips of death edges, decided in points."""
    points, _ = join(geometry, "geometry")
    check_rows(pairs, points, "geometry", partition(geometry))
    return death_flips(points, pairs)


def check_options(orientation: str, undirected: str, reduction: str, eps: float) -> None:
    """Refuse unknown options."""
    _checks.is_option("orientation", orientation, ORIENTATIONS)
    _checks.is_option("undirected", undirected, UNDIRECTED)
    _checks.is_option("reduction", reduction, _common.REDUCTIONS)
    _checks.is_at_least("eps", eps, 0)


class TrackCoincidence(nn.Module):
    """Module form of :func:`track_coincidence`, which finds the pairs when they are not given.

    Args:
        filtration: Orders the edges; :class:`~topreg.RipsFiltration` if left out.
        dimensions: :term:`Homology dimensions <homology dimension>` whose losses are added, as in
            equation 7.
        orientation: ``"index"`` or ``"aligned"``, see :func:`~topreg.persistence_tracks`; flips
            are decided in ``geometry``, else in ``source``, and applied to both.
        undirected: As in the function.
        reduction: As in the function.
        eps: As in the function.

    Example:
        >>> import torch
        >>> from topreg import TrackCoincidence
        >>> images = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
        >>> TrackCoincidence()(images, 3 * images + 1)
        tensor(0.)
    """

    def __init__(
        self,
        filtration: Filtration | None = None,
        dimensions: Sequence[int] = (0,),
        *,
        orientation: str = "index",
        undirected: str = "skip",
        reduction: str = "mean",
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        check_options(orientation, undirected, reduction, eps)
        _common.check_filtration(filtration)
        self.filtration = filtration
        self.dimensions = _common.check_dimensions(dimensions)
        self.orientation = orientation
        self.undirected = undirected
        self.reduction = reduction
        self.eps = eps

    def forward(
        self,
        source: Clouds,
        target: Clouds,
        *,
        pairs: PersistencePairs | Sequence[PersistencePairs] | None = None,
        geometry: Clouds | None = None,
    ) -> Tensor:
        """Sum of the losses over the dimensions.

        Args:
            source: Point cloud in the first space.
            target: Point cloud in the second space.
            pairs: Pairs of one or several dimensions, found before.
            geometry: What the filtration filters, in which pairs and flips are found; ``source``
                if left out. If these are edge weights or distances, flips are found in ``source``.

        Returns:
            The loss, :math:`()` or one value for each cloud.
        """
        points = _common.flips_from(self.filtration, geometry, source)
        geometry = source if geometry is None else geometry
        pairs = _common.given_or_found(pairs, self.filtration, self.dimensions, geometry)
        return coincidence_over(
            pairs, source, target, points, orientation=self.orientation,
            undirected=self.undirected, reduction=self.reduction, eps=self.eps,
        )  # fmt: skip

    def __repr__(self) -> str:
        """The call that makes an equal module."""
        return constructor_call(self)
