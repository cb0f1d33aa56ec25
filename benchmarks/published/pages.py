"""Write ``docs/results/published.md`` and ``docs/results/does_it_help.md`` from the result files.

Run ``python benchmarks/published/pages.py``. Nothing is computed that takes time: the tables of
published values come from ``divergences.py`` and ``spheres.py``, the comparisons from these, from
``comparisons.py`` and from the other benchmarks that compare a term with a baseline.
"""

from __future__ import annotations

import csv
import json
import math
import re
import statistics
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import comparisons
import divergences
import spheres
from _kept import RESULTS, Kept, markdown
from _report import student
from comparisons import Comparison

OTHERS = RESULTS.parent
DOCS = Path(__file__).parents[2] / "docs" / "results"
LARGER = ("continuity", "trustworthiness")  # is better
CHOSEN = {  # how a weight was chosen, in words
    "validation": "chosen on validation data",
    "head by validation": "none; a head of the network is chosen on validation data",
    "smallest; validation preferred 0": "the smallest; validation data preferred 0",
}
WORDS = {1: "better", -1: "worse", 0: "no difference shown"}


def interval(part: Comparison) -> tuple[float, float, float]:
    """Mean of the paired differences and the ends of Student's interval of 95 %."""
    return student([a - b for a, b in zip(part.with_term, part.without, strict=True)])


def verdict(part: Comparison) -> str:
    """Say what the interval says: it lies on the better side of 0, on the worse, or on both."""
    _, low, high = interval(part)
    above = int(low > 0) - int(high < 0)
    return WORDS[above if part.larger_is_better else -above]


def of_spheres(kept: Kept) -> list[Comparison]:
    """TopoAE against both baselines, on the seeds that all have."""
    cost = kept.values["milliseconds per step"]["value"]
    found = []
    for baseline, name in (
        ("AE", "autoencoder"),
        ("plain matching", "plain matching of distances"),
    ):
        runs = [spheres.by_seed(kept, method) for method in ("TopoAE", baseline)]
        seeds = [seed for seed in runs[0] if seed in runs[1]]
        added = 100 * (cost["TopoAE"] / cost[baseline] - 1)
        for measure in ("KL 0.1", "trustworthiness", "data MSE") if seeds else ():
            values = ([run[seed][measure] for seed in seeds] for run in runs)
            words = "Spheres: code of two numbers", "signature loss", name, measure
            how = "the authors', by protocol"
            found.append(Comparison(*words, measure in LARGER, how, *values, added))
    return found


def of_caltech() -> list[Comparison]:
    """Homology consistency on Caltech-101: means over 1 to 16 shots, by seed."""
    by_method: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (OTHERS / "caltech101_devise" / "results.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            searched = row["preset"].startswith(("tip", "hc_taf"))
            protocol = "last+val_search" if searched else "last"
            if row["protocol"] == protocol and row["oracle"] == "0":
                by_method[row["preset"]][int(row["seed"])].append(float(row["accuracy"]))
    costs = dict(re.findall(r"^\| (HC-TR|HC-TAF) \| [^|]* \| ([\d.]+) \(", adapters(), re.M))
    found = []
    for term, baseline, adapter in (
        ("hc_tr", "taskres", "TaskRes"),
        ("hc_tr", "hc_tr_off", "TaskRes, rates of HC-TR"),
        ("hc_taf", "tip_adapter_f", "Tip-Adapter-F"),
        ("hc_taf", "hc_taf_off", "Tip-Adapter-F, rates of HC-TAF"),
        ("hc_tr_star", "taskres_star", "TaskRes*"),
        ("hc_taf_star", "tip_adapter_f_star", "Tip-Adapter-F*"),
    ):
        values = (
            [statistics.mean(by_method[name][seed]) for seed in sorted(by_method[name])]
            for name in (term, baseline)
        )
        added = 100 * (float(costs["HC-TR" if term.startswith("hc_tr") else "HC-TAF"]) - 1)
        name = adapter.replace("*", r"\*")
        words = "Caltech-101, 1 to 16 shots", "homology consistency", name, "test accuracy, %"
        found.append(Comparison(*words, True, "validation", *values, added))
    return found


def adapters() -> str:
    """The measured costs of the application's steps."""
    return (OTHERS / "adapters.md").read_text(encoding="utf-8")


def of_topomortar() -> list[Comparison]:
    """Segmentation: unmatched components and holes per image."""
    record = json.loads((OTHERS / "topomortar.json").read_text(encoding="utf-8"))
    runs: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for run in record["runs"]:
        wrong = statistics.mean(row[3] + row[4] for row in run["rows"])
        runs[run["run"]["case"], run["run"]["loss"]][run["run"]["seed"]] = wrong
    baseline = record["runs"][0]["run"]["loss"]
    times = {loss: statistics.median(kept) for loss, kept in record["step times"].items()}
    found = []
    for (case, loss), values in runs.items():
        if loss != baseline:
            pairs = [(v, runs[case, baseline][seed]) for seed, v in sorted(values.items())]
            added = 100 * (times[loss] / times[baseline] - 1)
            words = f"TopoMortar: {case}", loss, baseline, "unmatched features per image"
            found.append(Comparison(*words, False, "validation", *zip(*pairs, strict=True), added))
    return found


def bullet(text: str) -> str:
    """An item of a list, in lines of a hundred characters."""
    text = " ".join(text.split())
    return textwrap.fill(f"- {text}", 100, subsequent_indent="  ", break_on_hyphens=False)


def number(value: float) -> str:
    """Three digits that count, with a sign."""
    return f"{value:+.3g}" if abs(value) < 100 else f"{value:+.0f}"


def sections(parts: list[Comparison]) -> str:
    """Write a table per task, below what its rows have in common."""
    head = ["term", "baseline", "measure", "difference [95 % interval]", "verdict", "cost per step"]
    tables: dict[str, list[list[str]]] = defaultdict(list)
    for part in parts:
        mean, low, high = interval(part)
        title = part.task[0].upper() + part.task[1:]
        weight = CHOSEN.get(part.weight, part.weight)
        common = f"### {title}\n\nSeeds: {len(part.with_term)}. Weight: {weight}."
        tables[common].append(
            [
                part.term,
                part.baseline,
                f"{part.measure} {'↑' if part.larger_is_better else '↓'}",
                f"{number(mean)} [{number(low)}, {number(high)}]",
                verdict(part),
                "-" if part.cost is None else f"{part.cost:+.0f} %",
            ]
        )
    return "\n\n".join(f"{common}\n\n{markdown(head, rows, 3)}" for common, rows in tables.items())


def all_comparisons() -> list[Comparison]:
    """Every executed comparison of the repository."""
    kept = Kept("spheres"), Kept("gallery")
    return [*of_spheres(kept[0]), *comparisons.known(kept[1]), *of_caltech(), *of_topomortar()]


def does_it_help() -> str:
    """Return the page that holds every comparison."""
    parts = all_comparisons()
    counts = {word: sum(verdict(part) == word for part in parts) for word in WORDS.values()}
    rivals = [part for part in parts if part.baseline.startswith("plain matching")]
    plain = {word: sum(verdict(part) == word for part in rivals) for word in WORDS.values()}
    percent = [part for part in parts if part.measure.endswith("%")]
    gains = [interval(part)[0] for part in percent if verdict(part) == WORDS[1]]
    largest = max(gains, default=0.0)
    coded = [p for p in parts if p.measure == "KL 0.1" and p not in rivals]
    density = " and ".join(f'"{verdict(part)}" on {part.task.split(":")[0]}' for part in coded)
    shape = f"""
        Where a code should keep the shape of the whole data, a term on distances can do what the
        plain autoencoder does not, but need not: by KL at 0.1 the verdict on the signature loss is
        {density}. Such a term need not be topological: against the plain matching of distances the
        signature loss is better in {plain["better"]} of {len(rivals)} rows, and worse in
        {plain["worse"]}."""
    masks = [verdict(part) for part in parts if part.task.startswith("TopoMortar")]
    return f"""\
# Does it help?

This page has every comparison of this repository in which a topological term meets a baseline,
whatever came out. Of {len(parts)} rows, {counts["better"]} are better with the term,
{counts["worse"]} are worse, and {counts[WORDS[0]]} show no difference. The words are explained
[below](#how-to-read-the-tables).

## When is a term worth its place?

- Where topology is the goal itself, only a topological term can express it: see the gallery's
  shaped cloud and broken ring. A baseline without the term cannot do these tasks at all, so they
  have no row.
{bullet(shape)}
- Where masks should have the right components and holes, a term helps: of the {len(masks)} rows of
  TopoMortar, {masks.count(WORDS[1])} are better.
- Where accuracy is the goal, expect little: of the {len(percent)} rows in per cent, {len(gains)}
  show a gain, the largest of them {largest:.1f} points.

## The comparisons

{sections(parts)}

## How to read the tables

- Larger values of a measure with ↑ are better, and smaller ones with ↓.
- The difference is the value with the term minus the value without it, paired by seed: both start
  from the same parameters and see the same batches. The interval is Student's, over seeds. The
  verdict follows from the interval alone: "better" if it lies on the better side of 0, "worse" if
  it lies on the other side, "no difference shown" if it contains 0. If no term did anything, about
  one row in twenty would still leave out 0. The page on [segmentation](segmentation.md) draws
  images as well as seeds, so its intervals differ.
- Validation data are those of seeds that the comparison does not use. In the gallery 0 is among the
  weights that are tried; where 0 won, the smallest other weight is compared. On codes of digits,
  plain matching chose its own weight from as many trials as the signature loss, and both chose by
  KL at 0.1. Spheres repeats a published protocol, so the weight is that of its authors. They found
  it in twenty trials; plain matching had {len(spheres.FACTORS)}.
- The cost is what the term adds to a training step of the same model, in per cent. The models here
  are small: a term that doubles such a step is hardly noticed in a large one. The cost of
  Caltech-101 comes from [the adapters' benchmark](adapters_cost.md); [the application's
  page](adapters.md) explains its methods. A negative cost is noise.

Written by `python benchmarks/published/pages.py` from files in `benchmarks/results`. These come
from `spheres.py` and `comparisons.py` in the same folder, and from the benchmarks of the
application and of segmentation.
"""


def span(kept: Kept, method: str) -> str:
    """How many epochs the runs of a method took."""
    epochs = [int(run["epochs"]) for run in spheres.by_seed(kept, method).values()]
    return " to ".join(str(number) for number in sorted({min(epochs), max(epochs)}))


def published_value(column: str) -> float:
    """TopoAE's published value."""
    return spheres.PUBLISHED["TopoAE"][spheres.COLUMNS.index(column)]


def mean_of(runs: Mapping[int, dict[str, float]], column: str) -> float:
    """Mean of a measure over seeds."""
    return statistics.mean(run[column] for run in runs.values())


def away(runs: Iterable[dict[str, float]]) -> dict[str, float]:
    """Standard deviations by which runs of TopoAE miss the published values.

    Published values are rounded: any value that rounds to them is not missed.
    """
    runs, found = list(runs), {}
    for column, digits in zip(spheres.COLUMNS, spheres.PUBLISHED_DIGITS, strict=True):
        values = [run[column] for run in runs]
        gap = statistics.mean(values) - published_value(column)
        beyond = max(abs(gap) - 0.5 * 10**-digits, 0.0)
        found[column] = math.copysign(beyond / statistics.stdev(values), gap)
    return found


def spelled(found: dict[str, float]) -> str:
    """Say how many measures lie within one standard deviation, and where the others lie."""
    far = [f"{column} at {value:+.1f}" for column, value in found.items() if abs(value) > 1]
    inside = f"{len(found) - len(far)} of {len(found)} measures"
    return f"{inside} (beyond: {', '.join(far)})" if far else inside


def against_published(kept: Kept) -> str:
    """Compare TopoAE with the published row and with the authors' code, and name the reason."""
    runs, theirs, other = (
        spheres.by_seed(kept, name)
        for name in ("TopoAE", f"TopoAE{spheres.BY_AUTHORS}", "other seeds")
    )
    shares = [abs(mean_of(runs, c) / published_value(c) - 1) for c in spheres.COLUMNS]
    gaps = {
        column: student([runs[seed][column] - run[column] for seed, run in theirs.items()])
        for column in spheres.COLUMNS
    }
    differ = [column for column, (_, low, high) in gaps.items() if not low <= 0 <= high]
    zero = f"leaves out 0 for {', '.join(differ)}" if differ else "contains 0 for every measure"
    steps = kept.values["difference of steps"]["value"]
    measured = max(run["difference of measures"] for run in theirs.values())
    name = "trustworthiness"
    worst = min(runs, key=lambda seed: runs[seed][name])
    first, second, third = (sorted(r[name] for r in p.values()) for p in (runs, theirs, other))
    repeated = f"""
        TopoAE's published row, whose last digits are rounded, lies within one standard deviation of
        our mean in {spelled(away(runs.values()))}; over these and {len(other)} other seeds, in
        {spelled(away([*runs.values(), *other.values()]))}. The largest difference is
        {100 * max(shares):.1f} % of the published value."""
    reason = f"""
        The seed matters, because it draws the initial parameters and the validation points. From
        each published seed the authors' framework draws the one that is used; we draw the same. PCA
        confirms it: fitted without these validation points, it has every published digit. Seed
        {worst} ends in a worse arrangement than the other four: its {name} is {first[0]:.3f} with
        our code and {second[0]:.3f} with the authors'. That of the other four is at least
        {min(first[1], second[1]):.3f}, and that of {len(other)} other seeds at least
        {third[0]:.3f}. These seeds alone would have the published row within one standard deviation
        in {spelled(away(other.values()))}."""
    same = f"""
        The authors' own code, run here with today's torch (`python benchmarks/published/spheres.py
        --authors FOLDER`, where FOLDER is a checkout of [their
        repository](https://github.com/BorgwardtLab/topological-autoencoders)), gives the rows
        "authors' code here". The published row lies within one standard deviation of these in
        {spelled(away(theirs.values()))}. Paired by seed, our difference from it has a 95 % interval
        that {zero}. Step by step the two codes agree: the same parameters and batches give losses
        that differ by at most {steps["losses"]:.0e} of their value in {steps["steps"]} steps in
        double precision, and measures of the same codes differ by at most {measured:.0e}. One
        difference is left, which only touches running statistics: their step encodes each batch
        twice."""
    return "\n".join(map(bullet, (repeated, reason, same)))


def minutes(kept: Kept) -> float:
    """Minutes that the steps of all runs take, by the median time of a step."""
    times = kept.values["milliseconds per step"]["value"]
    total = 0.0
    for name, part in kept.values.items():
        if "epochs" in part["value"] and spheres.BY_AUTHORS not in name:
            method = next((m for m in ("TopoAE", "plain matching", "AE") if m in name), "TopoAE")
            recipe = spheres.RECIPES.get(method, spheres.TOPOLOGICAL)
            total += times[method] * part["value"]["epochs"] * (spheres.TRAINING // recipe.batch)
    return total / 60_000


def wins(kept: Kept, baseline: str, measure: str = "KL 0.1") -> str:
    """Say for how many seeds TopoAE's measure is the smaller one."""
    term, plain = (spheres.by_seed(kept, method) for method in ("TopoAE", baseline))
    seeds = [seed for seed in term if seed in plain]
    smaller = sum(term[seed][measure] < plain[seed][measure] for seed in seeds)
    return f"{smaller} of {len(seeds)}"


def published() -> str:
    """Return the page of published values."""
    kept, ours = Kept("spheres"), Kept("divergences")
    milliseconds = kept.values["milliseconds per step"]["value"]
    times = ", ".join(f"{name} {value:.2f}" for name, value in milliseconds.items())
    done = ", ".join(f"{m} {len(spheres.by_seed(kept, m))} of 5" for m in spheres.METHODS[:3])
    tuned = [f"tuning plain matching {factor:g}" in kept.values for factor in spheres.FACTORS]
    factor = f"{spheres.best_factor(kept):g}" if all(tuned) else "not yet chosen"
    mse = {m: mean_of(spheres.by_seed(kept, m), "data MSE") for m in spheres.RECIPES}
    *tried, most = (f"{factor:g}" for factor in spheres.FACTORS)
    tried, edge = ", ".join(tried), ", the largest that was tried" if factor == most else ""
    return f"""\
# Published values, repeated here

Does `topreg` give the numbers of the literature? This page repeats two tables of other people that
need no download, with `topreg` called as a user would call it. It adds a baseline that such tables
leave out: the plain matching of distance matrices, without topology (Cheret et al., [arXiv
2603.16568](https://arxiv.org/abs/2603.16568)).

## RTD and RTD-Lite

`python benchmarks/published/divergences.py`

{divergences.table(ours)}

- The README pair: two unrelated clouds of 1,000 points, mean over ten batches of 500 (Barannikov
  et al., ICML 2022). Rings: five rings of 100 points each; more and more of them have equal size.
  Clusters: sixty groups of five points, moved to 2 to 12 centres. Kendall's tau says whether the
  divergence from the first cloud grows with that number: 1 and -1 are perfect orders. The published
  values are those of the authors' notebooks (RTD-Lite: Tulchinskii et al., AISTATS 2025).
- The call is `rtd(one, other, normalize=0.9)`. Like the authors, it divides by the 0.9 quantile of
  all distances.
- The authors' code runs in single precision on an accelerator (Ripser++), and takes distances below
  a millionth of the mean as 0. Ours runs in double precision. This changes the first value in its
  tenth digit.
- Plain matching is the root mean square of the differences of all distances, divided in the same
  way.

## Topological autoencoders on Spheres

`python benchmarks/published/spheres.py`; by the times of a step below, all steps together take
{minutes(kept):.0f} minutes on one core.

{spheres.table(kept)}

```{{figure}} spheres.png
:alt: Three planes of points; ten small coloured clouds, and one large grey cloud

Codes of the test points, first seed, drawn by `python benchmarks/published/spheres_picture.py`: the
large sphere in grey, the ten small spheres that it surrounds in colours. The plain autoencoder
moves small spheres out of the large one; both terms keep them inside.
```

- Rows "published": Moor et al., ICML 2020, table 1. Rows "here": means and standard deviations
  over the five published seeds (complete: {done}).
  Smaller is better, except continuity and trustworthiness.
{against_published(kept)}
- Data MSE as published: the authors take the last epoch, not the best one. For autoencoders they
  leave out the last, smaller batch of test points, but divide by the number of all points, so that
  AE's larger batches make its value smaller. The plain mean in the best epoch is {mse["AE"]:.4f}
  for AE and {mse["TopoAE"]:.4f} for TopoAE.
- KL at 0.1 of TopoAE is below the autoencoder's for {wins(kept, "AE")} seeds, and below plain
  matching's for {wins(kept, "plain matching")}.
- Recipe: the authors' data, architecture, batch size, rate, weight, weight decay, at most
  {spheres.EPOCHS} epochs, and {spheres.PATIENCE} epochs of patience. Epochs that ran: AE
  {span(kept, "AE")}, TopoAE {span(kept, "TopoAE")}, plain matching {span(kept, "plain matching")}.
- As in the authors' code, validation points are also trained on. Batches are drawn in another
  order than theirs, with another version of torch, and on another device.
- Plain matching is trained like TopoAE, in its batches and at its rate. Its weight is TopoAE's
  times {tried} or {most}; KL at 0.1 on validation points of another seed chose {factor}{edge}.
  TopoAE's batch size, rate and weight come from the authors' search, which had twenty trials.
- A training step in a batch of 28 on one core of a busy AMD EPYC virtual machine, medians in
  milliseconds of steps that take turns: {times}.

Both tables are kept value by value: a run that was stopped resumes there. This page is
written from `benchmarks/results/published` by `python benchmarks/published/pages.py`.
"""


PAGES = {"published.md": published, "does_it_help.md": does_it_help}


def main() -> None:
    for name, text in PAGES.items():
        (DOCS / name).write_text(text(), encoding="utf-8")
        print(DOCS / name)


if __name__ == "__main__":
    main()
