"""Adapters: classifiers on frozen features. None decides anything of topology.

This is what an adapter is for training, evaluation and the constraint; the modules hold those that
are shipped, and are imported by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torch import Tensor, nn

from ..config import ADAPTERS, AdapterOptions
from ..plugs import is_plug, load_plug

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..regularizers.grams import Grams
    from ..sources import Task


class LinearMap(NamedTuple):
    """``outputs = inputs @ parameter.T``, the only way in which losses reach the parameter.

    Shape:
        - inputs: (n, d), constant. parameter: (c, d). outputs: (n, c).
    """

    inputs: Tensor
    parameter: Tensor
    outputs: Tensor


class Step(NamedTuple):
    """What an adapter computes of a batch.

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
    """A classifier on frozen image features of unit length.

    A subclass names its tensors, and says how they begin (:meth:`initial`) and what they make of a
    batch (:meth:`step`). The tensors are its attributes and all that is saved of it.

    Attributes:
        tensors: Names of all tensors.
        trainable: Names of those that training changes; without any, the adapter is not trained.
        shared: Names of those that do not have one row per class.

    Args:
        tensors: Tensors by name; those that are trained are copied.
        options: Kind and fixed factors.
        logit_scale: Factor that turns cosines into logits.

    Raises:
        ValueError: If the tensors have other names, or another number of rows.
    """

    tensors: ClassVar[tuple[str, ...]]
    trainable: ClassVar[tuple[str, ...]] = ()
    shared: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, tensors: Mapping[str, Tensor], options: AdapterOptions, logit_scale: float
    ) -> None:
        super().__init__()
        self.options = options
        self.logit_scale = logit_scale
        if set(tensors) != set(self.tensors):
            raise ValueError(
                f"The tensors should be {', '.join(self.tensors)}. Got {', '.join(tensors)}."
            )
        rows = {n: tuple(t.shape[:1]) for n, t in tensors.items() if n not in self.shared}
        if len(set(rows.values())) > 1:
            raise ValueError(f"The tensors should have one row per class. Got {rows}.")
        for name in self.tensors:
            if name in self.trainable:
                self.register_parameter(name, nn.Parameter(tensors[name].detach().clone()))
            else:
                self.register_buffer(name, tensors[name].detach())

    @classmethod
    def build(cls, task: Task, options: AdapterOptions) -> Self:
        """Return the adapter before its training."""
        return cls(cls.initial(task, options), options, task.logit_scale)

    @classmethod
    @abstractmethod
    def initial(cls, task: Task, options: AdapterOptions) -> dict[str, Tensor]:
        """Return the tensors before training.

        Args:
            task: Few-shot task; what is drawn comes from its seed.
            options: Kind and fixed factors.

        Returns:
            Tensors by name, on the device of the task.
        """

    @abstractmethod
    def step(self, features: Tensor) -> Step:
        """Compute logits and the two views that the constraint compares.

        Args:
            features: Image features (n, d) of unit length.

        Returns:
            Logits and views, computed once.
        """

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (n, k) of image features (n, d)."""
        return self.step(features).logits

    def grams(self, source: Tensor, labels: Tensor) -> Grams | None:
        """Return the inner products of the views, where they cost less than the views; else None.

        Args:
            source: Tuned views (n, m).
            labels: Their classes (n,).
        """
        return None

    def search(self, features: Tensor, labels: Tensor) -> tuple[float, ...] | None:
        """Choose factors on validation images without gradients; None without a search.

        Args:
            features: Image features (v, d) of unit length.
            labels: Their classes (v,).

        Returns:
            Factors, as :meth:`with_factors` takes them.
        """
        return None

    def with_factors(self, *factors: float) -> Self:
        """Return the adapter at factors that :meth:`search` chose."""
        raise NotImplementedError(f"{type(self).__name__} has a search, but no `with_factors`")

    def at(self, tensors: Mapping[str, Tensor], **options: Any) -> Self:
        """Return the adapter with other tensors, and some other options."""
        return type(self)(tensors, replace(self.options, **options), self.logit_scale)

    def restrict(self, classes: Tensor) -> Self:
        """Return the adapter for some of the classes, in the order given."""
        return self.at(
            {n: t if n in self.shared else t[classes] for n, t in self.state_dict().items()}
        )


def adapter_class(kind: str) -> type[Adapter]:
    """Find a class by a shipped name, or load ``file.py:Name`` or ``module:Name``."""
    if not is_plug(kind):
        module, _, name = ADAPTERS[kind].partition(":")
        shipped: type[Adapter] = getattr(import_module(f".{module}", __package__), name)
        return shipped
    found = load_plug(kind, "adapter.kind")
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        raise ValueError(
            f"`adapter.kind` should name a class below `vlm_adapters.adapters.Adapter`. "
            f"Got {kind!r}."
        )
    return found


def build_adapter(task: Task, options: AdapterOptions) -> Adapter:
    """Return the adapter that the options name, before its training."""
    return adapter_class(options.kind).build(task, options)
