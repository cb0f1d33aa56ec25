"""Hard inputs with their right answers, for topreg's tests and for a table of other libraries."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from oracles import kruskal, ordered_edges, reduction, root

INF, NAN = math.inf, math.nan
HALF = math.sqrt(0.5)


@dataclass(frozen=True, eq=False)
class Case:
    """One hard input.

    Diagrams are compared in float64 within ``tolerance``, relative to the longest death: all pairs
    in dimension 0, those of positive persistence in dimension 1. ``known`` are answers in closed
    form, a check of the oracles. ``refusal`` is what the error says where there is no answer.
    """

    name: str
    make: Callable[[], torch.Tensor]
    given: str = "points"  # or "distances", or "directions": points under the cosine distance
    longest: float = INF
    tolerance: float = 1e-5
    known: dict[int, list[tuple[float, float]]] = field(default_factory=dict)
    tree: tuple[tuple[int, int], ...] = ()
    refusal: str = ""

    def matrix(self) -> torch.Tensor:
        """Distances in float64, one difference after the other; symmetric, zero diagonal."""
        x = self.make().double()
        if self.given == "distances":
            return ((x + x.T) / 2).clamp(min=0).fill_diagonal_(0)
        squares = (x[:, None] - x[None]).square().sum(2)
        return squares / 2 if self.given == "directions" else root(squares)


def _gaussian(seed, *shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def _matrix(rows, dtype=torch.float32):
    return lambda: torch.tensor(rows, dtype=dtype)


def _filled(entries, n, fill, dtype=torch.float32):
    """A symmetric matrix of one value, zero on the diagonal, with some entries replaced."""
    matrix = torch.full((n, n), fill, dtype=dtype).fill_diagonal_(0)
    for (i, j), value in entries.items():
        matrix[i, j] = matrix[j, i] = value
    return matrix


def _spoilt(i, j, value, both=False):
    """A regular hexagon's distances with one entry replaced."""
    points = _polygon(6)
    matrix = root((points[:, None] - points[None]).square().sum(2))
    matrix[i, j] = value
    if both:
        matrix[j, i] = value
    return matrix


def _spoilt_points(*coordinates):
    points = _gaussian(2, 8, 3)
    points[3, 1] = coordinates[0]
    points[5, 2] = coordinates[-1]
    return points


def _repeated():
    return _gaussian(0, 8, 3)[torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 2, 5, 2])]


def _two_clusters():
    points = 1e-2 * _gaussian(3, 40, 64, dtype=torch.float64)
    points[20:, 0] += 100
    return points.float()


def _polygon(n):
    angles = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def _integers(seed, n, width, top):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, top + 1, (n, width), generator=generator).float()


def _integer_weights(seed, n, top):
    """A tie-heavy dissimilarity without triangle inequality."""
    upper = _integers(seed, n, n, top).triu(1)
    return upper + upper.T


def _rounded():
    """A hexagon's distances with the asymmetry, diagonal and sign that rounding leaves."""
    noise = 1e-5 * _gaussian(4, 6, 6)
    return _spoilt(0, 0, 0.0).float() + noise


EIGHT = (1 - math.cos(math.pi / 4), 1 - math.cos(3 * math.pi / 4))
A, B, C = 1.0, 1 + 1e-9, 1 + 2e-9
SQUARE = {(0, 1): A, (1, 2): C, (2, 3): 1 + 3e-9, (0, 3): B}

CASES = (
    Case("11 points, 3 of them repeated", _repeated),
    Case("all points equal", lambda: torch.full((6, 3), 0.1), known={0: [(0, 0)] * 5, 1: []}),
    Case("spread 1e-2 at offset 1e4", lambda: 1e4 + 1e-2 * _gaussian(0, 40, 16)),
    Case("two tight clusters far apart", _two_clusters),
    Case("no point", lambda: torch.zeros(0, 3), known={0: [], 1: []}),
    Case("one point", lambda: torch.ones(1, 3), known={0: [], 1: []}),
    Case("two points", lambda: torch.eye(2), known={0: [(0, math.sqrt(2))], 1: []}),
    Case("three points", lambda: torch.eye(3), known={0: [(0, math.sqrt(2))] * 2, 1: []}),
    Case(
        "integer grid",
        lambda: torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)),
        known={0: [(0, 1)] * 15, 1: [(1, math.sqrt(2))] * 9},
    ),
    Case("integer points", lambda: _integers(1, 24, 3, 3)),
    Case("integer dissimilarity", lambda: _integer_weights(2, 16, 20), given="distances"),
    Case("bfloat16", lambda: _gaussian(5, 24, 8).bfloat16()),
    Case(
        "float64 distances 1, 1+1e-9, 1+2e-9",
        lambda: _filled({(0, 1): C, (0, 2): B, (1, 2): A}, 3, 0.0, torch.float64),
        given="distances",
        tolerance=1e-12,
        known={0: [(0, A), (0, B)], 1: []},
        tree=((1, 2), (0, 2)),
    ),
    Case(
        "float64 square, sides 1e-9 apart",
        lambda: _filled(SQUARE, 4, 9.0, torch.float64),
        given="distances",
        tolerance=1e-12,
        known={0: [(0, A), (0, B), (0, C)], 1: [(1 + 3e-9, 9)]},
    ),
    Case(
        "cosine, no triangle inequality",
        lambda: _polygon(8),
        given="directions",
        known={0: [(0, EIGHT[0])] * 7, 1: [EIGHT]},
    ),
    Case(
        "threshold",
        lambda: torch.cat([_polygon(12), 10 + _polygon(12)]),
        longest=1.0,
        known={0: [(0, 2 * math.sin(math.pi / 12))] * 22, 1: []},
    ),
    Case("threshold below every distance", lambda: 10 * _polygon(6), longest=1.0, known={0: []}),
    Case(
        "infinite entries: two components",
        _matrix([[0, INF, 1, INF], [INF, 0, INF, 2], [1, INF, 0, INF], [INF, 2, INF, 0]]),
        given="distances",
        known={0: [(0, 1), (0, 2)], 1: []},
    ),
    Case(
        "infinite entries: an essential cycle",
        lambda: _filled({(0, 1): 1, (1, 2): 2, (2, 3): 3, (0, 3): 4}, 4, INF),
        given="distances",
        known={0: [(0, 1), (0, 2), (0, 3)], 1: []},
    ),
    Case(
        "zero distances between points",
        _matrix([[0, 0, 2, 3], [0, 0, 2, 3], [2, 2, 0, 0], [3, 3, 0, 0]]),
        given="distances",
        known={0: [(0, 0), (0, 0), (0, 2)], 1: []},
    ),
    Case(
        "entries of -0.0",
        _matrix([[-0.0, -0.0, 1], [-0.0, 0, -0.0], [1, -0.0, 0]]),
        given="distances",
        known={0: [(0, 0)] * 2, 1: []},
        tree=((0, 1), (1, 2)),
    ),
    Case("matrix with rounding", _rounded, given="distances", tolerance=1e-4),
    Case("NaN coordinate", lambda: _spoilt_points(NAN), refusal="2 rows with NaN or infinity"),
    Case("infinite coordinate", lambda: _spoilt_points(INF), refusal="2 rows with NaN or infinity"),
    Case("infinities of both signs", lambda: _spoilt_points(INF, -INF), refusal="2 rows with NaN"),
    Case(
        "NaN distance", lambda: _spoilt(1, 3, NAN, both=True), given="distances", refusal=r"\bNaN\b"
    ),
    Case(
        "asymmetric matrix", lambda: _spoilt(1, 3, 1.5), given="distances", refusal="be symmetric"
    ),
    Case(
        "negative distance",
        lambda: _spoilt(1, 3, -1.0, both=True),
        given="distances",
        refusal="negative",
    ),
    Case(
        "non-zero diagonal",
        lambda: _spoilt(2, 2, 0.5),
        given="distances",
        refusal="zero on the diagonal",
    ),
)


@functools.cache
def expected(case: Case, dimension: int) -> tuple[torch.Tensor, int]:
    """Diagram in float64 (m, 2) and the number of essential classes, by the slow oracles."""
    matrix = case.matrix()
    if dimension == 0:
        deaths, _, elders = kruskal(matrix, case.longest)
        rows = [(0.0, float(matrix[edge])) for edge in deaths]
        return torch.tensor(rows, dtype=torch.float64).reshape(-1, 2), len(elders)
    found, stays = reduction(ordered_edges(matrix, case.longest), len(matrix))
    rows = [(float(matrix[birth]), float(matrix[death])) for birth, death in found]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, 2), len(stays)


def wrong(case: Case, dimension: int, diagram: torch.Tensor, essential: int) -> str:
    """What is wrong with an answer, in a few words; empty if it is right."""
    right, stays = expected(case, dimension)
    if bool(diagram.isnan().any()):
        return "NaN in the diagram"
    bound = case.tolerance * float(right.max()) if len(right) else 0.0
    if dimension > 0:
        right, diagram = (d[d[:, 1] - d[:, 0] > bound] for d in (right, diagram))
    if len(diagram) != len(right):
        return f"{len(diagram)} of {len(right)} pairs"
    if essential != stays:
        return f"{essential} of {stays} essential"
    off = (diagram.sort(dim=0).values - right.sort(dim=0).values).abs()
    worst = float(off.max()) if len(off) else 0.0
    return f"off by {worst:.1g}" if worst > bound else ""
