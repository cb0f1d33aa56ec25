"""Positions of the branches of a merge tree, such that none crosses another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from topreg.plot._arguments import Array


class Forest(NamedTuple):
    """Leaves and merges of a merge tree; the k-th edge makes node n + k.

    Attributes:
        leaves: Vertices from left to right.
        joined: The two nodes that each edge joins.
        roots: Nodes that are never joined.
    """

    leaves: list[int]
    joined: list[tuple[int, int]]
    roots: list[int]


def forest(vertices: int, edges: Sequence[Sequence[int]]) -> Forest:
    """Join components edge by edge; the one with the smaller first vertex is on the left."""
    parent, node, last = (list(range(vertices)) for _ in range(3))
    following = [-1] * vertices
    joined: list[tuple[int, int]] = []
    for i, j in edges:
        left, right = sorted((_first(parent, i), _first(parent, j)))
        if left == right:
            raise ValueError(
                f"`pairs` should join different components. Got an edge ({i}, {j}) within one."
            )
        joined.append((node[left], node[right]))
        parent[right], node[left] = left, vertices + len(joined) - 1
        following[last[left]], last[left] = right, last[right]
    firsts = [v for v in range(vertices) if parent[v] == v]
    leaves: list[int] = []
    for vertex in firsts:
        while vertex >= 0:
            leaves.append(vertex)
            vertex = following[vertex]
    return Forest(leaves, joined, [node[v] for v in firsts])


def brackets(tree: Forest, births: Array, deaths: Array) -> tuple[Array, Array]:
    """Return the corners (m, 4, 2) of each merge, from left to right, and places (r, 2) of roots.

    Leaves are at 0, 1, ... and a merge is in the middle of the two nodes that it joins.
    """
    count = len(tree.leaves)
    place = np.empty(count + len(tree.joined))
    place[tree.leaves] = np.arange(count)
    for number, (left, right) in enumerate(tree.joined, count):
        place[number] = (place[left] + place[right]) / 2
    height = np.concatenate([births, deaths])
    lefts, rights = np.array(tree.joined, dtype=np.int64).reshape(-1, 2).T
    x = np.stack([place[lefts], place[lefts], place[rights], place[rights]], 1)
    y = np.stack([height[lefts], deaths, deaths, height[rights]], 1)
    return np.stack([x, y], 2), np.stack([place[tree.roots], height[tree.roots]], 1)


def _first(parent: list[int], vertex: int) -> int:
    """Return the first vertex of a component; halve the path to it for the next search."""
    while parent[vertex] != vertex:
        parent[vertex] = parent[parent[vertex]]
        vertex = parent[vertex]
    return vertex
