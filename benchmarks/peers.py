"""topreg next to the libraries of ``_libraries.py``; prints Markdown.

Run ``python benchmarks/peers.py`` on a quiet machine, with the ``bench`` extra installed; what is
missing is named in its column. All of it takes half an hour; ``--dimensions``, ``--sources`` and
``--sizes`` choose parts. Every cell is first tried in a child process, with a limit on time and
memory; what is fast enough is then timed in one process, where it takes turns with topreg. Taking
turns call by call, each call finds the caches as the other library left them; in blocks, as it left
them itself.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import itertools
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _clouds import KINDS, cloud
from _guard import Guard, peak_gigabytes
from _libraries import MODULES, PACKAGES, call_of_matrices, call_on, prepare, unavailable
from _report import Row, number, plot, table, write
from _timing import medians

from topreg import RipsFiltration, pairwise_distances

SIZES = [16, 32, 64, 128, 256, 512, 1024, 2048]
SECONDS, GIGABYTES = 20.0, 8.0  # what a cell may take
SLOW = 1.0  # seconds from which caches do not matter: three calls, in both tables
ONE_CALL = 5.0  # seconds from which the trial's single call is the figure
BLOCK = 5
TURNS = {"call by call": 1, f"in blocks of {BLOCK}": BLOCK}


def try_cells(guard: Guard, task: tuple[int, str, bool, str], n: int, failed: dict) -> dict:
    """For each library the seconds of one guarded call, or why it has none.

    ``failed`` remembers what went wrong for (dimension, kind, library) and at which size; neither
    that size nor larger ones are tried again, be it from points or with a gradient.
    """
    dimension, source, backward, kind = task
    cells: dict[str, float | str] = {}
    for library in MODULES:
        cells[library] = unavailable(library, dimension, source, backward)
        failure, at = failed.get((dimension, kind, library), ("", n + 1))
        if cells[library] == "" and n >= at:
            cells[library] = failure if n == at else f"{failure} (smaller n)"
        elif cells[library] == "":
            outcome = guard.run(prepare, library, kind, n, dimension, source, backward)
            cells[library] = outcome.failure or outcome.seconds
            if outcome.failure:
                failed[dimension, kind, library] = outcome.failure, n
    return cells


def measured(task: tuple[int, str, bool, str], n: int, tried: dict, seconds: float) -> list[Row]:
    """The rows of one cloud and task, one for each way to take turns.

    Each library takes turns with topreg alone; the time of topreg is that beside the fastest.
    """
    dimension, source, backward, kind = task
    points = cloud(kind, n)
    limits = {"quick": (0.0, SLOW), "slow": (SLOW, ONE_CALL)}
    names: dict[str, list[str]] = {speed: [] for speed in limits}
    for name, trial in tried.items():
        for speed, (low, high) in limits.items():
            if isinstance(trial, float) and low <= trial < high:
                names[speed].append(name)
    cells = {name: v if isinstance(v, str) else 1e3 * v for name, v in tried.items()}
    calls = {
        speed: [call_on(name, points, dimension, source, backward) for name in listed]
        for speed, listed in names.items()
    }
    cells |= zip(names["slow"], medians(calls["slow"], 0.0, 1, least=3), strict=True)
    if "topreg" not in names["quick"]:
        return [Row(turns, *task, n, cells) for turns in TURNS]
    ours = calls["quick"].pop(names["quick"].index("topreg"))
    peers = [name for name in names["quick"] if name != "topreg"]
    rows = []
    for turns, block in TURNS.items():
        pairs = [[ours, call] for call in calls["quick"]] or [[ours]]
        times = [medians(pair, seconds, block) for pair in pairs]
        quick = {name: pair[1] for name, pair in zip(peers, times, strict=False)}
        fastest = min(times, key=lambda pair: pair[-1])
        rows.append(Row(turns, *task, n, cells | quick | {"topreg": fastest[0]}))
    return rows


def peak_memory(kind: str, n: int) -> Callable[[], float]:
    """Megabytes by which dimension 1 from distances raises the peak of a process."""
    filtration = RipsFiltration(metric="precomputed")
    filtration.all_pairs(pairwise_distances(cloud(kind, 16)), 1)
    distances = pairwise_distances(cloud(kind, n))

    def call() -> float:
        before = peak_gigabytes()
        filtration.all_pairs(distances, 1)
        return 1e3 * (peak_gigabytes() - before)

    return call


def memory(cases: list[tuple[str, int]]) -> list[list[str]]:
    """Extra peak memory, each in a child of its own."""
    rows = []
    for kind, n in cases:
        with Guard(600.0, 16.0) as guard:
            outcome = guard.run(peak_memory, kind, n, keep=True)
        matrix = 4e-6 * n * n
        extra = outcome.failure or number(outcome.value)
        rows.append([kind, f"{n:,}", number(matrix), extra])
    return rows


def first_calls() -> list[list[str]]:
    """Seconds of the import and the first calls, without machine code on disk and with it."""
    code = (
        "import time, torch; start = time.perf_counter(); import topreg\n"
        "x, f = torch.randn(64, 8), topreg.RipsFiltration()\n"
        "for work in (lambda: 0, lambda: f.pairs(x), lambda: f.pairs(x, 1)):\n"
        "    work(); print(time.perf_counter() - start); start = time.perf_counter()\n"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        for name in ("first process, empty cache", "second process"):
            command = [sys.executable, "-c", code]
            run = subprocess.run(command, env=environment, capture_output=True, check=True)
            rows.append([name, *(f"{float(line):.2f}" for line in run.stdout.split())])
    return rows


def batches(seconds: float, sizes: list[int], clouds: int = 64) -> list[list[str]]:
    """Milliseconds for a batch of distance matrices: with one thread, with two, and persist0."""
    threads, rows = torch.get_num_threads(), []
    filtration = RipsFiltration(metric="precomputed")

    def with_threads(count: int, batch: torch.Tensor, dimension: int) -> None:
        torch.set_num_threads(count)
        filtration.pairs(batch, dimension)

    for kind, dimension, n in itertools.product(KINDS, (0, 1), sizes):
        batch = torch.stack([pairwise_distances(cloud(kind, n, seed)) for seed in range(clouds)])
        calls = [lambda c=c, b=batch, p=dimension: with_threads(c, b, p) for c in (1, 2)]
        why = unavailable("persist0", dimension, "distances", False)
        if not why:
            calls.append(call_of_matrices("persist0", batch))
        found = medians(calls, seconds, 1)
        peer = [number(found[2]), number(found[2] / found[1])] if not why else [why, "-"]
        times = number(found[0]), number(found[1]), number(found[0] / found[1])
        rows.append([kind, str(dimension), f"{n:,}", *times, *peer])
    torch.set_num_threads(threads)
    return rows


def topreg_alone(quick: bool, seconds: float) -> tuple[dict[str, Any], str]:
    """Memory, first calls and batches, as data and as Markdown."""
    sizes = [(kind, 128 if quick else 1024) for kind in KINDS] + [
        ("circle", 256 if quick else 2048)
    ]
    parts = {
        "Extra peak memory, dimensions 0 and 1 from distances": (
            ["cloud", "n", "the matrix, MB", "extra, MB"],
            memory(sizes),
        ),
        "First calls in a fresh process, seconds": (
            ["process", "`import topreg`", "first in dimension 0", "first in dimension 1"],
            first_calls(),
        ),
        "Batch of 64 distance matrices, forward, turns call by call": (
            [
                *("cloud", "dimension", "n", "1 thread, ms", "2 threads, ms", "times faster"),
                *("persist0, ms", "times faster than persist0"),
            ],
            batches(seconds, [64] if quick else [64, 128, 256]),
        ),
    }
    data = {title: {"head": head, "rows": rows} for title, (head, rows) in parts.items()}
    text = [f"## {title}\n\n{table(head, rows)}" for title, (head, rows) in parts.items()]
    return data, "\n\n".join(["## topreg alone", *text])


def processor() -> str:
    """Name of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def version(library: str) -> str:
    """Name and version of a library."""
    try:
        return f"{library} {importlib.metadata.version(PACKAGES.get(library, library))}"
    except importlib.metadata.PackageNotFoundError:
        return f"{library} not installed"


def header() -> str:
    """What was measured, where and how."""
    names = ["torch", "numpy", "numba", *MODULES]
    threads = torch.get_num_threads()
    kinds = "\n".join(f"- {kind}: {text}" for kind, text in KINDS.items())
    return f"""# Persistence pairs beside other libraries

{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}; {
        ", ".join(map(version, names))
    }.

Threads: {threads} in torch, hence in topreg, torch-topological and giotto-ph; ripser.py, gudhi,
redzed and scipy use one, persist0 all cores.

{kinds}

Medians in milliseconds of the public call, single precision (gudhi, redzed and scipy: double, which
they compute in). "Dimension 1" is 0 and 1 for every library. All libraries return the edges of
their pairs except ripser.py, which returns diagrams only, and scipy, a spanning tree. Backward: of
the sum of the diagrams. A cell may take {SECONDS:g} s and {GIGABYTES:g} GB (peak of its whole
process), tried in a child process; from {ONE_CALL:g} s on, that trial's single call is the figure.
Each library takes turns with topreg alone; the time of topreg is that beside the fastest of them.
From {SLOW:g} s on a library takes turns with other slow ones, three calls each, and the figure
stands in both tables.
"(smaller n)": not tried, it failed on a smaller cloud of the kind, perhaps from the other input.
"Times faster": the fastest other library's time over topreg's, with or without edges."""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=None)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seconds", type=float, default=None, help="time for each pair, 2 if left")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--sources", nargs="+", default=["distances", "points"])
    parser.add_argument("--quick", action="store_true", help="two small sizes, little time")
    options = parser.parse_args()
    sizes = options.sizes or (SIZES[:2] if options.quick else SIZES)
    seconds = options.seconds or (0.1 if options.quick else 2.0)
    top, rows, failed = header(), [], {}
    with Guard(SECONDS, GIGABYTES) as guard:
        for task in itertools.product(options.dimensions, options.sources, (False, True), KINDS):
            for n in sorted(sizes):
                tried = try_cells(guard, task, n, failed)
                rows += measured(task, n, tried, seconds)
                print(*task, n, rows[-1].cells, file=sys.stderr)
                write(options.out, top, rows, {}, "")
    rows.sort(key=lambda row: (row.dimension, row.source, row.backward, row.turns))
    print(write(options.out, top, rows, *topreg_alone(options.quick, seconds)))
    if importlib.util.find_spec("matplotlib") is None:
        print("matplotlib is not installed: no plot", file=sys.stderr)
    else:
        plot(rows, options.out)


if __name__ == "__main__":
    main()
