"""The slow and obvious versions, and GUDHI."""

import itertools
import math
import warnings

import numpy as np
import torch


def root(squares):
    """Correctly rounded square roots: torch's are one unit too low or high on some processors."""
    return torch.as_tensor(np.sqrt(squares.numpy()))


def kruskal(weights, longest=math.inf):
    """Death edges, birth vertices and smallest vertices of components, by sorting every edge.

    Edges in the order (weight, i, j), i < j. At a merge the component whose smallest vertex is
    larger dies, and that vertex is the birth vertex. Infinite or too long edges do not exist.
    """
    weights = weights.tolist()
    n = len(weights)
    edges = sorted((weights[i][j], i, j) for i in range(n) for j in range(i + 1, n))
    component = {v: {v} for v in range(n)}
    deaths, births = [], []
    for weight, i, j in edges:
        if weight <= longest and weight < math.inf and component[i] is not component[j]:
            births.append(max(min(component[i]), min(component[j])))
            deaths.append((i, j))
            merged = component[i] | component[j]
            component |= dict.fromkeys(merged, merged)
    return deaths, births, sorted({min(members) for members in component.values()})


def gudhi_dimension_0(distances):
    """GUDHI's death edges as a set of (i, j), i < j, and its sorted deaths, for a matrix."""
    with warnings.catch_warnings():
        # GUDHI looks for array-API packages at import and may meet their deprecation warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        import gudhi
    complex_ = gudhi.RipsComplex(distance_matrix=distances.double().numpy())
    tree = complex_.create_simplex_tree(max_dimension=1)
    tree.compute_persistence(homology_coeff_field=2, min_persistence=-1)
    generators = tree.flag_persistence_generators()[0]
    edges = {(int(small), int(large)) for _, large, small in generators}
    intervals = tree.persistence_intervals_in_dimension(0)
    return edges, sorted(float(death) for _, death in intervals if death < math.inf)


def _vector(points, edge):
    i, j = edge
    return [b - a for a, b in zip(points[i], points[j], strict=True)]


def _dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def _cosine(a, b, eps):
    """Cosine, or None if a vector is no longer than ``eps``."""
    lengths = math.sqrt(_dot(a, a)), math.sqrt(_dot(b, b))
    return None if min(lengths) <= eps else _dot(a, b) / (lengths[0] * lengths[1])


def tracks(points, pairs):
    """Equation 4, one class at a time."""
    rows = []
    for birth, death in zip(pairs.birth_edges.tolist(), pairs.death_edges.tolist(), strict=True):
        death_vector = _vector(points.tolist(), death)
        birth_vector = _vector(points.tolist(), birth)
        rows.append([d - b for d, b in zip(death_vector, birth_vector, strict=True)])
    return torch.tensor(rows, dtype=points.dtype).reshape(len(rows), points.shape[1])


def track_coincidence(source, target, pairs, *, undefined="skip", eps=1e-8):
    """Equation 5, one class at a time; 0 if none is counted."""
    cosines = []
    for a, b in zip(tracks(source, pairs).tolist(), tracks(target, pairs).tolist(), strict=True):
        cosine = _cosine(a, b, eps)
        if cosine is not None:
            cosines.append(cosine)
        elif undefined == "zero":
            cosines.append(0.0)
    return 1 - math.fsum(cosines) / len(cosines) if cosines else 0.0


def deviating_perturbation(
    source,
    target,
    labels,
    pairs,
    *,
    related="endpoints",
    match_norms=False,
    undefined="skip",
    eps=1e-8,
):
    """Equation 6 on one cloud, one sample and one relative at a time; 0 without a relative."""
    x, t, labels = source.tolist(), target.tolist(), labels.tolist()
    if match_norms:
        x = [
            _at_norm(row, math.sqrt(_dot(like, like)), eps) for row, like in zip(x, t, strict=True)
        ]
    proper = [(i, j) for i, j in pairs.birth_edges.tolist() if i != j]
    endpoints = sorted({v for edge in [*pairs.death_edges.tolist(), *proper] for v in edge})
    candidates = endpoints if related == "endpoints" else range(len(x))
    terms = []
    for i in endpoints:
        relatives = [k for k in candidates if k != i and labels[k] == labels[i]]
        if not relatives:
            terms += [0.0] if undefined == "zero" else []
            continue
        own = [a - b for a, b in zip(x[i], t[i], strict=True)]
        total = 0.0
        for k in relatives:
            other = [a - b for a, b in zip(x[k], t[i], strict=True)]
            total += _cosine(own, other, eps) or 0.0
        terms.append(1 - total / len(relatives))
    return math.fsum(terms) / len(terms) if terms else 0.0


def _at_norm(row, length, eps):
    own = math.sqrt(_dot(row, row))
    return row if own <= eps else [value * length / own for value in row]


def homology_consistency(
    source, target, labels, pairs, *, perturbation_weight, undefined="skip", **options
):
    """Equation 7 on one cloud."""
    coincidence = sum(track_coincidence(source, target, p, undefined=undefined) for p in pairs)
    (of_zero,) = (p for p in pairs if p.dimension == 0)
    perturbation = deviating_perturbation(
        source, target, labels, of_zero, undefined=undefined, **options
    )
    return coincidence + perturbation_weight * perturbation


def ordered_edges(weights, longest=math.inf):
    """Edges that exist, in the order (weight, i, j), i < j."""
    n, rows = len(weights), weights.tolist()
    edges = sorted((rows[i][j], i, j) for i in range(n) for j in range(i + 1, n))
    return [(i, j) for weight, i, j in edges if weight <= longest and weight < math.inf]


def reduction(edges, n, dimension=1):
    """Birth and death edges, and essential edges, of a flag filtration from its boundary matrix.

    ``edges`` come in their order; a simplex enters with its last edge, a vertex before all. Columns
    are reduced from left to right over Z/2. Pairs of one edge with itself are left out. Sorted by
    (death, birth).
    """
    rank = {edge: number for number, edge in enumerate(edges)}
    entry = {}
    for size in range(1, dimension + 3):
        for simplex in itertools.combinations(range(n), size):
            ranks = [rank.get(edge, math.inf) for edge in itertools.combinations(simplex, 2)]
            if max(ranks, default=-1) < math.inf:
                entry[simplex] = max(ranks, default=-1)
    order = sorted(entry, key=lambda simplex: (entry[simplex], len(simplex), simplex))
    place = {simplex: number for number, simplex in enumerate(order)}
    columns, creators = {}, []
    for number, simplex in enumerate(order):
        faces = itertools.combinations(simplex, len(simplex) - 1) if len(simplex) > 1 else ()
        column = {place[face] for face in faces}
        while column and max(column) in columns:
            column ^= columns[max(column)][1]
        if column:
            columns[max(column)] = number, column
        elif len(simplex) == dimension + 1:
            creators.append(number)
    stays = [edges[entry[order[c]]] for c in creators if c not in columns]
    deaths = [(entry[order[columns[c][0]]], entry[order[c]]) for c in creators if c in columns]
    return [(edges[b], edges[d]) for d, b in sorted(deaths) if b != d], stays


def gudhi_of_edges(edges, n, dimension):
    """The same through GUDHI over Z/2, filtered by the rank of each edge."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import gudhi
    tree = gudhi.SimplexTree()
    for vertex in range(n):
        tree.insert([vertex], 0.0)
    for number, edge in enumerate(edges):
        tree.insert(list(edge), 1.0 + number)
    tree.expansion(dimension + 1)
    tree.compute_persistence(homology_coeff_field=2, min_persistence=0, persistence_dim_max=True)
    intervals = tree.persistence_intervals_in_dimension(dimension).reshape(-1, 2).tolist()
    finite = sorted((death, birth) for birth, death in intervals if death < math.inf)
    pairs = [(edges[int(birth) - 1], edges[int(death) - 1]) for death, birth in finite]
    stays = sorted(birth for birth, death in intervals if death == math.inf)
    return pairs, [edges[int(birth) - 1] for birth in stays]
