"""Drawings of diagrams, trees and images; matplotlib (``topreg[viz]``) is loaded on first use.

Every function draws on the given axis, or on a new figure of pyplot, and returns the axis. It does
not change the caller's style. Tensors may be on any device, of any precision, with or without
gradient.
"""

from topreg.plot.barcode import barcode
from topreg.plot.critical_pixels import critical_pixels
from topreg.plot.diagram import diagram
from topreg.plot.merge_tree import merge_tree
from topreg.plot.spanning_tree import spanning_tree
from topreg.plot.tracks import tracks

__all__ = ["barcode", "critical_pixels", "diagram", "merge_tree", "spanning_tree", "tracks"]
