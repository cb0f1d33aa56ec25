"""Distance matrices, which order edges, and the lengths of selected edges with gradient."""

from topreg.metrics._edges import weights_on_device
from topreg.metrics._metric import METRICS, Metric, at_least_single
from topreg.metrics._pairwise import pairwise_distances
from topreg.metrics._selection import estimated_weights, prepare, selection_weights

__all__ = [
    "METRICS",
    "Metric",
    "at_least_single",
    "estimated_weights",
    "pairwise_distances",
    "prepare",
    "selection_weights",
    "weights_on_device",
]
