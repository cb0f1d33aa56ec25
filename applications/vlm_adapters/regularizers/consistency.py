"""Homology consistency on any adapter: its views, topreg's losses, and how gradients are added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from topreg import (
    CrossBatchMemory,
    PersistencePairs,
    RipsFiltration,
    balanced_backward,
    deviating_perturbation,
    pairwise_distances,
    track_coincidence,
)

from ..config import ConstraintOptions

if TYPE_CHECKING:
    from ..adapters import Adapter, Step

TERMS = "track_coincidence", "deviating_perturbation"


class Consistency:
    """Adds the gradient of homology consistency to that of an adapter's cross-entropy.

    The logit scale is the unit of a constant weight: the gradient of cross-entropy grows with it.

    Source:
        Zhang et al., NeurIPS 2024, section 3.3: a constant factor for TaskRes, the ratio of
        gradient norms for Tip-Adapter-F. The defaults for labels, relatives, norms and the memory
        are those of the authors' code.
    """

    def __init__(self, options: ConstraintOptions, logit_scale: float) -> None:
        self.options = options
        self.weight = options.weight * (logit_scale if options.unit == "logit_scale" else 1.0)
        self.memory: CrossBatchMemory | None = None
        if options.memory_batches:
            self.memory = CrossBatchMemory(options.memory_batches, classes=options.memory_classes)
        self.filtration = RipsFiltration(
            metric=half_distances if options.distance_dtype == "float16" else "euclidean"
        )
        self.of_tracks: dict[str, Any] = {
            "undefined": options.undirected,
            "orientation": options.orientation if len(options.dimensions) > 1 else "index",
        }
        self.of_perturbations: dict[str, Any] = {
            "undefined": options.unrelated,
            "related": options.related,
            "match_norms": options.match_norms,
        }

    def start_epoch(self) -> None:
        """Forget the batches of the epoch before."""
        if self.memory is not None:
            self.memory.clear()

    def backward(
        self, cross_entropy: Tensor, adapter: Adapter, step: Step, features: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Fill the gradients of the adapter's parameters.

        The two terms are returned unweighted; they are 0 where the weight of the constraint is 0.
        """
        options = self.options
        coincidence = perturbation = cross_entropy.new_zeros(())
        if options.weight == 0:
            cross_entropy.backward()
        else:
            coincidence, perturbation = self.terms(adapter, step, features, labels)
            constraint = (
                options.coincidence_weight * coincidence
                + options.perturbation_weight * perturbation
            )
            ratio: dict[str, Any] = {"weight": options.weight, "norm": options.norm}
            if options.combination == "constant":
                (cross_entropy + self.weight * constraint).backward()
            elif step.linear is not None:
                from .grams import add_balanced_gradient

                add_balanced_gradient(cross_entropy, constraint, step.linear, **ratio)
            else:
                balanced_backward(cross_entropy, constraint, adapter.parameters(), **ratio)
        return dict(zip(TERMS, (coincidence.detach(), perturbation.detach()), strict=True))

    def terms(
        self, adapter: Adapter, step: Step, features: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the two terms of a batch that is joined with the memory."""
        joined, geometry, source = labels, features, step.source
        if self.memory is not None:
            joined, geometry, source = self.memory.join(labels, geometry=geometry, source=source)
        pairs = self._pairs(geometry, joined, len(labels))
        grams = adapter.grams(source, joined)
        if grams is None:
            stored = joined[len(labels) :]  # their counterparts are today's, constant
            target = torch.cat([step.target(labels), step.target(stored).detach()])
            if len(pairs) == 1 or torch.equal(source, geometry):
                return (
                    track_coincidence(source, target, pairs=pairs, **self.of_tracks),
                    deviating_perturbation(
                        source, target, joined, pairs=pairs[0], **self.of_perturbations
                    ),
                )
        from . import grams as of

        if grams is None:
            grams = of.grams_of(source, target)  # topreg aligns in the source
        return (
            of.track_coincidence_of_grams(grams, pairs, geometry, **self.of_tracks),
            of.deviating_perturbation_of_grams(grams, joined, pairs[0], **self.of_perturbations),
        )

    def _pairs(self, geometry: Tensor, labels: Tensor, batch: int) -> list[PersistencePairs]:
        """Pairs of each dimension, without those that the options drop."""
        with torch.no_grad():
            found = self.filtration.all_pairs(geometry, max(self.options.dimensions))
        pairs = [found[dimension] for dimension in self.options.dimensions]
        if self.options.same_label_edges == "drop":
            pairs[0] = pairs[0].between(labels)
        if self.options.memory_pairs == "drop":
            pairs = [part.select((part.death_edges < batch).any(1)) for part in pairs]
        return pairs


def half_distances(x: Tensor, y: Tensor) -> Tensor:
    """Distances (n, m) of rows rounded to half precision, themselves rounded to it."""
    distances: Tensor = pairwise_distances(x.half().to(x.dtype), y.half().to(y.dtype))
    return distances.half().to(x.dtype)
