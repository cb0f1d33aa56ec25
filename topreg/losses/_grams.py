"""Gram matrices of two views: all inner products that tracks and offsets need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, join, starts
from topreg._pairs import PersistencePairs
from topreg.losses import _common
from topreg.metrics import at_least_single

ROUNDING = 4  # machine epsilons of the sum of its entries below which a square is rounding


def gram_matrix(points: Clouds) -> Tensor:
    r"""Inner products of the rows of a :term:`point cloud`.

    .. math::

        G = X X^\top

    Args:
        points: Point cloud.

    Returns:
        Inner products, in at least single precision, across clouds too.

    Raises:
        TypeError: If the points are not floating point.
        ValueError: If they are not rows.

    Shape:
        - points: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - Output: :math:`(n, n)`.

    Note:
        Differentiable, any number of times. The backward pass is the one product :math:`(\dot G +
        \dot G^\top) X`, half of what autograd takes for ``points @ points.T``. No autocast is in
        force.

    Source:
        Textbook.

    Example:
        >>> import torch
        >>> from topreg import gram_matrix
        >>> gram_matrix(torch.tensor([[1.0, 0.0], [1.0, 2.0]]))
        tensor([[1., 1.],
                [1., 5.]])
    """
    rows, _ = join(points)
    rows = at_least_single(rows)
    with torch.autocast(rows.device.type, enabled=False):
        products: Tensor = _Gram.apply(rows)
    return products


@dataclass(frozen=True, eq=False)
class GramMatrices:
    r"""Inner products within and between two views of the same :term:`vertices <vertex>`.

    .. math::

        S = X X^\top, \qquad C = X T^\top, \qquad R = T T^\top

    :term:`Track coincidence` and :term:`deviating perturbation` depend on the views through these
    alone. Where rows are long, or products with one view are sums (a one-hot row picks entries),
    they cost less than tracks: see :meth:`~topreg.HomologyConsistency.of_grams`.

    Args:
        source: Inner products S of the rows of the source.
        cross: Inner products C of source rows with target rows.
        target: Inner products R of the rows of the target.

    Raises:
        TypeError: If they are no tensors of one dtype, float32 or float64.
        ValueError: If they are not square matrices of one size on one device.

    Shape:
        - source, cross, target: :math:`(n, n)`, n vertices in all clouds.

    Note:
        The square of a difference of rows is a difference of squares, which loses digits where the
        difference is much shorter than the rows. What is below a few machine epsilons times the sum
        of the entries that it came from is taken for rounding: it has no direction. Rows close
        together and far from the origin keep more digits after a common translation of both views,
        which changes no loss. No autocast is in force in :meth:`of`; TF32 would cost digits here.

    Source:
        Equations 4 to 6 of Zhang et al., NeurIPS 2024, expanded.

    Example:
        >>> import torch
        >>> from topreg import GramMatrices, RipsFiltration, TrackCoincidence
        >>> images = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
        >>> pairs = RipsFiltration().pairs(images)
        >>> TrackCoincidence().of_grams(GramMatrices.of(images, -images), pairs=pairs)
        tensor(2.)
    """

    source: Tensor
    cross: Tensor
    target: Tensor

    def __post_init__(self) -> None:
        for field in fields(self):
            matrix = getattr(self, field.name)
            _checks.is_square(field.name, matrix)
            if matrix.dtype not in (torch.float32, torch.float64):
                raise TypeError(
                    f"`{field.name}` should be torch.float32 or torch.float64. Got {matrix.dtype}, "
                    "in which differences of inner products keep no digit."
                )
            _checks.alike("source", self.source, field.name, matrix)
            if len(matrix) != len(self.source):
                raise ValueError(
                    "`source`, `cross` and `target` should be of one size. "
                    f"Got {len(self.source)} and {len(matrix)} vertices."
                )

    def __len__(self) -> int:
        """Number of vertices."""
        return len(self.source)

    @classmethod
    def of(cls, source: Clouds, target: Clouds) -> GramMatrices:
        """The Gram matrices of two views, with gradient.

        Args:
            source: Point cloud in the first space.
            target: Point cloud in the second space, with as many coordinates as the first.

        Returns:
            Their inner products, in at least single precision, across clouds too.

        Raises:
            TypeError: If one alone is in double precision, or one is not floating point.
            ValueError: If ``source`` and ``target`` differ in length or width.

        Shape:
            - source, target: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        """
        source, target = _common.views(source, target)
        with torch.autocast(source.device.type, enabled=False):
            cross = source @ target.T
        return cls(gram_matrix(source), cross, gram_matrix(target))

    def split(self, sizes: Sequence[int]) -> list[GramMatrices]:
        """The Gram matrices of each cloud.

        Args:
            sizes: Vertices of each cloud.

        Returns:
            As many objects as there are clouds, in order.
        """
        slices = [slice(a, a + size) for a, size in zip(starts(sizes)[:-1], sizes, strict=True)]
        return [
            GramMatrices(self.source[s, s], self.cross[s, s], self.target[s, s]) for s in slices
        ]


class _Gram(torch.autograd.Function):
    """``rows @ rows.T``; one product in the backward pass, where autograd would take two."""

    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor) -> Tensor:
        return rows @ rows.T

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        with torch.autocast(rows.device.type, enabled=False):
            product: Tensor = (gradient + gradient.T) @ rows
        return product


def track_products(
    matrix: Tensor, pairs: PersistencePairs, flips: Tensor | None
) -> tuple[Tensor, Tensor]:
    """For each class the inner product of its tracks, and the least that is not rounding.

    Shape:
        - matrix: (n, n), inner products of rows of one view with rows of one view. Outputs: (m,).
    """
    ends, signs = _ends(pairs, flips)
    signs, entries = signs.to(matrix.dtype), _entries(matrix, ends, ends)
    products = (signs[:, :, None] * signs[:, None, :] * entries).sum((1, 2))
    return products, rounding(entries.detach().abs().sum((1, 2)))


def flips_in(matrix: Tensor, pairs: PersistencePairs) -> Tensor:
    """-1 where a death edge vector opposes its birth edge vector, else +1; constant."""
    entries = _entries(matrix.detach(), pairs.death_edges, pairs.birth_edges)
    opposed = entries[:, 0, 0] + entries[:, 1, 1] < entries[:, 0, 1] + entries[:, 1, 0]
    return 1 - 2 * opposed.to(matrix.dtype)


def rounding(sums: Tensor) -> Tensor:
    """Squares below this are rounding, from the sums of the sizes of the entries they came from."""
    return ROUNDING * torch.finfo(sums.dtype).eps * sums


def _ends(pairs: PersistencePairs, flips: Tensor | None) -> tuple[Tensor, Tensor]:
    """Rows whose signed sum is the track, and the signs: (m, 2) in dimension 0, else (m, 4)."""
    deaths = torch.ones_like(pairs.death_edges[:, 0]) if flips is None else flips
    if pairs.dimension == 0:
        return pairs.death_edges, torch.stack([-deaths, deaths], dim=1)
    ends = torch.cat([pairs.death_edges, pairs.birth_edges], dim=1)
    births = torch.ones_like(deaths)
    return ends, torch.stack([-deaths, deaths, births, -births], dim=1)


def _entries(matrix: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Entries (m, a, b) at every row (m, a) with every column (m, b)."""
    places = rows[:, :, None] * len(matrix) + columns[:, None, :]
    # index_select: indexing takes ten times as long forward and twice backward
    return matrix.reshape(-1).index_select(0, places.flatten()).view(places.shape)
