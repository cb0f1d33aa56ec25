"""The paper's tables, as printed, and beside ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..config import shipped_toml
from ..runs import Run
from . import NOTHING, TERMS, counted, deviation, distinct, signed

PAPER = Path(__file__).with_name("paper")
WORDS = shipped_toml("results/paper/names.toml")
NOTES = {
    int(table): " ".join(WORDS["notes"][name] for name in names)
    for table, names in WORDS["tables"].items()
}
"""What to know before comparing, by table."""
TARGETS = ["imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r"]
KEYS = ["name", "shots", "dataset", "backbone", *TERMS, "combination", "combined", "lambda"]
CLIP_SCALE = 100.0  # in its units the paper's eta of 15 is a weight of 0.15
WEIGHTS = re.compile(r"openai|.*\.(safetensors|pt|pth|bin)(\?quick_gelu=true)?")


def paper_rows(name: str) -> pd.DataFrame:
    """Read a file of ``results/paper``; its README says which there are."""
    return pd.read_csv(PAPER / name)


def paper_values(table: int) -> pd.DataFrame:
    """Read one of the paper's tables, in its order, errors too; NaN where it has "-".

    A number has a method (in table 3 the baseline), shots, data set, backbone, and the label of
    its ``row`` and ``column``; ``scope`` is what rows must share with one of ours to be shown.
    """
    values = paper_rows("tables.csv")
    return values[values["table"] == table].dropna(axis=1, how="all").infer_objects()


def paper_comparison(runs: Sequence[Run], table: int) -> pd.DataFrame:
    """Tabulate the paper's numbers, ours with their deviation over seeds, and the difference.

    The runs are of one kind of training data, with CLIP's ResNet-50 through open_clip; for table 2
    with any of its four backbones. The columns are those in which we have a number. Rows that we do
    not have are marked as quoted; of tables 2 and 5 there are only the backbones and the shot
    counts that we have. The paper has one run for each number.
    """
    values = paper_values(table)
    ours = _ours(runs, values, table)
    columns = [name for name in values["column"].unique() if name in ours]
    if not columns:
        raise ValueError(
            f"`runs` should share a number with table {table} of the paper: method, data set and "
            f"shots. Got none in {counted(len(runs), 'run')}."
        )
    printed = values.pivot(index="row", columns="column", values="accuracy")
    if table == 2 and set(TARGETS) <= set(columns):  # the paper's average is the printed one
        ours["average_target"] = ours[TARGETS].mean(axis=1, skipna=False)
        columns.append("average_target")
    if table == 5 and len(columns) > 1:
        name = f"average of {len(columns)}"
        for side in (ours, printed):
            side[name] = side[columns].mean(axis=1, skipna=False)
        columns.append(name)
    most = int(ours[columns].groupby(level=["row", "method"]).count().max().max())
    scopes = values.set_index("row")["scope"]
    shown = set(scopes[ours.index.unique("row")])
    rows = []
    for row, scope in scopes[~scopes.index.duplicated()].items():
        if scope not in shown:
            continue
        theirs = printed.loc[row, columns]
        mine = ours.xs(row, level="row") if row in ours.index.unique("row") else ours[:0]
        kind = "paper" if len(mine) else "quoted from the paper"
        rows.append([f"{row} ({kind})", *theirs.map("{:.2f}".format, na_action="ignore")])
        for method, seeds in mine.groupby(level="method", sort=False):
            rows.append([f"{method} (ours)", *(deviation(seeds[c], most) for c in columns)])
            difference = seeds[columns].mean() - theirs
            rows.append(["difference", *difference.map(signed, na_action="ignore")])
    data = ", ".join(dict.fromkeys(run.data for run in runs))
    title = f"table {table}, accuracy, %, ours {data} over {counted(most, 'seed')}"
    cells = pd.DataFrame(rows, columns=[title, *columns]).set_index(title)
    return cells.astype(object).fillna(NOTHING)


def _ours(runs: Sequence[Run], values: pd.DataFrame, table: int) -> pd.DataFrame:
    """Find our accuracies where the paper has a number, by row, method and seed."""
    wanted = list(values["backbone"].unique())
    foreign = [run.backbone for run in runs if paper_backbone(run.backbone) not in wanted]
    if foreign:
        raise ValueError(
            f"`runs` should have a backbone of the paper's table {table}: CLIP's "
            f"{', '.join(wanted)}, for instance `open_clip/RN50/openai`. Got "
            f"{', '.join(dict.fromkeys(foreign))}. "
            "Numbers of other backbones do not compare with the paper's."
        )
    backbones = dict.fromkeys(run.backbone for run in runs) if table == 2 else {}
    parts = [[run for run in runs if run.backbone == name] for name in backbones] or [list(runs)]
    mine = pd.concat([distinct(part) for part in parts], ignore_index=True)
    mine["backbone"] = mine["backbone"].map(paper_backbone)
    mine["name"] = mine["preset"].map(WORDS["methods"])
    both, either = mine[TERMS].all(axis=1), mine[TERMS].any(axis=1)
    if table == 3:
        mine["name"] = mine["adapter.kind"].map(WORDS["baselines"])
        mine = mine[mine["text.projection"] == "frozen"]
    else:
        constrained = mine["name"].fillna("").str.startswith("HC")
        mine = mine[(constrained & both) | (~constrained & ~either)]
    mine = mine.rename(columns={"constraint.combination": "combination"}).dropna(subset=["name"])
    scaled = (mine["combination"] == "constant") & (mine["constraint.unit"] != "absolute")
    units = scaled.map({True: CLIP_SCALE, False: 1.0})  # the paper's, and its names
    mine["combined"] = (units * mine["constraint.weight"]).round(6)
    mine["lambda"] = mine["constraint.perturbation_weight"].round(6)
    values = values.rename(columns={"method": "name", "accuracy": "printed"})
    keys = [key for key in KEYS if key in values]
    found = mine.merge(values.dropna(subset=["printed"]), on=keys)
    found = found.drop_duplicates(["row", "method", "column", "seed"], keep="last")
    return found.pivot(index=["row", "method", "seed"], columns="column", values="accuracy")


def paper_backbone(backbone: str) -> Any:
    """Return the paper's name of a backbone, such as ``"ResNet-50"``; None if it has no such.

    A run has ``open_clip/RN50/openai``, a file in the tag's place, taken at the user's word, or one
    of OpenAI's repositories, on the hub or as a folder of that name.
    """
    kind, _, rest = backbone.partition("/")
    if kind != "open_clip":
        return None
    if rest.startswith(("hf-hub:", "local-dir:")):
        folder = rest.rstrip("/").rpartition("/")[2].rpartition(":")[2]
        return WORDS["repositories"].get(folder)
    model, _, weights = rest.partition("/")
    known = WEIGHTS.fullmatch(weights)
    return WORDS["models"].get(model.removesuffix("-quickgelu")) if known else None
