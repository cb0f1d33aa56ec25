"""Representation topology divergence on the doubled complex."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from topreg._clouds import Clouds, cloud_of, numbers, starts
from topreg._module import checked
from topreg._safe import safe_power
from topreg.filtrations import RipsFiltration
from topreg.filtrations._rips import Space
from topreg.losses import _common
from topreg.losses._common import Loss
from topreg.persistence import MOST_VERTICES, find_pairs


@checked(_common.OF_RIPS | {"dimensions": partial(_common.check_dimensions, least=1)})
def rtd(
    source: Clouds,
    target: Clouds,
    *,
    filtration: RipsFiltration | None = None,
    target_filtration: RipsFiltration | None = None,
    dimensions: Sequence[int] = (1,),
    symmetric: bool = True,
    normalize: float | None = None,
    power: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    r"""Return the total :term:`persistence` of features of one space that differ from the union.

    .. math::

        \frac{1}{2} \bigl( R(A, B) + R(B, A) \bigr), \qquad
        R(A, B) = \sum_{\mu \in \Gamma_1(M)} (a_d - a_b)^q, \qquad
        M = \begin{pmatrix} 0 & A \\ A & \min(A, B) \end{pmatrix}

    Call the graph with distances :math:`\min(A, B)` the union. R(A, B) is 0 if, at every scale, the
    union joins no components of A and has no loop that A does not have. The flag complex of M has
    every vertex twice; in dimension 1 it has the homology of the mapping cone of the inclusion of
    the complex of A into that of the union. Row i of ``source`` and row i of ``target`` are the
    same vertex. Their widths may differ. If their scales differ, pass ``normalize``.

    Args:
        source: Point cloud, or distance matrix, with the distances A.
        target: Point cloud, or distance matrix, with the distances B.
        filtration: The :class:`~topreg.RipsFiltration` that measures A; the default one if left
            out.
        target_filtration: Measures B; ``filtration`` if left out.
        dimensions: :term:`Homology dimensions <homology dimension>` of the doubled complex, 1 or
            higher, whose sums are added. Dimension 1 compares components, and loops of the union
            that A does not have. In higher dimensions M follows the authors' code. It is not a
            mapping cone there, and may miss classes.
        symmetric: Whether to return the mean of both directions, or only R(A, B).
        normalize: Divide the distances of each space by this quantile of all distances of their
            cloud. 1.0 is the largest distance, 0.9 the published protocol. The gradient includes
            the quantile. A cloud of coincident points is divided by 1.
        power: q, the exponent of the persistence, positive.
        reduction: ``"none"`` gives one value per cloud, ``"mean"`` and ``"sum"`` reduce them.

    Returns:
        The divergence, in the q-th power of the units of the metric, or dimensionless if
        normalised. A cloud of fewer than two points has the value 0.

    Raises:
        TypeError: If only one space is in double precision, or a filtration is not a
            RipsFiltration.
        ValueError: If the clouds do not belong to the same vertices or have NaN or infinity, a
            dimension is 0 or not available, an option is unknown, or a cloud has 32,768 points or
            more.
        MemoryError: If the distance matrices take more memory than is free.

    Shape:
        - source: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - target: like ``source``; d may differ.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``. An edge of the union has the gradient of the
        shorter of its two lengths. Pairs are found on 2n vertices. The matrices take memory
        :math:`O(n^2)`; autograd keeps :math:`O(m d)`.

    Source:
        Barannikov et al., Representation topology divergence, ICML 2022. Trofimov et al., Learning
        topology-preserving data representations, ICLR 2023, use it as a loss; the block of zeros
        in M follows their code. Their training loss ``RTDLoss`` differs: it measures deaths in the
        other cloud, keeps the 50 longest bars and sends the gradient to one cloud.

    Example:
        >>> import torch
        >>> from topreg import rtd
        >>> source = torch.tensor([[0.0], [1.0], [3.0]])
        >>> target = torch.tensor([[0.0], [3.0], [1.0]])
        >>> rtd(source, target)
        tensor(1.)
    """
    x, y = _common.two_spaces(source, target, filtration, target_filtration)
    _check_size(x.sizes)
    x.check_room(7 if normalize is None else 9)  # A and B, divided too, the smaller of both, and M
    for space in (x, y):
        space.normalize(normalize)
    one, other = x.distances(), y.distances()
    union = torch.minimum(one, other)
    total = _divergence(x, one, union, (x, y), dimensions, power)
    if symmetric:
        total = (total + _divergence(y, other, union, (x, y), dimensions, power)) / 2
    return _common.reduce_values(total, reduction)


def _divergence(
    own: Space,
    entries: Tensor,
    union: Tensor,
    both: tuple[Space, Space],
    dimensions: Sequence[int],
    power: float,
) -> Tensor:
    """Return R(A, B) per cloud, summed over the dimensions."""
    sizes = own.sizes
    with torch.no_grad():
        weights = _double(entries, union, sizes)
        found = find_pairs(weights, [2 * n for n in sizes], math.inf, dimensions)
    terms = []
    for pairs in found:
        birth, death = (
            _lengths(edges, own, both) for edges in (pairs.birth_edges, pairs.death_edges)
        )
        lives = (death - birth).clamp(min=0)  # measured again, equal values may differ by rounding
        terms.append(_common.sums(safe_power(lives, power), pairs))
    return _common.add_dimensions(terms)


def _double(entries: Tensor, union: Tensor, sizes: Sequence[int]) -> Tensor:
    """Return the matrices M, (sum of 4 n_i^2,), from those of A and the union, (sum of n_i^2,)."""
    doubled, corner = [entries[:0]], starts([n * n for n in sizes])
    for n, first in zip(sizes, corner, strict=False):
        a, joined = (part[first : first + n * n].view(n, n) for part in (entries, union))
        above, below = torch.cat([torch.zeros_like(a), a], 1), torch.cat([a, joined], 1)
        doubled += [above.flatten(), below.flatten()]
    return torch.cat(doubled)


def _vertices(edges: Tensor, sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the original vertices (m, 2) of edges, and how many ends (m,) lie in the union."""
    doubled = [2 * n for n in sizes]
    cloud = cloud_of(edges[:, 0], doubled)
    size, first = numbers(sizes, edges), numbers(starts(sizes), edges)
    local = edges - 2 * first[cloud][:, None]
    second = local >= size[cloud][:, None]
    vertices = local - second * size[cloud][:, None] + first[cloud][:, None]
    return vertices, second.sum(1)


def _lengths(edges: Tensor, own: Space, both: tuple[Space, Space]) -> Tensor:
    """Return entries of M: 0 among the copies, A between both parts, the smaller in the union."""
    vertices, copies = _vertices(edges, own.sizes)
    x, y = (space.lengths(vertices) for space in both)
    between = x if own is both[0] else y
    return torch.where(copies == 0, 0.0, torch.where(copies == 1, between, torch.minimum(x, y)))


def _check_size(sizes: Sequence[int]) -> None:
    """Raise if the doubled complex has too many vertices."""
    most = MOST_VERTICES // 2
    if max(sizes, default=0) >= most:
        raise ValueError(
            f"`source` should have fewer than {most:,} points. Got {max(sizes):,}. "
            "Choose landmarks with `farthest_point_sampling`, or use `rtd_lite`."
        )


class RTD(Loss, function=rtd):
    """Module form of :func:`rtd`.

    Example:
        >>> import torch
        >>> from topreg import RTD
        >>> RTD()(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[0.0], [3.0], [1.0]]))
        tensor(1.)
    """

    filtration: RipsFiltration | None = None
    target_filtration: RipsFiltration | None = None
    dimensions: Sequence[int] = (1,)
    symmetric: bool = True
    normalize: float | None = None
    power: float = 1.0
