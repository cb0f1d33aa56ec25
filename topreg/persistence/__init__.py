"""From weights to pairs: the engines, and the dispatcher that chooses one."""

from topreg.persistence._dispatch import (
    ENGINES,
    are_few,
    check_dimension,
    check_sizes,
    find_pairs,
    pairs_of_clean,
    pairs_of_edges,
    pairs_of_few,
    pairs_of_points,
)
from topreg.persistence._spanning_tree import minimum_spanning_tree
from topreg.persistence._weights import check_rows, check_weights
from topreg.persistence.annotations._annotations import MOST_VERTICES
from topreg.persistence.dense._prim import limits_of
from topreg.persistence.large._tiled import MEMORY, Progress

__all__ = [
    "ENGINES",
    "MEMORY",
    "MOST_VERTICES",
    "Progress",
    "are_few",
    "check_dimension",
    "check_rows",
    "check_sizes",
    "check_weights",
    "find_pairs",
    "limits_of",
    "minimum_spanning_tree",
    "pairs_of_clean",
    "pairs_of_edges",
    "pairs_of_few",
    "pairs_of_points",
]
