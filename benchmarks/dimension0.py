"""Dimension 0 next to persist0, giotto-ph and ``torch.cdist``.

Run ``python benchmarks/dimension0.py`` on a quiet machine, with the ``bench`` extra installed. It
prints Markdown and writes it, with the numbers as JSON, to ``benchmarks/results``. All
columns of a row are timed in one process and take turns call by call, so that each call finds the
caches as another library left them. Figures are medians of the public call. "Times faster" is the
median of the ratios of calls that follow each other.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from _libraries import PACKAGES, call_of_matrices, call_on, unavailable
from _report import number, table
from _timing import turns
from torch import Tensor
from torch.nn.functional import normalize

from topreg import RipsFiltration, pairwise_distances

PEERS = ("persist0", "giotto-ph")
FROM_POINTS, OF_MATRICES = RipsFiltration(), RipsFiltration(metric="precomputed")
UNCHECKED = RipsFiltration(metric="precomputed", check_values=False)
RESULTS = Path(__file__).parent / "results"


def unit_vectors(n: int, d: int, seed: int = 0) -> Tensor:
    """Normalised Gaussians."""
    generator = torch.Generator().manual_seed(n + 7919 * seed)
    return normalize(torch.randn(n, d, generator=generator), dim=1)


def medians(calls: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Milliseconds of each call, then how many times the first one's time each other takes."""
    for call in calls.values():
        call()
    first, *others = calls
    times = dict(zip(calls, turns(list(calls.values()), seconds), strict=True))
    ratios = {
        f"{name} / {first}": [b / a for a, b in zip(times[first], times[name], strict=True)]
        for name in others
    }
    columns = {f"{name}, ms": column for name, column in times.items()} | ratios
    return {name: statistics.median(column) for name, column in columns.items()}


def from_distances(n: int, seconds: float) -> dict[str, float]:
    """Pairs from a distance matrix."""
    points = unit_vectors(n, 512)
    distances = pairwise_distances(points)
    peers = [peer for peer in PEERS if not unavailable(peer, 0, "distances", False)]
    calls = {
        "topreg": lambda: OF_MATRICES.pairs(distances),
        "without checks": lambda: UNCHECKED.pairs(distances),
    }
    calls |= {peer: call_on(peer, points, 0, "distances", False) for peer in peers}
    return medians(calls, seconds)


def from_batches(n: int, seconds: float) -> dict[str, float]:
    """Pairs of 64 distance matrices."""
    batch = torch.stack([pairwise_distances(unit_vectors(n, 512, c)) for c in range(64)])
    calls: dict[str, Callable[[], object]] = {"topreg": lambda: OF_MATRICES.pairs(batch)}
    if not unavailable("persist0", 0, "distances", False):
        calls["persist0"] = call_of_matrices("persist0", batch)
    return medians(calls, seconds)


def from_points(n: int, seconds: float) -> dict[str, float]:
    """Pairs from points with 1,024 coordinates, and the two steps that they could be."""
    x = unit_vectors(n, 1024)
    distances = pairwise_distances(x)

    def two_steps() -> None:
        torch.cdist(x, x)  # whose diagonal is not zero: no distance matrix
        OF_MATRICES.pairs(distances)

    calls = {"topreg": lambda: FROM_POINTS.pairs(x), "cdist and our tree": two_steps}
    return medians(calls, seconds)


TABLES = {
    "Pairs from a distance matrix": (from_distances, [16, 32, 64, 128, 256, 512, 1024, 2048]),
    "Pairs of 64 distance matrices": (from_batches, [64, 128, 256]),
    "Pairs from points with 1,024 coordinates": (from_points, [256, 512, 1024, 2048]),
}


def import_time(repeats: int) -> str:
    """What ``import topreg`` adds to ``import torch``, in fresh processes."""
    code = (
        "import time, torch; start = time.perf_counter(); import topreg; "
        "print(time.perf_counter() - start)"
    )
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(repeats)
    ]
    return f"`import topreg` after `import torch`: median {1e3 * statistics.median(runs):.0f} ms."


def main() -> None:
    """Print all tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each row")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    given = parser.parse_args()
    names = ("topreg", "torch", *(PACKAGES.get(peer, peer) for peer in PEERS))
    versions = ", ".join(f"{name} {version_of(name)}" for name in names)
    rows = {
        title: {n: measure(n, given.seconds) for n in sizes}
        for title, (measure, sizes) in TABLES.items()
    }
    parts = [
        "# Dimension 0",
        "Written by `python benchmarks/dimension0.py`. Medians of the whole public call; the "
        "libraries take turns call by call, in one process. The last columns are medians of the "
        "ratios of calls that follow each other.",
        f"{platform.machine()}, {torch.get_num_threads()} threads; Python "
        f"{platform.python_version()}; {versions}.",
    ]
    for title, found in rows.items():
        head = ["n", *next(iter(found.values()))]
        body = [[f"{n:,}", *map(number, columns.values())] for n, columns in found.items()]
        parts.append(f"## {title}\n\n{table(head, body)}")
    text = "\n\n".join([*parts, import_time(5)]) + "\n"
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "dimension0.json").write_text(json.dumps(rows, indent=1) + "\n")
    (given.out / "dimension0.md").write_text(text)
    print(text)


def version_of(package: str) -> str:
    """The version of a package, if it is installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    main()
