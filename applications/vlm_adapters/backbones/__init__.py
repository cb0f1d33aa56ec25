"""Frozen encoders of images and texts."""

from __future__ import annotations

from .base import Backbone, Pixels, TextProjection
from .devise import Devise
from .loading import load_backbone
from .open_clip import OpenClip
from .projected import ProjectedBackbone

__all__ = [
    "Backbone",
    "Devise",
    "OpenClip",
    "Pixels",
    "ProjectedBackbone",
    "TextProjection",
    "load_backbone",
]
