"""Choosing rows: landmarks of large clouds, and rows of earlier batches."""

from topreg.sampling._landmarks import Landmarks, farthest_point_sampling
from topreg.sampling._memory import CrossBatchMemory

__all__ = ["CrossBatchMemory", "Landmarks", "farthest_point_sampling"]
