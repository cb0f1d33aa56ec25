"""The flag filtration of a weighted graph."""

from __future__ import annotations

import math
from typing import cast, final

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs, one_object
from topreg.filtrations._filtration import Filtration
from topreg.metrics import at_least_single
from topreg.persistence import pairs_of_edges

MOST_VERTICES = math.isqrt(2**63 - 1)  # so that an edge is one int64


@final
class FlagFiltration(Filtration):
    r"""Flag filtration of a weighted graph: a :term:`simplex` appears with its last edge.

    .. math::

        K_a = \{\sigma \subset V : w(i, j) \le a \text{ for all edges } (i, j) \text{ of } \sigma,
        \; b(i) \le a \text{ for all } i \in \sigma\}

    For nearest-neighbour graphs, attention graphs or graphs of learned weights. Edges are ordered
    by (weight, i, j), i < j.

    Args:
        edge_index: End points of the edges, each edge once, in either direction.
        num_vertices: Number of vertices, isolated ones included.
        vertex_births: :term:`Filtration value` at which each vertex appears; 0 if left out.

    Raises:
        TypeError: If ``edge_index`` is not int64 or ``vertex_births`` are not floating point.
        ValueError: If shapes do not fit, a vertex is out of range, an edge is a self-loop or is
            listed twice, a birth is not finite, or vertices are more than 3,037,000,499.

    Shape:
        - edge_index: :math:`(2, e)`, int64, as in PyTorch Geometric.
        - vertex_births: :math:`(n,)`.

    Note:
        Several graphs are one: number their vertices graph after graph. At a merge the component
        whose elder vertex comes later in (birth, number) dies. Dimensions 0 and 1. Dimension 0 is
        linear in the sorted edges. In dimension 1 memory is that of the edges and :math:`c^2 / 2`
        bytes at most for the :math:`c` loops that live at once and lie in some triangle.
        :meth:`diagram` reads values back on the CPU only, to refuse edges of another graph; on
        other devices, and compiled, their values are NaN.

    Source:
        Zomorodian, Fast construction of the Vietoris-Rips complex, 2010, calls the complex of a
        weighted graph its Vietoris-Rips expansion.

    Example:
        >>> import torch
        >>> from topreg import FlagFiltration
        >>> square = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]])
        >>> weights = torch.tensor([1.0, 1.0, 1.0, 2.0, 3.0], requires_grad=True)
        >>> filtration = FlagFiltration(square, 4)
        >>> pairs = filtration.pairs(weights, 1)
        >>> filtration.diagram(pairs, weights)
        tensor([[2., 3.]], grad_fn=<StackBackward0>)
    """

    def __init__(
        self, edge_index: Tensor, num_vertices: int, vertex_births: Tensor | None = None
    ) -> None:
        _check_graph(edge_index, num_vertices)
        self.edge_index = edge_index
        self.num_vertices = num_vertices
        self.vertex_births = vertex_births
        low, high = edge_index.amin(0), edge_index.amax(0)
        keys, listed = (low * num_vertices + high).sort()
        _check_simple(edge_index, low, high, keys, listed)
        none = keys.new_full((1,), -1)  # stands where an edge of another graph is looked for
        self._keys, self._listed = torch.cat([keys, none]), torch.cat([listed, none])
        if vertex_births is not None:
            _check_births(vertex_births, num_vertices, edge_index)

    @property
    def of_points(self) -> bool:
        """It filters weights of edges."""
        return False

    def __repr__(self) -> str:
        """Counts rather than edges."""
        return (
            f"FlagFiltration(edges={self.edge_index.shape[1]}, vertices={self.num_vertices}, "
            f"vertex_births={'zero' if self.vertex_births is None else 'given'})"
        )

    def pairs(
        self, edge_weights: Clouds, dimension: int = 0, *, check_values: bool = True
    ) -> PersistencePairs:
        """Persistence pairs in one dimension, found without gradient.

        Args:
            edge_weights: Weight of each edge; infinity means that it does not exist.
            dimension: Homology dimension, 0 or 1.
            check_values: Whether to read the weights for NaN and for values below the births of
                their vertices; without it the result for such weights is undefined.

        Returns:
            The pairs.

        Raises:
            TypeError: If the weights are not a floating-point tensor.
            ValueError: If there is not one weight for each edge, a weight is NaN or lies below the
                birth of one of its vertices, or the dimension is not 0 or 1.

        Shape:
            - edge_weights: :math:`(e,)`.

        Example:
            >>> import torch
            >>> from topreg import FlagFiltration
            >>> path = FlagFiltration(torch.tensor([[0, 1], [1, 2]]), 3)
            >>> path.pairs(torch.tensor([2.0, 1.0])).death_edges
            tensor([[1, 2],
                    [0, 1]])
        """
        self._check_dimension(dimension)
        return self._found(edge_weights, [dimension], check_values)[0]

    def all_pairs(
        self, edge_weights: Clouds, max_dimension: int, *, check_values: bool = True
    ) -> tuple[PersistencePairs, ...]:
        """Persistence pairs in the dimensions 0 to ``max_dimension``, in one pass.

        Args:
            edge_weights: As in :meth:`pairs`.
            max_dimension: Highest homology dimension, 0 or 1.
            check_values: As in :meth:`pairs`.

        Returns:
            One object for each dimension.

        Raises:
            TypeError: As in :meth:`pairs`.
            ValueError: As in :meth:`pairs`.
        """
        self._check_dimension(max_dimension, "max_dimension")
        return tuple(self._found(edge_weights, list(range(max_dimension + 1)), check_values))

    def diagram(self, pairs: PersistencePairs, edge_weights: Clouds) -> Tensor:
        """Births and deaths in the weights, differentiable in them and in ``vertex_births``.

        Args:
            pairs: Persistence pairs of this graph.
            edge_weights: As in :meth:`pairs`.

        Returns:
            Birth in column 0, death in column 1, in at least single precision.

        Raises:
            TypeError: As in :meth:`pairs`.
            ValueError: If the pairs have an edge that is none of the graph's.

        Shape:
            - Output: :math:`(m, 2)`.

        Example:
            >>> import torch
            >>> from topreg import FlagFiltration
            >>> path = FlagFiltration(torch.tensor([[0], [1]]), 2, torch.tensor([0.0, 0.5]))
            >>> weights = torch.tensor([2.0])
            >>> path.diagram(path.pairs(weights), weights)
            tensor([[0.5000, 2.0000]])
        """
        one_object(pairs)
        weights = self._checked(edge_weights)
        _checks.indexes(self.num_vertices, pairs.cloud_sizes)
        _checks.on_one_device("edge_weights", weights, "pairs", pairs.death_edges.device)
        columns = (pairs.birth_edges, pairs.death_edges)
        return torch.stack([self._values(weights, edges) for edges in columns], dim=1)

    @torch.no_grad()
    def _found(
        self, edge_weights: Clouds, dimensions: list[int], check_values: bool
    ) -> list[PersistencePairs]:
        """Pairs in some dimensions."""
        weights = self._checked(edge_weights)
        if check_values:
            self._check_values(weights)
        listed = self._listed[:-1]
        in_order = listed[weights[listed].sort(stable=True).indices]
        in_order = in_order[weights[in_order] < torch.inf]
        edges = self.edge_index[:, in_order].T
        if self.vertex_births is None:
            return pairs_of_edges(edges.sort(dim=1).values, self.num_vertices, dimensions)
        by_age = self.vertex_births.sort(stable=True).indices
        found = pairs_of_edges(by_age.argsort()[edges], self.num_vertices, dimensions)
        return [_renumbered(pairs, by_age) for pairs in found]

    def _values(self, weights: Tensor, edges: Tensor) -> Tensor:
        """Weight of each edge (i, j), birth of the vertex of each edge (v, v)."""
        at_vertex = edges[:, 0] == edges[:, 1]
        known, listed = self._places(edges)
        reads = edges.device.type == "cpu" and not torch.compiler.is_compiling()
        if reads and not bool((known | at_vertex).all()):
            i, j = edges[~(known | at_vertex)][0].tolist()
            raise ValueError(
                f"`pairs` should hold edges of this graph. Got ({i}, {j}). "
                "Were the pairs found on another graph?"
            )
        padded = torch.cat([weights, weights.new_zeros(1), weights.new_full((1,), torch.nan)])
        place = torch.where(at_vertex, len(weights), torch.where(known, listed, len(weights) + 1))
        of_edges = padded.index_select(0, place)
        if self.vertex_births is None:
            return of_edges
        births = self.vertex_births.to(weights.dtype).index_select(0, edges[:, 0])
        return torch.where(at_vertex, births, of_edges)

    def _places(self, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each edge is one of the graph, and where it is listed."""
        keys = edges[:, 0] * self.num_vertices + edges[:, 1]
        place = torch.searchsorted(self._keys[:-1], keys)
        return self._keys[place] == keys, self._listed[place]

    def _check_dimension(self, dimension: object, name: str = "dimension") -> None:
        """Refuse a dimension other than 0 and 1."""
        if type(dimension) is not int or dimension not in (0, 1):
            raise ValueError(f"`{name}` should be 0 or 1 for a FlagFiltration. Got {dimension!r}.")

    def _checked(self, weights: Clouds) -> Tensor:
        """One floating-point weight for each edge, in at least single precision."""
        weights = cast(Tensor, weights)
        _checks.is_tensor("edge_weights", weights)
        _checks.is_floating("edge_weights", weights)
        cure = " Modules read them from `geometry`."
        _checks.one_each("edge_weights", weights, self.edge_index.shape[1], "edge", cure)
        _checks.on_one_device("edge_weights", weights, "edge_index", self.edge_index.device)
        return at_least_single(weights)

    def _check_values(self, weights: Tensor) -> None:
        """Refuse NaN and edges that are there before their vertices."""
        if bool(weights.isnan().any()):
            got = _checks.rows(weights.isnan(), "entry", plural="entries")
            raise ValueError(f"`edge_weights` should be free of NaN. Got {got}.")
        births = self.vertex_births
        if births is None:
            births = weights.new_zeros(self.num_vertices)
        _checks.are_finite("vertex_births", births[:, None])  # they may be learned
        born = births.to(weights.dtype)[self.edge_index].amax(0)
        early = weights < born
        if bool(early.any()):
            edge = int(early.nonzero()[0])
            i, j = self.edge_index[:, edge].tolist()
            raise ValueError(
                "`edge_weights` should be at least the births of their vertices. "
                f"Got {weights[edge]:.6g} for edge ({i}, {j}), whose vertices are there from "
                f"{born[edge]:.6g} on. Pass smaller `vertex_births`."
            )


def _renumbered(pairs: PersistencePairs, vertices: Tensor) -> PersistencePairs:
    """Pairs with vertex ``v`` called ``vertices[v]``, essential edges in a new order of (i, j)."""
    names = ("birth_edges", "death_edges", "essential_edges")
    births, deaths, essential = (
        vertices[getattr(pairs, name)].sort(dim=1).values for name in names
    )
    if pairs.dimension == 0:
        essential = essential.sort(dim=0).values
    return PersistencePairs(pairs.dimension, births, deaths, essential, pairs.cloud_sizes)


def _check_graph(edge_index: Tensor, num_vertices: int) -> None:
    """Refuse what is not a list of end points of some vertices."""
    _checks.is_int64("edge_index", edge_index)
    if edge_index.ndim != 2 or edge_index.shape[0] != 2:
        raise ValueError(
            f"`edge_index` should have shape (2, e). Got {_checks.shape(edge_index)}. "
            "Transpose a list of edges with `edges.T`."
        )
    _checks.is_natural("num_vertices", num_vertices)
    if num_vertices > MOST_VERTICES:
        raise ValueError(
            f"`num_vertices` should be at most {MOST_VERTICES:,}. Got {num_vertices:,}."
        )
    bad = edge_index[(edge_index < 0) | (edge_index >= num_vertices)]
    if len(bad):
        raise ValueError(
            f"`edge_index` should index {num_vertices} vertices. Got vertex {int(bad[0])}."
        )


def _check_simple(
    edge_index: Tensor, low: Tensor, high: Tensor, keys: Tensor, listed: Tensor
) -> None:
    """Refuse self-loops and parallel edges."""
    if bool((low == high).any()):
        vertex = int(low[low == high][0])
        raise ValueError(
            f"`edge_index` should have no self-loop. Got one at vertex {vertex}. "
            "Keep `edge_index[:, edge_index[0] != edge_index[1]]`."
        )
    repeated = keys[1:] == keys[:-1]
    if bool(repeated.any()):
        i, j = edge_index[:, listed[1:][repeated][0]].tolist()
        raise ValueError(
            f"`edge_index` should list every edge once, in one direction. Got ({i}, {j}) twice. "
            "Of a graph with both directions keep `edge_index[:, edge_index[0] < edge_index[1]]`."
        )


def _check_births(births: Tensor, vertices: int, edge_index: Tensor) -> None:
    """Refuse what is not one finite birth for each vertex."""
    _checks.is_tensor("vertex_births", births)
    _checks.is_floating("vertex_births", births)
    _checks.one_each("vertex_births", births, vertices, "vertex")
    _checks.on_one_device("vertex_births", births, "edge_index", edge_index.device)
    _checks.are_finite("vertex_births", births[:, None])
