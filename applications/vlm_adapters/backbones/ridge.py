"""Ridge regression with an intercept, its strength chosen by leave-one-out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

__all__ = ["RidgeMap", "best_strength", "fit_ridge", "leave_one_out_predictions"]


@dataclass(frozen=True, eq=False)
class RidgeMap:
    """The affine map ``x -> (x - input_mean) @ weight + output_mean``."""

    weight: Tensor
    input_mean: Tensor
    output_mean: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        """Map rows of shape (n, p) to rows of shape (n, q)."""
        return (inputs - self.input_mean) @ self.weight + self.output_mean


def fit_ridge(inputs: Tensor, outputs: Tensor, strength: float) -> RidgeMap:
    r"""Minimise the squared error plus ``strength`` times the squared weights.

    .. math::

        \min_{W, c} \; \|X W + 1 c^\top - Y\|^2 + \lambda \|W\|^2

    The intercept :math:`c` is not penalised, so both sides are centred first.

    Args:
        inputs: One row per example.
        outputs: One row per example, in the same order.
        strength: Weight :math:`\lambda` of the penalty, above 0.

    Returns:
        The fitted map, in the dtype of ``inputs``; solved in float64.

    Shape:
        - inputs: :math:`(n, p)`. outputs: :math:`(n, q)`.
    """
    left, values, right = _decompose(inputs)
    weight = right.T @ ((values / (values**2 + strength))[:, None] * (left.T @ outputs.double()))
    return RidgeMap(weight.to(inputs.dtype), inputs.mean(dim=0), outputs.mean(dim=0))


def leave_one_out_predictions(inputs: Tensor, outputs: Tensor, strength: float) -> Tensor:
    r"""What the map that was fitted to all the other examples predicts for each example.

    No map is fitted again: the error at example i is its ordinary residual divided by
    :math:`1 - h_i`, with the leverage :math:`h_i` of the example.

    Args:
        inputs: One row per example.
        outputs: One row per example, in the same order.
        strength: Weight of the penalty, above 0.

    Returns:
        One row per example, in float64.

    Shape:
        - inputs: :math:`(n, p)`. outputs: :math:`(n, q)`.
        - Output: :math:`(n, q)`.
    """
    left, values, _ = _decompose(inputs)
    return _leave_one_out(left, values, outputs.double(), strength)


def best_strength(inputs: Tensor, outputs: Tensor, strengths: Sequence[float]) -> float:
    """The strength whose leave-one-out predictions best find their own output by cosine.

    The score is the mean reciprocal rank of an example's own output among all outputs. The
    squared error would rather shrink every prediction, and lengths do not matter to a cosine.

    Args:
        inputs: One row per example.
        outputs: One row per example, in the same order.
        strengths: Candidates.

    Returns:
        One of ``strengths``, the first among equals.

    Shape:
        - inputs: :math:`(n, p)`. outputs: :math:`(n, q)`.
    """
    left, values, _ = _decompose(inputs)
    targets = outputs.double()
    directions = normalize(targets, dim=1)

    def score(strength: float) -> float:
        predictions = _leave_one_out(left, values, targets, strength)
        # The lengths of the predictions do not change the ranks along a row.
        cosines = predictions @ directions.T
        ranks = 1 + (cosines > cosines.diagonal()[:, None]).sum(dim=1)
        return float((1 / ranks).mean())

    return max(strengths, key=score)


def _decompose(inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Singular value decomposition of the centred inputs, in float64."""
    centred = inputs.double() - inputs.double().mean(dim=0)
    left, values, right = torch.linalg.svd(centred, full_matrices=False)
    return left, values, right


def _leave_one_out(left: Tensor, values: Tensor, targets: Tensor, strength: float) -> Tensor:
    """Predictions without the example itself, from the decomposition of the inputs."""
    shrinkage = values**2 / (values**2 + strength)
    leverage = (left**2 * shrinkage).sum(dim=1) + 1 / len(left)
    fitted = left @ (shrinkage[:, None] * (left.T @ targets)) + targets.mean(dim=0)
    return targets - (targets - fitted) / (1 - leverage)[:, None]
