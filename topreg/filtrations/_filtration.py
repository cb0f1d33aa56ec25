"""The abstract filtration."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs


class Filtration(ABC):
    """An order in which simplices appear, and the pairs that follow from it.

    Subclasses say how points become :term:`filtration values <filtration value>`, which give the
    :term:`persistence pairs <persistence pair>`. They are final: nothing derives from them.
    """

    @property
    def of_points(self) -> bool:
        """Whether what it filters are points, not distances or weights."""
        return True

    @abstractmethod
    def pairs(
        self, points: Clouds, dimension: int = 0, *, check_values: bool = True
    ) -> PersistencePairs:
        """Persistence pairs in one dimension, found without gradient."""

    @abstractmethod
    def diagram(self, pairs: PersistencePairs, points: Clouds) -> Tensor:
        """Births and deaths (m, 2) in the filtration's own values, with gradient."""
