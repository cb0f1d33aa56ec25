"""Tables, growth and plot of the measurements of ``peers.py``."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from _clouds import KINDS

# Okabe and Ito's colours, told apart with every kind of colour vision
LOOKS = {
    "topreg": ("#D55E00", "o"),
    "giotto-ph": ("#0072B2", "s"),
    "ripser.py": ("#009E73", "^"),
    "gudhi": ("#56B4E9", "D"),
    "torch-topological": ("#CC79A7", "v"),
    "persist0": ("#E69F00", "P"),
    "redzed": ("#000000", "X"),
}


class Row(NamedTuple):
    """One row of a table: in ``cells`` each library's milliseconds, or why there are none."""

    turns: str
    dimension: int
    source: str
    backward: bool
    kind: str
    n: int
    cells: dict[str, float | str]


def number(value: float) -> str:
    """Three digits or so, for a table."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:,.{digits}f}"


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """A Markdown table, text in the first column."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def student(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of some values and the ends of Student's interval of 95 %; one value bounds nothing."""
    from scipy.stats import t

    mean, half = statistics.mean(values), math.inf
    if len(values) > 1:
        half = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return mean, mean - half, mean + half


def times_faster(cells: dict[str, float | str]) -> str:
    """How many times the fastest peer's time is ours."""
    ours = cells["topreg"]
    peers = [v for name, v in cells.items() if name != "topreg" and isinstance(v, float)]
    if isinstance(ours, str):
        return "-"
    return number(min(peers) / ours) if peers else "no peer has a time"


def without_a_time(rows: list[Row]) -> dict[str, str]:
    """Libraries that give every row the same reason for having no time."""
    said = {name: {row.cells[name] for row in rows} for name in rows[0].cells}
    return {
        name: str(*cells)
        for name, cells in said.items()
        if len(cells) == 1 and isinstance(next(iter(cells)), str)
    }


def comparisons(rows: list[Row]) -> str:
    """One table for each dimension, input, direction and way to take turns."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        what = "forward and backward" if row.backward else "forward"
        title = f"Dimension {row.dimension}, from {row.source}, {what}, turns {row.turns}"
        parts.setdefault(title, []).append(row)
    text = []
    for title, members in parts.items():
        absent = without_a_time(members)
        libraries = [name for name in members[0].cells if name not in absent]
        head = ["cloud", "n", *(f"{name}, ms" for name in libraries), "times faster"]
        body = [
            [
                row.kind,
                f"{row.n:,}",
                *(v if isinstance(v := row.cells[name], str) else number(v) for name in libraries),
                times_faster(row.cells),
            ]
            for row in members
        ]
        said = ", ".join(f"{name} ({why})" for name, why in absent.items())
        note = f"\n\nWithout a column: {said}." if said else ""
        text.append(f"## {title}\n\n{table(head, body)}{note}")
    return "\n\n".join(text)


def series(rows: list[Row], dimension: int, kind: str, library: str) -> list[tuple[int, float]]:
    """Sizes and milliseconds, from distances, forward, call by call."""
    return [
        (row.n, value)
        for row in rows
        if (row.turns, row.source, row.backward) == ("call by call", "distances", False)
        and (row.dimension, row.kind) == (dimension, kind)
        and isinstance(value := row.cells[library], float)
    ]


def slope(points: list[tuple[int, float]]) -> float:
    """Least-squares slope of log time over log n, n >= 128; NaN if there are not two sizes."""
    logs = [(math.log(n), math.log(value)) for n, value in points if n >= 128]
    if len(logs) < 2:
        return math.nan
    x_mean, y_mean = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    products = sum((x - x_mean) * (y - y_mean) for x, y in logs)
    return products / sum((x - x_mean) ** 2 for x, _ in logs)


def growth(rows: list[Row]) -> str:
    """Fitted exponents, and the sizes that they rest on."""
    libraries = list(rows[0].cells)
    body = []
    for dimension in sorted({row.dimension for row in rows}):
        for kind in KINDS:
            found = [series(rows, dimension, kind, library) for library in libraries]
            body.append([f"{dimension}, {kind}", *(_exponent(points) for points in found)])
    return table(["dimension, cloud", *libraries], body)


def _exponent(points: list[tuple[int, float]]) -> str:
    fitted = slope(points)
    return "-" if math.isnan(fitted) else f"{fitted:.2f} (to {max(points)[0]:,})"


def write(out: Path, header: str, rows: list[Row], alone: dict[str, Any], sections: str) -> str:
    """Write ``peers.json`` and ``peers.md``; return the Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    fitted = (
        "## Growth\n\nExponent of n: least squares on the logarithms, sizes from 128 up to the "
        "largest with a time, from distances, forward, call by call.\n\n" + growth(rows)
    )
    text = "\n\n".join(part for part in (header, comparisons(rows), fitted, sections) if part)
    (out / "peers.md").write_text(text + "\n")
    record = {"header": header, "rows": [row._asdict() for row in rows], "topreg alone": alone}
    (out / "peers.json").write_text(json.dumps(record, indent=1) + "\n")
    return text


def plot(rows: list[Row], out: Path) -> None:
    """Time over n in dimension 1, one panel for each kind of cloud."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(KINDS), figsize=(13, 4.2), sharey=True, layout="constrained")
    for axis, kind in zip(axes, KINDS, strict=True):
        for library, (colour, marker) in LOOKS.items():
            points = series(rows, 1, kind, library)
            if points:
                fitted, ours = slope(points), library == "topreg"
                exponent = "" if math.isnan(fitted) else f", n^{fitted:.1f}"
                axis.plot(
                    *zip(*points, strict=True),
                    color=colour,
                    marker=marker,
                    label=library + exponent,
                    linewidth=3 if ours else 1.3,
                    markersize=7 if ours else 5,
                    zorder=3 - ours,
                )
        axis.set(xscale="log", yscale="log", title=kind, xlabel="points, n")
        sizes = sorted({row.n for row in rows})
        axis.set_xticks(sizes, [f"{n:,}" for n in sizes], minor=False)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0].set_ylabel("time, ms")
    figure.suptitle("Persistence pairs in dimensions 0 and 1 from distances")
    for ending in ("png", "svg"):
        figure.savefig(out / f"peers.{ending}", dpi=150)
    plt.close(figure)
