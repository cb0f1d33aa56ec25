"""Write ``docs/guides/scaling.md`` from ``results/scaling.json``: what was measured, what is calculated.

Run ``python benchmarks/scaling_page.py`` after ``python benchmarks/scaling.py``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from _report import number, table

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "scaling.json"
PAGE = HERE.parent / "docs" / "guides" / "scaling.md"

# Of one H100 SXM, as NVIDIA states them; and which part of each a plain program reaches, assumed
FLOPS, BANDWIDTH = 67e12, 3.35e12  # single precision without tensor cores, per second; bytes
REACHED = 0.6
BYTES = 131  # moved for one entry of a tile: product 4, distance 65, both searches 62
POINTS, WIDTH, NEAREST = 1_000_000, 512, 32


def measurements(record: dict[str, Any]) -> str:
    """Time and memory over n."""
    rows = [
        [
            f"{row['kind']}, {row['d']} coordinates",
            f"{row['n']:,}",
            number(row["tree"]),
            number(row["pass"]),
            f"{row['ratio']:.2f}",
            number(row["gigabytes"]),
        ]
        for row in record["rows"]
    ]
    head = ["cloud", "n", "tree, s", "pass, s", "ratio", "extra memory, GB"]
    return table(head, rows)


def comparisons(record: dict[str, Any]) -> str:
    """Two processes beside one."""
    rows = [
        [
            row["kind"],
            f"{row['n']:,}",
            number(row["one"]),
            number(row["two"]),
            f"{row['ratio']:.2f}",
            "yes" if row["same edges"] else "NO",
        ]
        for row in record["processes"]
    ]
    head = ["cloud", "n", "one process, s", "two processes, s", "ratio", "same edges"]
    return table(head, rows)


def calculation(record: dict[str, Any]) -> str:
    """What a million points cost, from operation counts; nothing of it was run."""
    largest = max(record["rows"], key=lambda row: (row["d"] == WIDTH, row["n"]))
    growth = (POINTS / largest["n"]) ** 2
    flops, entries = POINTS**2 * WIDTH, POINTS**2 / 2
    product, traffic = flops / (REACHED * FLOPS), entries * BYTES / (REACHED * BANDWIDTH)
    lists = POINTS * NEAREST * 8
    return f"""\
**A calculation, not a measurement.** n = {POINTS:,} points with {WIDTH} coordinates; clouds like the two
above, in which no list is searched again.

- On this CPU: {number(largest["tree"])} s at n = {largest["n"]:,}, and the work grows as n^2:
  {number(largest["tree"])} s x {growth:,.0f} = {largest["tree"] * growth / 3600:.1f} h.
- One accelerator of {FLOPS / 1e12:.0f} TFLOP/s in single precision and {BANDWIDTH / 1e12:.2f} TB/s (an H100 SXM by its data
  sheet), of which {REACHED:.0%} are assumed to be reached. Products: half of the matrix, n^2 d = {flops:.2e} operations,
  {product:.1f} s. Tiles: n^2 / 2 = {entries:.1e} entries, each moved about {BYTES} bytes by the torch operations
  that turn products into distances and search rows and columns, {traffic:.1f} s. Together {product + traffic:.0f} s.
- Eight of them: ({product:.1f} + {traffic:.1f}) / 8 = {(product + traffic) / 8:.1f} s, and the exchange of the lists: each
  rank sends {NEAREST} neighbours of 8 bytes for every point, {lists / 1e9:.2f} GB, and gets as much, eighth by eighth.
- In addition, the CPUs of the ranks share the measurement of the listed edges, n x {NEAREST} x d = {POINTS * NEAREST * WIDTH:.1e}
  differences in double precision, and each of them grows the tree. The figures above do not include this.
- Memory on each rank: the points, {POINTS * WIDTH * 4 / 1e9:.1f} GB on the device and again on the CPU; the lists,
  {lists / 1e9:.2f} GB and as much for their weights; the tiles, `memory_budget`.
"""


def page(record: dict[str, Any]) -> str:
    """Return the text of the page."""
    repeats = record["rows"][0]["repeats"]
    return f"""\
# How it scales

`RipsFiltration` finds dimension 0 of more than 16,384 points without their distance matrix. One pass over
half of the distances, tile by tile, lists {NEAREST} neighbours of every point. Boruvka's rounds then join components
along edges that these lists prove to be right. Where they prove nothing, lists are searched again. The tree is exact.

```python
from topreg import RipsFiltration

filtration = RipsFiltration(memory_budget=2**26, progress=True)  # bytes for a tile
```

200,000 points take minutes. `progress=True` shows how far a search is, on standard error, once it has taken a second:

```text
neighbours |##############                          |  36%
```

If you pass a function instead of `True`, it is called as `progress(stage, done, total)`; if it raises, the
search ends. Only the search without a matrix reports progress. Ctrl-C in the main thread ends the compiled loops and raises
`KeyboardInterrupt` within about a second. Python still waits for a single torch operation, such as sorting the edges of
a very large graph. In dimensions above 1 giotto-ph runs long searches in a separate process, which Ctrl-C ends. GUDHI
goes on in the background until it finishes or the program ends.

## Measured

Printed by `python benchmarks/scaling.py` on {record["machine"]}, torch {record["torch"]}; medians of {repeats}
{"call" if repeats == 1 else "calls"}. "Pass" is one plain pass over the whole matrix in the same process: tiles of 2,048 rows by `addmm`,
the 16 nearest of each row by `topk`, nothing kept. "Clusters" are n/16 clusters of 16 points each, "sphere" has
no structure. Extra memory is the peak of a fresh process above what it held before its first tree, the points
among it.

{measurements(record)}

Clusters that are larger than the lists need second searches, about 1.5 passes more. The worst case is clusters of more
than {NEAREST} points whose diameters are below 3e-5 of the gaps between them, or many equal distances: then second searches
measure row by row in double precision.

Two gloo processes of one thread each, compared with one process of two threads, `topreg.distributed.minimum_spanning_tree`:

{comparisons(record)}

## A million points

{calculation(record)}
## Too many points

Clouds that are too large raise before their distances are computed: `ValueError` for 65,536 points or more in dimension 1
and above, and `MemoryError`, with the bytes, for matrices that take more memory than is free. In dimension
1 each edge takes about 20 bytes in addition to the matrices. Edges are counted after their distances are known, since those
that are longer than the radius of the cloud are not needed. `signature_loss` without `normalize` finds dimension 0 of
more than 16,384 points without a matrix. With `normalize` it needs matrices, and so do `rtd` and `rtd_lite`.

## Fewer points instead

Dimension 1 needs all distances. `farthest_point_sampling` picks landmarks and gives their cover radius r: the
diagram of the landmarks lies within 2 r of that of the whole cloud, in every dimension.

```python
import torch
from topreg import RipsFiltration, farthest_point_sampling

points = torch.randn(5000, 3)
indices, cover_radius = farthest_point_sampling(points, 1024)
loops = RipsFiltration().pairs(points[indices], 1).renumber(indices, (len(points),))
```
"""


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="what scaling.py wrote")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page")
    options = parser.parse_args()
    options.out.write_text(page(json.loads(options.results.read_text())))


if __name__ == "__main__":
    main()
