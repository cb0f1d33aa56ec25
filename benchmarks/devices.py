"""What topreg takes on an accelerator, in at most 8 minutes; prints Markdown.

Run ``python benchmarks/devices.py`` on a machine with an accelerator, with ``vlm_adapters``
installed or ``applications`` on the path; ``--device cpu --tiny`` tries the script without one.
Stages, the most valuable first: the tests marked ``gpu``; dimension 0 on the device by each engine,
and by that of the CPU; training steps of adapters; launches, and the share of the time in which the
device works; losses, forward and backward; trees by the warps of their programs. Each row is
written to ``--out`` as soon as it is measured, and a second run measures only the rows that are
missing there or failed. Times are medians with quartiles of calls that take turns, the device
waited for.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from _device_rows import (
    DIMENSION_0,
    OVER_THE_CPU,
    ROOT,
    TESTS,
    THERE,
    TINY,
    Grid,
    Record,
    Row,
    rows,
)
from _report import table
from _timing import spelled

from topreg import __version__
from topreg.persistence.dense._device import compiles

KEY = ("device", "torch", "topreg")  # what tells one set of rows from another
GROWTH = 4  # times that a row may take longer than those before: twice the points


def default_device() -> str:
    """The accelerator that is present, else the CPU."""
    present = torch.accelerator.is_available() and torch.accelerator.current_accelerator()
    return present.type if present else "cpu"


def machine(device: torch.device) -> dict[str, str]:
    """What the rows are measured on."""
    module = torch.get_device_module(device)
    driver = "unknown"
    if device.type == "cuda" and (tool := shutil.which("nvidia-smi")):
        query = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
        driver = subprocess.run(query, capture_output=True, text=True).stdout.split("\n")[0]
    return {
        "device": getattr(module, "get_device_name", str)(device),
        "type": device.type,
        "driver": driver,
        "trees": "in one launch" if compiles(device) else "in torch operations",
        "host": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "topreg": __version__,
        "date": datetime.date.today().isoformat(),
    }


def measure(
    path: Path, every: Iterable[Row], about: dict[str, str], end: float, seconds: float
) -> list[str]:
    """Measure what the file lacks as long as a row may fit; return the rows that are left."""
    results = json.loads(path.read_text()) if path.is_file() else {}
    key = ", ".join(about[name] for name in KEY)
    stages: dict[str, dict[str, Record]] = results.get(key, {}).get("stages", {})
    left, longest = [], seconds
    for stage, name, call in every:
        if "error" not in stages.get(stage, {}).get(name, {"error": "not measured"}):
            continue
        start = time.monotonic()
        if start + GROWTH * longest > end:
            left.append(f"{stage}: {name}")
            continue
        try:
            record = call(seconds)
        except Exception as error:  # the reason is the result; other rows may do
            record = {"error": f"{type(error).__name__}: {error}"}
        stages.setdefault(stage, {})[name] = record
        results[key] = {**about, "stages": stages}
        write(path, results)
        took = time.monotonic() - start
        print(f"{stage}: {name}: {took:.1f} s", file=sys.stderr)
        longest = longest if stage == TESTS else max(longest, took)
    return left


def write(path: Path, results: dict[str, Any]) -> None:
    """Replace the file at once, so that a run which is stopped leaves a whole one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(results, indent=1) + "\n")
    os.replace(unfinished, path)


def faster_over_the_cpu(records: Sequence[Record]) -> int:
    """The size up to which single clouds are faster over the CPU, at that and every smaller one."""
    size = 0
    for record in records:
        if record["batch"] == 1:
            if record["ms"][THERE][1] <= record["ms"][OVER_THE_CPU][1]:
                break
            size = record["n"]
    return size


def markdown(run: dict[str, Any]) -> str:
    """The tables of one device, and the reasons of rows without a time."""
    parts = [", ".join(f"{name} {value}" for name, value in run.items() if name != "stages")]
    for stage, records in run["stages"].items():
        times = {name: record["ms"] for name, record in records.items() if "ms" in record}
        if times:
            columns = list(dict.fromkeys(column for ms in times.values() for column in ms))
            head = [stage, *(f"{column}, ms" for column in columns)]
            body = [
                [name, *(spelled(ms[c], 3) if c in ms else "" for c in columns)]
                for name, ms in times.items()
            ]
            parts.append(table(head, body))
        if times and stage == DIMENSION_0:
            size = faster_over_the_cpu([records[name] for name in times])
            parts.append(f'Faster over the CPU: `OVER_THE_CPU["{run["type"]}"] = {size}`.')
        for name, record in records.items():
            counts = [f"{number} {what}" for what, number in record.get("counts", {}).items()]
            reasons = [f"{why}: {record[why]}" for why in ("skipped", "error") if why in record]
            if counts or reasons:
                parts.append(f"{stage} {name}: {', '.join(counts + reasons)}")
    return "\n\n".join(parts)


def main() -> None:
    """Measure what is missing, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", type=torch.device, default=default_device())
    parser.add_argument("--minutes", type=float, default=8.0, help="time in all")
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each row")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the script")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/devices.json")
    parser.add_argument("--table", action="store_true", help="only print what --out holds")
    options = parser.parse_args()
    left: list[str] = []
    if not options.table:
        end = time.monotonic() + 60 * options.minutes
        torch.set_flush_denormal(True)  # a saturated step has gradients that slow the CPU down
        patience = 30 * options.minutes  # half of the time
        every = rows(TINY if options.tiny else Grid(), options.device, patience)
        left = measure(options.out, every, machine(options.device), end, options.seconds)
    elif not options.out.is_file():
        parser.error(f"`--out` should be a file of results. Got {options.out}. Measure first.")
    results = json.loads(options.out.read_text()) if options.out.is_file() else {}
    print("\n\n".join(map(markdown, results.values())))
    if left:
        print(f"\n{len(left)} rows are left, run this again: {'; '.join(left)}")


if __name__ == "__main__":
    main()
