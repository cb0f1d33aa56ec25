"""Losses within one space or across two, each a function and a module in one file."""

from topreg.losses.betti_matching_loss import BettiMatchingLoss, betti_matching_loss
from topreg.losses.betti_prior_loss import BettiPriorLoss, betti_prior_loss
from topreg.losses.connectivity_loss import ConnectivityLoss, connectivity_loss
from topreg.losses.deviating_perturbation import DeviatingPerturbation, deviating_perturbation
from topreg.losses.diagram_matching_loss import DiagramMatchingLoss, diagram_matching_loss
from topreg.losses.homology_consistency import (
    HomologyConsistency,
    HomologyTerms,
    homology_consistency,
)
from topreg.losses.persistence_entropy import PersistenceEntropy, persistence_entropy
from topreg.losses.rtd import RTD, rtd
from topreg.losses.rtd_lite import RTDLite, rtd_lite
from topreg.losses.signature_loss import SignatureLoss, signature_loss
from topreg.losses.sliced_wasserstein_distance import (
    SlicedWassersteinDistance,
    sliced_wasserstein_distance,
)
from topreg.losses.total_persistence import TotalPersistence, total_persistence
from topreg.losses.track_coincidence import TrackCoincidence, track_coincidence
from topreg.losses.wasserstein_distance import WassersteinDistance, wasserstein_distance

__all__ = [
    "RTD",
    "BettiMatchingLoss",
    "BettiPriorLoss",
    "ConnectivityLoss",
    "DeviatingPerturbation",
    "DiagramMatchingLoss",
    "HomologyConsistency",
    "HomologyTerms",
    "PersistenceEntropy",
    "RTDLite",
    "SignatureLoss",
    "SlicedWassersteinDistance",
    "TotalPersistence",
    "TrackCoincidence",
    "WassersteinDistance",
    "betti_matching_loss",
    "betti_prior_loss",
    "connectivity_loss",
    "deviating_perturbation",
    "diagram_matching_loss",
    "homology_consistency",
    "persistence_entropy",
    "rtd",
    "rtd_lite",
    "signature_loss",
    "sliced_wasserstein_distance",
    "total_persistence",
    "track_coincidence",
    "wasserstein_distance",
]
