"""The public distance matrix, with finite gradients at coincident points."""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from topreg import _checks
from topreg._safe import plain_tensor, widest_dtype
from topreg.metrics._metric import (
    Metric,
    at_least_single,
    by_callable,
    check_metric,
    rows_of,
)
from topreg.metrics._selection import cross_distances, selection_weights


def pairwise_distances(
    x: Tensor, y: Tensor | None = None, *, metric: Metric = "euclidean"
) -> Tensor:
    r"""Return the distances between the rows of one :term:`point cloud`, or of two.

    .. math::

        D_{ij} = |x_i - y_j|_2, \qquad 1 - \frac{x_i \cdot y_j}{|x_i| |y_j|}
        \qquad\text{or}\qquad |x_i - y_j|_1

    Without ``y`` the diagonal is exactly zero and the matrix exactly symmetric; coincident points
    have distance exactly 0. These are the weights by which
    :class:`~topreg.RipsFiltration` orders edges. A zero row has no direction: its cosine distance
    is 1/2 here, and 0 to another zero row; filtrations refuse it.

    Args:
        x: Point cloud.
        y: Second point cloud; the first one again if left out.
        metric: ``"euclidean"``, ``"cosine"``, ``"manhattan"``, a callable
            ``f(x, y) -> (len(x), len(y))``, or ``"precomputed"``. A callable's matrix products run
            in full precision, as in :class:`~topreg.RipsFiltration`. With ``"precomputed"``, ``x``
            is a distance matrix, and its mean with its transpose is returned.

    Returns:
        The distance matrix, in the units of the points (the cosine has none), in at least single
        precision.

    Raises:
        TypeError: If ``x`` or ``y`` is not a floating-point tensor, only one of them is in double
            precision, or ``metric`` returns integers.
        ValueError: If they are not clouds of one width, ``metric`` is unknown or returns a matrix
            of another shape, or ``y`` is given with ``"precomputed"``.

    Shape:
        - x: :math:`(n, d)`; y: :math:`(m, d)`.
        - Output: :math:`(n, n)` or :math:`(n, m)`.

    Note:
        In single precision each entry is the distance measured in double precision and rounded
        once. In double precision the relative error stays below 1e-12. Both hold far from the
        origin, for coincident points and within tight clusters; the cosine also has the rounding of
        the normalised rows. Time :math:`O(n m d)`. Differentiable twice, with gradient 0 between
        coincident points. ``torch.func.grad`` and ``vmap`` work; forward mode does not. In a
        compiled program ``torch.func.grad`` breaks the graph.

    Source:
        Inner products in double precision give every entry for which their rounding bound is small
        enough; differences give the others. In double precision, entries whose order is still open
        are measured by differences too.

    Example:
        >>> import torch
        >>> from topreg import pairwise_distances
        >>> pairwise_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0], [3.0, 4.0]]))
        tensor([[0., 5., 5.],
                [5., 0., 0.],
                [5., 0., 0.]])
    """
    check_metric(metric)
    if metric == "precomputed":
        return _precomputed(x, y)
    _checks.is_point_cloud("x", x)
    if y is not None:
        _checks.is_point_cloud("y", y)
        _checks.have_one_width("x", x, "y", y)
        _checks.alike("x", x, "y", y)
    if callable(metric):
        x, y = at_least_single(x), None if y is None else at_least_single(y)
        matrix = at_least_single(by_callable(metric, x, x if y is None else y))
        return _symmetric(matrix) if y is None else matrix
    if torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
        # a compiled program drops the gradient of an `autograd.Function` within `torch.func`
        torch._dynamo.graph_break()
    x, y = rows_of(x, metric), None if y is None else rows_of(y, metric)
    return _Distances.apply(x, y, metric)  # type: ignore[no-any-return]


def _precomputed(x: Tensor, y: Tensor | None) -> Tensor:
    """Return the distances that a matrix holds; raise if ``y`` is given."""
    _checks.is_square("x", x)
    if y is not None:
        raise ValueError(
            '`y` should be left out with `metric="precomputed"`. '
            f"Got shape {_checks.shape(y)}. Pass the distances within one cloud as `x`."
        )
    return _symmetric(at_least_single(x))


def _symmetric(matrix: Tensor) -> Tensor:
    """Return the mean with the transpose, clamped at zero, with a zero diagonal."""
    matrix = (matrix / 2 + matrix.T / 2).clamp(min=0)  # halved first: the sum may overflow
    return matrix - torch.diag(matrix.diagonal())


class _Distances(torch.autograd.Function):
    """Distance matrix whose backward pass is made of differentiable operations."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor | None, metric: str) -> Tensor:
        if y is None:
            return selection_weights(x.detach(), [len(x)], metric).view(len(x), len(x))
        return cross_distances(x.detach(), y.detach(), metric)

    @staticmethod
    def setup_context(
        ctx: FunctionCtx, inputs: tuple[Tensor, Tensor | None, str], output: Tensor
    ) -> None:
        x, y, ctx.metric = inputs  # type: ignore[attr-defined]
        ctx.alone = y is None  # type: ignore[attr-defined]
        x = plain_tensor(x)
        ctx.save_for_backward(x, x if y is None else plain_tensor(y), output)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, y, distances = ctx.saved_tensors  # type: ignore[attr-defined]
        alone, metric = ctx.alone, ctx.metric  # type: ignore[attr-defined]
        weights = grads[0] + grads[0].T if alone else grads[0]
        if metric == "euclidean":
            apart, wide = distances > 0, widest_dtype(x.device)  # quotients may overflow
            lengths = torch.where(apart, distances, 1.0).to(wide)
            weights = torch.where(apart, weights.to(wide) / lengths, 0.0)
        pull = _weighted_signs if metric == "manhattan" else _weighted_differences
        return pull(weights, x, y), None if alone else pull(weights.T, y, x), None


def _weighted_differences(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Sum ``weights[i, j] * (x_i - y_j)`` over j, precisely, since its two parts may cancel."""
    if len(y) == 0:
        return torch.zeros_like(x) + weights.sum()
    dtype = widest_dtype(x.device)
    centre = y[:1].detach().to(dtype)
    wide, x_wide, y_wide = weights.to(dtype), x.to(dtype) - centre, y.to(dtype) - centre
    return (wide.sum(1, keepdim=True) * x_wide - wide @ y_wide).to(x.dtype)


def _weighted_signs(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Sum ``weights[i, j] * sign(x_i - y_j)`` over j, one row at a time."""
    rows = [(w[:, None] * (row - y).sign()).sum(0) for w, row in zip(weights, x, strict=True)]
    return torch.stack(rows) if rows else torch.zeros_like(x)
