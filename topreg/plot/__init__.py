"""Drawings of diagrams, trees and images; matplotlib (``topreg[viz]``) is loaded on use.

Every function draws on the axis that it is given, or else on a new figure of pyplot, returns the
axis, and leaves the caller's style alone. Tensors may be on any device, of any precision, with or
without gradient.
"""

from topreg.plot.barcode import barcode
from topreg.plot.critical_pixels import critical_pixels
from topreg.plot.diagram import diagram
from topreg.plot.merge_tree import merge_tree
from topreg.plot.spanning_tree import spanning_tree
from topreg.plot.tracks import tracks

__all__ = ["barcode", "critical_pixels", "diagram", "merge_tree", "spanning_tree", "tracks"]
