"""The flag filtration of a weighted graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import cast, final

import torch
from torch import Tensor, nn

from topreg import _checks
from topreg._clouds import Clouds
from topreg._pairs import PersistencePairs, check_pairs, concatenate, with_vertices
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

    Use it for graphs of nearest neighbours, attention or learned weights. Edges are ordered by
    (weight, i, j), i < j. They have no direction: (i, j) and (j, i) name the same edge.

    Args:
        edge_index: End points of the edges, in either direction.
        num_vertices: Number of vertices, isolated ones included.
        vertex_births: :term:`Filtration value` at which each vertex appears; 0 if left out.
        duplicate_edges: What to do if ``edge_index`` names an edge several times, as graphs of
            nearest neighbours do with (i, j) and (j, i). ``"min"`` takes the smallest weight; the
            gradient goes to the first of the smallest. ``"mean"`` takes the mean, infinite if one
            weight is. ``"error"`` raises.
        check_values: Whether to check the weights for NaN and for values below the births of their
            vertices. Without it the result for such weights is undefined.

    Raises:
        TypeError: If ``edge_index`` is not int64 or ``vertex_births`` are not floating point.
        ValueError: If shapes do not fit, a vertex is out of range, an edge is a self-loop, an edge
            is named several times under ``duplicate_edges="error"``, a birth is not finite, the
            option is unknown, or there are more than 3,037,000,499 vertices.

    Shape:
        - edge_index: :math:`(2, e)`, int64, as in PyTorch Geometric.
        - vertex_births: :math:`(n,)`.
        - data: :math:`(e,)` or :math:`(b, e)`, a weight for each column of ``edge_index``. Infinity
          means that the edge does not exist. Rows are the weights of several graphs.

    Note:
        Diagrams are differentiable in the weights and in ``vertex_births``. To search graphs with
        different edges in one call, join them to one graph: number their vertices graph after
        graph. At a merge the component dies whose oldest vertex comes later in
        the order (birth, number). Once the edges are sorted, dimension 0 takes linear time.
        Dimension 1 takes memory for the edges, and at most :math:`c^2 / 2` bytes if :math:`c` loops
        live at once. For edges of another graph
        :meth:`diagram` raises on the CPU; on other devices and in compiled programs, which do not
        wait to check, it gives NaN.

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

    vertex_births: Tensor | None
    edge_index: Tensor
    _keys: Tensor
    _listed: Tensor
    _ends: Tensor
    _edge: Tensor | None
    _copies: Tensor | None

    def __init__(
        self,
        edge_index: Tensor,
        num_vertices: int,
        *,
        vertex_births: Tensor | None = None,
        duplicate_edges: str = "error",
        check_values: bool = True,
    ) -> None:
        super().__init__()
        num_vertices = _check_graph(edge_index, num_vertices)
        _checks.is_option("duplicate_edges", duplicate_edges, DUPLICATES)
        if vertex_births is not None:
            _check_births(vertex_births, num_vertices, edge_index)
        self.num_vertices = num_vertices
        self.duplicate_edges = duplicate_edges
        self.check_values = check_values
        ends = torch.stack([edge_index.amin(0), edge_index.amax(0)], dim=1)
        keys, listed = (ends[:, 0] * num_vertices + ends[:, 1]).sort(stable=True)
        first = torch.ones_like(keys, dtype=torch.bool)
        first[1:] = keys[1:] != keys[:-1]
        edge, copies = None, None
        if not bool(first.all()):
            if duplicate_edges == "error":
                i, j = ends[listed][~first][0].tolist()
                raise ValueError(
                    "`edge_index` should name every edge once, in one direction. "
                    f"Got the edge between {i} and {j} several times. Combine the weights of such "
                    'an edge with `duplicate_edges="min"` or `duplicate_edges="mean"`.'
                )
            edge = torch.empty_like(keys).scatter_(0, listed, first.cumsum(0) - 1)
            copies = torch.bincount(edge)[edge]
        none = keys.new_full((1,), -1)  # searching for an edge of another graph may end here
        if isinstance(vertex_births, nn.Parameter):
            self.vertex_births = vertex_births
        else:
            self.register_buffer("vertex_births", vertex_births, persistent=False)
        for name, buffer in (
            ("edge_index", edge_index),
            ("_keys", torch.cat([keys[first], none])),
            ("_listed", listed[first]),
            ("_ends", ends[listed[first]]),
            ("_edge", edge),
            ("_copies", copies),
        ):
            self.register_buffer(name, buffer, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FlagFiltration:
        """Move and convert the tensors; never round births unless they are a parameter."""
        births = self._buffers.get("vertex_births")
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        moved = self._buffers.get("vertex_births")
        if births is None or moved is None:
            return self
        if moved.dtype.itemsize < births.dtype.itemsize:
            self.vertex_births = births.to(moved.device)
        return self

    def __repr__(self) -> str:
        """Return counts, not edges."""
        option = self.duplicate_edges
        return (
            f"FlagFiltration(edges={len(self._ends)}, vertices={self.num_vertices}, "
            f"vertex_births={'zero' if self.vertex_births is None else 'given'}"
            + ("" if option == "error" else f', duplicate_edges="{option}"')
            + ")"
        )

    def pairs(self, data: Clouds, dimension: int = 0) -> PersistencePairs:
        return self._find(data, [self._check_dimension(dimension)])[0]

    def all_pairs(self, data: Clouds, max_dimension: int) -> tuple[PersistencePairs, ...]:
        highest = self._check_dimension(max_dimension, "max_dimension")
        return tuple(self._find(data, list(range(highest + 1))))

    def diagram(self, pairs: PersistencePairs, data: Clouds) -> Tensor:
        rows = self._as_rows(data)
        check_pairs(pairs, rows, (self.num_vertices,) * len(rows), "data")
        if len(rows) == 0:
            births = rows.new_zeros(0) if self.vertex_births is None else self.vertex_births
            return rows.new_zeros(0, 2) + rows.sum() + 0 * births.sum()
        combined = [self._combine(weights) for weights in rows]
        weights, places = (torch.stack(same) for same in zip(*combined, strict=True))
        columns = (pairs.birth_edges, pairs.death_edges)
        return torch.stack([self._values(weights, places, edges) for edges in columns], dim=1)

    @torch.no_grad()
    def _find(self, data: Clouds, dimensions: list[int]) -> list[PersistencePairs]:
        """Find the pairs in some dimensions."""
        rows = self._as_rows(data)
        _checks.is_readable("data", rows)
        if len(rows) == 0:
            none = self.edge_index.new_empty(0, 2)
            return [PersistencePairs(p, none, none, none, ()) for p in dimensions]
        found = [self._search(weights, dimensions) for weights in rows]
        if len(found) == 1:
            return found[0]
        return [concatenate(same) for same in zip(*found, strict=True)]

    def _search(self, listed: Tensor, dimensions: list[int]) -> list[PersistencePairs]:
        """Find the pairs of one graph."""
        if self.check_values:
            _checks.have_none("data", listed.isnan(), "be free of NaN", "entry")
        weights, place = self._combine(listed)
        weights = weights[place]
        if self.check_values:
            self._check_appearance(weights)
        ascending, in_order = weights.sort(stable=True)
        edges = self._ends[in_order[ascending < torch.inf]]
        if self.vertex_births is None:
            return pairs_of_edges(edges, self.num_vertices, dimensions)
        by_age = self.vertex_births.sort(stable=True).indices
        found = pairs_of_edges(by_age.argsort()[edges], self.num_vertices, dimensions)
        found = [with_vertices(pairs, by_age, pairs.cloud_sizes) for pairs in found]
        return [
            replace(pairs, essential_edges=pairs.essential_edges.sort(dim=0).values)
            if pairs.dimension == 0
            else pairs
            for pairs in found
        ]

    def _combine(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights, and for each distinct edge the place of its weight among them.

        The order and the diagram both use these, so that they agree to the last bit.
        """
        edge, copies = self._edge, self._copies
        if edge is None or copies is None:
            return weights, self._listed
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

    def _values(self, weights: Tensor, places: Tensor, edges: Tensor) -> Tensor:
        """Return the weight of each edge (i, j), and the birth of v for each edge (v, v).

        Shape:
            - weights: (b, w), places: (b, distinct edges), edges: (m, 2). Output: (m,).
        """
        graph, width = edges[:, 0] // max(self.num_vertices, 1), weights.shape[1]
        i, j = (edges - (graph * self.num_vertices)[:, None]).unbind(1)
        at_vertex, keys = i == j, i * self.num_vertices + j
        number = torch.searchsorted(self._keys[:-1], keys)
        known = self._keys[number] == keys
        reads = edges.device.type == "cpu" and not torch.compiler.is_compiling()
        if reads and not bool((known | at_vertex).all()):
            i, j = edges[~(known | at_vertex)][0].tolist()
            raise ValueError(
                f"`pairs` should hold edges of this graph. Got ({i}, {j}). "
                "Were the pairs found on another graph?"
            )
        padding = weights.new_tensor([0.0, torch.nan]).expand(len(weights), 2)
        padded = torch.cat([weights, padding], dim=1)
        place = torch.nn.functional.pad(places, (0, 1))[graph, number]
        place = torch.where(known, place, width + 1)
        place = torch.where(at_vertex, width, place) + graph * (width + 2)
        of_edges = padded.flatten().index_select(0, place)
        if self.vertex_births is None:
            return of_edges
        births = self.vertex_births.to(weights.dtype).index_select(0, i)
        return torch.where(at_vertex, births, of_edges)

    def _check_dimension(self, dimension: object, name: str = "dimension") -> int:
        """Return a dimension as int; raise if it is not 0 or 1."""
        found = _checks.natural(dimension)
        if found not in (0, 1):
            raise ValueError(f"`{name}` should be 0 or 1 for a FlagFiltration. Got {dimension!r}.")
        return found

    def _as_rows(self, data: Clouds) -> Tensor:
        """Return weights (b, e) of each graph, in at least single precision."""
        weights, edges = cast(Tensor, data), self.edge_index.shape[1]
        _checks.is_floating("data", weights, of_distances=True)
        if weights.ndim not in (1, 2) or weights.shape[-1] != edges:
            cure = "In losses of two views, pass the weights as `geometry`."
            raise ValueError(
                f"`data` should have one weight per edge, shape ({edges},) or (b, {edges}). "
                f"Got {_checks.shape(weights)}. "
                + ("Use `.squeeze(1)`." if weights.shape == (edges, 1) else cure)
            )
        _checks.on_one_device("data", weights, "edge_index", self.edge_index.device)
        weights = at_least_single(weights)
        return weights[None] if weights.ndim == 1 else weights

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
                "`data` should be at least the births of the vertices. "
                f"Got {weights[edge]:.6g} for edge ({i}, {j}) with a vertex born at "
                f"{born[edge]:.6g}. Pass smaller `vertex_births`."
            )


def _check_graph(edge_index: Tensor, num_vertices: object) -> int:
    """Return the number of vertices; raise if the edges do not join them."""
    _checks.is_int64("edge_index", edge_index)
    if edge_index.ndim != 2 or edge_index.shape[0] != 2:
        rows = edge_index.ndim == 2 and edge_index.shape[1] == 2
        cure = " Transpose a list of edges with `edges.T`." if rows else ""
        raise ValueError(
            f"`edge_index` should have shape (2, e). Got {_checks.shape(edge_index)}.{cure}"
        )
    num_vertices = _checks.is_natural("num_vertices", num_vertices)
    if num_vertices > MOST_VERTICES:
        raise ValueError(
            f"`num_vertices` should be at most {MOST_VERTICES:,}. Got {num_vertices:,}."
        )
    bad = edge_index[(edge_index < 0) | (edge_index >= num_vertices)]
    if len(bad):
        raise ValueError(
            f"`edge_index` should index {num_vertices} vertices. Got vertex {int(bad[0])}."
        )
    loops = edge_index[0, edge_index[0] == edge_index[1]]
    if len(loops):
        raise ValueError(
            f"`edge_index` should have no self-loop. Got one at vertex {int(loops[0])}. With "
            "`proper = edge_index[0] != edge_index[1]`, keep `edge_index[:, proper]` and "
            "`edge_weights[proper]`."
        )
    return num_vertices


def _check_births(births: Tensor, vertices: int, edge_index: Tensor) -> None:
    """Raise unless there is one finite birth per vertex."""
    _checks.is_floating("vertex_births", births)
    _checks.one_each("vertex_births", births, vertices, "vertex")
    _checks.on_one_device("vertex_births", births, "edge_index", edge_index.device)
    _checks.are_finite("vertex_births", births[:, None])
