"""What each installed library answers to the hard inputs of the tests; prints Markdown.

Run ``python benchmarks/torture.py`` with the ``tda`` extra and ripser installed. Every question
is asked in a child process with a limit on its time. The right answers are those of the slow
oracles in ``tests``; pairs of no length count in dimension 0 and are left out in dimension 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from _guard import Guard
from _libraries import MODULES
from _report import table

from topreg import RipsFiltration

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from torture_cases import CASES, Case, expected, wrong

Answer = Callable[[], tuple[torch.Tensor, int]]

SECONDS = 20.0
LEGEND = """"right": the right diagram, or an error where the input has no answer. "7 of 10 pairs":
found and expected; in dimension 0, most libraries leave out pairs of no length by design. "off by":
the largest wrong birth or death. "no error": pairs where there is no answer. "-":
the library does not take this input."""


def answers(case: Case, guard: Guard, libraries: list[str]) -> dict[str, str]:
    """What each library makes of a case, in a few words."""
    return {library: _both(case, guard, library) for library in libraries}


def _both(case: Case, guard: Guard, library: str) -> str:
    """The verdicts on dimensions 0 and 1 as one text."""
    zero, one = (_verdict(case, guard, library, dimension) for dimension in (0, 1))
    if one == "-" or zero == one:
        return zero
    if zero == "right":
        return f"{one} in dimension 1"
    return f"{zero} in dimension 0" + ("" if one == "right" else f", {one} in dimension 1")


def _verdict(case: Case, guard: Guard, library: str, dimension: int) -> str:
    """The verdict on one dimension."""
    if library == "scipy" and (dimension > 0 or case.given == "points"):
        return "-"
    if library not in ("topreg", "torch-topological") and case.make().dtype == torch.bfloat16:
        return "-"
    outcome = guard.run(ask, library, CASES.index(case), dimension, keep=True)
    if outcome.failure.startswith("error") and case.refusal:
        return "right"
    return outcome.failure or outcome.value


def ask(library: str, number: int, dimension: int) -> Callable[[], str]:
    """A question to one library, to be put in a child process."""
    case = CASES[number]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = ASK[library](case, dimension)
    if not case.refusal:
        expected(case, dimension)

    def call() -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            diagram, essential = answer()
        if case.refusal:
            return "no error"
        return wrong(case, dimension, diagram, essential) or "right"

    return call


def ask_gradient(library: str, dimension: int) -> Callable[[], str]:
    """Whether the gradient at repeated points is finite."""
    x = CASES[0].make().requires_grad_()

    def call() -> str:
        if library == "topreg":
            filtration = RipsFiltration()
            diagram = filtration.diagram(filtration.pairs(x, dimension), x)
        else:
            from torch_topological.nn import VietorisRipsComplex

            diagram = VietorisRipsComplex(dim=dimension)(x)[dimension].diagram
        diagram.sum().backward()
        return "right" if x.grad is not None and bool(x.grad.isfinite().all()) else "not finite"

    return call


def gradient(guard: Guard, libraries: list[str]) -> dict[str, str]:
    """The row on the gradient at repeated points."""
    row = dict.fromkeys(libraries, "-")
    for library in ("topreg", "torch-topological"):
        if library in row:
            outcomes = [guard.run(ask_gradient, library, p, keep=True) for p in (0, 1)]
            texts = dict.fromkeys(outcome.failure or outcome.value for outcome in outcomes)
            row[library] = ", ".join(texts)
    return row


def _input(case: Case) -> tuple[torch.Tensor, bool]:
    """Points, or distances: of directions too, since the cosine is not every library's metric."""
    if case.given == "directions":
        return case.matrix(), True
    return case.make(), case.given == "distances"


def _split(intervals: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Finite pairs, and how many are infinite."""
    intervals = intervals.double().reshape(-1, 2)
    finite = intervals[:, 1] != math.inf
    return intervals[finite], int((~finite).sum())


def _topreg(case: Case, dimension: int) -> Answer:
    metric = {"points": "euclidean", "distances": "precomputed", "directions": "cosine"}[case.given]
    filtration = RipsFiltration(metric=metric, max_edge_length=case.longest)
    x = case.make()

    def answer() -> tuple[torch.Tensor, int]:
        pairs = filtration.pairs(x, dimension)
        return filtration.diagram(pairs, x).double(), len(pairs.essential_edges)

    return answer


def _giotto_ph(case: Case, dimension: int) -> Answer:
    from gph import ripser_parallel

    x, distances = _input(case)
    metric = "precomputed" if distances else "euclidean"
    options = {"metric": metric, "maxdim": dimension, "thresh": case.longest}
    return lambda: _split(torch.as_tensor(ripser_parallel(x.numpy(), **options)["dgms"][dimension]))


def _ripser(case: Case, dimension: int) -> Answer:
    from ripser import ripser

    x, distances = _input(case)
    options = {"distance_matrix": distances, "maxdim": dimension, "thresh": case.longest}
    return lambda: _split(torch.as_tensor(ripser(x.numpy(), **options)["dgms"][dimension]))


def _gudhi(case: Case, dimension: int) -> Answer:
    import gudhi

    x, distances = _input(case)
    name = "distance_matrix" if distances else "points"
    options = {name: x.double().numpy(), "max_edge_length": case.longest}

    def answer() -> tuple[torch.Tensor, int]:
        tree = gudhi.RipsComplex(**options).create_simplex_tree(max_dimension=dimension + 1)
        tree.compute_persistence(
            homology_coeff_field=2,
            min_persistence=-1,
            persistence_dim_max=tree.dimension() <= dimension,  # nothing above was cut off
        )
        return _split(torch.as_tensor(tree.persistence_intervals_in_dimension(dimension)))

    return answer


def _torch_topological(case: Case, dimension: int) -> Answer:
    from torch_topological.nn import VietorisRipsComplex

    x, distances = _input(case)
    layer = VietorisRipsComplex(dim=dimension, threshold=case.longest, keep_infinite_features=True)
    return lambda: _split(layer(x, treat_as_distances=distances)[dimension].diagram)


def _scipy(case: Case, dimension: int) -> Answer:
    from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

    x, _ = _input(case)

    def answer() -> tuple[torch.Tensor, int]:
        tree = minimum_spanning_tree(x.double().numpy())
        deaths = torch.as_tensor(tree.data, dtype=torch.float64)
        components, _ = connected_components(tree, directed=False)
        return torch.stack([torch.zeros_like(deaths), deaths], dim=1), int(components)

    return answer


ASK = {
    "topreg": _topreg,
    "giotto-ph": _giotto_ph,
    "ripser.py": _ripser,
    "gudhi": _gudhi,
    "torch-topological": _torch_topological,
    "scipy": _scipy,
}


def main() -> None:
    """Ask, print and write."""
    from peers import version

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    out = parser.parse_args().out
    libraries = [name for name in ASK if importlib.util.find_spec(MODULES[name]) is not None]
    rows = {}
    with Guard(SECONDS) as guard:
        for case in CASES:
            rows[case.name] = answers(case, guard, libraries)
        rows["gradient at repeated points"] = gradient(guard, libraries)
    versions = ", ".join(map(version, libraries))
    body = [[name, *row.values()] for name, row in rows.items()]
    text = f"# Hard inputs\n\n{versions}.\n\n{LEGEND}\n\n{table(['input', *libraries], body)}"
    out.mkdir(parents=True, exist_ok=True)
    (out / "torture.md").write_text(text + "\n")
    record = {"versions": versions, "answers": rows}
    (out / "torture.json").write_text(json.dumps(record, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
