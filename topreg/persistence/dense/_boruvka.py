"""Dimension 0 on any torch device: Boruvka's algorithm on batches of dense matrices.

All steps are torch operations of known shapes in a fixed number of rounds, so that nothing is read
back from the device unless edges may be missing. A missing edge weighs NaN, which is more than
infinity, and is treated like all others: the graph has one tree, whose missing edges come last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from topreg._clouds import have_one_size, numbers, starts
from topreg._operators import operator
from topreg._room import bytes_of_matrices, room_for
from topreg.persistence._fake import fake_forests

NEVER = torch.iinfo(torch.int64).max  # comes after the keys of all edges
PACKED = (1 << 16) - 1  # vertices up to which the number of an edge fits into half of its key


@operator(fake_forests)
def boruvka(
    weights: Tensor, sizes: list[int], longest: float, connected: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Minimum spanning forests with the elder rule; arguments and results are those of ``prim``."""
    with room_for(bytes_of_matrices(sizes, weights.dtype, matrices=5), sizes):
        return forests(weights, sizes, longest, connected)


def forests(
    weights: Tensor, sizes: Sequence[int], longest: float, connected: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The operator's body, which can be traced."""
    weights = weights.abs()  # -0.0 is 0.0
    if not connected:  # else a distance that overflowed is an edge too
        longest = min(longest, torch.finfo(weights.dtype).max)
        weights.masked_fill_(weights > longest, torch.nan)
    none = torch.empty(0, dtype=torch.int64, device=weights.device)
    parts = [(none.view(0, 2), none, none)] * (len(sizes) + 1)  # one more: there may be no cloud
    first = starts(sizes)
    for clouds in _alike(sizes):
        matrices = _stacked(weights, sizes, clouds)
        keys, numbered = _keys(matrices)
        grown = _grow(keys)
        edge = numbered.gather(1, grown.tree) if len(numbered) else grown.tree & 0xFFFFFFFF
        exists = ~matrices.flatten(1).gather(1, edge).isnan()
        shift = numbers([first[c] for c in clouds], weights)[:, None]
        n = matrices.shape[1]
        edges = torch.stack([edge // n, edge % n], dim=2) + shift[:, None]
        vertices = _by_death(grown, exists.sum(1, keepdim=True)) + shift
        counts = [sizes[c] - 1 for c in clouds] if connected else exists.sum(1).tolist()
        for row, (c, m) in enumerate(zip(clouds, counts, strict=True)):
            parts[c] = edges[row, :m], vertices[row, :m], vertices[row, m : sizes[c]]
    deaths, births, elders = (torch.cat(same) for same in zip(*parts, strict=True))
    return torch.stack([births, births], dim=1), deaths, torch.stack([elders, elders], dim=1)


def _keys(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """An integer for each edge, all different, in the total order; NEVER on the diagonal.

    The edge (i, j), i < j, has the number i * n + j. In single precision its key is the bits of its
    weight, which as an integer keep the order, followed by this number. Otherwise its key is its
    place among all edges.

    Shape:
        - matrices: (b, n, n). Output: (b, n, n); numbers of the sorted edges, (b, n * n) or (0,).
    """
    b, n, _ = matrices.shape
    number = torch.arange(n * n, device=matrices.device).view(n, n)
    number = torch.minimum(number, number.T)
    if matrices.dtype == torch.float32 and n <= PACKED:
        numbered = number[0, :0]
        keys = torch.add(number, matrices.view(torch.int32), alpha=1 << 32)
    else:
        numbered = matrices.flatten(1).argsort(dim=1, stable=True)
        place = torch.arange(n * n, device=matrices.device).expand(b, -1)
        keys = torch.empty_like(numbered).scatter_(1, numbered, place)
        keys = keys.gather(1, number.flatten().expand(b, -1)).view(b, n, n)
    keys.diagonal(dim1=1, dim2=2).fill_(NEVER)
    return keys, numbered


class _Grown(NamedTuple):
    """Trees of equally many vertices, one a row, and how the rounds came to them."""

    tree: Tensor  # (b, n - 1): keys of the edges, ascending
    chosen: list[Tensor]  # (b, n) in each round: the key that each vertex's component chose
    labels: list[Tensor]  # (b, n) after each round: the number of each vertex's component


def _grow(keys: Tensor) -> _Grown:
    """In each round every component joins another along its first edge in the total order.

    Then the components are the vertices of a smaller graph, at most half as many. If they are fewer
    the remaining rows have no edge: where these lead is of no consequence.
    """
    b, n, _ = keys.shape
    label = torch.arange(n, device=keys.device).expand(b, n)
    grown, ended, k = _Grown(keys, [], []), [label[:, :0]], n
    while k > 1:
        key, partner = keys.min(dim=2)
        own = torch.arange(k, device=keys.device)
        stays = (partner.gather(1, partner) == own) & (own < partner)  # both chose the same edge
        ended.append(key.masked_fill(stays, NEVER))
        grown.chosen.append(key.gather(1, label))
        parent = torch.where(stays, own, partner)
        for _ in range((k - 1).bit_length()):
            parent = parent.gather(1, parent)
        joined = stays.cumsum(1).sub_(1).clamp_(min=0).gather(1, parent)
        label = joined.gather(1, label)
        grown.labels.append(label)
        k //= 2
        if k > 1:
            keys = _least(keys, joined[:, :, None].expand_as(keys), 1, k)
            keys = _least(keys, joined[:, None, :].expand_as(keys), 2, k)
            keys.diagonal(dim1=1, dim2=2).fill_(NEVER)
    return grown._replace(tree=torch.cat(ended, dim=1).sort(dim=1).values[:, : n - 1].contiguous())


def _least(keys: Tensor, joined: Tensor, dim: int, k: int) -> Tensor:
    """The least of the keys of the components that have joined, along one axis."""
    shape = list(keys.shape)
    shape[dim] = k
    least = torch.full(shape, NEVER, device=keys.device)
    return least.scatter_reduce_(dim, joined, keys, "amin")


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
def _by_death(grown: _Grown, count: Tensor) -> Tensor:
    """Vertices in the order in which they die by the elder rule; those that stay come last.

    A vertex dies where it meets a smaller one. The heaviest edge on the way between two vertices
    of a tree is the heaviest of the edges that their components chose before they became one
    (King, A simpler minimum spanning tree verification algorithm, 1997). All rounds are looked at
    together.

    Shape:
        - count: (b, 1), edges that exist. Output: (b, n).
    """
    n = grown.tree.shape[1] + 1
    if n == 1:
        return torch.zeros_like(count)
    label = torch.stack(grown.labels, dim=1)
    rank = torch.searchsorted(grown.tree, torch.cat(grown.chosen, dim=1)).view_as(label)
    heaviest = rank.cummax(1).values
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
    """Clouds that are worked on together: those whose sizes have one power of two above them."""
    groups: dict[int, list[int]] = {}
    for c, n in enumerate(sizes):
        if n:
            groups.setdefault((n - 1).bit_length(), []).append(c)
    return list(groups.values())


def _stacked(weights: Tensor, sizes: Sequence[int], clouds: list[int]) -> Tensor:
    """The matrices of some clouds as one batch, filled up with vertices whose edges are missing."""
    if have_one_size(sizes):
        return weights.view(len(sizes), sizes[0], sizes[0])
    corner, side = starts([n * n for n in sizes]), max(sizes[c] for c in clouds)
    matrices = weights.new_full((len(clouds), side, side), torch.nan)
    for matrix, c in zip(matrices, clouds, strict=True):
        n = sizes[c]
        matrix[:n, :n] = weights[corner[c] : corner[c + 1]].view(n, n)
    return matrices
