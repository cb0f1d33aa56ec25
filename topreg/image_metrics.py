"""Topology of segmentations as metrics with ``update``, ``compute`` and ``reset``."""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from topreg import _checks
from topreg._module import constructor_call
from topreg.persistence.images._images import (
    SHAPES,
    betti_numbers,
    compare_pixels,
    have_one_shape,
)

__all__ = ["BettiError", "BettiMatchingError", "BettiNumbers"]


class _ImageMetric(nn.Module):
    """A mean over images, one number per dimension; its state moves with the module."""

    total: Tensor
    count: Tensor
    largest: ClassVar[int] = 3
    update: Callable[..., None]

    def __init__(self, *, threshold: float = 0.5, construction: str = "T", ndim: int = 2) -> None:
        super().__init__()
        _checks.is_number("threshold", threshold, "finite")
        _checks.is_option("construction", construction, ("T", "V"))
        if _checks.is_count("ndim", ndim) not in range(2, self.largest + 1):
            known = "2" if self.largest == 2 else "2 or 3"
            raise ValueError(f"`ndim` should be {known}. Got {ndim!r}.")
        self.threshold: float = float(threshold)
        self.construction = construction
        self.ndim: int = int(ndim)
        self.register_buffer("total", torch.zeros(self.ndim, dtype=torch.int64), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64), persistent=False)

    def __repr__(self) -> str:
        """Return the call that makes an equal metric."""
        return constructor_call(self)

    def forward(self, *images: Tensor) -> Tensor:
        """Count the images of a batch; return the mean over them alone."""
        total, count = self.total.clone(), self.count.clone()
        self.update(*images)
        return (self.total - total).double() / (self.count - count)

    def compute(self) -> Tensor:
        """Return the mean over all images, one number per dimension; NaN without an image."""
        return self.total.double() / self.count

    def reset(self) -> None:
        """Forget all images."""
        self.total.zero_()
        self.count.zero_()

    def _masks(self, images: Tensor, name: str, threshold: float) -> Tensor:
        """Return masks (m, ...): values above a threshold, or non-zero integers."""
        _checks.is_tensor(name, images)
        if not self.ndim <= images.ndim <= self.ndim + 2:
            letters = SHAPES[self.ndim][1:]
            raise ValueError(
                f"`{name}` should have shape ({letters}, (b, {letters} or (b, c, {letters}. "
                f"Got {_checks.shape(images)}."
            )
        floating = images.is_floating_point()
        (_checks.is_floating if floating else _checks.is_integer)(name, images)
        _checks.is_readable(name, images)
        if floating:
            _checks.have_none(
                name, images.isnan().flatten(), "be free of NaN", "entry", " with NaN"
            )
        masks = images.detach() > threshold if floating else images != 0
        leading, sides = images.shape[: -self.ndim], images.shape[-self.ndim :]
        return masks.reshape(math.prod(leading), *sides).cpu()

    def _pairs(self, preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return masks of predictions and targets of one shape."""
        x = self._masks(preds, "preds", self.threshold)
        y = self._masks(target, "target", 0.5)
        have_one_shape("preds", preds, "target", target, self.ndim)
        return x, y

    def _add(self, numbers: Sequence[Sequence[int]]) -> None:
        """Count images, with their numbers per dimension."""
        rows = torch.tensor(list(numbers), dtype=torch.int64, device="cpu").reshape(-1, self.ndim)
        self.total += rows.sum(0).to(self.total.device)
        self.count += len(rows)

    def _numbers(self, mask: Tensor) -> list[int]:
        """Return the Betti numbers of a mask."""
        return betti_numbers(mask, self.construction == "T")


class BettiNumbers(_ImageMetric):
    """Mean :term:`Betti numbers <Betti number>` of masks.

    They count components and holes, of volumes also cavities.

    Args:
        threshold: Values above it are foreground. In masks of integers, non-zero is foreground.
        construction: ``"T"``: 8 neighbours join components, 26 in volumes; ``"V"``: 4 and 6.
        ndim: 2 for images, 3 for volumes.

    Example:
        >>> import torch
        >>> from topreg.image_metrics import BettiNumbers
        >>> metric = BettiNumbers()
        >>> metric.update(torch.tensor([[1, 1, 1], [1, 0, 1], [1, 1, 1]]))
        >>> metric.compute()
        tensor([1., 1.], dtype=torch.float64)
    """

    def update(self, preds: Tensor) -> None:
        """Count the images of a batch, (h, w), (b, h, w) or (b, c, h, w)."""
        self._add([self._numbers(mask) for mask in self._masks(preds, "preds", self.threshold)])


class BettiError(_ImageMetric):
    """Mean absolute difference of :term:`Betti numbers <Betti number>` in prediction and target.

    Args:
        threshold: Predictions above it are foreground. Targets are foreground above 1/2, integers
            if they are not 0.
        construction: ``"T"``: 8 neighbours join components, 26 in volumes; ``"V"``: 4 and 6.
        ndim: 2 for images, 3 for volumes.

    Example:
        >>> import torch
        >>> from topreg.image_metrics import BettiError
        >>> metric = BettiError()
        >>> metric.update(torch.tensor([[0.9, 0.1, 0.8]]), torch.tensor([[1, 1, 1]]))
        >>> metric.compute()
        tensor([1., 0.], dtype=torch.float64)
    """

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count the images of a batch, (h, w), (b, h, w) or (b, c, h, w)."""
        pairs = zip(*self._pairs(preds, target), strict=True)
        both = ((self._numbers(x), self._numbers(y)) for x, y in pairs)
        self._add([[abs(a - b) for a, b in zip(x, y, strict=True)] for x, y in both])


class BettiMatchingError(_ImageMetric):
    """Mean number of features of predictions and targets that Betti matching leaves unmatched.

    A feature is a :term:`homology class`: a component or a hole. The essential components of two
    masks match each other, unless one mask is empty.

    Args:
        threshold: Predictions above it are foreground. Targets are foreground above 1/2, integers
            if they are not 0.
        construction: ``"T"``: 8 neighbours join components; ``"V"``: 4.
        ndim: 2; volumes are not matched.

    Example:
        >>> import torch
        >>> from topreg.image_metrics import BettiMatchingError
        >>> metric = BettiMatchingError()
        >>> metric.update(torch.tensor([[0.9, 0.1, 0.8]]), torch.tensor([[1, 0, 0]]))
        >>> metric.compute()
        tensor([1., 0.], dtype=torch.float64)
    """

    largest = 2

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Count the images of a batch, (h, w), (b, h, w) or (b, c, h, w)."""
        x, y = self._pairs(preds, target)
        sides = list(x.shape[1:]) * len(x)
        options = [True, True, self.construction == "T", True, False]
        first, second = x.float().reshape(-1), y.float().reshape(-1)
        bars_0, bars_1, numbers, _ = compare_pixels(first, second, sides, options)
        errors = []
        for bars, count in zip((bars_0, bars_1), numbers, strict=True):
            alone = ((bars[0] < 0) | (bars[2] < 0)).long()
            images = torch.repeat_interleave(count, output_size=len(alone))
            errors.append(alone.new_zeros(len(x)).index_add(0, images, alone))
        errors[0] += x.flatten(1).any(1) != y.flatten(1).any(1)
        self._add(torch.stack(errors, dim=1).tolist())
