"""Losses within one space or across two, each a function and a module in one file."""

from topreg.losses.connectivity_loss import ConnectivityLoss, connectivity_loss
from topreg.losses.deviating_perturbation import DeviatingPerturbation, deviating_perturbation
from topreg.losses.homology_consistency import HomologyConsistency, homology_consistency
from topreg.losses.persistence_entropy import PersistenceEntropy, persistence_entropy
from topreg.losses.total_persistence import TotalPersistence, total_persistence
from topreg.losses.track_coincidence import TrackCoincidence, track_coincidence

__all__ = [
    "ConnectivityLoss",
    "DeviatingPerturbation",
    "HomologyConsistency",
    "PersistenceEntropy",
    "TotalPersistence",
    "TrackCoincidence",
    "connectivity_loss",
    "deviating_perturbation",
    "homology_consistency",
    "persistence_entropy",
    "total_persistence",
    "track_coincidence",
]
