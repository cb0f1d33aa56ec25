"""The constraint's two terms from inner products alone, for views whose rows are long.

The affinities of Tip-Adapter have one coordinate per cached image, and their counterparts are
indicators, so that inner products with them are sums. Equations 4 to 6 depend on the views through
inner products only.

The square of a difference of rows is a difference of inner products, which loses digits where the
difference is much shorter than the rows. A square below a few machine epsilons of the sum of its
terms is rounding: it has no direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from topreg import PersistencePairs, edge_vectors

if TYPE_CHECKING:
    from ..adapters import LinearMap

EPS = 1e-8  # topreg's: vectors no longer than this have no direction
ROUNDING = 4  # machine epsilons of the sum of its terms below which a square is rounding


class Grams(NamedTuple):
    """Inner products (n, n) within and between two views of the same images."""

    source: Tensor  # of source rows
    cross: Tensor  # of source with target rows
    target: Tensor  # of target rows


def inner_products(rows: Tensor) -> Tensor:
    """Return ``rows @ rows.T``, whose backward pass takes one product where autograd takes two."""
    products: Tensor = _InnerProducts.apply(rows)
    return products


def grams_of(source: Tensor, target: Tensor) -> Grams:
    """Return the inner products of two views, with gradient in their rows."""
    return Grams(inner_products(source), source @ target.T, inner_products(target))


def track_coincidence_of_grams(
    grams: Grams,
    pairs: Sequence[PersistencePairs],
    geometry: Tensor,
    *,
    undefined: str,
    orientation: str,
) -> Tensor:
    """Return the sum of equation 5 over the pairs of several dimensions.

    The options are those of :func:`topreg.track_coincidence`. From dimension 1 on, edges are
    aligned among the rows of ``geometry``.
    """
    terms = []
    for part in pairs:
        ends, signs = _tracks(part, geometry, orientation)
        dots, _ = _products(grams.cross, ends, signs)
        squares, least = _products(grams.source, ends, signs)
        others, least_others = _products(grams.target, ends, signs)
        cosines, directed = _cosines(dots, squares, others, least, least_others)
        counted = directed if undefined == "skip" else torch.ones_like(directed)
        mean, some = _mean(cosines, counted)
        terms.append(torch.where(some, 1 - mean, mean))
    return torch.stack(terms).sum(0)


def deviating_perturbation_of_grams(
    grams: Grams,
    labels: Tensor,
    pairs: PersistencePairs,
    *,
    undefined: str,
    related: str,
    match_norms: bool,
) -> Tensor:
    """Return equation 6 with the options of :func:`topreg.deviating_perturbation`."""
    if match_norms:
        grams = _with_norms_of_target(grams)
    endpoints = torch.zeros_like(labels, dtype=torch.bool)
    endpoints = endpoints.index_fill(0, pairs.death_edges.flatten(), True)
    relatives = (labels[:, None] == labels[None, :]).fill_diagonal_(False)
    if related == "endpoints":
        relatives = relatives & endpoints
    count = relatives.sum(1)
    sums = torch.where(relatives, _offset_cosines(grams), 0.0).sum(1)
    values = torch.where(count > 0, 1 - sums / count.clamp(min=1), 0.0)
    return _mean(values, endpoints & (count > 0) if undefined == "skip" else endpoints)[0]


def add_balanced_gradient(
    main: Tensor, regularizer: Tensor, linear: LinearMap, *, weight: float, norm: str
) -> None:
    r"""Add to the matrix of a linear map what :func:`topreg.balanced_backward` adds.

    With outputs :math:`Y = X W^\top`, :math:`G = \partial L_{main} / \partial Y` and :math:`H`
    likewise,

    .. math::

        \nabla_W \mathrel{+}= \Bigl(G + \omega H \operatorname{diag}
        \tfrac{|X^\top G_k|_2}{|X^\top H_k|_2}\Bigr)^\top X,
        \qquad |X^\top G_k|_2 = |R\, G_k|_2,\; X^\top = Q R

    so that the norms need the triangle R of the n inputs, and only one product has the size of W.
    A regulariser whose gradient is zero, or so small that it is rounding, adds nothing.

    Source:
        Zhang et al., NeurIPS 2024, section 3.3. The factorisation is ours.
    """
    inputs, parameter, outputs = linear
    g = torch.autograd.grad(main, outputs, retain_graph=True)[0].T
    h = torch.autograd.grad(regularizer, outputs)[0].T
    with torch.no_grad():
        triangle = torch.linalg.qr(inputs.T, mode="r").R
        g_size, h_size = (_sizes(part @ triangle.T, norm) for part in (g, h))
        least = ROUNDING * torch.finfo(h.dtype).eps * triangle.norm() * _sizes(h, norm)
        counted = ~(h_size <= least)  # NaN stays NaN
        whole = h / torch.where(counted, h_size, 1.0).to(h.dtype)  # first: |g| / |h| may overflow
        whole *= (weight * torch.where(counted, g_size, 0.0)).to(h.dtype)
        whole += g
        gradient = whole @ inputs
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _sizes(rows: Tensor, norm: str) -> Tensor:
    """Norm of each row if ``"rowwise"``, else of all.

    In double precision, which holds the squares of every float32, where the device surely has it.
    """
    dtype = torch.float64 if rows.device.type in ("cpu", "cuda") else rows.dtype
    axis, keep = (1, True) if norm == "rowwise" else (None, False)
    sizes: Tensor = torch.linalg.vector_norm(rows, dim=axis, keepdim=keep, dtype=dtype)
    return sizes


class _InnerProducts(torch.autograd.Function):
    """``rows @ rows.T``."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return rows @ rows.T

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        product: Tensor = (gradient + gradient.T) @ rows
        return product


def _tracks(pairs: PersistencePairs, geometry: Tensor, orientation: str) -> tuple[Tensor, Tensor]:
    """Rows whose signed sum is the track, and the signs: (m, 2) in dimension 0, else (m, 4)."""
    ones = geometry.new_ones(len(pairs))
    if pairs.dimension == 0:
        return pairs.death_edges, torch.stack([-ones, ones], 1)
    births, deaths = (
        edge_vectors(geometry, edges) for edges in (pairs.birth_edges, pairs.death_edges)
    )
    opposed = (births * deaths).sum(1) < 0
    turns = torch.where(opposed, -ones, ones) if orientation == "aligned" else ones
    ends = torch.cat([pairs.death_edges, pairs.birth_edges], 1)
    return ends, torch.stack([-turns, turns, ones, -ones], 1)


def _products(matrix: Tensor, ends: Tensor, signs: Tensor) -> tuple[Tensor, Tensor]:
    """Inner product of the two tracks of each class, and the least that is not rounding."""
    places = ends[:, :, None] * len(matrix) + ends[:, None, :]
    # index_select: indexing takes ten times as long forward and twice backward
    entries = matrix.reshape(-1).index_select(0, places.flatten()).view(places.shape)
    products = (signs[:, :, None] * signs[:, None, :] * entries).sum((1, 2))
    return products, _rounding(entries.detach().abs().sum((1, 2)))


def _offset_cosines(grams: Grams) -> Tensor:
    """Cosines (n, n) between ``source_i - target_i`` and ``source_k - target_i``."""
    squares, shifts = grams.source.diagonal(), grams.cross.diagonal()[:, None]
    lengths, inner = grams.target.diagonal()[:, None], grams.cross.T
    dots = grams.source - shifts - inner + lengths
    own, others = squares[:, None] - 2 * shifts + lengths, squares - 2 * inner + lengths
    with torch.no_grad():
        least = _rounding(squares[:, None].abs() + 2 * shifts.abs() + lengths.abs())
        least_others = _rounding(squares.abs() + 2 * inner.abs() + lengths.abs())
    return _cosines(dots, own, others, least, least_others)[0]


def _with_norms_of_target(grams: Grams) -> Grams:
    """Inner products of source rows at the lengths of their target rows; a zero row stays."""
    squares, lengths = grams.source.diagonal(), grams.target.diagonal()
    directed = squares > EPS * EPS
    scale = torch.where(directed, lengths.sqrt() / torch.where(directed, squares, 1.0).sqrt(), 1.0)
    return Grams(scale[:, None] * grams.source * scale, scale[:, None] * grams.cross, grams.target)


def _rounding(sums: Tensor) -> Tensor:
    """The least square that is not rounding, from the sums of the sizes of its terms."""
    return (ROUNDING * torch.finfo(sums.dtype).eps * sums).clamp(min=EPS * EPS)


def _cosines(
    dots: Tensor, squares: Tensor, others: Tensor, least: Tensor, least_others: Tensor
) -> tuple[Tensor, Tensor]:
    """Cosines, 0 where a square is too small for a direction, and where both are large enough."""
    directed = ~((squares <= least) | (others <= least_others))  # NaN stays NaN
    length, other = (torch.where(directed, part, 1.0).sqrt() for part in (squares, others))
    return torch.where(directed, dots, 0.0) / (length * other), directed


def _mean(values: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the counted values, a 0 with a graph if there are none, and whether there are any."""
    count = counted.sum()
    return torch.where(counted, values, 0.0).sum() / count.clamp(min=1), count > 0
