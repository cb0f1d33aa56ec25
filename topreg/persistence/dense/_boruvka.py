"""Dimension 0 on any torch device: Boruvka's algorithm on batches of dense matrices.

All steps are torch operations of known shapes in a fixed number of rounds, so that nothing is read
back from the device unless edges may be missing. A missing edge weighs more than all edges, and is
treated like them: the graph has one tree, whose missing edges come last.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from topreg._clouds import have_one_size, numbers, starts
from topreg._operators import operator
from topreg._room import bytes_of_matrices, room_for
from topreg.persistence._bits import INFINITY, limit_in_bits
from topreg.persistence._fake import fake_forests

LOW, HIGH = (0, 1) if sys.byteorder == "little" else (1, 0)  # the halves of an integer in memory


@operator(fake_forests)
def boruvka(
    weights: Tensor, sizes: list[int], longest: float, connected: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Find minimum spanning forests with the elder rule; arguments and results as in ``prim``."""
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
        *bits, edges = _as_integers(matrices, missing)
        grown = _grow([*bits, edges])
        if bits:
            edge = grown.tree.long()
            weight = bits[0].flatten(1).gather(1, edge)
        else:
            edge, weight = grown.tree & 0xFFFFFFFF, grown.tree >> 32
        order = weight.argsort(dim=1, stable=True)
        edge, count = edge.gather(1, order), (weight < missing).sum(1, keepdim=True)
        n, shift = matrices.shape[1], numbers([first[c] for c in clouds], weights)[:, None]
        edges = torch.stack([edge // n, edge % n], dim=2) + shift[:, None]
        vertices = _by_death(grown, order.argsort(dim=1), count) + shift
        counts = [sizes[c] - 1 for c in clouds] if connected else count.flatten().tolist()
        for row, (c, m) in enumerate(zip(clouds, counts, strict=True)):
            parts[c] = edges[row, :m], vertices[row, :m], vertices[row, m : sizes[c]]
    deaths, births, elders = (torch.cat(same) for same in zip(*parts, strict=True))
    return torch.stack([births, births], dim=1), deaths, torch.stack([elders, elders], dim=1)


def _as_integers(matrices: Tensor, missing: int) -> list[Tensor]:
    """Return the edges as integers in the total order: one each, or the weight and the rest apart.

    The bits of weights, taken as integers, keep their order; those of -0.0 are negative. The edge
    (i, j), i < j, has the number i * n + j. In single precision both fit into one integer, the
    weight above the number. All missing edges get the bits ``missing`` as their weight. The
    diagonal comes after all edges; it may be written to.

    Shape:
        - matrices: (b, n, n). Output: (b, n, n) each.
    """
    n = matrices.shape[1]
    short, long = torch.int32, torch.int64
    fits = n * n <= torch.iinfo(short).max
    number = torch.arange(n * n, device=matrices.device, dtype=short if fits else long).view(n, n)
    number = torch.minimum(number, number.T)
    if fits and matrices.dtype == torch.float32:
        halves = torch.empty((*matrices.shape, 2), dtype=short, device=matrices.device)
        torch.clamp(matrices.view(short), 0, missing, out=halves[..., HIGH])
        halves[..., LOW] = number
        return _without_diagonal([halves.view(long)[..., 0]])
    bits = matrices.view(short if matrices.dtype == torch.float32 else long).clamp(0, missing)
    bits, number = _without_diagonal([bits, number[None]])
    return [bits, number.expand_as(bits)]


def _without_diagonal(parts: list[Tensor]) -> list[Tensor]:
    """Return the tensors, with the edges from vertices to themselves moved to the end."""
    for part in parts:
        part.diagonal(dim1=1, dim2=2).fill_(_never(part))
    return parts


def _never(part: Tensor) -> int:
    """Return the integer that comes after all edges."""
    return torch.iinfo(part.dtype).max


class _Grown(NamedTuple):
    """Trees of equally many vertices, one a row, and how the rounds came to them.

    An edge is one integer: its number, under its weight if both are packed.
    """

    tree: Tensor  # (b, n - 1), ascending
    chosen: list[Tensor]  # (b, n) in each round: the edge that each vertex's component chose
    labels: list[Tensor]  # (b, n) after each round: the number of each vertex's component


def _grow(parts: list[Tensor]) -> _Grown:
    """In each round every component joins another along its first edge in the total order.

    Then the components are the vertices of a smaller graph, at most half as many. If they are fewer
    the remaining rows have no edge: where these lead is of no consequence.
    """
    b, n, _ = parts[0].shape
    label = torch.arange(n, device=parts[0].device).expand(b, n)
    grown, ended, k = _Grown(label, [], []), [label[:, :0]], n
    while k > 1:
        edge, partner = _first_edges(parts)
        own = torch.arange(k, device=edge.device)
        stays = (partner.gather(1, partner) == own) & (own < partner)  # both chose the same edge
        ended.append(edge.masked_fill(stays, _never(edge)))
        grown.chosen.append(edge.gather(1, label))
        parent = torch.where(stays, own, partner)
        for _ in range((k - 1).bit_length()):
            parent = parent.gather(1, parent)
        joined = stays.cumsum(1).sub_(1).clamp_(min=0).gather(1, parent)
        label = joined.gather(1, label)
        grown.labels.append(label)
        k //= 2
        if k > 1:
            parts = _least(parts, joined[:, :, None], 1, k)
            parts = _without_diagonal(_least(parts, joined[:, None, :], 2, k))
    return grown._replace(tree=torch.cat(ended, dim=1).sort(dim=1).values[:, : n - 1].contiguous())


def _first_edges(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the first edge of each row, and where it leads; a weight that is apart is left out."""
    *weights, edges = parts
    for weight in weights:
        edges = torch.where(weight == weight.amin(2, keepdim=True), edges, _never(edges))
    partner = edges.argmin(2)  # not ``min``, which wakes all threads of a CPU for any size
    return edges.gather(2, partner[:, :, None]).squeeze(2), partner


def _least(parts: list[Tensor], joined: Tensor, dim: int, k: int) -> list[Tensor]:
    """Return the first edges of joined components along one axis, which gets the length k."""
    shape, joined = list(parts[0].shape), joined.expand_as(parts[0])
    shape[dim] = k
    found: list[Tensor] = []
    for part in parts:
        if found:  # of the edges that weigh least
            part = torch.where(parts[0] == found[0].gather(dim, joined), part, _never(part))
        least = torch.full(shape, _never(part), dtype=part.dtype, device=part.device)
        found.append(least.scatter_reduce_(dim, joined, part, "amin"))
    return found


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
def _by_death(grown: _Grown, rank: Tensor, count: Tensor) -> Tensor:
    """Vertices in the order in which they die by the elder rule; those that stay come last.

    A vertex dies when it meets a smaller one. The heaviest edge on the path between two vertices
    of a tree is the heaviest of the edges that their components chose before they became one
    (King, A simpler minimum spanning tree verification algorithm, 1997). All rounds are looked at
    together.

    Shape:
        - rank: (b, n - 1), of the edges of the tree. count: (b, 1), edges that exist.
        - Output: (b, n).
    """
    n = grown.tree.shape[1] + 1
    if n == 1:
        return torch.zeros_like(count)
    label = torch.stack(grown.labels, dim=1)
    place = torch.searchsorted(grown.tree, torch.cat(grown.chosen, dim=1))
    rank = torch.nn.functional.pad(rank, (0, 1), value=n - 1)  # no edge in the last rounds
    heaviest = rank.gather(1, place).view_as(label).cummax(1).values
    by_label = label.argsort(dim=2, stable=True)  # component after component, vertices ascending
    own, way = label.gather(2, by_label), heaviest.gather(2, by_label)
    offset = (n - own) * (n + 1)  # falls so far that no component's minimum reaches the next
    lowest = (way + offset).cummin(2).values - offset
    met = torch.where(
        own[..., 1:] == own[..., :-1], torch.maximum(lowest[..., :-1], way[..., 1:]), n
    )
    met = torch.nn.functional.pad(met, (1, 0), value=n)
    death = torch.empty_like(met).scatter_(2, by_label, met).amin(1)
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
