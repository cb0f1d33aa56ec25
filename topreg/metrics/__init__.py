"""Distances: dense matrices for selection, and the lengths of selected edges with gradient."""

from topreg.metrics._edges import edge_lengths, safe_norm
from topreg.metrics._pairwise import pairwise_distances
from topreg.metrics._selection import (
    METRICS,
    Metric,
    at_least_single,
    by_callable,
    prepared,
    selection_weights,
)

__all__ = [
    "METRICS",
    "Metric",
    "at_least_single",
    "by_callable",
    "edge_lengths",
    "pairwise_distances",
    "prepared",
    "safe_norm",
    "selection_weights",
]
