"""Topological regularisation for PyTorch: persistence pairs, tracks, and losses on them.

``topreg.plot``, ``topreg.interop`` and ``topreg.distributed`` load on first use.
"""

import importlib
import typing

from topreg._pairs import PersistencePairs
from topreg._tracks import edge_vectors, persistence_tracks
from topreg.compilation import warm_up
from topreg.features._filters import most_persistent, persistence_between
from topreg.features._proxies import exponential_affinity, label_indicators
from topreg.features.persistence_image import PersistenceImage, persistence_image
from topreg.features.persistence_landscape import PersistenceLandscape, persistence_landscape
from topreg.filtrations import CubicalFiltration, Filtration, FlagFiltration, RipsFiltration
from topreg.gradients._balanced import balanced_backward
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
from topreg.metrics import pairwise_distances
from topreg.persistence import minimum_spanning_tree
from topreg.sampling._landmarks import Landmarks, farthest_point_sampling
from topreg.sampling._memory import CrossBatchMemory

if typing.TYPE_CHECKING:
    from topreg import distributed as distributed
    from topreg import interop as interop
    from topreg import plot as plot

__all__ = [  # noqa: RUF022 - sorted as sorted() does
    "BettiMatchingLoss",
    "BettiPriorLoss",
    "ConnectivityLoss",
    "CrossBatchMemory",
    "CubicalFiltration",
    "DeviatingPerturbation",
    "DiagramMatchingLoss",
    "Filtration",
    "FlagFiltration",
    "HomologyConsistency",
    "HomologyTerms",
    "Landmarks",
    "PersistenceEntropy",
    "PersistenceImage",
    "PersistenceLandscape",
    "PersistencePairs",
    "RTD",
    "RTDLite",
    "RipsFiltration",
    "SignatureLoss",
    "SlicedWassersteinDistance",
    "TotalPersistence",
    "TrackCoincidence",
    "WassersteinDistance",
    "balanced_backward",
    "betti_matching_loss",
    "betti_prior_loss",
    "connectivity_loss",
    "deviating_perturbation",
    "diagram_matching_loss",
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
    "persistence_image",
    "persistence_landscape",
    "persistence_tracks",
    "rtd",
    "rtd_lite",
    "signature_loss",
    "sliced_wasserstein_distance",
    "total_persistence",
    "track_coincidence",
    "warm_up",
    "wasserstein_distance",
]

__version__ = "0.2.0"


def __getattr__(name: str) -> typing.Any:
    """Import ``distributed``, ``interop`` or ``plot`` on first use."""
    if name in ("distributed", "interop", "plot"):
        return importlib.import_module(f"topreg.{name}")
    raise AttributeError(f"module 'topreg' has no attribute {name!r}")
