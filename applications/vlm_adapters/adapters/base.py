"""What an adapter is, for training, evaluation and the constraint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from torch import Tensor, nn

from ..grams import Grams
from ..options import AdapterOptions
from ..tasks import Task

if TYPE_CHECKING:
    from typing_extensions import Self


class Views(NamedTuple):
    """Two views of one batch for the constraint, and the points in which pairs are found.

    Shape:
        - geometry: (n, d), frozen. source, target: (n, m).
    """

    geometry: Tensor
    source: Tensor
    target: Tensor


class LinearMap(NamedTuple):
    """``outputs = inputs @ parameter.T``, the only way in which losses reach the parameter.

    Shape:
        - inputs: (n, d), constant. parameter: (c, d). outputs: (n, c).
    """

    inputs: Tensor
    parameter: Tensor
    outputs: Tensor


class Step(NamedTuple):
    """What a training step needs of one batch, computed once.

    Attributes:
        logits: (n, k).
        source: The tuned view of each image (n, m).
        target: From classes (n,) to the counterparts (n, m) of their images.
        linear: The linear map behind logits and source, where there is just one.
    """

    logits: Tensor
    source: Tensor
    target: Callable[[Tensor], Tensor]
    linear: LinearMap | None = None


class Adapter(nn.Module, ABC):
    """A classifier on frozen image features of unit length."""

    trainable: ClassVar[bool] = True
    options: AdapterOptions
    logit_scale: float

    @classmethod
    @abstractmethod
    def build(cls, task: Task, options: AdapterOptions) -> Self:
        """The adapter at its initial parameters."""

    @classmethod
    @abstractmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], options: AdapterOptions, logit_scale: float
    ) -> Self:
        """The adapter whose ``state_dict`` the tensors are."""

    @abstractmethod
    def forward(self, features: Tensor) -> Tensor:
        """Logits (n, k) of image features (n, d)."""

    @abstractmethod
    def step(self, features: Tensor) -> Step:
        """Logits and the views of a batch."""

    @abstractmethod
    def target(self, labels: Tensor) -> Tensor:
        """The counterpart (n, m) of images of some classes."""

    def views(self, features: Tensor, labels: Tensor) -> Views:
        """The two views that the constraint compares."""
        return Views(features, self.step(features).source, self.target(labels))

    def grams(self, source: Tensor, labels: Tensor) -> Grams | None:
        """Inner products of the views, where they are cheaper than the views; else None."""
        return None

    def search(self, features: Tensor, labels: Tensor) -> tuple[float, ...] | None:
        """Choose factors on validation images (n, d) without gradients; None without a search."""
        return None

    def with_factors(self, *factors: float) -> Adapter:
        """Return the adapter at factors that :meth:`search` chose."""
        raise NotImplementedError(f"{type(self).__name__} has a search, but no `with_factors`")

    def at(self, tensors: Mapping[str, Tensor]) -> Self:
        """The same adapter with the tensors of another moment."""
        return self.from_tensors(tensors, self.options, self.logit_scale)

    @abstractmethod
    def restrict(self, classes: Tensor) -> Adapter:
        """The same adapter for a subset of the classes, in the order given."""
