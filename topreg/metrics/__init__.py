"""Distances: dense matrices for selection, and the lengths of selected edges with gradient."""

from topreg.metrics._edges import edge_lengths
from topreg.metrics._pairwise import pairwise_distances
from topreg.metrics._selection import METRICS, Metric, selection_weights

__all__ = ["METRICS", "Metric", "edge_lengths", "pairwise_distances", "selection_weights"]
