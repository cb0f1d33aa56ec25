"""From weights to pairs: the engines, and the dispatcher that chooses one."""

from topreg.persistence._dispatch import (
    ENGINES,
    check_dimension,
    check_sizes,
    find_pairs,
    pairs_of_clean,
    pairs_of_edges,
    pairs_of_few,
    pairs_of_points,
    uses_tiles,
)
from topreg.persistence._progress import Progress
from topreg.persistence._spanning_tree import minimum_spanning_tree
from topreg.persistence._weights import check_rows, check_weights
from topreg.persistence.annotations._annotations import MOST_VERTICES
from topreg.persistence.large._tiled import MEMORY

__all__ = [
    "ENGINES",
    "MEMORY",
    "MOST_VERTICES",
    "Progress",
    "check_dimension",
    "check_rows",
    "check_sizes",
    "check_weights",
    "find_pairs",
    "minimum_spanning_tree",
    "pairs_of_clean",
    "pairs_of_edges",
    "pairs_of_few",
    "pairs_of_points",
    "uses_tiles",
]
