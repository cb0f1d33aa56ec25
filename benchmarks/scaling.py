"""Exact trees of large clouds: time and memory over n, and two processes beside one.

Run ``python benchmarks/scaling.py`` on a quiet machine with 4 GB; it takes a quarter of an hour and
writes ``results/scaling.json``, from which ``python benchmarks/scaling_page.py`` makes the page.
Each pass over tiles that serves as a measure is timed in the process of the tree beside it.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from _clouds import cloud
from _guard import peak_gigabytes

from topreg import RipsFiltration
from topreg.distributed import minimum_spanning_tree

OUT = Path(__file__).parent / "results" / "scaling.json"
SIZES = [(1_000, 512), (2_000, 512), (5_000, 512), (10_000, 512), (20_000, 512), (50_000, 512)]
SIZES += [(100_000, 128)]
RANKED = 50_000  # points of the comparison of processes
ROWS, NEAREST = 2048, 16  # the measure: tiles of so many rows, so many nearest of each


def points_of(kind: str, n: int, d: int) -> torch.Tensor:
    """A cloud of the benchmarks; ``d`` of its coordinates."""
    return cloud(kind, n)[:, :d].contiguous()


def one_pass(points: torch.Tensor) -> None:
    """Distances and the nearest of each row, tile by tile; nothing is kept."""
    squares = points.square().sum(1)
    out = points.new_empty(ROWS, len(points))
    for rows in points.split(ROWS):
        tile = out[: len(rows)]
        torch.addmm(squares[None], rows, points.T, alpha=-2, out=tile)
        tile.topk(NEAREST, largest=False)


def seconds(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def forget_peak() -> None:
    """Let the peak of resident memory start anew, where the system can."""
    with Path("/proc/self/clear_refs").open("w") as file:
        file.write("5")


def measured(kind: str, n: int, d: int, repeats: int) -> dict[str, Any]:
    """Medians of the tree and of the pass, which take turns; extra memory of the first tree."""
    RipsFiltration(engine="tiled").pairs(points_of("sphere", 500, d))  # compiles
    points, passes, trees = points_of(kind, n, d), [], []
    forget_peak()
    before = peak_gigabytes()
    with progress_bar(f"{kind} {n:,} x {d}") as told:
        filtration = RipsFiltration(engine="tiled", progress=told)
        filtration.pairs(points)
        extra = peak_gigabytes() - before
        for _ in range(repeats):
            passes.append(seconds(lambda: one_pass(points)))
            trees.append(seconds(lambda: filtration.pairs(points)))
    tree, measure = statistics.median(trees), statistics.median(passes)
    return {
        "kind": kind,
        "n": n,
        "d": d,
        "repeats": repeats,
        "tree": tree,
        "pass": measure,
        "ratio": statistics.median(t / p for t, p in zip(trees, passes, strict=True)),
        "gigabytes": extra,
    }


def in_a_fresh_process(call: Callable[..., Any], *arguments: object) -> Any:
    """What a call returns in a process of its own, whose memory nothing has touched."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(call, *arguments).result()


class progress_bar:
    """A bar for each stage of a search, by rich."""

    def __init__(self, title: str) -> None:
        from rich.progress import Progress

        self._bars = Progress(transient=True)
        self._title = title
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Callable[[str, int, int], None]:
        self._bars.start()
        return self._tell

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _tell(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(f"{self._title}, {stage}")
        self._bars.update(self._tasks[stage], completed=done, total=total)


def serve(rank: int, ranks: int, threads: int, store: str, kind: str, pipe: Any) -> None:
    """One rank: a tree whenever it is asked for, until the pipe closes."""
    torch.set_num_threads(threads)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=ranks,
        timeout=datetime.timedelta(minutes=10),
    )
    points = points_of(kind, RANKED, 512)
    mine = points[RANKED * rank // ranks : RANKED * (rank + 1) // ranks]
    while pipe.recv():
        start = time.perf_counter()
        edges = minimum_spanning_tree(mine)
        pipe.send((time.perf_counter() - start, edges))


def by_processes(kind: str, repeats: int) -> dict[str, Any]:
    """Two gloo processes of one thread beside one process of two threads, taking turns."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[int, list[Any]] = {}
    for ranks in (1, 2):
        store = tempfile.mkdtemp() + "/store"
        pipes[ranks] = []
        for rank in range(ranks):
            own, end = context.Pipe()
            task = (rank, ranks, 2 // ranks, store, kind, end)
            context.Process(target=serve, args=task, daemon=True).start()
            pipes[ranks].append(own)
    times: dict[int, list[float]] = {1: [], 2: []}
    edges = []
    for turn in range(repeats + 1):  # the first one compiles
        for ranks, ends in pipes.items():
            for pipe in ends:
                pipe.send(True)
            answers = [pipe.recv() for pipe in ends]
            edges += [answer[1] for answer in answers]
            if turn:
                times[ranks].append(max(answer[0] for answer in answers))
    for pipe in [*pipes[1], *pipes[2]]:
        pipe.send(False)
    return {
        "kind": kind,
        "n": RANKED,
        "d": 512,
        "repeats": repeats,
        "one": statistics.median(times[1]),
        "two": statistics.median(times[2]),
        "ratio": statistics.median(b / a for a, b in zip(times[1], times[2], strict=True)),
        "same edges": all(torch.equal(edges[0], other) for other in edges),
    }


def main() -> None:
    """Measure, say what was measured, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3, help="for each row")
    parser.add_argument("--most", type=int, default=100_000, help="largest number of points")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    record: dict[str, Any] = {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "rows": [],
        "processes": [],
    }
    for n, d in [size for size in SIZES if size[0] <= options.most]:
        for kind in ("clusters", "sphere"):
            row = in_a_fresh_process(measured, kind, n, d, options.repeats)
            record["rows"].append(row)
            print(json.dumps(record["rows"][-1]), flush=True)
    for kind in ("clusters", "sphere"):
        record["processes"].append(by_processes(kind, options.repeats))
        print(json.dumps(record["processes"][-1]), flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
