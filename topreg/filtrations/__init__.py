"""Filtrations: what orders the edges."""

from topreg.filtrations._filtration import Filtration
from topreg.filtrations._flag import FlagFiltration
from topreg.filtrations._rips import RipsFiltration

RIPS = RipsFiltration()  # the filtration of calls that were given none

__all__ = ["Filtration", "FlagFiltration", "RipsFiltration"]
