"""Pairs and diagrams in the formats of other libraries.

torch_topological's layers and losses take lists of its ``PersistenceInformation``; GUDHI, persim
and giotto-tda take diagrams as NumPy arrays.
"""

from __future__ import annotations

import importlib.util
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs, are_of_one_cloud
from topreg._safe import plain_tensor
from topreg.filtrations import RIPS, Filtration
from topreg.losses._common import check_filtration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["from_persistence_information", "numpy_diagram", "to_persistence_information"]


def to_persistence_information(
    pairs: PersistencePairs, points: Clouds, filtration: Filtration | None = None
) -> Any:
    """Convert pairs of one cloud to torch_topological's ``PersistenceInformation``.

    Args:
        pairs: :term:`Persistence pairs <persistence pair>` of one cloud.
        points: The point cloud, or other data of the filtration.
        filtration: Measures births and deaths; :class:`~topreg.RipsFiltration` if left out.

    Returns:
        ``PersistenceInformation(pairing, diagram, dimension)`` with a differentiable diagram. In
        dimension 0 a row of the pairing is (v, i, j), birth vertex and death edge; in higher
        dimensions it is (i, j, k, l), birth edge and death edge. Essential classes are left out, as
        torch_topological's ``VietorisRipsComplex`` does.

    Raises:
        TypeError: If ``pairs`` is not one ``PersistencePairs``.
        ValueError: If the pairs are of several clouds, or torch_topological is not installed.

    Shape:
        - points: :math:`(n, d)`. pairing: :math:`(m, 3)` or :math:`(m, 4)`; diagram:
          :math:`(m, 2)`.

    Note:
        Time and memory :math:`O(m d)`.

    Source:
        torch_topological 0.1.9, ``torch_topological.nn.data``.

    Example:
        >>> import torch
        >>> from topreg import RipsFiltration
        >>> from topreg.interop import to_persistence_information
        >>> points = torch.tensor([[0.0], [1.0], [3.0]])
        >>> to_persistence_information(RipsFiltration().pairs(points), points).pairing
        tensor([[1, 0, 1],
                [2, 1, 2]])
    """
    are_of_one_cloud(pairs)
    if importlib.util.find_spec("torch_topological") is None:
        raise ValueError(
            "`to_persistence_information` needs torch_topological. "
            'Run `pip install "topreg[tda]"` with Python 3.12 or older.'
        )
    from torch_topological.nn import PersistenceInformation

    check_filtration("filtration", filtration)
    filtration = RIPS if filtration is None else filtration
    births = pairs.birth_edges[:, :1] if pairs.dimension == 0 else pairs.birth_edges
    pairing = plain_tensor(torch.cat([births, pairs.death_edges], dim=1))
    return PersistenceInformation(pairing, filtration.diagram(pairs, points), pairs.dimension)


def from_persistence_information(information: Any, vertices: int) -> PersistencePairs:
    """Convert torch_topological's ``PersistenceInformation`` to pairs of one cloud.

    Args:
        information: Result of its ``VietorisRipsComplex`` for one cloud and dimension.
        vertices: Number of points of the cloud.

    Returns:
        The pairs in the given order, edges as (i, j) with i <= j. There are no
        :term:`essential classes <essential class>`, because torch_topological does not say which
        edges create them.

    Raises:
        ValueError: If ``information`` has no dimension, its pairing has another shape, or a vertex
            is out of range.

    Shape:
        - information.pairing: :math:`(m, 3)` in dimension 0, else :math:`(m, 4)`.

    Note:
        Its birth vertices in dimension 0 may differ from those of topreg. Pairs of zero persistence
        are missing, because giotto-ph leaves them out.

    Source:
        torch_topological 0.1.9, ``torch_topological.nn.data``.

    Example:
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from topreg.interop import from_persistence_information
        >>> pairing = torch.tensor([[1, 1, 0], [2, 2, 1]])
        >>> given = SimpleNamespace(pairing=pairing, diagram=None, dimension=0)
        >>> from_persistence_information(given, 3).death_edges
        tensor([[0, 1],
                [1, 2]])
    """
    dimension = getattr(information, "dimension", None)
    if not isinstance(dimension, Integral) or dimension < 0:
        cure = " Pass one of the list." if isinstance(information, list) else ""
        raise ValueError(f"`information` should have a dimension. Got {dimension!r}.{cure}")
    if not hasattr(information, "pairing"):
        got = type(information).__name__
        raise TypeError(f"`information` should be a PersistenceInformation. Got {got}.")
    pairing = torch.as_tensor(information.pairing).long()
    width = 3 if dimension == 0 else 4
    if pairing.ndim != 2 or (len(pairing) and pairing.shape[1] != width):
        raise ValueError(
            f"`information.pairing` should have shape (m, {width}) in dimension {dimension}. "
            f"Got {_checks.shape(pairing)}."
        )
    pairing = pairing.reshape(-1, width)
    births = pairing[:, [0, 0]] if dimension == 0 else pairing[:, :2]
    tensors = {
        "dimension": torch.tensor(int(dimension), device="cpu"),
        "cloud_sizes": torch.tensor([vertices], device="cpu"),
        "birth_edges": births.sort(dim=1).values,
        "death_edges": pairing[:, -2:].sort(dim=1).values,
        "essential_edges": pairing.new_empty((0, 2)),
    }
    return PersistencePairs.from_tensors(tensors)


def numpy_diagram(
    pairs: PersistencePairs,
    points: Clouds,
    filtration: Filtration | None = None,
    *,
    essential: bool = True,
) -> NDArray[np.float64]:
    """Return a :term:`persistence diagram` as GUDHI, persim and giotto-tda take it.

    Args:
        pairs: :term:`Persistence pairs <persistence pair>`.
        points: The point clouds, or other data of the filtration.
        filtration: Measures births and deaths; :class:`~topreg.RipsFiltration` if left out.
        essential: Whether to append the essential classes, with infinite deaths.

    Returns:
        Births and deaths in double precision, without gradient.

    Raises:
        ValueError: If the pairs belong to another number of vertices.

    Shape:
        - Output: :math:`(m, 2)`, or :math:`(m + e, 2)` with the essential classes.

    Note:
        Pairs of zero persistence are included. GUDHI returns them only with
        ``min_persistence=-1``; ripser and giotto-tda never do.

    Source:
        GUDHI's ``persistence_intervals_in_dimension`` has this format.

    Example:
        >>> import torch
        >>> from topreg import RipsFiltration
        >>> from topreg.interop import numpy_diagram
        >>> points = torch.tensor([[0.0], [1.0], [3.0]])
        >>> numpy_diagram(RipsFiltration().pairs(points), points)
        array([[ 0.,  1.],
               [ 0.,  2.],
               [ 0., inf]])
    """
    check_filtration("filtration", filtration)
    filtration = RIPS if filtration is None else filtration
    with torch.no_grad():
        diagram = filtration.diagram(pairs, points).double()
        if essential:
            diagram = torch.cat([diagram, _essential(pairs, points, filtration, diagram)])
    array: NDArray[np.float64] = diagram.cpu().numpy()
    return array


def _essential(
    pairs: PersistencePairs, points: Clouds, filtration: Filtration, like: Tensor
) -> Tensor:
    """Return the births of the essential classes with infinite deaths, (e, 2)."""
    stays = PersistencePairs(
        pairs.dimension,
        pairs.essential_edges,
        pairs.essential_edges,
        pairs.essential_edges[:0],
        pairs.cloud_sizes,
    )
    births = filtration.diagram(stays, points)[:, :1].to(like)
    return torch.cat([births, torch.full_like(births, torch.inf)], dim=1)
