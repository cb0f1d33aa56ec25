"""Frozen encoders of images and texts."""

from __future__ import annotations

from .base import Backbone
from .devise import Devise
from .projected import ProjectedBackbone

__all__ = ["Backbone", "Devise", "ProjectedBackbone"]
