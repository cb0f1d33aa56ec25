"""Backward passes that combine the gradients of several losses."""

from topreg.gradients._balanced import balanced_backward

__all__ = ["balanced_backward"]
