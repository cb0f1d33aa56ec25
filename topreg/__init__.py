"""Topological regularisation for PyTorch: persistence pairs, tracks, and losses on them."""

from topreg import distributed as distributed
from topreg._filters import most_persistent, persistence_between
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
    RTD,
    ConnectivityLoss,
    DeviatingPerturbation,
    HomologyConsistency,
    PersistenceEntropy,
    RTDLite,
    SignatureLoss,
    TotalPersistence,
    TrackCoincidence,
    connectivity_loss,
    deviating_perturbation,
    homology_consistency,
    persistence_entropy,
    rtd,
    rtd_lite,
    signature_loss,
    total_persistence,
    track_coincidence,
)
from topreg.metrics import pairwise_distances
from topreg.persistence import minimum_spanning_tree

__all__ = [  # noqa: RUF022 - sorted as sorted() does
    "ConnectivityLoss",
    "DeviatingPerturbation",
    "ExponentialAffinity",
    "Filtration",
    "FlagFiltration",
    "HomologyConsistency",
    "LabelIndicators",
    "Landmarks",
    "PersistenceEntropy",
    "PersistencePairs",
    "RTD",
    "RTDLite",
    "RipsFiltration",
    "SignatureLoss",
    "TotalPersistence",
    "TrackCoincidence",
    "balanced_backward",
    "connectivity_loss",
    "deviating_perturbation",
    "edge_vectors",
    "exponential_affinity",
    "farthest_point_sampling",
    "homology_consistency",
    "label_indicators",
    "minimum_spanning_tree",
    "most_persistent",
    "pairwise_distances",
    "persistence_between",
    "persistence_entropy",
    "persistence_tracks",
    "rtd",
    "rtd_lite",
    "signature_loss",
    "total_persistence",
    "track_coincidence",
]

__version__ = "0.1.0"
