"""Losses within one space or across two, each a function and a module in one file."""

from topreg.losses.deviating_perturbation import DeviatingPerturbation, deviating_perturbation
from topreg.losses.homology_consistency import HomologyConsistency, homology_consistency
from topreg.losses.track_coincidence import TrackCoincidence, track_coincidence

__all__ = [
    "DeviatingPerturbation",
    "HomologyConsistency",
    "TrackCoincidence",
    "deviating_perturbation",
    "homology_consistency",
    "track_coincidence",
]
