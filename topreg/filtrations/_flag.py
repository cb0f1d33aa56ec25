"""The flag filtration of a weighted graph."""

from __future__ import annotations

import math
from typing import NoReturn, cast, final

import torch
from torch import Tensor

from topreg import _checks
from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs, one_object
from topreg.filtrations._filtration import Filtration
from topreg.metrics import at_least_single
from topreg.persistence import pairs_of_edges

DUPLICATES = ("error", "min", "mean")
MOST_VERTICES = math.isqrt(2**63 - 1)  # so that an edge is one int64


@final
class FlagFiltration(Filtration):
    r"""Flag filtration of a weighted graph: a :term:`simplex` appears with its last edge.

    .. math::

        K_a = \{\sigma \subset V : w(i, j) \le a \text{ for all edges } (i, j) \text{ of } \sigma,
        \; b(i) \le a \text{ for all } i \in \sigma\}

    For nearest-neighbour graphs, attention graphs or graphs of learned weights. Edges are ordered
    by (weight, i, j), i < j. They have no direction: (i, j) and (j, i) name the same edge.

    Args:
        edge_index: End points of the edges, in either direction.
        num_vertices: Number of vertices, isolated ones included.
        vertex_births: :term:`Filtration value` at which each vertex appears; 0 if left out.
        duplicate_edges: Weight of an edge that ``edge_index`` names several times, such as (i, j)
            and (j, i) in the graph of nearest neighbours: ``"min"``, the smallest, whose gradient
            goes to the first of the smallest; ``"mean"``, the mean of all, infinite if one is;
            ``"error"`` raises.

    Raises:
        TypeError: If ``edge_index`` is not int64 or ``vertex_births`` are not floating point.
        ValueError: If shapes do not fit, a vertex is out of range, an edge is a self-loop, an edge
            is named several times under ``duplicate_edges="error"``, a birth is not finite, the
            option is unknown, or vertices are more than 3,037,000,499.

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
        self,
        edge_index: Tensor,
        num_vertices: int,
        vertex_births: Tensor | None = None,
        *,
        duplicate_edges: str = "error",
    ) -> None:
        _check_graph(edge_index, num_vertices)
        _checks.is_option("duplicate_edges", duplicate_edges, DUPLICATES)
        self.edge_index = edge_index
        self.num_vertices = num_vertices
        self.vertex_births = vertex_births
        self.duplicate_edges = duplicate_edges
        ends = torch.stack([edge_index.amin(0), edge_index.amax(0)], dim=1)
        _check_loops(ends)
        keys, listed = (ends[:, 0] * num_vertices + ends[:, 1]).sort(stable=True)
        first = torch.ones_like(keys, dtype=torch.bool)
        first[1:] = keys[1:] != keys[:-1]
        self._named: tuple[Tensor, Tensor] | None = None
        if not bool(first.all()):
            if duplicate_edges == "error":
                _refuse_duplicate(ends[listed][~first])
            edge = torch.empty_like(keys).scatter_(0, listed, first.cumsum(0) - 1)
            self._named = edge, torch.bincount(edge)[edge]
        keys, self._listed = keys[first], listed[first]
        self._ends = ends[self._listed]
        none = keys.new_full((1,), -1)  # stands where an edge of another graph is looked for
        self._keys = torch.cat([keys, none])
        if vertex_births is not None:
            _check_births(vertex_births, num_vertices, edge_index)

    @property
    def of_points(self) -> bool:
        """It filters weights of edges."""
        return False

    def __repr__(self) -> str:
        """Counts rather than edges."""
        option = self.duplicate_edges
        return (
            f"FlagFiltration(edges={len(self._ends)}, vertices={self.num_vertices}, "
            f"vertex_births={'zero' if self.vertex_births is None else 'given'}"
            + ("" if option == "error" else f', duplicate_edges="{option}"')
            + ")"
        )

    def pairs(
        self, edge_weights: Clouds, dimension: int = 0, *, check_values: bool = True
    ) -> PersistencePairs:
        """Persistence pairs in one dimension, found without gradient.

        Args:
            edge_weights: Weight of each column of ``edge_index``; infinity means that the edge does
                not exist.
            dimension: Homology dimension, 0 or 1.
            check_values: Whether to read the weights for NaN and for values below the births of
                their vertices; without it the result for such weights is undefined.

        Returns:
            The pairs.

        Raises:
            TypeError: If the weights are not a floating-point tensor.
            ValueError: If there is not one weight for each column of ``edge_index``, a weight is
                NaN or that of an edge lies below the birth of one of its vertices, or the dimension
                is not 0 or 1.

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
        weights, place = self._combined(weights)
        columns = (pairs.birth_edges, pairs.death_edges)
        return torch.stack([self._values(weights, place, edges) for edges in columns], dim=1)

    @torch.no_grad()
    def _found(
        self, edge_weights: Clouds, dimensions: list[int], check_values: bool
    ) -> list[PersistencePairs]:
        """Pairs in some dimensions."""
        listed = self._checked(edge_weights)
        if check_values and bool(listed.isnan().any()):
            got = _checks.rows(listed.isnan(), "entry", plural="entries")
            raise ValueError(f"`edge_weights` should be free of NaN. Got {got}.")
        weights, place = self._combined(listed)
        weights = weights[place]
        if check_values:
            self._check_appearance(weights)
        ascending, in_order = weights.sort(stable=True)
        edges = self._ends[in_order[ascending < torch.inf]]
        if self.vertex_births is None:
            return pairs_of_edges(edges, self.num_vertices, dimensions)
        by_age = self.vertex_births.sort(stable=True).indices
        found = pairs_of_edges(by_age.argsort()[edges], self.num_vertices, dimensions)
        return [_renumbered(pairs, by_age) for pairs in found]

    def _combined(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weights, and the place among them of the weight of each distinct edge.

        The order and the diagram both read these, so that they agree to the last bit.
        """
        if self._named is None:
            return weights, self._listed
        edge, copies = self._named  # of each column
        known = weights.detach()
        least = known.new_full(self._listed.shape, torch.inf).scatter_reduce(0, edge, known, "amin")
        columns = torch.arange(len(edge), device=edge.device)
        if self.duplicate_edges == "min":
            smallest = (known == least[edge]) | known.isnan()
            candidates = torch.where(smallest, columns, len(edge))
            none = torch.full_like(self._listed, len(edge))
            return weights, none.scatter_reduce(0, edge, candidates, "amin")
        # from the smallest on: equal weights give their own value, and no mean is below them
        base = torch.where(least.isfinite(), least, 0.0)
        shares = (weights - base[edge]) / copies
        return base.index_add(0, edge, shares), columns[: len(base)]

    def _values(self, weights: Tensor, place: Tensor, edges: Tensor) -> Tensor:
        """Weight of each edge (i, j), birth of the vertex of each edge (v, v)."""
        at_vertex = edges[:, 0] == edges[:, 1]
        keys = edges[:, 0] * self.num_vertices + edges[:, 1]
        number = torch.searchsorted(self._keys[:-1], keys)
        known = self._keys[number] == keys
        reads = edges.device.type == "cpu" and not torch.compiler.is_compiling()
        if reads and not bool((known | at_vertex).all()):
            i, j = edges[~(known | at_vertex)][0].tolist()
            raise ValueError(
                f"`pairs` should hold edges of this graph. Got ({i}, {j}). "
                "Were the pairs found on another graph?"
            )
        padded = torch.cat([weights, weights.new_zeros(1), weights.new_full((1,), torch.nan)])
        place = torch.cat([place, place.new_zeros(1)])[number]
        place = torch.where(known, place, len(weights) + 1)
        of_edges = padded.index_select(0, torch.where(at_vertex, len(weights), place))
        if self.vertex_births is None:
            return of_edges
        births = self.vertex_births.to(weights.dtype).index_select(0, edges[:, 0])
        return torch.where(at_vertex, births, of_edges)

    def _check_dimension(self, dimension: object, name: str = "dimension") -> None:
        """Refuse a dimension other than 0 and 1."""
        if type(dimension) is not int or dimension not in (0, 1):
            raise ValueError(f"`{name}` should be 0 or 1 for a FlagFiltration. Got {dimension!r}.")

    def _checked(self, weights: Clouds) -> Tensor:
        """One floating-point weight for each edge, in at least single precision."""
        weights = cast(Tensor, weights)
        _checks.is_floating("edge_weights", weights, of_distances=True)
        cure = " Modules read them from `geometry`."
        _checks.one_each("edge_weights", weights, self.edge_index.shape[1], "edge", cure)
        _checks.on_one_device("edge_weights", weights, "edge_index", self.edge_index.device)
        return at_least_single(weights)

    def _check_appearance(self, weights: Tensor) -> None:
        """Raise if an edge appears before one of its vertices; one weight per distinct edge."""
        births = self.vertex_births
        if births is None:
            births = weights.new_zeros(self.num_vertices)
        _checks.are_finite("vertex_births", births[:, None])  # they may be learned
        born = births.to(weights.dtype)[self._ends].amax(1)
        early = weights < born
        if bool(early.any()):
            edge = int(early.nonzero()[0])
            i, j = self._ends[edge].tolist()
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
        rows = edge_index.ndim == 2 and edge_index.shape[1] == 2
        cure = " Transpose a list of edges with `edges.T`." if rows else ""
        raise ValueError(
            f"`edge_index` should have shape (2, e). Got {_checks.shape(edge_index)}.{cure}"
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


def _check_loops(ends: Tensor) -> None:
    """Raise if an edge joins a vertex with itself."""
    loop = ends[:, 0] == ends[:, 1]
    if bool(loop.any()):
        raise ValueError(
            "`edge_index` should have no self-loop. "
            f"Got one at vertex {int(ends[loop][0, 0])}. With "
            "`proper = edge_index[0] != edge_index[1]`, keep `edge_index[:, proper]` and "
            "`edge_weights[proper]`."
        )


def _refuse_duplicate(again: Tensor) -> NoReturn:
    """Raise for the first of the edges that are named again."""
    i, j = again[0].tolist()
    raise ValueError(
        "`edge_index` should name every edge once, in one direction. "
        f"Got the edge between {i} and {j} several times. Combine the weights of such an edge "
        'with `duplicate_edges="min"` or `duplicate_edges="mean"`.'
    )


def _check_births(births: Tensor, vertices: int, edge_index: Tensor) -> None:
    """Refuse what is not one finite birth for each vertex."""
    _checks.is_tensor("vertex_births", births)
    _checks.is_floating("vertex_births", births)
    _checks.one_each("vertex_births", births, vertices, "vertex")
    _checks.on_one_device("vertex_births", births, "edge_index", edge_index.device)
    _checks.are_finite("vertex_births", births[:, None])
