"""Track coincidence: equation 5."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from topreg._clouds import Clouds
from topreg._module import checked
from topreg._operators import is_plain
from topreg._pairs import PersistencePairs
from topreg._safe import safe_cosines, widened
from topreg._tracks import death_flips, oriented_tracks
from topreg.filtrations import Filtration
from topreg.losses import _common
from topreg.losses._common import CHECKS, Loss, Pairs


@checked(CHECKS)
def track_coincidence(
    source: Clouds,
    target: Clouds,
    *,
    pairs: Pairs | None = None,
    geometry: Clouds | None = None,
    filtration: Filtration | None = None,
    dimensions: Sequence[int] = (0,),
    orientation: str = "index",
    undefined: str = "skip",
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    r"""Return one minus the mean cosine between the persistence tracks of two paired point clouds.

    .. math::

        \mathcal{L}_{TC}(\Gamma_p, X, T) = 1 - \frac{1}{|\Gamma_p|} \sum_{\mu \in \Gamma_p}
        \cos\bigl(\mathrm{tra}_p(\mu, X), \mathrm{tra}_p(\mu, T)\bigr)

    Row ``i`` of ``source`` and row ``i`` of ``target`` are two views of the same vertex ``i``.
    The losses of several dimensions are added.

    Args:
        source: Point cloud in the first space.
        target: Point cloud in the second space, with as many coordinates as the first.
        pairs: :term:`Persistence pairs <persistence pair>` on the common vertices, one object or
            one per dimension. If left out they are found in ``geometry``.
        geometry: Data in which pairs are found; ``source`` if left out.
        filtration: Finds the pairs; :class:`~topreg.RipsFiltration` if left out.
        dimensions: :term:`Homology dimensions <homology dimension>` in which pairs are found.
        orientation: ``"index"`` orients edges from the smaller vertex to the larger; ``"aligned"``
            flips death edge vectors that oppose their birth edge vectors in ``source``, in both
            spaces. Without effect in dimension 0.
        undefined: For a class whose track is no longer than ``eps`` in one of the spaces:
            ``"skip"`` leaves it out of the mean, ``"zero"`` counts its cosine as 0.
        eps: Tracks no longer than this, in the units of their space, have no direction.
        reduction: ``"none"`` gives one value per cloud, ``"mean"`` and ``"sum"`` reduce them.

    Returns:
        The loss, dimensionless, in :math:`[0, 2]` per dimension, in at least single precision. A
        cloud in which no class is counted has the value 0.

    Raises:
        TypeError: If only one view is in double precision, a view is not floating point, or
            ``pairs`` or ``filtration`` has the wrong type.
        ValueError: If ``source`` and ``target`` differ in length, width or the sizes of their
            clouds, the pairs belong to other clouds, an option is unknown, or ``eps`` is negative.

    Shape:
        - source, target: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``; not through the pairs, which stay the same
        while the order of the edges does.
        Time and memory :math:`O(md)` in addition to finding the pairs.

    Source:
        Zhang et al., NeurIPS 2024, equations 4 and 5. ``"skip"`` follows the authors' code, which
        drops edges between samples of one label; ``"zero"`` is equation 5 read literally.

    Example:
        >>> import torch
        >>> from topreg import track_coincidence
        >>> images = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
        >>> track_coincidence(images, -images)
        tensor(2.)
    """
    x, y, _, found = _common.paired(source, target, pairs, geometry, filtration, dimensions)
    values = coincidence(x, y, found, orientation, undefined, eps)
    return _common.reduce_values(values, reduction)


def coincidence(
    source: Tensor,
    target: Tensor,
    pairs: Sequence[PersistencePairs],
    orientation: str,
    undefined: str,
    eps: float,
) -> Tensor:
    """Return equation 5 per cloud, summed over the dimensions, for checked rows."""
    may_look = source.device.type == "cpu" and is_plain(source)
    x, y = (source, target) if may_look else widened(source, target)
    terms = []
    for part in pairs:
        flips = death_flips(x, part) if orientation == "aligned" else None
        a, b = oriented_tracks(x, part, flips), oriented_tracks(y, part, flips)
        squares_a, squares_b = a.square().sum(1), b.square().sum(1)
        product = squares_a.detach().dot(squares_b.detach()) if may_look else 0.0
        if not math.isfinite(product) and x.dtype != torch.float64:  # squares overflow
            wide = widened(source, target)
            return coincidence(*wide, pairs, orientation, undefined, eps).to(source.dtype)
        directed = ~((squares_a <= eps * eps) | (squares_b <= eps * eps))  # NaN stays NaN
        cosines = safe_cosines((a * b).sum(1), squares_a, squares_b, directed)
        counted, cloud = directed if undefined == "skip" else None, _common.cloud_numbers(part)
        mean, some = _common.means(cosines, counted, cloud, len(part.cloud_sizes))
        terms.append(torch.where(some, -mean + 1, mean))  # `1 - mean` is dispatched slowly
    return _common.add_dimensions(terms).to(source.dtype)


class TrackCoincidence(Loss, function=track_coincidence):
    """Module form of :func:`track_coincidence`.

    Example:
        >>> import torch
        >>> from topreg import TrackCoincidence
        >>> images = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
        >>> TrackCoincidence()(images, 3 * images + 1)
        tensor(0.)
    """

    dimensions: Sequence[int] = (0,)
    orientation: str = "index"
    undefined: str = "skip"
    eps: float = 1e-8
