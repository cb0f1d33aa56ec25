"""Dimension 0 beside giotto-ph and beside one matrix product; prints Markdown.

Run ``python benchmarks/dimension0.py`` on a quiet machine, with the ``tda`` extra installed. All
columns of a row are timed in one process; figures are medians of the public call. Taking turns call
by call, each call finds the caches as another library left them; in blocks, as it left them itself.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import statistics
import subprocess
import sys

import torch
from _timing import medians
from torch.nn.functional import normalize

from topreg import RipsFiltration, pairwise_distances


def unit_vectors(n: int, d: int) -> torch.Tensor:
    """Normalised Gaussians."""
    return normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(n)), dim=1)


def from_distances(sizes: list[int], seconds: float, block: int) -> None:
    """Pairs from a distance matrix, against giotto-ph with edges."""
    import gph

    order = "call by call" if block == 1 else f"blocks of {block} calls"
    print(
        f"From distances, taking turns: {order}\n\n"
        "| n | topreg, ms | without checks, ms | giotto-ph, ms | times faster | without checks |\n"
        "| ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    filtration = RipsFiltration(metric="precomputed")
    without_checks = RipsFiltration(metric="precomputed", check_values=False)
    for n in sizes:
        distances = pairwise_distances(unit_vectors(n, 512))
        array = distances.numpy()
        ours, unchecked, peer = medians(
            [
                lambda d=distances: filtration.pairs(d),
                lambda d=distances: without_checks.pairs(d),
                lambda a=array: gph.ripser_parallel(
                    a,
                    metric="precomputed",
                    maxdim=0,
                    return_generators=True,
                    n_threads=torch.get_num_threads(),
                ),
            ],
            seconds,
            block,
        )
        print(
            f"| {n:,} | {ours:.3f} | {unchecked:.3f} | {peer:.1f} "
            f"| {peer / ours:.1f} | {peer / unchecked:.1f} |"
        )


def from_points(sizes: list[int], seconds: float) -> None:
    """Pairs from points with 1,024 coordinates, against the product of the points."""
    print(
        "From points, 1,024 coordinates, taking turns: call by call\n\n"
        "| n | topreg, ms | without checks, ms | `x @ x.T`, ms | ratio | without checks |\n"
        "| ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    filtration, without_checks = RipsFiltration(), RipsFiltration(check_values=False)
    for n in sizes:
        x = unit_vectors(n, 1024)
        ours, unchecked, product = medians(
            [
                lambda x=x: filtration.pairs(x),
                lambda x=x: without_checks.pairs(x),
                lambda x=x: x @ x.T,
            ],
            seconds,
            block=1,
        )
        print(
            f"| {n:,} | {ours:.2f} | {unchecked:.2f} | {product:.2f} "
            f"| {ours / product:.2f} | {unchecked / product:.2f} |"
        )


def import_time(repeats: int) -> None:
    """What ``import topreg`` adds to ``import torch``, in fresh processes."""
    code = (
        "import time, torch; start = time.perf_counter(); import topreg; "
        "print(time.perf_counter() - start)"
    )
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(repeats)
    ]
    print(f"`import topreg` after `import torch`: median {1e3 * statistics.median(runs):.0f} ms")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each row")
    seconds = parser.parse_args().seconds
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("topreg", "torch", "giotto-ph")
    )
    print(f"{platform.machine()}, {torch.get_num_threads()} threads; {versions}\n")
    for block in (20, 1):
        from_distances([256, 512, 1024, 2048], seconds, block)
        print()
    from_points([512, 1024, 2048], seconds)
    print()
    import_time(5)


if __name__ == "__main__":
    main()
