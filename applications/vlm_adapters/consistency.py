"""The constraint on any adapter: its views, topreg's losses, and the two ways to add gradients."""

from __future__ import annotations

from torch import Tensor

from topreg import HomologyConsistency, balanced_backward

from .adapters import Adapter
from .config import ConstraintOptions


class Consistency:
    """Adds the gradient of homology consistency to that of an adapter's cross-entropy.

    Args:
        options: Weights and conventions.
        logit_scale: The unit of a constant weight: the gradient of cross-entropy grows with it.

    Source:
        Zhang et al., NeurIPS 2024, section 3.3: a constant factor for TaskRes, the ratio of
        gradient norms for Tip-Adapter-F. The defaults for labels, relatives and norms are those
        of the authors' code.
    """

    def __init__(self, options: ConstraintOptions, logit_scale: float) -> None:
        self.options = options
        self.logit_scale = logit_scale
        self.loss = HomologyConsistency(
            perturbation_weight=options.perturbation_weight,
            undirected=options.undirected,
            related=options.related,
            match_norms=options.match_norms,
        )

    def terms(self, adapter: Adapter, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Track coincidence and deviating perturbation of a batch, unweighted."""
        views = adapter.views(features, labels)
        return self.loss.terms(views.source, views.target, labels, geometry=views.geometry)

    def backward(
        self, cross_entropy: Tensor, adapter: Adapter, features: Tensor, labels: Tensor
    ) -> tuple[float, float]:
        """Fill the gradients of the adapter's parameters.

        Args:
            cross_entropy: Loss of this batch, with its graph.
            adapter: The adapter that is trained.
            features: Image features (n, d) of the batch.
            labels: Their classes (n,).

        Returns:
            The two terms of the constraint; zeros where its weight is 0.
        """
        if self.options.weight == 0:
            cross_entropy.backward()
            return 0.0, 0.0
        coincidence, perturbation = self.terms(adapter, features, labels)
        constraint = coincidence + self.options.perturbation_weight * perturbation
        if self.options.combination == "constant":
            weight = self.options.weight * self.logit_scale
            (cross_entropy + weight * constraint).backward()
        else:
            balanced_backward(
                cross_entropy,
                constraint,
                adapter.parameters(),
                weight=self.options.weight,
                norm=self.options.norm,
            )
        return float(coincidence.detach()), float(perturbation.detach())
