"""The constraint on any adapter: its views, topreg's losses, and the two ways to add gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from topreg import (
    CrossBatchMemory,
    DeviatingPerturbation,
    PersistencePairs,
    RipsFiltration,
    TrackCoincidence,
    balanced_backward,
    pairwise_distances,
)

from .adapters import Adapter, Step
from .balance import add_balanced_gradient
from .grams import (
    Grams,
    deviating_perturbation_of_grams,
    grams_of,
    track_coincidence_of_grams,
)
from .options import ConstraintOptions


class Terms(NamedTuple):
    """The two terms of the constraint, unweighted."""

    track_coincidence: Tensor
    deviating_perturbation: Tensor


class Consistency:
    """Adds the gradient of homology consistency to that of an adapter's cross-entropy.

    Args:
        options: Weights and conventions.
        logit_scale: The unit of a constant weight: the gradient of cross-entropy grows with it.

    Source:
        Zhang et al., NeurIPS 2024, section 3.3: a constant factor for TaskRes, the ratio of
        gradient norms for Tip-Adapter-F. The defaults for labels, relatives, norms and the memory
        are those of the authors' code.
    """

    def __init__(self, options: ConstraintOptions, logit_scale: float) -> None:
        self.options = options
        self.weight = options.weight * (logit_scale if options.unit == "logit_scale" else 1.0)
        self.memory = (
            CrossBatchMemory(options.memory_batches, classes=options.memory_classes)
            if options.memory_batches
            else None
        )
        self.filtration = RipsFiltration(
            metric=half_distances if options.distance_dtype == "float16" else "euclidean"
        )
        self.track_coincidence = TrackCoincidence(
            orientation=options.orientation if len(options.dimensions) > 1 else "index",
            undefined=options.undirected,
        )
        self.deviating_perturbation = DeviatingPerturbation(
            related=options.related,
            match_norms=options.match_norms,
            undefined=options.unrelated,
        )

    def terms(self, adapter: Adapter, step: Step, features: Tensor, labels: Tensor) -> Terms:
        """Track coincidence and deviating perturbation of a batch, joined with the memory.

        Args:
            adapter: The adapter that is trained.
            step: What it computed on the batch.
            features: Image features (n, d) of the batch.
            labels: Their classes (n,).

        Returns:
            The two terms, with gradient in the batch's views.
        """
        joined, views = self._joined(labels, {"geometry": features, "source": step.source})
        geometry, source = views["geometry"], views["source"]
        pairs = self._pairs(geometry, joined, len(labels))
        grams = adapter.grams(source, joined)
        if grams is not None:
            return self._terms_from_products(grams, joined, pairs, geometry)
        stored = joined[len(labels) :]  # their counterparts are today's, constant
        target = torch.cat([step.target(labels), step.target(stored).detach()])
        if len(pairs) > 1 and not torch.equal(source, geometry):  # topreg aligns in the source
            return self._terms_from_products(grams_of(source, target), joined, pairs, geometry)
        return Terms(
            self.track_coincidence(source, target, pairs=pairs),
            self.deviating_perturbation(source, target, joined, pairs=pairs[0]),
        )

    def backward(
        self, cross_entropy: Tensor, adapter: Adapter, step: Step, features: Tensor, labels: Tensor
    ) -> Terms:
        """Fill the gradients of the adapter's parameters.

        Args:
            cross_entropy: Loss of this batch, with its graph.
            adapter: The adapter that is trained.
            step: What it computed on the batch.
            features: Image features (n, d) of the batch.
            labels: Their classes (n,).

        Returns:
            The two terms of the constraint; zeros where its weight is 0.
        """
        if self.options.weight == 0:
            cross_entropy.backward()
            zero = cross_entropy.new_zeros(())
            return Terms(zero, zero)
        terms = self.terms(adapter, step, features, labels)
        constraint = (
            self.options.coincidence_weight * terms.track_coincidence
            + self.options.perturbation_weight * terms.deviating_perturbation
        )
        if self.options.combination == "constant":
            (cross_entropy + self.weight * constraint).backward()
        elif step.linear is not None:
            add_balanced_gradient(
                cross_entropy, constraint, step.linear,
                weight=self.options.weight, norm=self.options.norm,
            )  # fmt: skip
        else:
            balanced_backward(
                cross_entropy, constraint, adapter.parameters(),
                weight=self.options.weight, norm=self.options.norm,
            )  # fmt: skip
        return Terms(*(term.detach() for term in terms))

    def start_epoch(self) -> None:
        """Forget the batches of the epoch before."""
        if self.memory is not None:
            self.memory.clear()

    def _terms_from_products(
        self, grams: Grams, labels: Tensor, pairs: Sequence[PersistencePairs], geometry: Tensor
    ) -> Terms:
        """The two terms from inner products of the views."""
        options = self.options
        return Terms(
            track_coincidence_of_grams(
                grams,
                pairs,
                geometry,
                undirected=options.undirected,
                orientation=options.orientation,
            ),
            deviating_perturbation_of_grams(
                grams,
                labels,
                pairs[0],
                related=options.related,
                unrelated=options.unrelated,
                match_norms=options.match_norms,
            ),
        )

    def _joined(
        self, labels: Tensor, views: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Labels and views of the batch, with stored rows of the memory behind them."""
        if self.memory is None:
            return labels, dict(views)
        joined, *tensors = self.memory.join(labels, **views)
        return joined, dict(zip(views, tensors, strict=True))

    def _pairs(self, geometry: Tensor, labels: Tensor, batch: int) -> tuple[PersistencePairs, ...]:
        """Pairs of each dimension, without those that the options drop."""
        with torch.no_grad():
            found = self.filtration.all_pairs(geometry, max(self.options.dimensions))
        pairs = [found[dimension] for dimension in self.options.dimensions]
        if self.options.same_label_edges == "drop":
            pairs[0] = pairs[0].between(labels)
        if self.options.memory_pairs == "drop":
            pairs = [part.select((part.death_edges < batch).any(1)) for part in pairs]
        return tuple(pairs)


def half_distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances of rows rounded to half precision, themselves rounded to it.

    Args:
        x: Points (n, d).
        y: Points (m, d).

    Returns:
        Distances (n, m) in the dtype of ``x``; equal ones are ordered by index.
    """
    distances: Tensor = pairwise_distances(x.half().to(x.dtype), y.half().to(y.dtype))
    return distances.half().to(x.dtype)
