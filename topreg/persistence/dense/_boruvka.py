"""Dimension 0 on any torch device: Boruvka's algorithm on batches of dense matrices.

All steps are torch operations of known shapes in a fixed number of rounds, so that nothing is read
back from the device unless edges may be missing. A missing edge weighs more than all edges, and is
treated like them: the graph has one tree, whose missing edges come last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from topreg._clouds import have_one_size, numbers, starts
from topreg._operators import operator
from topreg._room import bytes_of_matrices, room_for
from topreg.persistence._bits import INFINITY, limit_in_bits
from topreg.persistence._fake import fake_forests

MOST_VERTICES = 110_000  # per cloud: both parts of an edge fit into one integer


@operator(fake_forests)
def boruvka(
    weights: Tensor, sizes: list[int], longest: float, connected: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Find minimum spanning forests with the elder rule; arguments and results as in ``prim``."""
    if max(sizes, default=0) > MOST_VERTICES:
        raise ValueError(
            f"`points` should have at most {MOST_VERTICES:,} vertices per cloud for Boruvka's "
            f'algorithm on matrices. Got {max(sizes):,}. Use `engine="prim"`.'
        )
    with room_for(bytes_of_matrices(sizes, weights.dtype, matrices=5), sizes):
        return forests(weights, sizes, longest, connected)


def forests(
    weights: Tensor, sizes: Sequence[int], longest: float, connected: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Do the operator's work in operations that can be traced."""
    limit = limit_in_bits(longest, weights.dtype, connected)
    missing = int(min(limit, INFINITY[weights.dtype])) + 1
    none = torch.empty(0, dtype=torch.int64, device=weights.device)
    parts = [(none.view(0, 2), none, none)] * (len(sizes) + 1)  # one more: there may be no cloud
    first = starts(sizes)
    for clouds in _alike(sizes):
        matrices = _stacked(weights, sizes, clouds)
        rounds = _grow(_bits(matrices, missing))
        tree = rounds.tree()
        weight = _bits(matrices.flatten(1).gather(1, tree), missing)
        order = weight.argsort(dim=1, stable=True)
        edge, count = tree.gather(1, order), (weight < missing).sum(1, keepdim=True)
        n, shift = matrices.shape[1], numbers([first[c] for c in clouds], weights)[:, None]
        edges = torch.stack([edge // n, edge % n], dim=2) + shift[:, None]
        vertices = _by_death(rounds, tree, order.argsort(dim=1), count) + shift
        counts = [sizes[c] - 1 for c in clouds] if connected else count.flatten().tolist()
        for row, (c, m) in enumerate(zip(clouds, counts, strict=True)):
            parts[c] = edges[row, :m], vertices[row, :m], vertices[row, m : sizes[c]]
    deaths, births, elders = (torch.cat(same) for same in zip(*parts, strict=True))
    return torch.stack([births, births], dim=1), deaths, torch.stack([elders, elders], dim=1)


def _bits(weights: Tensor, missing: int) -> Tensor:
    """Return the bits of weights as integers, which have the same order, and at most ``missing``.

    The bits of -0.0 are negative. It becomes 0.
    """
    integer = torch.int32 if weights.dtype == torch.float32 else torch.int64
    return weights.view(integer).clamp(0, missing)


class _Rounds:
    """Components that join along edges, and how they came to be one.

    The edge (i, j), i < j, has the number i * n + j; n^2 stands for no edge.
    """

    def __init__(self, b: int, n: int, device: torch.device) -> None:
        self.vertex = torch.arange(n, device=device)
        self.label = self.vertex.expand(b, n)  # the component of each vertex
        self.labels: list[Tensor] = []  # (b, n) after each round
        self.chosen: list[Tensor] = []  # (b, n): the edge that each vertex's component chose
        self.ended = [self.label[:, :0]]  # the edges along which components ended

    def join(self, edge: Tensor, partner: Tensor) -> Tensor:
        """Join each of k components to its partner; return the new number of each component.

        At most half of the numbers remain in use. A number without component has the partner 0. So
        has component 0 if it is the only one.
        """
        own, n = self.vertex[: edge.shape[1]], len(self.vertex)
        mutual = partner.gather(1, partner) == own  # both chose the same edge
        stays = mutual & (own <= partner)
        self.ended.append(edge.masked_fill(stays, n * n))
        self.chosen.append(edge.gather(1, self.label))
        parent = torch.where(stays, own, partner)
        for _ in range((len(own) - 1).bit_length()):
            parent = parent.gather(1, parent)
        joined = stays.cumsum(1).sub_(1).gather(1, parent)
        self.label = joined.gather(1, self.label)
        self.labels.append(self.label)
        return joined

    def tree(self) -> Tensor:
        """Return the numbers of the n - 1 edges, ascending."""
        n = len(self.vertex)
        return torch.cat(self.ended, dim=1).sort(dim=1).values[:, : n - 1].contiguous()


def _grow(bits: Tensor) -> _Rounds:
    """Let every component join another along its first edge in the total order, until one is left.

    The first two rounds read the edges of all vertices, in ``bits``, which are overwritten. Then
    the components become the vertices of a smaller graph, in which an edge is one integer.

    Shape:
        - bits: (b, n, n).
    """
    b, n, _ = bits.shape
    rounds, radix = _Rounds(b, n, bits.device), n * n + 1
    never = torch.iinfo(bits.dtype).max  # comes after all weights
    if n > 1:
        bits.diagonal(dim1=1, dim2=2).fill_(never)
        near = bits.argmin(2)
        rounds.join(_number(rounds.vertex, near), near)
    k = n // 2
    if k > 1:
        rounds.join(*_first_edges(bits, rounds, k, never))
    k = n // 4
    last = k * k * radix + n * n  # comes after all edges
    if k > 1:
        edges = _smaller_graph(bits, rounds.label, k, never)
    while k > 1:
        edges.diagonal(dim1=1, dim2=2).fill_(last)
        partner = edges.argmin(2)  # not ``min``, which wakes all threads of a CPU for any size
        edge = edges.gather(2, partner[:, :, None]).squeeze(2) % radix
        joined = rounds.join(edge, partner)
        k //= 2
        if k > 1:
            [edges] = _least([edges], [last], joined, k)
    return rounds


def _number(vertex: Tensor, near: Tensor) -> Tensor:
    """Return the numbers of edges that lead from each vertex to another."""
    low, high = torch.minimum(vertex, near), torch.maximum(vertex, near)
    return torch.add(high, low, alpha=len(vertex))


def _first_edges(bits: Tensor, rounds: _Rounds, k: int, never: int) -> tuple[Tensor, Tensor]:
    """Return the first edges that leave k components, and the components to which they lead.

    Of a vertex's edges of equal weight the first, which ``min`` finds, has the smallest number.
    """
    label = rounds.label
    b, n = label.shape
    bits.masked_fill_(label[:, :, None] == label[:, None, :], never)
    weight, near = bits.min(2)
    least = torch.full((b, k), never, dtype=bits.dtype, device=bits.device)
    least.scatter_reduce_(1, label, weight, "amin")
    edge = torch.add(label.gather(1, near), _number(rounds.vertex, near), alpha=n)
    edge = torch.where(weight == least.gather(1, label), edge, n**3)
    first = torch.full((b, k), n**3, device=edge.device).scatter_reduce_(1, label, edge, "amin")
    return first // n, first % n


def _smaller_graph(bits: Tensor, label: Tensor, k: int, never: int) -> Tensor:
    """Return the first edge between each two of k components, as one integer.

    It is the edge's number plus n^2 + 1 times the rank of its weight among those of all edges.

    Shape:
        - bits: (b, n, n). Output: (b, k, k), int64.
    """
    n = bits.shape[1]
    kind = torch.int32 if n * n <= torch.iinfo(torch.int32).max else torch.int64
    number = torch.arange(n * n, device=bits.device, dtype=kind).view(1, n, n)
    weight, number = _least([bits, number], [never, n * n], label, k)
    weight, number = weight.flatten(1), torch.minimum(number, number.mT).flatten(1)
    rank = torch.searchsorted(weight.sort(dim=1).values, weight)
    return torch.add(number, rank, alpha=n * n + 1).view(-1, k, k)


def _least(
    parts: Sequence[Tensor], last: Sequence[int], joined: Tensor, k: int
) -> Sequence[Tensor]:
    """Return the first edge between each two of the k components that joined; else ``last``.

    An edge may have two parts. The second decides where the first parts are equal.
    """
    for dim in (1, 2):
        index = joined.unsqueeze(3 - dim).expand_as(parts[0])
        shape = list(index.shape)
        shape[dim] = k
        found: list[Tensor] = []
        for part, end in zip(parts, last, strict=True):
            if found:
                part = torch.where(parts[0] == found[0].gather(dim, index), part, end)
            least = torch.full(shape, end, dtype=part.dtype, device=part.device)
            found.append(least.scatter_reduce_(dim, index, part, "amin"))
        parts = found
    return parts


# Worked example: vertices 0 to 3 on a line, at 0, 5, 1 and 7.
#
# The edges of the tree in order are 02 (length 1), 13 (2) and 12 (4). Their ranks are 0, 1 and 2.
# By King's theorem the heaviest edge between two vertices is known from the rounds. Take the edges
# that the two components of these vertices chose, up to the round in which they became one.
#
# - Round 1: 0 and 2 choose 02, and 1 and 3 choose 13. ``heaviest`` is 0, 1, 0, 1 by vertex.
#   In {0, 2} vertex 2 meets the smaller 0 at rank 0. In {1, 3} vertex 3 meets 1 at rank 1.
# - Round 2: both components choose 12. ``heaviest`` is 2 for every vertex.
#   In {0, 1, 2, 3} each of 1, 2 and 3 meets a smaller vertex at rank 2.
# - A vertex dies at the least of its ranks: 1 at rank 2, 2 at rank 0 and 3 at rank 1. Vertex 0
#   meets no smaller one and stays. The result is 2, 3, 1, 0.
def _by_death(rounds: _Rounds, tree: Tensor, rank: Tensor, count: Tensor) -> Tensor:
    """Vertices in the order in which they die by the elder rule; those that stay come last.

    A vertex dies when it meets a smaller one. The heaviest edge on the path between two vertices
    of a tree is the heaviest of the edges that their components chose before they became one
    (King, A simpler minimum spanning tree verification algorithm, 1997). All rounds are looked at
    together.

    Shape:
        - tree: (b, n - 1), the edges' numbers, ascending. rank: their places in the total order.
        - count: (b, 1), edges that exist.
        - Output: (b, n).
    """
    n = len(rounds.vertex)
    if n == 1:
        return torch.zeros_like(count)
    label = torch.stack(rounds.labels, dim=1)
    place = torch.searchsorted(tree, torch.cat(rounds.chosen, dim=1))
    rank = torch.nn.functional.pad(rank, (0, 1), value=n - 1)  # no edge in the last rounds
    heaviest = rank.gather(1, place).view_as(label).cummax(1).values
    heaviest = torch.sub(heaviest, label, alpha=n + 1)  # no component's values reach the next's
    by_label = label.argsort(dim=2, stable=True)  # component after component, vertices ascending
    path = heaviest.gather(2, by_label)
    met = torch.maximum(path.cummin(2).values[..., :-1], path[..., 1:])
    met = torch.nn.functional.pad(met, (1, 0), value=n)
    death = torch.empty_like(met).scatter_(2, by_label, met)
    death = torch.add(death, label, alpha=n + 1).amin(1)  # n or more: nothing smaller was met
    return torch.minimum(death, count).argsort(dim=1, stable=True)


def _alike(sizes: Sequence[int]) -> list[list[int]]:
    """Group clouds to be searched together: those with the same power of two above their size."""
    groups: dict[int, list[int]] = {}
    for c, n in enumerate(sizes):
        if n:
            groups.setdefault((n - 1).bit_length(), []).append(c)
    return list(groups.values())


def _stacked(weights: Tensor, sizes: Sequence[int], clouds: list[int]) -> Tensor:
    """Return the matrices of some clouds as one batch, filled up with vertices without edges."""
    if have_one_size(sizes):
        return weights.view(len(sizes), sizes[0], sizes[0])
    corner, side = starts([n * n for n in sizes]), max(sizes[c] for c in clouds)
    matrices = weights.new_full((len(clouds), side, side), torch.nan)
    for matrix, c in zip(matrices, clouds, strict=True):
        n = sizes[c]
        matrix[:n, :n] = weights[corner[c] : corner[c + 1]].view(n, n)
    return matrices
