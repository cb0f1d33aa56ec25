"""Dimension 0 next to persist0, giotto-ph and ``torch.cdist``; prints Markdown.

Run ``python benchmarks/dimension0.py`` on a quiet machine, with the ``bench`` extra installed. All
columns of a row are timed in one process and take turns call by call, so that each call finds the
caches as another library left them. Figures are medians of the public call. "Times faster" is the
median of the ratios of calls that follow each other.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable

import torch
from _libraries import PACKAGES, call_of_matrices, call_on, unavailable
from _report import number, table
from _timing import turns
from torch import Tensor
from torch.nn.functional import normalize

from topreg import RipsFiltration, pairwise_distances

PEERS = ("persist0", "giotto-ph")
OF_MATRICES = RipsFiltration(metric="precomputed")


def unit_vectors(n: int, d: int, seed: int = 0) -> Tensor:
    """Normalised Gaussians."""
    generator = torch.Generator().manual_seed(n + 7919 * seed)
    return normalize(torch.randn(n, d, generator=generator), dim=1)


def row(calls: list[Callable[[], object]], seconds: float) -> list[str]:
    """Milliseconds of each call, then how many times faster the first is than each other one."""
    for call in calls:
        call()
    times = turns(calls, seconds)
    ratios = [[peer / own for own, peer in zip(times[0], t, strict=True)] for t in times[1:]]
    return [number(statistics.median(column)) for column in (*times, *ratios)]


def from_distances(sizes: list[int], seconds: float) -> str:
    """Pairs from a distance matrix."""
    peers = [peer for peer in PEERS if not unavailable(peer, 0, "distances", False)]
    head = ["n", *(f"{name}, ms" for name in ("topreg", "without checks", *peers))]
    head += [f"{name} / topreg" for name in ("without checks", *peers)]
    rows, without_checks = [], RipsFiltration(metric="precomputed", check_values=False)
    for n in sizes:
        points = unit_vectors(n, 512)
        distances = pairwise_distances(points)
        calls = [
            lambda d=distances: OF_MATRICES.pairs(d),
            lambda d=distances: without_checks.pairs(d),
            *(call_on(peer, points, 0, "distances", False) for peer in peers),
        ]
        rows.append([f"{n:,}", *row(calls, seconds)])
    return f"Pairs from a distance matrix\n\n{table(head, rows)}"


def from_batches(sizes: list[int], seconds: float) -> str:
    """Pairs of 64 distance matrices."""
    missing = unavailable("persist0", 0, "distances", False)
    if missing:
        return f"Pairs of 64 distance matrices: persist0 {missing}"
    head, rows = ["n", "topreg, ms", "persist0, ms", "persist0 / topreg"], []
    for n in sizes:
        batch = torch.stack([pairwise_distances(unit_vectors(n, 512, c)) for c in range(64)])
        calls = [lambda b=batch: OF_MATRICES.pairs(b), call_of_matrices("persist0", batch)]
        rows.append([f"{n:,}", *row(calls, seconds)])
    return f"Pairs of 64 distance matrices\n\n{table(head, rows)}"


def from_points(sizes: list[int], seconds: float) -> str:
    """Pairs from points with 1,024 coordinates, and the two steps that they could be."""
    head = ["n", "topreg, ms", "`torch.cdist` and our tree, ms", "the two / topreg"]
    rows, filtration = [], RipsFiltration()
    for n in sizes:
        x = unit_vectors(n, 1024)
        distances = pairwise_distances(x)

        def two_steps(x: Tensor = x, distances: Tensor = distances) -> None:
            torch.cdist(x, x)  # whose diagonal is not zero: no distance matrix
            OF_MATRICES.pairs(distances)

        rows.append([f"{n:,}", *row([lambda x=x: filtration.pairs(x), two_steps], seconds)])
    return f"Pairs from points with 1,024 coordinates\n\n{table(head, rows)}"


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
    return f"`import topreg` after `import torch`: median {1e3 * statistics.median(runs):.0f} ms"


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each row")
    seconds = parser.parse_args().seconds
    names = ("topreg", "torch", *(PACKAGES.get(peer, peer) for peer in PEERS))
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    parts = [
        f"{platform.machine()}, {torch.get_num_threads()} threads; {versions}",
        from_distances([16, 32, 64, 128, 256, 512, 1024, 2048], seconds),
        from_batches([64, 128, 256], seconds),
        from_points([256, 512, 1024, 2048], seconds),
        import_time(5),
    ]
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
