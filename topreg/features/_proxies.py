"""Proxy spaces: representations that replace the points once the pairs are found."""

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds, join, join_labels
from topreg._safe import plain_tensor
from topreg.metrics import at_least_single


def exponential_affinity(points: Clouds, keys: Tensor, *, sharpness: float) -> Tensor:
    r"""Return the similarity of each point to each cached key.

    .. math::

        A_{ik} = \exp\bigl(-\beta (1 - x_i \cdot f_k)\bigr)

    Args:
        points: Point cloud with rows of length one.
        keys: Cached keys with rows of length one.
        sharpness: :math:`\beta`, dimensionless.

    Returns:
        :term:`Affinities <affinity>`, dimensionless; 1 where a point equals a key.

    Raises:
        TypeError: If either is not a floating-point tensor, or only one is in double precision.
        ValueError: If widths or devices differ.

    Shape:
        - points: :math:`(n, d)`, :math:`(b, n, d)` or a sequence of :math:`(n_i, d)`.
        - keys: :math:`(c, d)`. Output: :math:`(N, c)`, the rows of all N points.

    Note:
        Differentiable in ``points`` and ``keys``. Time :math:`O(n c d)`.

    Source:
        Zhang et al., NeurIPS 2024, section 3.3, after Tip-Adapter (Zhang et al., ECCV 2022).

    Example:
        >>> import torch
        >>> from topreg import exponential_affinity
        >>> exponential_affinity(torch.eye(2), torch.eye(2), sharpness=1.0)
        tensor([[1.0000, 0.3679],
                [0.3679, 1.0000]])
    """
    rows, _ = join(points)
    _checks.is_point_cloud("keys", keys)
    _checks.have_one_width("points", rows, "keys", keys)
    _checks.alike("points", rows, "keys", keys)
    sharpness = _checks.is_number("sharpness", sharpness)
    if rows.dtype != keys.dtype:
        rows, keys = at_least_single(rows), at_least_single(keys)
    return torch.exp(-sharpness * (1 - rows @ keys.T))


def label_indicators(
    labels: Clouds, cached_labels: Tensor, *, dtype: torch.dtype | None = None
) -> Tensor:
    r"""Return an indicator of the cached samples that share each sample's label.

    .. math::

        L_{ik} = [y_i = y_k]

    Args:
        labels: Labels of the samples.
        cached_labels: Labels of the cached samples.
        dtype: Floating-point type of the output; torch's default if left out.

    Returns:
        :term:`Label indicators <label indicator>`: 1 where the labels are equal, else 0.

    Raises:
        TypeError: If either is not a tensor of integers, or ``dtype`` not floating point.
        ValueError: If shapes do not fit, or they are on two devices.

    Shape:
        - labels: :math:`(n,)`, :math:`(b, n)` or a sequence of :math:`(n_i,)`, integers.
        - cached_labels: :math:`(c,)`, integers. Output: :math:`(N, c)`, rows of all N labels.

    Note:
        The output has no gradient. Time and memory :math:`O(n c)`.

    Source:
        Zhang et al., NeurIPS 2024, section 3.3, as the authors' code reads its one-hot labels.

    Example:
        >>> import torch
        >>> from topreg import label_indicators
        >>> label_indicators(torch.tensor([0, 1]), torch.tensor([1, 0, 1]))
        tensor([[0., 1., 0.],
                [1., 0., 1.]])
    """
    joined, _ = join_labels(labels)
    for name, given, letters in (
        ("labels", joined, "(n,)"),
        ("cached_labels", cached_labels, "(c,)"),
    ):
        _checks.is_integer(name, given)
        _checks.has_rank(name, given, letters)
    _checks.on_one_device("labels", joined, "cached_labels", cached_labels.device)
    real = isinstance(dtype, torch.dtype) and dtype.is_floating_point
    if dtype is not None and not real:
        raise TypeError(f"`dtype` should be floating point. Got {dtype}.")
    equal = joined[:, None] == cached_labels[None, :]
    return plain_tensor(equal.to(torch.get_default_dtype() if dtype is None else dtype))
