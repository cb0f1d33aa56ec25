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
from collections import defaultdict
from pathlib import Path

import comparisons
import divergences
import spheres
from _kept import RESULTS, Kept, markdown
from _report import student
from comparisons import Comparison

OTHERS = RESULTS.parent
DOCS = Path(__file__).parents[2] / "docs" / "results"
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
            larger = measure == "trustworthiness"
            words = "Spheres: code of two numbers", "signature loss", name, measure
            found.append(Comparison(*words, larger, "the authors', by protocol", *values, added))
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


def number(value: float) -> str:
    """Three digits that count, with a sign."""
    return f"{value:+.3g}" if abs(value) < 100 else f"{value:+.0f}"


def rows(parts: list[Comparison]) -> list[list[str]]:
    """One row per comparison."""
    table = []
    for part in parts:
        mean, low, high = interval(part)
        added = "-" if part.cost is None else f"{part.cost:+.0f} %"
        better = "larger" if part.larger_is_better else "smaller"
        table.append(
            [
                part.task,
                part.term,
                part.baseline,
                f"{part.measure} ({better} is better)",
                part.weight,
                verdict(part),
                f"{number(mean)} [{number(low)}, {number(high)}]",
                str(len(part.with_term)),
                added,
            ]
        )
    return table


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
    head = ["task", "term", "baseline", "measure", "weight", "verdict"]
    head += ["difference [95 % interval]", "seeds", "cost per step"]
    coded = [p for p in parts if p.measure == "KL 0.1" and p not in rivals]
    density = " and ".join(f'"{verdict(part)}" on {part.task.split(":")[0]}' for part in coded)
    masks = [verdict(part) for part in parts if part.task.startswith("TopoMortar")]
    return f"""\
# Does it help?

Every comparison of this repository in which a topological term meets a baseline, whatever came
out: {len(parts)} rows. With the term the measure is better in {counts["better"]}, worse in
{counts["worse"]}, and {counts["no difference shown"]} rows show no difference.

{markdown(head, rows(parts), words=6)}

- The difference is the value with the term minus the value without it, paired by seed: both start
  from the same parameters and see the same batches. The interval is Student's, over seeds. The
  verdict follows from the interval alone: "better" if it lies on the better side of 0, "worse" if
  it lies on the other side, "no difference shown" if it contains 0. If no term did anything, about
  one row in twenty would still leave out 0. The page on [segmentation](segmentation.md) draws
  images as well as seeds, so its intervals differ.
- The weight: "validation" was chosen on validation data of seeds that the comparison does not use.
  In the gallery 0 is among the choices; where 0 won, the smallest other weight is compared. Plain
  matching of digits chose its own weight in the same way, from the same number of trials; both
  chose by KL at 0.1. The detector of wrong answers has no weight, and chooses a head of the network
  instead. "The authors', by protocol" is the weight of the published recipe that Spheres repeats.
  The authors found it in twenty trials; plain matching had four.
- The cost is what the term adds to a training step of the same model, in per cent. The models here
  are small: a term that doubles such a step is hardly noticed in a large one. The cost of
  Caltech-101 comes from [the adapters' benchmark](adapters_cost.md); [the application's
  page](adapters.md) explains its methods. A negative cost is noise.

## When is a term worth its place?

- Where topology is the goal itself, only a topological term can express it: see the gallery's
  shaped cloud and broken ring. A baseline without the term cannot do these tasks at all, so they
  have no row.
- Where a code should keep the shape of the whole data, a term on distances can do what the plain
  autoencoder does not, but need not: by KL at 0.1 the verdict on the signature loss is {density}.
  Such a term need not be topological either: against the plain matching of distances the signature
  loss is better in {plain["better"]} of {len(rivals)} rows, and worse in {plain["worse"]}.
- Where masks should have the right components and holes, a term helps: of the {len(masks)} rows of
  TopoMortar, {masks.count(WORDS[1])} are better.
- Where accuracy is the goal, expect little: of the {len(percent)} rows above in per cent,
  {len(gains)} show a gain, the largest of them {largest:.1f} points.

Written by `python benchmarks/published/pages.py` from files in `benchmarks/results`, which
`spheres.py` and `comparisons.py` in the same folder, and the application's and the segmentation's
benchmarks, fill.
"""


def span(kept: Kept, method: str) -> str:
    """How many epochs the runs of a method took."""
    epochs = [int(run["epochs"]) for run in spheres.by_seed(kept, method).values()]
    return f"{min(epochs)} to {max(epochs)}" if epochs else "no"


def values_of(kept: Kept, method: str, column: str) -> list[float]:
    """Return a measure by seed, the error of reconstruction as the authors' code counts it."""
    values = [run[column] for run in spheres.by_seed(kept, method).values()]
    return [value * share(method) for value in values] if column == "data MSE" else values


def share(method: str) -> float:
    """Part of the test points in whole batches; the authors' code divides by all of them."""
    batch = spheres.RECIPES[method].batch
    return spheres.TEST // batch * batch / spheres.TEST


def against_published(kept: Kept) -> str:
    """Say which of TopoAE's measures lie within one of our standard deviations of the published."""
    if len(spheres.by_seed(kept, "TopoAE")) < 2:
        return "TopoAE has fewer than two runs yet."
    near, far, largest = [], [], 0.0
    for column, value in zip(spheres.COLUMNS, spheres.PUBLISHED["TopoAE"], strict=True):
        found = values_of(kept, "TopoAE", column)
        gap = statistics.mean(found) - value
        spreads = gap / statistics.stdev(found)
        largest = max(largest, abs(gap / value))
        if abs(spreads) <= 1:
            near.append(column)
        else:
            far.append(f"{column} ({spreads:+.1f})")
    text = f"Within one standard deviation of TopoAE's published row: {', '.join(near) or 'none'}."
    if far:
        text += f" Not within, with the number of standard deviations: {', '.join(far)}."
    return f"{text} The largest difference is {100 * largest:.1f} % of the published value."


def minutes(kept: Kept) -> float:
    """Minutes that the steps of all runs take, by the median time of a step."""
    times = kept.values["milliseconds per step"]["value"]
    total = 0.0
    for name, part in kept.values.items():
        method = next((m for m in ("TopoAE", "plain matching", "AE") if m in name), None)
        if method and method in times and "epochs" in part["value"]:
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
    done = ", ".join(f"{m} {len(spheres.by_seed(kept, m))} of 5" for m in spheres.METHODS)
    tuned = [f"tuning plain matching {factor:g}" in kept.values for factor in spheres.FACTORS]
    factor = f"{spheres.best_factor(kept):g}" if all(tuned) else "not yet chosen"
    mse = {
        method: statistics.mean(values_of(kept, method, "data MSE") or [math.nan])
        for method in spheres.RECIPES
    }
    edge = ", the largest that was tried" if factor == f"{max(spheres.FACTORS):g}" else ""
    return f"""\
# Published values, repeated here

Are these the numbers of the literature? Tables of other people's work that can be computed again
without any download, with `topreg` called as a user would. Each has the baseline that such tables
leave out: the plain matching of distance matrices, without topology (Cheret et al., [arXiv
2603.16568](https://arxiv.org/abs/2603.16568)).

## RTD and RTD-Lite

`python benchmarks/published/divergences.py`

{divergences.table(ours)}

- The README pair: two unrelated clouds of 1,000 points, mean over ten batches of 500 (Barannikov
  et al., ICML 2022). Rings: five rings of 100 points, of which more and more have one size.
  Clusters: sixty groups of five points, moved to 2 to 12 centres. Kendall's tau says whether the
  divergence from the first cloud grows with that number: 1 and -1 are perfect orders. Published are
  the authors' notebooks (RTD-Lite: Tulchinskii et al., AISTATS 2025).
- `rtd(one, other, normalize=0.9)`: the authors divide by the 0.9 quantile of all distances, and so
  does this.
- Protocol: theirs runs in single precision on an accelerator (Ripser++), and takes distances below
  a millionth of the mean as 0; ours is in double precision. This changes the first value in its
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
  Smaller is better, except continuity and trustworthiness. PCA has no seeds: it shows that data
  and measures are the published ones.
- {against_published(kept)}
- Data MSE: the authors' code leaves out the last, smaller batch of test points, but divides by
  the number of all. Counted so, ours is {mse["AE"]:.4f} for AE and {mse["TopoAE"]:.4f} for TopoAE.
  The table has the plain mean; the line above uses theirs.
- KL at 0.1 of TopoAE is below the autoencoder's for {wins(kept, "AE")} seeds, and below plain
  matching's for {wins(kept, "plain matching")}.
- Recipe: the authors' data, architecture, batch size, rate, weight, weight decay, at most
  {spheres.EPOCHS} epochs, and {spheres.PATIENCE} epochs of patience. Epochs that ran: AE
  {span(kept, "AE")}, TopoAE {span(kept, "TopoAE")}, plain matching {span(kept, "plain matching")}.
- Protocol: seeds are the published ones, but the order of random numbers is not the authors'
  (theirs ran in an older torch, on an accelerator, in their framework for experiments). Validation
  points are also trained on, as in their code.
- Plain matching is trained like TopoAE, in its batches and at its rate; of TopoAE's weight times
  0.3, 1, 3 and 10, KL at 0.1 on validation points of another seed chose a factor of {factor}{edge}.
  TopoAE's own batch size, rate and weight come from the authors' search, which had twenty tries.
- A training step in a batch of 28 on one core of a busy AMD EPYC virtual machine, medians in
  milliseconds of steps that take turns: {times}.

Both tables are kept value by value: a run that is stopped takes up where it was. This page is
written from `benchmarks/results/published` by `python benchmarks/published/pages.py`.
"""


PAGES = {"published.md": published, "does_it_help.md": does_it_help}


def main() -> None:
    for name, text in PAGES.items():
        (DOCS / name).write_text(text(), encoding="utf-8")
        print(DOCS / name)


if __name__ == "__main__":
    main()
