"""Filtrations: they order edges or pixels and find persistence pairs."""

from topreg.filtrations._cubical import CubicalFiltration
from topreg.filtrations._filtration import Filtration
from topreg.filtrations._flag import FlagFiltration
from topreg.filtrations._rips import RipsFiltration

SUPERLEVEL = CubicalFiltration(superlevel=True)  # the default of losses on images
RIPS = RipsFiltration()  # the default of all other calls

__all__ = ["CubicalFiltration", "Filtration", "FlagFiltration", "RipsFiltration"]
