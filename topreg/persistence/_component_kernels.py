"""Components of a growing graph and the elder rule, compiled. Imported on first use (numba)."""

from __future__ import annotations

from topreg._compiled import compiled


@compiled
def root(parent, vertex):
    """Return the root of a vertex's component, by path halving."""
    while parent[vertex] != vertex:
        parent[vertex] = parent[parent[vertex]]
        vertex = parent[vertex]
    return vertex


@compiled
def join(parent, one, other):
    """Join two vertices' components; return the larger of their smallest vertices, -1 if same."""
    one, other = root(parent, one), root(parent, other)
    if one == other:
        return -1
    parent[max(one, other)] = min(one, other)
    return max(one, other)


@compiled
def elder_rule(low_ends, high_ends, parent, births):
    """Walk the sorted edges; at a merge the component whose smallest vertex is larger dies."""
    for edge in range(low_ends.size):
        births[edge] = join(parent, low_ends[edge], high_ends[edge])
