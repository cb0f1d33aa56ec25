"""Topological signature loss of topological autoencoders."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from topreg import _checks
from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs, check_rows
from topreg._repr import constructor_call
from topreg.losses import _common, _spaces
from topreg.metrics import Metric, check_metric

Pairs = PersistencePairs | Sequence[PersistencePairs]


def signature_loss(
    source: Clouds,
    target: Clouds,
    *,
    pairs: Pairs | None = None,
    target_pairs: Pairs | None = None,
    dimensions: Sequence[int] = (0,),
    symmetric: bool = True,
    normalize: bool = False,
    metric: Metric = "euclidean",
    reduction: str = "mean",
) -> Tensor:
    r"""How much the edges that carry the topology of one space differ in length in the other.

    .. math::

        \frac{1}{2} \bigl\| A^X[\Gamma^X] - A^Z[\Gamma^X] \bigr\|^2
        + \frac{1}{2} \bigl\| A^Z[\Gamma^Z] - A^X[\Gamma^Z] \bigr\|^2

    :math:`A[\Gamma]` are the lengths of the birth and death edges of the pairs :math:`\Gamma`; in
    dimension 0 births are vertices and only death edges count. Row i of ``source`` and row i of
    ``target`` are the same vertex; widths may differ.

    Args:
        source: Point cloud X, for instance the inputs of an encoder.
        target: Point cloud Z, for instance what it makes of them.
        pairs: :term:`Persistence pairs <persistence pair>` of ``source``, found before.
        target_pairs: Those of ``target``.
        dimensions: Homology dimensions whose losses are added; read where no pairs are given. With
            those of one space the other is searched in their dimensions.
        symmetric: Whether the second term is added; without it nothing is found in ``target``.
        normalize: Divide the lengths of each cloud by its largest distance, which takes part in
            the gradient; a cloud of coincident points is divided by 1.
        metric: As in :func:`~topreg.pairwise_distances`.
        reduction: ``"mean"`` over the clouds, ``"none"`` one value a cloud.

    Returns:
        The loss, in squared units of the metric, or dimensionless if normalised; 0 without a pair.

    Raises:
        TypeError: If one of them alone is in double precision.
        ValueError: If the clouds or the pairs do not belong to the same vertices, a cloud whose
            distances are needed has NaN or infinity, or an option is unknown.

    Shape:
        - source: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - target: the same with another width.
        - Output: :math:`()`, or :math:`(b,)` with ``reduction="none"``.

    Note:
        Differentiable in ``source`` and ``target``; not through the pairs. Time and memory
        :math:`O(m d)` beside finding the pairs; normalised, :math:`O(n^2 d)` and matrices.
        Dimension 0 of more than 16,384 points is found as by :class:`~topreg.RipsFiltration`,
        without a matrix.

    Source:
        Moor et al., Topological autoencoders, ICML 2020, equations 2 to 4. Their code divides by
        the number of points and normalises X as here, Z by a learned constant. Beyond dimension 0
        both edges of each pair are compared, as the equations say; the code takes the difference of
        their lengths.

    Example:
        >>> import torch
        >>> from topreg import signature_loss
        >>> points = torch.tensor([[0.0], [1.0], [3.0]])
        >>> signature_loss(points, 2 * points)  # (1 + 4) / 2 from each side
        tensor(5.)
    """
    _checks.is_option("reduction", reduction, _common.REDUCTIONS)
    dimensions = _common.check_dimensions(dimensions)
    x, z = _spaces.two_spaces(source, target, metric, normalize)
    own = None if pairs is None else _common.listed(pairs)
    other = None
    if symmetric and target_pairs is not None:
        other = _common.listed(target_pairs, "target_pairs")
    if own or other:  # the other space is searched in the dimensions of what is given
        dimensions = [part.dimension for part in own or other or ()]
    found = {"pairs": own or x.pairs(dimensions)}
    if symmetric:
        found["target_pairs"] = other or z.pairs(dimensions)
    for name, parts in found.items():
        for part in parts:
            check_rows(part, x.rows, "source", pairs_name=name)
            _checks.of_clouds(part.cloud_sizes, x.sizes, "source", name)
    every = list(itertools.chain.from_iterable(found.values()))
    compared = [(part, edges) for part in every for edges in _compared(part)]
    joined = torch.cat([edges for _, edges in compared])  # many short calls take longer
    squares = (x.lengths(joined) - z.lengths(joined)).square() / 2
    terms = [
        _common.over_clouds(values, part, reduction)
        for (part, _), values in zip(
            compared, squares.split([len(edges) for _, edges in compared]), strict=True
        )
    ]
    return torch.stack(terms).sum(0)


def _compared(pairs: PersistencePairs) -> list[Tensor]:
    """Edges whose lengths are compared; vertices have none."""
    if pairs.dimension == 0:
        return [pairs.death_edges]
    return [pairs.birth_edges, pairs.death_edges]


class SignatureLoss(nn.Module):
    """Module form of :func:`signature_loss`.

    Args:
        dimensions: :term:`Homology dimensions <homology dimension>`, as in the function.
        symmetric: As in the function.
        normalize: As in the function.
        metric: As in the function.
        reduction: As in the function.

    Example:
        >>> import torch
        >>> from topreg import SignatureLoss
        >>> points = torch.tensor([[0.0], [1.0], [3.0]])
        >>> SignatureLoss(normalize=True)(points, 2 * points)
        tensor(0.)
    """

    def __init__(
        self,
        *,
        dimensions: Sequence[int] = (0,),
        symmetric: bool = True,
        normalize: bool = False,
        metric: Metric = "euclidean",
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        check_metric(metric)
        _checks.is_option("reduction", reduction, _common.REDUCTIONS)
        self.dimensions = _common.check_dimensions(dimensions)
        self.symmetric = symmetric
        self.normalize = normalize
        self.metric = metric
        self.reduction = reduction

    def forward(
        self,
        source: Clouds,
        target: Clouds,
        *,
        pairs: Pairs | None = None,
        target_pairs: Pairs | None = None,
    ) -> Tensor:
        """The loss; pairs that are not given are found."""
        return signature_loss(
            source, target, pairs=pairs, target_pairs=target_pairs, dimensions=self.dimensions,
            symmetric=self.symmetric, normalize=self.normalize, metric=self.metric,
            reduction=self.reduction,
        )  # fmt: skip

    def __repr__(self) -> str:
        """The call that makes an equal module."""
        return constructor_call(self)
