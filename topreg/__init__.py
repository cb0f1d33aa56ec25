"""Topological regularisation for PyTorch: persistence pairs, tracks, and losses on them."""

from topreg import distributed as distributed
from topreg._gradients import balanced_backward
from topreg._landmarks import Landmarks, farthest_point_sampling
from topreg._pairs import PersistencePairs
from topreg._proxies import (
    ExponentialAffinity,
    LabelIndicators,
    exponential_affinity,
    label_indicators,
)
from topreg._tracks import edge_vectors, persistence_tracks
from topreg.filtrations import Filtration, FlagFiltration, RipsFiltration
from topreg.losses import (
    DeviatingPerturbation,
    HomologyConsistency,
    TrackCoincidence,
    deviating_perturbation,
    homology_consistency,
    track_coincidence,
)
from topreg.metrics import pairwise_distances
from topreg.persistence import minimum_spanning_tree

__all__ = [
    "DeviatingPerturbation",
    "ExponentialAffinity",
    "Filtration",
    "FlagFiltration",
    "HomologyConsistency",
    "LabelIndicators",
    "Landmarks",
    "PersistencePairs",
    "RipsFiltration",
    "TrackCoincidence",
    "balanced_backward",
    "deviating_perturbation",
    "edge_vectors",
    "exponential_affinity",
    "farthest_point_sampling",
    "homology_consistency",
    "label_indicators",
    "minimum_spanning_tree",
    "pairwise_distances",
    "persistence_tracks",
    "track_coincidence",
]

__version__ = "0.1.0"
