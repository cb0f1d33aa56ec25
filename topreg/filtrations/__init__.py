"""Filtrations: what orders edges or pixels."""

from topreg.filtrations._cubical import CubicalFiltration
from topreg.filtrations._filtration import Filtration
from topreg.filtrations._flag import FlagFiltration
from topreg.filtrations._rips import RipsFiltration

SUPERLEVEL = CubicalFiltration(superlevel=True)  # the same of losses on images
RIPS = RipsFiltration()  # the filtration of calls that were given none

__all__ = ["CubicalFiltration", "Filtration", "FlagFiltration", "RipsFiltration"]
