"""Dimension 0 on any torch device: Boruvka's algorithm on batches of dense matrices.

All steps are torch operations of known shapes in a fixed number of rounds, so that nothing is read
back from the device unless edges may be missing.
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


@operator(fake_forests)
def boruvka(
    weights: Tensor, sizes: list[int], longest: float, connected: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Find minimum spanning forests with the elder rule; arguments and results as in ``prim``."""
    with room_for(bytes_of_matrices(sizes, weights.dtype, matrices=3), sizes):
        return forests(weights, sizes, longest, connected)


def forests(
    weights: Tensor, sizes: Sequence[int], longest: float, connected: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Do the operator's work in operations that can be traced."""
    if connected:  # a distance that overflowed is an edge, too
        weights = weights.clamp(max=torch.finfo(weights.dtype).max)
    else:
        weights = weights.masked_fill(weights > longest, torch.inf)
    none = torch.empty(0, dtype=torch.int64, device=weights.device)
    parts = [(none.view(0, 2), none, none)] * (len(sizes) + 1)  # one more: there may be no cloud
    first = starts(sizes)
    for clouds in _alike(sizes):
        grown = _grow(_stack(weights, sizes, clouds))
        shift = numbers([first[c] for c in clouds], weights)[:, None]
        rank, edges = _in_order(grown)
        edges, vertices = edges + shift[:, None], _by_death(rank, grown) + shift
        counts = [sizes[c] - 1 for c in clouds] if connected else _counts(grown)
        for row, (c, m) in enumerate(zip(clouds, counts, strict=True)):
            parts[c] = edges[row, :m], vertices[row, :m], vertices[row, m : sizes[c]]
    deaths, births, elders = (torch.cat(same) for same in zip(*parts, strict=True))
    return torch.stack([births, births], dim=1), deaths, torch.stack([elders, elders], dim=1)


class _Grown(NamedTuple):
    """Forests after the rounds, one per row, with equally many vertices.

    The label of a component is one of its vertices. When two components join, one label ends. The
    edge (i, j) is stored with it as the key i * n + j. A label that stays has the key n^2.
    """

    keys: Tensor  # (b, n)
    weights: Tensor  # (b, n), infinite where the label stays
    labels: list[Tensor]  # (b, n) after each round
    chosen: list[Tensor]  # (b, n): the label that ended with the edge of each vertex's component


def _grow(matrices: Tensor) -> _Grown:
    """Let every component join another along its first edge in the total order, round by round.

    Shape:
        - matrices: (b, n, n), infinite for missing edges.
    """
    b, n, _ = matrices.shape
    vertex = torch.arange(n, device=matrices.device).expand(b, n)
    keys, weights = torch.full_like(vertex, n * n), matrices.new_full((b, n), torch.inf)
    grown, label = _Grown(keys, weights, [], []), vertex
    rounds = (n - 1).bit_length()  # components at least halve
    for _ in range(rounds):
        weight, key = _first_edges(matrices, label)
        i, j = key.clamp(max=n * n - 1) // n, key % n
        partner = label.gather(1, i) + label.gather(1, j) - vertex
        partner = torch.where(key < n * n, partner, vertex)
        mutual = partner.gather(1, partner) == vertex  # both chose the same edge: one label stays
        parent = torch.where(mutual & (vertex < partner), vertex, partner)
        ends = parent != vertex
        grown = grown._replace(
            keys=torch.where(ends, key, grown.keys),
            weights=torch.where(ends, weight, grown.weights),
        )
        grown.chosen.append(torch.where(ends, vertex, partner).gather(1, label))
        for _ in range(rounds):
            parent = parent.gather(1, parent)
        label = parent.gather(1, label)
        grown.labels.append(label)
    return grown


def _first_edges(matrices: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight and key of the first edge that leaves each component, by label.

    Among edges of one vertex with equal weight, the first leads to the smallest other end;
    ``argmin`` finds it.
    """
    n = label.shape[1]
    vertex = torch.arange(n, device=label.device)
    outside = label[:, :, None] != label[:, None, :]
    matrices = torch.where(outside, matrices, torch.inf)
    near = matrices.argmin(2)
    weight = matrices.gather(2, near[:, :, None]).squeeze(2)
    least = torch.full_like(weight, torch.inf).scatter_reduce(1, label, weight, "amin")
    key = torch.minimum(vertex, near) * n + torch.maximum(vertex, near)
    first = (weight == least.gather(1, label)) & (weight < torch.inf)
    key = torch.where(first, key, n * n)
    return least, torch.full_like(key, n * n).scatter_reduce(1, label, key, "amin")


def _in_order(grown: _Grown) -> tuple[Tensor, Tensor]:
    """Return the place of each label's edge in the total order, or -1, and the edges in order.

    Shape:
        - Output: (b, n) and (b, n, 2), of which the first rows are edges.
    """
    n = grown.keys.shape[1]
    order = grown.keys.argsort(dim=1)
    order = order.gather(1, grown.weights.gather(1, order).argsort(dim=1, stable=True))
    rank = torch.where(grown.keys < n * n, order.argsort(dim=1), -1)
    keys = grown.keys.gather(1, order)
    return rank, torch.stack([keys // n, keys % n], dim=2)


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
def _by_death(rank: Tensor, grown: _Grown) -> Tensor:
    """Return the vertices in the order in which they die by the elder rule; others come last.

    A vertex dies when it meets a smaller one. The heaviest edge on the path between two vertices
    of a tree is the heaviest of the edges that their components chose before they became one
    (King, A simpler minimum spanning tree verification algorithm, 1997).

    Shape:
        - rank: (b, n), place of the edge with which each label ended. Output: (b, n).
    """
    n = rank.shape[1]
    heaviest, death = torch.full_like(rank, -1), torch.full_like(rank, n)
    for chosen, label in zip(grown.chosen, grown.labels, strict=True):
        heaviest = torch.maximum(heaviest, rank.gather(1, chosen))
        # component after component, vertices ascending
        by_label = label.argsort(dim=1, stable=True)
        own, way = label.gather(1, by_label), heaviest.gather(1, by_label)
        offset = (n - own) * (n + 2)  # decreases enough to separate the minima of components
        lowest = (way + offset).cummin(1).values - offset
        met = torch.where(own[:, 1:] == own[:, :-1], torch.maximum(lowest[:, :-1], way[:, 1:]), n)
        met = torch.nn.functional.pad(met, (1, 0), value=n)
        death = torch.minimum(death, torch.empty_like(death).scatter(1, by_label, met))
    return death.argsort(dim=1, stable=True)


def _counts(grown: _Grown) -> list[int]:
    """Return the number of edges of each forest. Reads values: synchronises the device."""
    counts: list[int] = (grown.weights < torch.inf).sum(1).tolist()
    return counts


def _alike(sizes: Sequence[int]) -> list[list[int]]:
    """Group clouds to be searched together: those with the same power of two above their size."""
    groups: dict[int, list[int]] = {}
    for c, n in enumerate(sizes):
        if n:
            groups.setdefault((n - 1).bit_length(), []).append(c)
    return list(groups.values())


def _stack(weights: Tensor, sizes: Sequence[int], clouds: list[int]) -> Tensor:
    """Return the matrices of some clouds as one batch, padded with vertices without edges."""
    if have_one_size(sizes):
        return weights.view(len(sizes), sizes[0], sizes[0])
    corner, side = starts([n * n for n in sizes]), max(sizes[c] for c in clouds)
    matrices = weights.new_full((len(clouds), side, side), torch.inf)
    for matrix, c in zip(matrices, clouds, strict=True):
        n = sizes[c]
        matrix[:n, :n] = weights[corner[c] : corner[c + 1]].view(n, n)
    return matrices
