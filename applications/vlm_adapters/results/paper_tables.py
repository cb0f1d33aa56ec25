"""The paper's tables, as printed."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from importlib import resources

from .ablations import Terms

__all__ = ["PaperValue", "paper_rows", "paper_values"]

FILES = {
    1: "table1_imagenet_sota.csv",
    2: "table2_domain_generalization.csv",
    3: "table3_ablation_terms.csv",
    4: "table4_ablation_factors.csv",
    5: "table5_fewshot.csv",
}
RESNET_50 = "ResNet-50"


@dataclass(frozen=True)
class PaperValue:
    """One number of the paper.

    Attributes:
        method: The paper's name; in table 3 that of the baseline.
        shots: Training images a class; 0 for zero-shot in table 2.
        dataset: CoOp's name; ``"average_target"`` for the average in table 2.
        accuracy: In per cent, as printed, errors too; None where "-" is printed.
        backbone: CLIP's image encoder by the paper's name.
        terms: Of the constraint, in table 3.
        factor: In table 4 the paper's letter by name: ``"eta"``, ``"omega"`` or ``"lambda"``.
        value: Of the factor.
        fixed_factor: The other factor.
        fixed_value: Its value.
    """

    method: str
    shots: int
    dataset: str
    accuracy: float | None
    backbone: str = RESNET_50
    terms: Terms | None = None
    factor: str = ""
    value: float = 0.0
    fixed_factor: str = ""
    fixed_value: float = 0.0


def paper_values(table: int) -> list[PaperValue]:
    """The numbers of one of the paper's tables, in its order.

    Args:
        table: From 1 to 5.

    Returns:
        The numbers.

    Raises:
        ValueError: If the paper has no such table.
    """
    if table not in FILES:
        raise ValueError(f"`table` should be one of the paper's, 1 to 5. Got {table!r}.")
    return [_value(row) for row in paper_rows(FILES[table])]


def paper_rows(name: str) -> list[dict[str, str]]:
    """The rows of a file in ``results/paper``, its README says which there are.

    Args:
        name: File name.

    Returns:
        Texts by column.

    Raises:
        FileNotFoundError: If there is none.
    """
    file = resources.files(__package__) / "paper" / name
    if not file.is_file():
        known = ", ".join(FILES.values())
        raise FileNotFoundError(f"`{name}` should be a file of the paper: {known}. Got no file.")
    return list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))


def _value(row: dict[str, str]) -> PaperValue:
    """One row in its types."""
    terms = Terms(row["tc"] == "1", row["dp"] == "1") if "tc" in row else None
    return PaperValue(
        method=row.get("method") or row["baseline"],
        shots=int(row["shots"]),
        dataset=row["dataset"],
        accuracy=float(row["accuracy"]) if row["accuracy"] else None,
        backbone=row.get("backbone", RESNET_50),
        terms=terms,
        factor=row.get("factor", ""),
        value=float(row.get("value", 0)),
        fixed_factor=row.get("fixed_factor", ""),
        fixed_value=float(row.get("fixed_value", 0)),
    )
