"""Paired comparisons of the gallery's scripts: values by seed with and without a term, and costs.

Run ``python benchmarks/published/comparisons.py``. It executes each script at its full settings,
keeps the values in ``benchmarks/results/published/gallery.json`` and takes up where it stopped;
``--restart SCRIPT ...`` executes some scripts again, or all of them if none is named.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import runpy
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from _kept import Kept

sys.path.insert(0, str(Path(__file__).parents[1]))
from _timing import turns

GALLERY = Path(__file__).parents[2] / "docs" / "gallery"
Names = dict[str, Any]


class Comparison(NamedTuple):
    """One term against one baseline: values by seed, in the same order."""

    task: str
    term: str
    baseline: str
    measure: str
    larger_is_better: bool
    weight: str  # how the weight of the term was chosen
    with_term: Sequence[float]
    without: Sequence[float]
    cost: float | None = None  # added to a training step, in percent


def cost(without: Callable[[], object], with_term: Callable[[], object]) -> float:
    """Percent that a term adds to training, by the fastest of calls that take turns."""
    times = turns([without, with_term], seconds=0, least=4)
    plain, term = (min(kept) for kept in times)
    return 100 * (term / plain - 1)


def validated(best: float) -> str:
    """Say how a script that tries weights on validation data took one of them."""
    return "validation" if best else "smallest; validation preferred 0"


def chosen(names: Names, task: str, term: str, measure: str, added: float) -> Comparison:
    """Read a script that chooses a weight on validation data and compares on test data."""
    baseline = "the same, without the term"
    values = names["term"], names["plain"]
    return Comparison(task, term, baseline, measure, True, validated(names["best"]), *values, added)


def training_cost(names: Names, data: object) -> float:
    """Time a script's training with and without its term."""
    return cost(*(lambda w=w: names["train"](data, w, 0) for w in (0.0, names["weight"])))


def classes(names: Names) -> list[Comparison]:
    """Read the classes that the connectivity loss keeps together."""
    added = training_cost(names, names["few_of_each"](0)[0])
    words = "digits: ten images of each", "connectivity loss", "test accuracy, %"
    return [chosen(names, *words, added)]


def views(names: Names) -> list[Comparison]:
    """Read the paired views that track coincidence aligns."""
    added = training_cost(names, names["parts"][0][0])
    words = "digits: halves matched", "track coincidence", "recall at 10, %"
    return [chosen(names, *words, added)]


def answers(names: Names) -> list[Comparison]:
    """Read the language model whose answers stay near their prompts."""
    words = "language: sorted digits", "tree between prompt and answer", "right tokens, %"
    return [chosen(names, *words, names["cost"])]


def attention(names: Names) -> list[Comparison]:
    """Read the detector of wrong answers, whose head is chosen in the place of a weight."""
    words = "language: wrong answers found", "trees of attention graphs"
    baseline, measure = "probability of the answer", "area under the curve, %"
    values = names["term"], names["plain"]
    how = "head by validation"
    return [Comparison(*words, baseline, measure, True, how, *values, names["cost"])]


def autoencoder(names: Names) -> list[Comparison]:
    """Read the topological autoencoder against both baselines, all at their chosen weights."""
    term, found = "signature loss", []
    training = {
        name: functools.partial(names["codes"], name, weight, 0, names["test"])
        for name, weight in names["weights"].items()
    }
    for rival, baseline in (
        ("no term", "the same, without the term"),
        ("plain matching", "plain matching of distances"),
    ):
        added = cost(training[rival], training[term])
        how = validated(names["best"][term])
        for measure, values in names["by_measure"].items():
            words = "digits: code of two numbers", term, baseline, measure
            larger = measure not in names["SMALLER"]
            found.append(Comparison(*words, larger, how, values[term], values[rival], added))
    return found


READERS: dict[str, Callable[[Names], list[Comparison]]] = {
    "connected_classes.py": classes,
    "paired_views.py": views,
    "topological_autoencoder.py": autoencoder,
    "prompt_and_answer.py": answers,
    "attention_trees.py": attention,
}


def executed(script: str) -> list[Names]:
    """Run a script and read its comparisons."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        names = runpy.run_path(str(GALLERY / script))
    return [part._asdict() for part in READERS[script](names)]


def known(kept: Kept) -> list[Comparison]:
    """Return the comparisons that have been executed."""
    found = [kept.values[script]["value"] for script in READERS if script in kept.values]
    return [Comparison(**part) for parts in found for part in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words = "execute these scripts again, or all of them if none is named"
    parser.add_argument("--restart", nargs="*", choices=READERS, metavar="SCRIPT", help=words)
    again, kept = parser.parse_args().restart, Kept("gallery")
    if again is not None:
        kept.forget(again or READERS)
    sys.path.insert(0, str(GALLERY))
    os.environ["MPLBACKEND"] = "Agg"
    for script in READERS:
        kept.compute(script, lambda script=script: executed(script))
    for part in known(kept):
        gap = statistics.mean(part.with_term) - statistics.mean(part.without)
        print(f"{part.task}: {part.term}: {part.measure} {gap:+.3f}, cost {part.cost:.0f} %")


if __name__ == "__main__":
    main()
