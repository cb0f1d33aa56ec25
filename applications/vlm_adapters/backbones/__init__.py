"""Frozen encoders of images and texts; begin reading at ``base``."""

from .base import Backbone, Pixels, TextProjection, load_backbone
from .devise import Devise
from .open_clip import OpenClip

__all__ = [
    "Backbone",
    "Devise",
    "OpenClip",
    "Pixels",
    "TextProjection",
    "load_backbone",
]
