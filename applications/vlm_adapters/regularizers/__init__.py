"""Regularisers: homology consistency, topreg's losses by name, and functions of the user."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

import topreg

from ..config import RegularizerOptions, one_of
from ..plugs import is_plug, load_plug

LOSSES = (
    "TrackCoincidence",
    "DeviatingPerturbation",
    "HomologyConsistency",
    "SignatureLoss",
    "RTD",
    "RTDLite",
)
"""The losses of topreg across two spaces, by the name of their class."""


class BatchViews(NamedTuple):
    """What a regulariser sees of a batch.

    Attributes:
        geometry: Frozen image features of unit length.
        source: What the adapter makes of each image, with gradient.
        target: The counterpart of each image's class, with gradient where it is trained.
        labels: Classes of the images.

    Shape:
        - geometry: (n, d). source, target: (n, m). labels: (n,), int64.
    """

    geometry: Tensor
    source: Tensor
    target: Tensor
    labels: Tensor


Regularizer = Callable[[BatchViews], Mapping[str, Tensor]]
"""Compute the terms of a batch by name; their sum, weighted, is added to the cross-entropy."""


def build_regularizer(options: RegularizerOptions) -> Regularizer | None:
    """Build the regulariser that the options name.

    Args:
        options: Name, weight and settings.

    Returns:
        The regulariser; None at weight 0.

    Raises:
        ValueError: If the name is unknown, or the settings do not fit.
    """
    use, settings = options.use, dict(options.settings)
    if not options.weight:
        return None
    if not is_plug(use):
        one_of("regularizer.use", use, LOSSES)
        return _loss_of_topreg(options)
    function = load_plug(use, "regularizer.use")

    def regularizer(views: BatchViews) -> Mapping[str, Tensor]:
        terms: Mapping[str, Tensor] = function(views, **settings)
        if not isinstance(terms, Mapping) or not terms:
            raise ValueError(
                f"`{use}` should return a dict of terms by name. Got {type(terms).__name__}."
            )
        for name, term in terms.items():
            if not (isinstance(name, str) and isinstance(term, Tensor) and term.ndim == 0):
                raise ValueError(
                    f"`{use}` should return a dict of scalar tensors by name. "
                    f"Got {_kind(term)} for {name!r}."
                )
        return terms

    return regularizer


def _kind(value: object) -> str:
    """Return what a value is, in words."""
    shape = f" of shape {tuple(value.shape)}" if isinstance(value, Tensor) else ""
    return f"{type(value).__name__}{shape}"


def _loss_of_topreg(options: RegularizerOptions) -> Regularizer:
    """A loss module of topreg on the two views."""
    try:
        loss = getattr(topreg, options.use)(**options.settings)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`regularizer.settings` should be options of topreg.{options.use}. Got: {error}"
        ) from None
    labelled = "labels" in inspect.signature(loss.forward).parameters
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", options.use).lower()

    def regularizer(views: BatchViews) -> Mapping[str, Tensor]:
        labels = (views.labels,) if labelled else ()
        return {name: loss(views.source, views.target, *labels)}

    return regularizer
