"""Write ``docs/results/segmentation.md`` from ``results/topomortar.json``: whether a term helps.

Run ``python benchmarks/topomortar_page.py`` after ``python benchmarks/topomortar.py``; with
``--root`` and ``--runs`` it draws the pictures of the page again too.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _report import number, student, table
from numpy.typing import NDArray

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "results" / "segmentation.md"

Array = NDArray[np.float64]
BASELINE = "CE + Dice"
CASES = {
    "accurate-50": "accurate labels, 50 images",
    "accurate-10": "accurate labels, 10 images",
    "noisy-50": "noisy labels, 50 images",
    "pseudo-50": "pseudo labels, 50 images",
}
MEASURES = ["Dice", "error, components", "error, holes", "unmatched components", "unmatched holes"]
# J. M. Valverde et al., results/PERFORMANCE_TABLES.md at commit f709b3c: components, holes, Dice
PUBLISHED = {
    "accurate-50": {
        "CEDice": ("3.31 ± 6.6", "2.13 ± 3.89", "0.91 ± 0.04"),
        "clDice": ("1.17 ± 2.26", "1.41 ± 2.53", "0.91 ± 0.05"),
        "TopoLoss": ("3.14 ± 6.11", "2.73 ± 7.24", "0.91 ± 0.04"),
    },
    "accurate-10": {
        "CEDice": ("9.57 ± 26.49", "4.63 ± 13.21", "0.9 ± 0.06"),
        "clDice": ("6.18 ± 23.81", "4.01 ± 12.22", "0.9 ± 0.06"),
        "TopoLoss": ("8.72 ± 25.53", "4.81 ± 16.27", "0.9 ± 0.06"),
    },
    "noisy-50": {
        "CEDice": ("6.24 ± 6.64", "5.08 ± 5.21", "0.63 ± 0.12"),
        "clDice": ("5.01 ± 4.95", "6.77 ± 5.81", "0.69 ± 0.12"),
        "TopoLoss": ("7.19 ± 9.93", "6.62 ± 6.85", "0.62 ± 0.13"),
    },
    "pseudo-50": {
        "CEDice": ("12.26 ± 9.71", "12.0 ± 10.14", "0.86 ± 0.07"),
        "clDice": ("1.8 ± 2.23", "4.3 ± 5.37", "0.87 ± 0.07"),
        "TopoLoss": ("10.43 ± 8.22", "10.13 ± 9.07", "0.86 ± 0.07"),
    },
}


class Interval(NamedTuple):
    """A mean difference to the baseline, and the ends of its interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return the numbers, in bold type if the interval leaves out 0."""
        largest = max(abs(self.low), abs(self.high))
        digits = 1 if largest >= 1 else 3 if largest >= 0.02 else 4
        text = f"{self.mean:+.{digits}f} ({self.low:+.{digits}f} to {self.high:+.{digits}f})"
        return f"**{text}**" if self.sign else text

    @property
    def sign(self) -> int:
        """Return -1 or 1 if the interval leaves out 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)


def rows_of(record: dict[str, Any], case: str, loss: str) -> Array:
    """Measures (seeds, images, 5) of the test images."""
    runs = [
        run for run in record["runs"] if (run["run"]["case"], run["run"]["loss"]) == (case, loss)
    ]
    return np.array([run["rows"] for run in sorted(runs, key=lambda run: run["run"]["seed"])])


def interval(differences: Array, draws: int = 10_000) -> Interval:
    """The mean over seeds and images; 95 % by bootstrap over both, independently."""
    random = np.random.default_rng(0)
    seeds, images = differences.shape
    s = random.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds
    i = random.multinomial(images, np.full(images, 1 / images), draws) / images
    low, high = np.quantile(np.einsum("ds,si,di->d", s, differences, i), [0.025, 0.975])
    return Interval(float(differences.mean()), float(low), float(high))


def losses_of(record: dict[str, Any]) -> list[str]:
    """The losses, the baseline first."""
    return list(dict.fromkeys(run["run"]["loss"] for run in record["runs"]))


def cases_of(record: dict[str, Any]) -> list[str]:
    """The study cases that have runs."""
    found = {run["run"]["case"] for run in record["runs"]}
    return [case for case in CASES if case in found]


def unmatched(rows: Array) -> Array:
    """Unmatched components and holes together (seeds, images)."""
    return rows[..., 3] + rows[..., 4]


def change(record: dict[str, Any], case: str, loss: str, other: str) -> Interval:
    """How many more wrong features an image has with one loss than with another."""
    return interval(
        unmatched(rows_of(record, case, loss)) - unmatched(rows_of(record, case, other))
    )


def by_seed_alone(record: dict[str, Any]) -> str:
    """Say whether Student's intervals over seeds, without a draw of images, agree."""
    other, pairs = [], 0
    for loss in losses_of(record)[1:]:
        for case in cases_of(record):
            pairs += 1
            gaps = unmatched(rows_of(record, case, loss)) - unmatched(
                rows_of(record, case, BASELINE)
            )
            alone = Interval(*student(gaps.mean(1).tolist()))
            if alone.sign != interval(gaps).sign:
                words = {-1: "fewer", 1: "more", 0: "no difference"}[alone.sign]
                other.append(f"{words} for {loss} with {CASES[case]}")
    text = (
        "[The page of all comparisons](does_it_help.md) has Student's intervals over seeds alone, "
        "as for its other tasks. "
    )
    if not other:
        return f"{text}Both kinds of interval give the same verdict on all {pairs} pairs of a term and a case."
    return (
        f"{text}Of {pairs} pairs of a term and a case {len(other)} then have another verdict: "
        f"{'; '.join(other)}."
    )


def verdicts(record: dict[str, Any]) -> str:
    """What the intervals bear out, one sentence per term."""
    words = {-1: "fewer", 1: "more", 0: "no clear difference"}
    lines, signs = [], []
    for loss in losses_of(record)[1:]:
        told: dict[int, list[str]] = {-1: [], 1: [], 0: []}
        for case in cases_of(record):
            found = change(record, case, loss, BASELINE)
            share = 100 * found.mean / unmatched(rows_of(record, case, BASELINE)).mean()
            told[found.sign].append(f"{CASES[case]} ({share:+.0f} %)")
            signs.append(found.sign)
        parts = [f"{words[sign]} with {'; '.join(those)}" for sign, those in told.items() if those]
        lines.append(f"- **{loss}**: {'. '.join(part[0].upper() + part[1:] for part in parts)}.")
    total = (
        f"Of {len(signs)} pairs of a term and a case, {signs.count(-1)} have fewer wrong features than the "
        f"baseline, {signs.count(1)} have more, and {signs.count(0)} show no clear difference."
    )
    return "\n".join([total, "", *lines])


def answers(record: dict[str, Any], other: str) -> str:
    """Wrong features per image, and differences of other losses to those of one loss."""
    cases = cases_of(record)
    means = [f"{unmatched(rows_of(record, case, other)).mean():.1f}" for case in cases]
    body = [
        [loss, *(str(change(record, case, loss, other)) for case in cases)]
        for loss in losses_of(record)
        if loss not in (BASELINE, other)
    ]
    return table(["", *(CASES[case] for case in cases)], [[f"{other}, number", *means], *body])


def values(record: dict[str, Any], case: str) -> str:
    """Means over seeds and images."""
    body = []
    for loss in losses_of(record):
        means = rows_of(record, case, loss).mean((0, 1))
        body.append([loss, f"{means[0]:.3f}", *(f"{value:.1f}" for value in means[1:])])
    return table(["", *MEASURES], body)


def differences(record: dict[str, Any], case: str) -> str:
    """Differences to the baseline, paired by seed and image."""
    base, body = rows_of(record, case, BASELINE), []
    for loss in losses_of(record)[1:]:
        gaps = rows_of(record, case, loss) - base
        body.append([loss, *(str(interval(gaps[..., column])) for column in range(len(MEASURES)))])
    return table(["", *MEASURES], body)


def published(case: str) -> str:
    """The benchmark's own results on the same test images."""
    body = [[name, dice, *betti] for name, (*betti, dice) in PUBLISHED[case].items()]
    return table(["published, 10 seeds", *MEASURES[:3]], body)


def chosen(record: dict[str, Any]) -> str:
    """Weights and starts of the runs of the table."""
    found = {(r["run"]["loss"], r["run"]["case"]): r["run"] for r in record["runs"]}
    cases = cases_of(record)
    body = [
        [
            loss,
            *(
                f"{found[loss, case]['weight']:g} from {found[loss, case]['start']:.0%}"
                for case in cases
            ),
        ]
        for loss in losses_of(record)[1:]
    ]
    return table(["", *(CASES[case] for case in cases)], body)


def at_the_end(record: dict[str, Any]) -> str:
    """How often the largest candidate was chosen."""
    tried: dict[str, set[float]] = {}
    for run in record["choices"]:
        tried.setdefault(run["loss"], set()).add(run["weight"])
    taken = {
        (r["run"]["case"], r["run"]["loss"]): r["run"]["weight"]
        for r in record["runs"]
        if r["run"]["loss"] != BASELINE
    }
    largest = sum(weight == max(tried[loss]) for (_, loss), weight in taken.items())
    return f"In {largest} of {len(taken)} pairs of a term and a case the largest weight was chosen"


def ends(
    record: dict[str, Any], case: str, loss: str, curve_of: str, key: str
) -> tuple[float, float]:
    """Means over seeds of a curve where the term of ``loss`` starts, and in the last eighth."""
    curves = {
        name: [
            run["curve"]
            for run in record["runs"]
            if (run["run"]["case"], run["run"]["loss"]) == (case, name)
        ]
        for name in (loss, curve_of)
    }
    start, late = curves[loss][0][0]["step"], 0.875 * record["steps"]
    rows = [row for curve in curves[curve_of] for row in curve]
    first = [row[key] for row in rows if row["step"] == start]
    last = [row[key] for row in rows if row["step"] >= late]
    return float(np.mean(first)), float(np.mean(last))


def not_lower(record: dict[str, Any], key: str = "wrong bars") -> list[tuple[str, str]]:
    """Pairs of a case and a term that does not lower the wrong bars, or another curve."""
    found = []
    for loss in losses_of(record)[1:]:
        for case in cases_of(record):
            own, base = (
                ends(record, case, loss, which, key or loss)[1] for which in (loss, BASELINE)
            )
            if own >= base:
                found.append((case, loss))
    return found


def lowered(record: dict[str, Any]) -> str:
    """In how many pairs of a term and a case the term, and the wrong bars, end lower with it."""
    pairs = (len(losses_of(record)) - 1) * len(cases_of(record))
    term, bars = (pairs - len(not_lower(record, key)) for key in ("", "wrong bars"))
    at = record["closer"]["levels"].index(0.5)
    counted = [np.array(pair["counts"])[:, :, at].mean(0) for pair in record["closer"]["pairs"]]
    more = bars + sum(own < base for base, own in counted)
    return (
        f"The term ends lower than without it in {term} of {pairs} pairs of a term and a case, and the "
        f"wrong bars do in {bars}" + (f"; in a closer count, below, in {more}." if counted else ".")
    )


def closer(record: dict[str, Any]) -> str:
    """Count again, in more crops, where the wrong bars did not end lower."""
    found = record["closer"]
    if not found["pairs"]:
        return ""
    body, told = [], []
    for pair in found["pairs"]:
        name, signs = f"{pair['loss']} with {CASES[pair['case']]}", {}
        counts = np.array(pair["counts"]).transpose(2, 1, 0)  # (levels, without and with, seeds)
        for level, (base, own) in zip(found["levels"], counts, strict=True):
            gap = Interval(*student((own - base).tolist()))
            signs[level] = gap.sign
            numbers = number(base.mean()), number(own.mean())
            body.append([f"{name}, above {level:g}", *numbers, str(gap)])
        words = {-1: "fewer", 1: "more", 0: "not clearly fewer or more"}
        parts = [f"{words[sign]} above {level:g}" for level, sign in signs.items()]
        told.append(f"the wrong bars of {name} are {', '.join(parts)}")
    head = ["end of the training", "without", "with", "difference"]
    return f"""
Where they do not, there may be two reasons. {record["probes"]} crops are few. And the count looks at masks of the pixels above a probability of 0.5
alone, while a term looks at all probabilities. So the last steps of these runs are repeated, and wrong bars are counted in {found["crops"]} crops
above several probabilities. In this closer count {"; ".join(told)} (Student's intervals over seeds):

{table(head, body)}
"""


def optimised(record: dict[str, Any]) -> str:
    """Whether each term falls, and wrong bars with it, more than they do without it."""
    body = []
    for loss in losses_of(record)[1:]:
        for case in cases_of(record):
            cells = []
            for key in (loss, "wrong bars"):
                first, without = ends(record, case, loss, BASELINE, key)
                _, own = ends(record, case, loss, loss, key)
                cells += [number(first), number(without), number(own)]
            body.append([f"{loss}, {CASES[case]}", *cells])
    head = [
        f"{name}, {when}"
        for name in ("term", "wrong bars")
        for when in ("start", "without", "with")
    ]
    return table(["", *head], body)


def costs(record: dict[str, Any]) -> str:
    """Time of a step with each loss, and how many times that of the baseline."""
    times = {loss: float(np.median(kept)) for loss, kept in record["step times"].items()}
    body = [
        [loss, number(median), f"{median / times[BASELINE]:.2f}"] for loss, median in times.items()
    ]
    return table(["", "median, ms", "times the baseline"], body)


def masks(record: dict[str, Any]) -> str:
    """What the measures say of the published masks."""
    found = record["masks"]
    return (
        f"The largest Betti error and the largest Betti-matching error of the {found['masks']} test masks "
        f"against themselves are {max(found['largest']):g}. Betti numbers of {found['equal']} of "
        f"{found['masks']} masks are those that the authors publish. Others: "
        f"{'; '.join(found['others']) or 'none'}."
    )


def parameters() -> int:
    """The number of weights of the network."""
    from topomortar import UNet

    return sum(weight.numel() for weight in UNet().parameters())


def page(record: dict[str, Any]) -> str:
    """Return the text of the page."""
    seeds = len({run["run"]["seed"] for run in record["runs"]})
    seconds = sum(run["seconds"] for run in record["choices"] + record["runs"])
    comparisons = 6 * (len(losses_of(record)) - 1) * len(cases_of(record))
    sections = "\n\n".join(
        f"### {CASES[case].capitalize()}\n\n{values(record, case)}\n\n"
        f"Differences to {BASELINE}:\n\n{differences(record, case)}\n\n{published(case)}"
        for case in cases_of(record)
    )
    return f"""\
# Does it help segmentation?

[TopoMortar](https://github.com/jmlipman/TopoMortar) (Valverde et al., BMVC 2025) is an independent benchmark of topological
losses: mortar between bricks, ten seeds, strong baselines. Its authors find that only clDice beats cross-entropy plus Dice. It
has no valid row for persistent homology: Betti matching was too slow for them, and the code of the loss of Hu et al. that was
run pushes the wrong way ([below](#faults-in-the-public-codes-of-hus-loss)). This page trains a smaller network on the same images
with the losses of topreg.

## Answer

A wrong feature is a component or a hole that Betti matching leaves unmatched: one that is missing, or false, or at another place.
"Fewer" and "more" mean that the interval of the difference to {BASELINE} alone leaves out 0, on {record["images"]} test images and {seeds} seeds.

{verdicts(record)}

Wrong features per image with the baseline, and differences to it:

{answers(record, BASELINE)}

The same against clDice, the winner of the benchmark:

{answers(record, "clDice")}

## Results

Means over {seeds} seeds and {record["images"]} whole test images of 512 x 512. "Error" is the Betti error: how far the
numbers of components and holes are off. "Unmatched" is the Betti-matching error: features that have no counterpart at their place.
Differences are paired by seed and image. Their intervals cover 95 % by bootstrap: seeds and images are both drawn 10,000
times. {by_seed_alone(record)}

Differences in bold type leave out 0. These tables compare {comparisons} numbers, so about {comparisons / 20:.0f} would be bold by
chance if no term did anything.

{sections}

## What a step costs

Steps of the training, network included, that take turns in one process with one thread on one batch of {record["batch"]} crops; milliseconds
of CPU time, which other work on the machine disturbs less.

{costs(record)}

## Is the term optimised?

Each term, and the wrong bars, in {record["probes"]} fixed crops of training images: where the term starts, and in the last eighth of the steps without the
term (the baseline) and with it. Means over the seeds. Bars are counted against the labels of the training, in a frame of
foreground. {lowered(record)}

{optimised(record)}
{closer(record)}
```{{figure}} ../../benchmarks/results/topomortar_curves.svg
:alt: Each term over the steps of the training, with the term and without it

Each term over the steps, with it (solid) and without it (dashed).
```

## Repaired and broken

```{{figure}} ../../benchmarks/results/topomortar_masks.png
:alt: Crops of test images, with the true mask, the mask of the baseline and that of Betti matching

Of each case the test image whose number of wrong features falls most with Betti matching ("repaired"), and the one where it rises most
("broken"); the window of 128 x 128 in which it changes most. Fewer wrong features need not be a better mask: where a wall looks unlike the
training images, the term may only remove false pieces.
```

## Protocol

`python benchmarks/topomortar.py --root DIR --seeds {seeds}`, then `python benchmarks/topomortar_page.py`. {record["machine"]},
torch {record["torch"]}, {record["device"]}; {seconds / 60:.0f} minutes of CPU time in all, or {seconds / 120:.0f} minutes on two idle cores.
Each finished run is a file, so an interrupted command goes on where it was.

- **Network.** A U-Net of {parameters():,} weights with batch normalisation that works on half the resolution.
- **Training.** {record["steps"]} steps of Adam with {record["batch"]} crops of 128 x 128, a rate of 0.002 that falls to 0; flips, changes of colour, noise.
  All losses see the same crops.
- **Shared beginning.** A term starts from the state of the baseline of its seed after a share of the steps, and acts to the end. All
  losses have equally many steps.
- **Choices.** For each term and case, three weights and two starts are tried on one more seed, {len(record["choices"])} runs with the baselines. The
  weighted gradients are about 0.7, 2 and 7 times as long as that of the pixel loss. (A first grid began at 0.2. When
  clDice, diagram matching and Betti matching had run on accurate labels, its largest weights were the best, so it was moved up for all terms alike.) The choice has the fewest wrong features on the
  validation images with the labels of the case, among those that lose at most 0.01 of Dice. {at_the_end(record)}; larger ones might do
  better still, or lose more Dice.
- **Border.** Crops cut bricks. `CubicalFiltration(superlevel=True, outside="foreground")` closes their loops.
- **Betti prior.** Of each crop it is given the numbers of components and holes, and nothing else of the mask.

{chosen(record)}

Differences from the benchmark's protocol, besides those:

- Their network is MONAI's DynUNet with eight levels and deep supervision on whole images, 10 per step, 12,000 steps of SGD. Their augmentation also
  rotates, zooms, smooths and lowers the resolution.
- Their clDice is half Dice and half clDice, without cross-entropy, from the first step. Ours is added to cross-entropy plus Dice, and starts later.
- Their TopoLoss is cross-entropy plus 100 times the term, without Dice, after 70 % of the steps.
- They take each loss with its default weight. They report the standard deviation over images and seeds, and no paired differences.
- Their test set has 300 more images out of distribution, which are not used here.

{masks(record)}

## Faults in the public codes of Hu's loss

We read both codes, and ran them on small images, to see what the published row of TopoLoss compares. Each fault takes a line or two to mend, and we would be glad to
see the row again afterwards.

[HuXiaoling/TopoLoss](https://github.com/HuXiaoling/TopoLoss) at commit ee23f13, `topoloss_pytorch.py`:

- **The direction** (lines 187 and 193). Line 113 filters by `1 - likelihood`. There a birth of 0 means a likelihood of 1. The reference of the birth
  pixel is however set to 0 and that of the death pixel to 1, as likelihoods. So components that should be kept are lowered, and the saddles
  between them are raised. To mend it, exchange the two numbers. With peaks of 0.9, 0.8 and 0.6 that are true and one of 0.7 that is not, the
  gradient lowers 0.8, 0.7 and 0.6, and leaves 0.9 as it is.
- **Logits and probabilities** (line 224). The references come from `sigmoid` (line 151), but are compared with `likelihood_tensor`, the
  logits. Compare `torch.sigmoid(likelihood_tensor)`.
- **Patches that are not square** (lines 116 to 119). GUDHI reads the cells of `CubicalComplex(dimensions=..., top_dimensional_cells=flat)` with the
  first axis running fastest; NumPy flattens with the last. A square patch is only transposed. In a patch of h x w pixels, such as those at the right and lower border,
  rows are torn apart. `gd.CubicalComplex(top_dimensional_cells=lh)` takes the array itself; its cofaces are still indices in Fortran order.
- **Patches that are skipped** (lines 125 and 177). A true patch with one component and no hole has no finite pair, so false components are never removed there.

[jmlipman/TopoMortar](https://github.com/jmlipman/TopoMortar) at commit f709b3c, `lib/losses.py` and `lib/losses_topoloss.py`, has the direction (lines 378 and
386), the patches that are not square (`losses_topoloss.py`, lines 130 to 133: patches of 50 in images of 512 leave strips of 12) and three more:

- **Softmax twice** (lines 312 and 329). `forward` passes probabilities to `_topoloss_2D`, which takes the softmax again. All values then lie between 0.27 and 0.73.
- **Background for foreground** (lines 329 and 331). The prediction is channel 1, mortar; the mask is `target[:, 0]`, bricks. Take `target[:, 1]`.
- **Death pixels of the wrong patch** (lines 405 and 406). `iy` and `ix` lack the corner `y` and `x` of the patch, which lines 391 and 392 add for births.
  Death pixels of bars to be removed lie in the first patch, wherever the bar is.
"""


def draw_curves(record: dict[str, Any], file: Path) -> None:
    """Draw each term over the steps, with it and without it."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = losses_of(record)[1:]
    figure, axes = plt.subplots(1, len(names), figsize=(13, 3.6), layout="constrained")
    for axis, name in zip(axes, names, strict=True):
        for case, colour in zip(
            cases_of(record), ("#D55E00", "#0072B2", "#009E73", "#CC79A7"), strict=False
        ):
            for loss, style in ((BASELINE, "--"), (name, "-")):
                curves = [
                    run["curve"]
                    for run in record["runs"]
                    if (run["run"]["case"], run["run"]["loss"]) == (case, loss)
                ]
                steps = [row["step"] for row in curves[0] if row["step"] >= record["steps"] // 2]
                means = [
                    np.mean([row[name] for curve in curves for row in curve if row["step"] == step])
                    for step in steps
                ]
                label = CASES[case] if loss == name else None
                axis.plot(steps, means, style, color=colour, label=label)
        axis.set(title=name, xlabel="step", ylabel="mean over crops", yscale="log")
        axis.grid(alpha=0.3, which="both")
    axes[0].legend(fontsize=8)
    figure.savefig(file)
    plt.close(figure)


def predicted(
    runs: Path, record: dict[str, Any], case: str, loss: str, seed: int
) -> NDArray[np.bool_]:
    """The predicted masks (images, h, w) of a run."""
    from topomortar import Run

    for run in record["runs"]:
        if (run["run"]["case"], run["run"]["loss"], run["run"]["seed"]) == (case, loss, seed):
            with np.load(runs / f"{Run(**run['run']).file}.npz", allow_pickle=False) as file:
                bits = np.unpackbits(file["masks"], axis=1)
            side = round(bits.shape[1] ** 0.5)
            return bits.reshape(-1, side, side).astype(bool)
    raise KeyError(case, loss, seed)


def wrong(found: NDArray[np.bool_], mask: NDArray[np.bool_]) -> float:
    """Unmatched features of a window in a frame of foreground."""
    import torch

    from topreg.image_metrics import BettiMatchingError

    error = BettiMatchingError()
    error.update(
        *(torch.from_numpy(np.pad(x, 1, constant_values=True)).float() for x in (found, mask))
    )
    return float(error.compute().sum())


def draw_masks(record: dict[str, Any], root: Path, runs: Path, file: Path) -> None:
    """Draw what Betti matching repaired most and broke most, in each case."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from topomortar import SIDE, load

    part, loss, cases = (
        load(root, "splits.yaml", "test", "accurate"),
        "Betti matching",
        cases_of(record),
    )
    figure, axes = plt.subplots(
        len(cases), 8, figsize=(13, 1.75 * len(cases)), layout="constrained", squeeze=False
    )
    for line, case in zip(axes, cases, strict=True):
        gaps = unmatched(rows_of(record, case, loss)) - unmatched(rows_of(record, case, BASELINE))
        for at, sign in ((0, 1), (4, -1)):
            seed, image = np.unravel_index((sign * gaps).argmin(), gaps.shape)
            masks = [
                part.masks[image, 0].numpy() > 0,
                *(
                    predicted(runs, record, case, one, int(seed) + 1)[image]
                    for one in (BASELINE, loss)
                ),
            ]
            corners = [
                (y, x)
                for y in range(0, masks[0].shape[0] - SIDE + 1, SIDE // 2)
                for x in range(0, masks[0].shape[1] - SIDE + 1, SIDE // 2)
            ]

            def risen(corner: tuple[int, int], masks: list[Any] = masks, sign: int = sign) -> float:
                true, base, own = (
                    m[corner[0] : corner[0] + SIDE, corner[1] : corner[1] + SIDE] for m in masks
                )
                return sign * (wrong(own, true) - wrong(base, true))

            y, x = min(corners, key=risen)
            picture = part.images[image].movedim(0, -1).numpy()
            low, high = picture.min(), picture.max()
            shown = [(picture - low) / (high - low), *masks]
            titles = ["image", "true mask", BASELINE, loss]
            for axis, one, title in zip(line[at : at + 4], shown, titles, strict=True):
                axis.imshow(one[y : y + SIDE, x : x + SIDE], cmap="gray", interpolation="nearest")
                axis.set(xticks=[], yticks=[])
                if case == cases[0]:
                    axis.set_title(title, fontsize=9)
            line[at].set_ylabel(f"{case}\n{'repaired' if sign > 0 else 'broken'}", fontsize=8)
    figure.savefig(file, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, help="folder `dataset` of the data")
    parser.add_argument("--runs", type=Path, help="folder of finished runs; ROOT/runs if left out")
    given = parser.parse_args()
    record = json.loads((RESULTS / "topomortar.json").read_text())
    PAGE.write_text(page(record))
    draw_curves(record, RESULTS / "topomortar_curves.svg")
    if given.root is not None:
        runs = given.runs or given.root / "runs"
        draw_masks(record, given.root, runs, RESULTS / "topomortar_masks.png")


if __name__ == "__main__":
    main()
