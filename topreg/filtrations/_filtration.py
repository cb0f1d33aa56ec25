"""The abstract filtration."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs


class Filtration(nn.Module, ABC):
    """An order in which simplices appear, and the persistence pairs that follow from it.

    A filtration turns data into :term:`filtration values <filtration value>`, which give the
    :term:`persistence pairs <persistence pair>`. It is a module: its tensors and learned metrics
    move with ``.to()`` and appear in ``.parameters()``. Derive a class from it for other kinds of
    data; the filtrations of this library are final.

    Example:
        >>> import torch
        >>> from topreg import Filtration, PersistencePairs, RipsFiltration
        >>> class ScaledRips(Filtration):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.scale = torch.nn.Parameter(torch.tensor(2.0))
        ...         self.rips = RipsFiltration()
        ...     def pairs(self, data, dimension=0):
        ...         return self.rips.pairs(data, dimension)
        ...     def diagram(self, pairs, data):
        ...         return self.scale * self.rips.diagram(pairs, data)
        >>> ScaledRips()(torch.tensor([[0.0], [3.0]])).tolist()
        [[0.0, 6.0]]
    """

    @abstractmethod
    def pairs(self, data: Clouds, dimension: int = 0) -> PersistencePairs:
        """Find the persistence pairs in one dimension, without gradient.

        Args:
            data: Data of the filtration, whose shapes its class lists.
            dimension: Homology dimension.

        Returns:
            The pairs. Each point cloud, graph, or channel of an image is a cloud.

        Raises:
            TypeError: If ``data`` are not floating point.
            ValueError: If shapes or values of ``data`` are wrong, or the dimension is unavailable.
            MemoryError: If distances take more memory than is free, or an allocation fails.
        """

    def all_pairs(self, data: Clouds, max_dimension: int) -> tuple[PersistencePairs, ...]:
        """Find the persistence pairs in the dimensions 0 to ``max_dimension``.

        Args:
            data: Data of the filtration.
            max_dimension: Highest homology dimension.

        Returns:
            One object per dimension.

        Raises:
            TypeError: As in :meth:`pairs`.
            ValueError: As in :meth:`pairs`.
            MemoryError: As in :meth:`pairs`.
        """
        return tuple(self.pairs(data, dimension) for dimension in range(max_dimension + 1))

    @abstractmethod
    def diagram(self, pairs: PersistencePairs, data: Clouds) -> Tensor:
        """Return births and deaths in the filtration's values, differentiable in the data.

        Args:
            pairs: Persistence pairs of clouds of the same sizes, which may have been found in other
                data.
            data: Data of the filtration.

        Returns:
            Birth in column 0, death in column 1, in at least single precision.

        Raises:
            TypeError: If ``data`` are not floating point.
            ValueError: If the pairs belong to clouds of other sizes, or to another graph.

        Shape:
            - Output: :math:`(m, 2)`.
        """

    def forward(self, data: Clouds, dimension: int = 0) -> Tensor:
        """Return the diagram of the pairs found in the data.

        Args:
            data: Data of the filtration.
            dimension: Homology dimension.

        Returns:
            Birth in column 0, death in column 1, differentiable in the data.

        Shape:
            - Output: :math:`(m, 2)`.
        """
        return self.diagram(self.pairs(data, dimension), data)
