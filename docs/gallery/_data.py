"""scikit-learn's digits, and tables and sentences on the results of the gallery."""

import html
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from torch import Tensor


def digits() -> tuple[Tensor, Tensor]:
    """Return 1,797 images of 8 x 8 pixels in [0, 1], flattened, and their digits."""
    data = load_digits()
    return torch.from_numpy(data.data / 16).float(), torch.from_numpy(data.target)


def split(count: int, sizes: Iterable[int], seed: int) -> list[Tensor]:
    """Return disjoint random sets of indices of given sizes, and the remaining indices."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    sizes = list(sizes)
    return list(order.split([*sizes, count - sum(sizes)]))


def mean_and_spread(values: Sequence[float], digits: int = 3) -> str:
    """Return mean and standard deviation over seeds, as text."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {spread:.{digits}f}"


def _interval(
    with_term: Sequence[float], without: Sequence[float]
) -> tuple[float, float, float]:
    """Return the mean of the paired differences, and the ends of Student's 95 % interval."""
    from scipy.stats import t

    gaps = [a - b for a, b in zip(with_term, without, strict=True)]
    mean, half = statistics.mean(gaps), 0.0
    if len(gaps) > 1:
        half = (
            float(t.ppf(0.975, len(gaps) - 1))
            * statistics.stdev(gaps)
            / len(gaps) ** 0.5
        )
    return mean, mean - half, mean + half


def difference(
    with_term: Sequence[float], without: Sequence[float], digits: int = 3
) -> str:
    """Return the mean of the paired differences with its 95 % interval, as text."""
    mean, low, high = _interval(with_term, without)
    return f"{mean:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def verdict(with_term: Sequence[float], without: Sequence[float]) -> str:
    """Return a sentence on the paired differences."""
    _, low, high = _interval(with_term, without)
    larger = sum(a > b for a, b in zip(with_term, without, strict=True))
    says = (
        "contains 0"
        if low <= 0 <= high
        else f"lies {'above' if low > 0 else 'below'} 0"
    )
    return (
        f"Larger with the term for {larger} of {len(without)} seeds; "
        f"the 95 % interval of the mean difference {says}."
    )


@dataclass
class Table:
    """Rows under a head, and a sentence on them: HTML on a page, Markdown where printed."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def __str__(self) -> str:
        """Return a Markdown table."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"{table}\n\n{self.note}\n" if self.note else f"{table}\n"

    def _repr_html_(self) -> str:
        """Return HTML, which sphinx-gallery and notebooks show."""

        def line(tag: str, cells: Sequence[str]) -> str:
            sides = ["left"] + ["right"] * (len(cells) - 1)
            return "".join(
                f'<{tag} class="text-{side}" style="text-align: {side}; white-space: nowrap">'
                f"{html.escape(cell)}</{tag}>"
                for side, cell in zip(sides, cells, strict=True)
            )

        head, body = line("th", self.head), [line("td", row) for row in self.rows]
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return (
            '<div class="table-wrapper docutils container">'
            f'<table class="docutils align-default"><thead><tr>{head}</tr></thead><tbody>'
            + "".join(f"<tr>{cells}</tr>" for cells in body)
            + f"</tbody></table></div>{note}"
        )


def choices(
    validated: Mapping[float, Sequence[float]], best: float, name: str
) -> Table:
    """Return a table of the means on validation data by weight, and the chosen weight."""
    means = (f"{statistics.mean(values):.1f}" for values in validated.values())
    head = ["weight", *(f"{weight:g}" for weight in validated)]
    return Table(head, [[name, *means]], f"Chosen: {best:g}.")


def comparison(
    plain: Sequence[float], term: Sequence[float], weight: float, *head: str
) -> Table:
    """Return a table of percentages without and with the term, and their paired differences."""
    rows = [
        ["weight 0", mean_and_spread(plain, 2)],
        [f"weight {weight:g}", mean_and_spread(term, 2)],
        ["difference by seed", difference(term, plain, 2)],
    ]
    return Table(head, rows, verdict(term, plain))


def show(table: Table) -> Table:
    """Return the table for a page or a notebook to show; print it in a script."""
    if not {"sphinx_gallery.gen_gallery", "IPython"} & set(sys.modules):
        print(table)
    return table
