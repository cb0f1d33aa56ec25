"""Diagrams as vectors, for heads that classify or regress on topology."""

from topreg.features.persistence_image import PersistenceImage, persistence_image
from topreg.features.persistence_landscape import PersistenceLandscape, persistence_landscape

__all__ = [
    "PersistenceImage",
    "PersistenceLandscape",
    "persistence_image",
    "persistence_landscape",
]
