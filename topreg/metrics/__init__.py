"""Distances: dense matrices for selection, and the lengths of selected edges with gradient."""

from topreg.metrics._edges import (
    edge_diagram,
    edge_lengths,
    entries_at,
    entries_diagram,
    weights_on_device,
)
from topreg.metrics._metric import METRICS, Metric, at_least_single, by_callable, check_metric
from topreg.metrics._pairwise import pairwise_distances
from topreg.metrics._selection import estimated_weights, prepared, selection_weights

__all__ = [
    "METRICS",
    "Metric",
    "at_least_single",
    "by_callable",
    "check_metric",
    "edge_diagram",
    "edge_lengths",
    "entries_at",
    "entries_diagram",
    "estimated_weights",
    "pairwise_distances",
    "prepared",
    "selection_weights",
    "weights_on_device",
]
