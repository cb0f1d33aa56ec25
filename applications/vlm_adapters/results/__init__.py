"""Runs as a table of pandas, and tables for readers: texts, whose index is named by what they are.

Figures, the paper's tables and the report are the other modules.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from scipy import stats

from .._files import write_text
from ..config import BASELINES
from ..runs import Run
from ..training import ORACLE

RUN = ["method", "preset", "dataset", "backbone", "data", "shots", "seed"]
FACTORS = ("weight", "perturbation_weight", "coincidence_weight")
TERMS = ["track_coincidence", "deviating_perturbation"]
ESCAPES = str.maketrans({"*": r"\*", "|": r"\|"})  # names such as HC*-TR are not emphasis
NOTHING = "-"
METRICS = {"top5": "top-5", "mean_per_class": "mean of classes"}


def frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row for each run: its headline accuracy, and its options under dotted names."""
    columns = [*RUN, "headline", "accuracy"]
    table = pd.DataFrame({name: [getattr(run, name) for run in runs] for name in columns})
    table = table.join(pd.json_normalize([run.config for run in runs]).drop(columns="title"))
    active = table["constraint.weight"] > 0
    for term, weight in zip(TERMS, ("coincidence_weight", "perturbation_weight"), strict=True):
        table[term] = active & (table[f"constraint.{weight}"] > 0)
    return table


def distinct(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the runs of one table; the titles of a method's variants tell what differs."""
    if not runs:
        raise ValueError("`runs` should hold a run. Got none.")
    table = frame(runs)
    found = [f"{backbone} ({data})" for backbone, data in by_setting(runs)]
    if len(found) > 1:
        raise ValueError(
            "`runs` should share one backbone and one kind of training data. "
            f"Got {', '.join(found)}. Make one table for each."
        )
    for dataset in table["dataset"].unique():
        _check_features(dataset, [run for run in runs if run.dataset == dataset])
    table["method"] = titles(table)
    twice = table[table.duplicated(["method", "dataset", "shots", "seed"])]
    for run in twice.itertuples():
        raise ValueError(
            f"`runs` should hold each run once. Got {run.method} on {run.dataset} at {run.shots} "
            f"shots with seed {run.seed} twice. Give one of them another `title`."
        )
    return table


def _check_features(dataset: str, runs: Sequence[Run]) -> None:
    """Raise if runs on one data set saw other images or features; old ones may not say."""
    made = [{"split": run.hashes.get("split", ""), **run.weights, **run.features} for run in runs]
    found = {
        name: dict.fromkeys(one[name][:20] for one in made if one.get(name))
        for name in dict.fromkeys(name for one in made for name in one)
    }
    differing = [f"{n} {' and '.join(values)}" for n, values in found.items() if len(values) > 1]
    if differing:
        raise ValueError(
            f"`runs` on one data set should share their features. Got {dataset} with "
            f"{'; '.join(differing)}. Move runs that differ to a folder of their own."
        )


def titles(table: pd.DataFrame, without: str = "") -> pd.Series:
    """Return each run's title, with the options that differ among its method's on a data set."""
    names = [name for name in table if ("." in name or name == "protocol") and name != without]
    options = table[names].map(lambda value: json.dumps(value).strip('"'))
    options = options.rename(columns=lambda name: name.removeprefix("constraint."))
    titled = table["method"].copy()
    for _, mine in options.groupby(table["method"]):
        several = mine.groupby(table["dataset"]).nunique().max() > 1
        if several.any():
            parts = mine.loc[:, several].apply(lambda column: f"{column.name}=" + column)
            titled[mine.index] += " (" + parts.agg(", ".join, axis=1) + ")"
    return titled


def by_setting(runs: Sequence[Run]) -> dict[tuple[str, str], list[Run]]:
    """Group runs by backbone and kind of training data."""
    settings = dict.fromkeys((run.backbone, run.data) for run in runs)
    return {key: [run for run in runs if (run.backbone, run.data) == key] for key in settings}


def seed_means(table: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """Average each seed over data sets; NaN for a seed that lacks one of them.

    The mean of an incomplete seed would be that of other tasks.
    """
    wide = table.set_index([*by, "seed", "dataset"])["accuracy"].unstack("dataset")
    return wide.mean(axis=1, skipna=False)


def deviation(values: pd.Series, most: int) -> str:
    """Write mean ± sample standard deviation; say if there are fewer seeds than most."""
    values = values.dropna()
    if values.empty:
        return NOTHING
    text = f"{values.mean():.2f}" + (f" ± {values.std():.2f}" if len(values) > 1 else "")
    return f"{text} ({counted(len(values), 'seed')})" if len(values) < most else text


def half_interval(values: pd.Series) -> float:
    """Return half the 95 % confidence interval of a mean, from Student's t; NaN for one value."""
    return float(stats.t.ppf(0.975, len(values) - 1) * values.sem())


def interval(values: pd.Series) -> str:
    """Write a signed mean and its interval, for instance ``+0.50 [-0.20, +1.20]``."""
    values = values.dropna()
    if len(values) < 2:
        return signed(values.iloc[0]) if len(values) else NOTHING
    mean, half = values.mean(), half_interval(values)
    return f"{signed(mean)} [{signed(mean - half)}, {signed(mean + half)}]"


def signed(value: float) -> str:
    """Write two decimals with a sign; what rounds to zero is +0.00."""
    return f"{round(value, 2) + 0.0:+.2f}"


def counted(count: int, noun: str) -> str:
    """Write a number and a noun, in the plural but for 1."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def spread(means: pd.Series, columns: str) -> tuple[pd.DataFrame, int]:
    """Lay the seeds' means out as texts, one of their levels as columns; and count the seeds."""
    levels = [name for name in means.index.names if name != "seed"]
    groups = means.groupby(level=levels, sort=False)
    most = int(groups.count().max()) if len(means) else 0
    cells = groups.agg(lambda values: deviation(values, most)).astype(object)
    return cells.unstack(columns).fillna(NOTHING), most


def accuracy_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Tabulate the mean and standard deviation over seeds of the headline accuracy.

    Of several data sets the average is shown, for the seeds that have them all.
    """
    table = distinct(runs)
    cells, most = spread(seed_means(table, ["method", "shots"]), "shots")
    cells = cells.reindex(table["method"].unique())
    return cells.rename(columns=shot_title).rename_axis(heading(table, most), axis=0)


def heading(table: pd.DataFrame, seeds: int) -> str:
    """Say what the numbers of a table are."""
    datasets = table["dataset"].nunique()
    what = "accuracy" if datasets == 1 else f"average accuracy on {datasets} data sets"
    return f"{what}, %, {counted(seeds, 'seed')}"


def shot_title(count: int) -> str:
    """Title a column."""
    return f"{count}-shot"


def protocol_table(runs: Sequence[Run], *, oracles: bool = False) -> pd.DataFrame:
    """Tabulate accuracy by protocol and more of the headline's, for each method and shot count.

    ``oracles`` are protocols that read test labels, in place of those that a user can follow.
    """
    table = distinct(runs)
    found = pd.DataFrame({"headline": run.accuracy} | run.accuracies | run.metrics for run in runs)
    names = [name for name in found if name.startswith(ORACLE) == oracles]
    names.sort(key=lambda name: name in METRICS)
    columns = list(dict.fromkeys(["headline", *names]))
    long = found[columns].melt(var_name="which", value_name="accuracy", ignore_index=False)
    long = table.drop(columns="accuracy").join(long)
    cells, most = spread(seed_means(long, ["method", "shots", "which"]), "which")
    cells = cells.reindex(table["method"].unique(), level="method")[columns]
    headlines = table.groupby(["method", "shots"])["headline"].agg(lambda p: ", ".join(p.unique()))
    cells.insert(0, "headline protocol", headlines)
    cells = cells[(cells[names] != NOTHING).any(axis=1)].rename(columns=METRICS)
    title = "NOT RESULTS: selected on test labels; " if oracles else ""
    return _with_shots(cells).rename_axis(title + heading(table, most), axis=0)


def _with_shots(cells: pd.DataFrame) -> pd.DataFrame:
    return cells.set_axis([f"{method}, {shots}-shot" for method, shots in cells.index])


def difference_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Tabulate constraint minus baseline in points, paired by data set, shots and seed.

    The mean comes with its 95 % confidence interval from Student's t. The unit is the seed: what
    one seed gives on several data sets or, in the column "all", at several shot counts is averaged
    first. The interval speaks of other seeds, not of other data sets. A column leaves out seeds
    that lack one of its tasks; the counts of better, equal and worse have every pair.
    """
    table = distinct(runs)
    shots = sorted(table["shots"].unique())
    named = table.groupby("preset")["method"].unique()
    rows = {}
    for constrained, baseline in BASELINES.items():
        for ours in named.get(constrained, ()):
            for theirs in named.get(baseline, ()):
                found = gains(table, ours, theirs)
                if len(found):
                    rows[f"{ours} - {theirs}"] = _differences(found, shots)
    columns = [*map(shot_title, shots), "all", "seeds", "better/equal/worse"]
    cells = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return cells.rename_axis("difference, points [95 % interval]", axis=0)


def gains(table: pd.DataFrame, constrained: str, baseline: str) -> pd.DataFrame:
    """Subtract headline accuracies where both methods have a run."""
    place = ["dataset", "shots", "seed"]
    ours, theirs = (
        table[table["method"] == title].set_index(place)["accuracy"]
        for title in (constrained, baseline)
    )
    return (ours - theirs).dropna().reset_index()


def _differences(found: pd.DataFrame, shots: Sequence[int]) -> list[str]:
    by_shots = seed_means(found, ["shots"]).unstack("shots")
    overall = by_shots.mean(axis=1, skipna=False).dropna()
    better, worse = (found["accuracy"] > 0).sum(), (found["accuracy"] < 0).sum()
    cells = [interval(by_shots[count]) if count in by_shots else NOTHING for count in shots]
    counts = f"{better}/{len(found) - better - worse}/{worse}"
    return [*cells, interval(overall), str(len(overall)), counts]


def terms_table(runs: Sequence[Run]) -> pd.DataFrame:
    """Tabulate adapters trained with the constraint by its terms, as the paper's table 3."""
    table = distinct(runs)
    kinds = table.loc[table[TERMS].any(axis=1), "adapter.kind"].unique()
    if not len(kinds):
        return pd.DataFrame()
    table["kind"] = pd.Index(kinds).get_indexer(table["adapter.kind"])
    table = table[table["kind"] >= 0]
    cells, most = spread(seed_means(table, ["method", "shots"]), "shots")
    forms = table.drop_duplicates("method").set_index("method").sort_values(["kind", *TERMS])
    marks = forms[TERMS].rename(columns=lambda name: name.replace("_", " "))
    cells = marks.replace({True: "yes", False: "no"}).join(cells.rename(columns=shot_title))
    return cells.rename_axis(heading(table, most), axis=0)


def factor_series(runs: Sequence[Run], factor: str) -> pd.DataFrame:
    """Return runs on one data set that differ in one factor and in no other option, labelled."""
    name = f"constraint.{factor}"
    fixed = "perturbation_weight" if factor == "weight" else "weight"
    table = frame(runs)
    table = table[table["constraint.weight"] > 0]
    table = table.assign(method=titles(table, without=name), value=table[name])
    table["label"] = table["method"] + table["shots"].map(", {}-shot".format)
    told = table["method"].str.contains(rf"\b{fixed}=")
    other = table[f"constraint.{fixed}"].map(f" ({fixed}={{}})".format)
    table["label"] += other.where(~told, "")
    several = table.groupby("label")["value"].transform("nunique") > 1
    return table[several]


def factor_table(runs: Sequence[Run], factor: str) -> pd.DataFrame:
    """Tabulate accuracy by the values of one factor, for each series, as the paper's table 4."""
    series = factor_series(runs, factor)
    if series.empty:
        return series[[]]
    values = series.set_index(["label", "value", "seed"])["accuracy"]
    cells = spread(values, "value")[0].sort_index(axis=1)
    cells = cells.reindex(series["label"].unique()).rename(columns="{:g}".format)
    return cells.rename_axis(f"accuracy, %, by {factor}", axis=0)


def transfer_table(runs: Sequence[Run], transfers: Sequence[Run]) -> pd.DataFrame:
    """Tabulate accuracy on the source, on each target, and the average over targets."""
    table = distinct([*runs, *transfers])
    sources = list(dict.fromkeys(run.dataset for run in runs))
    targets = list(dict.fromkeys(run.dataset for run in transfers))
    moved = table[table["dataset"].isin(targets)]
    average = seed_means(moved, ["method", "shots"])
    average = average.rename("accuracy").reset_index().assign(dataset="average of targets")
    rows = pd.concat([table, average], ignore_index=True)
    cells, _ = spread(rows.set_index(["method", "shots", "dataset", "seed"])["accuracy"], "dataset")
    order = pd.MultiIndex.from_frame(moved[["method", "shots"]].drop_duplicates())
    cells = cells.reindex(order)[[*sources, *targets, "average of targets"]]
    return _with_shots(cells).rename_axis("accuracy, %, trained on " + ", ".join(sources), axis=0)


def markdown(table: pd.DataFrame) -> str:
    """Write a table as GitHub reads it: lines, each ended."""
    head, *rows = ([cell.translate(ESCAPES) for cell in line] for line in lines(table))
    ruled = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in ruled)


def lines(table: pd.DataFrame) -> list[list[str]]:
    """Return the header and the rows of a table as texts."""
    return [[str(table.index.name), *table.columns], *table.reset_index().to_numpy().tolist()]


def write_csv(path: Path, runs: Sequence[Run]) -> None:
    """Write one row for each run and protocol; equal runs give equal bytes.

    ``oracle`` is 1 where a protocol reads test labels.
    """
    rows = [
        [*(getattr(run, column) for column in RUN), name, int(name.startswith(ORACLE)), value]
        for run in runs
        for name, value in run.accuracies.items()
    ]
    table = pd.DataFrame(rows, columns=[*RUN, "protocol", "oracle", "accuracy"])
    write_text(path, table.to_csv(index=False, float_format="%.4f", lineterminator="\n"))
