"""From weights to pairs: the engines, one file each, and the dispatcher that chooses."""

from topreg.persistence._dispatch import ENGINES, pairs_of_dimension_0
from topreg.persistence._spanning_tree import minimum_spanning_tree
from topreg.persistence._weights import checked_weights

__all__ = ["ENGINES", "checked_weights", "minimum_spanning_tree", "pairs_of_dimension_0"]
