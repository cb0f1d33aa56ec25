"""Distance matrices, which order edges, and the lengths of selected edges with gradient."""

from topreg.metrics._edges import (
    edge_diagram,
    edge_lengths,
    flags_of,
    lengths_by_operations,
    weights_on_device,
)
from topreg.metrics._metric import (
    METRICS,
    Metric,
    at_least_single,
    by_callable,
    check_metric,
    rows_of,
)
from topreg.metrics._pairwise import pairwise_distances
from topreg.metrics._selection import estimated_weights, prepare, selection_weights

__all__ = [
    "METRICS",
    "Metric",
    "at_least_single",
    "by_callable",
    "check_metric",
    "edge_diagram",
    "edge_lengths",
    "estimated_weights",
    "flags_of",
    "lengths_by_operations",
    "pairwise_distances",
    "prepare",
    "rows_of",
    "selection_weights",
    "weights_on_device",
]
