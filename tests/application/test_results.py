"""Long table, tables over seeds, differences, protocols, ablations, transfers and reports."""

import csv
import itertools
import json
import textwrap
from dataclasses import asdict, replace

import pandas as pd
import pytest
from application.synthetic_runs import run, seeds
from scipy import stats
from vlm_adapters._files import write_json
from vlm_adapters.config import PRESETS
from vlm_adapters.results import (
    accuracy_table,
    by_setting,
    difference_table,
    factor_table,
    half_interval,
    lines,
    markdown,
    protocol_table,
    terms_table,
    transfer_table,
    write_csv,
)
from vlm_adapters.results.report import write_run_report
from vlm_adapters.runs import SCHEMA, read_runs, read_transfers, write_result


@pytest.fixture
def runs():
    return [
        *(*seeds("taskres", (70, 72), shots=1), *seeds("hc_tr", (71, 71), shots=1)),
        *(*seeds("taskres", (90, 92)), *seeds("hc_tr", (91, 95))),
    ]


def same(table, expected):
    """Compare a table with lines whose cells stand between bars."""
    assert [" | ".join(line) for line in lines(table)] == textwrap.dedent(expected).split("\n")[
        1:-1
    ]


def rows(table):
    return lines(table)[1:]


def test_long_table(tmp_path):
    one = run("taskres", 70, shots=2, seed=3, best_val=71, **{"oracle:best_test": 72})
    write_csv(tmp_path / "r.csv", [one])
    place = "TaskRes,taskres,imagenet,open_clip/RN50/openai,online,2,3"
    assert (tmp_path / "r.csv").read_text().splitlines() == [
        "method,preset,dataset,backbone,data,shots,seed,protocol,oracle,accuracy",
        f"{place},last,0,70.0000",
        f"{place},best_val,0,71.0000",
        f"{place},oracle:best_test,1,72.0000",
    ]


def test_interval_is_scipys():
    values = [0.3, -0.1, 0.9, 0.4]
    found = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert 2 * half_interval(pd.Series(values)) == pytest.approx(found.high - found.low)


class TestAccuracyTable:
    def test_mean_and_deviation(self, runs):
        expected = """
            accuracy, %, 2 seeds | 1-shot | 16-shot
            TaskRes | 71.00 ± 1.41 | 91.00 ± 1.41
            HC-TR | 71.00 ± 0.00 | 93.00 ± 2.83
        """
        same(accuracy_table(runs), expected)
        assert lines(accuracy_table(runs[::-1]))[0] == lines(accuracy_table(runs))[0]

    def test_missing_runs_are_said(self, runs):
        assert rows(accuracy_table(runs[:-2] + runs[-1:]))[1][2] == "95.00 (1 seed)"
        assert rows(accuracy_table(runs[:-2]))[1] == ["HC-TR", "71.00 ± 0.00", "-"]

    def test_average_over_data_sets_by_seed(self):
        runs = seeds("taskres", (60, 70)) + seeds("taskres", (90, 96, 99), dataset="dtd")
        expected = """
            average accuracy on 2 data sets, %, 2 seeds | 16-shot
            TaskRes | 79.00 ± 5.66
        """  # 75 and 83; the third seed lacks ImageNet
        same(accuracy_table(runs), expected)
        assert rows(accuracy_table(runs + seeds("hc_tr", (61,))))[1] == ["HC-TR", "-"]

    VARIANTS = (
        (
            seeds("hc_tr", (1, 3), "constraint.weight=0.1") + seeds("hc_tr", (2, 4)),
            ["HC-TR (weight=0.1)", "HC-TR (weight=0.15)"],
        ),
        (  # they have no common seed
            [run("hc_tr", 1, 'protocol="best_val"'), run("hc_tr", 3, seed=2)],
            ["HC-TR (protocol=best_val)", "HC-TR (protocol=last)"],
        ),
        (
            [run("taskres", 1, "training.learning_rate=1e-4"), run("taskres", 3, dataset="dtd")],
            ["TaskRes"],
        ),
    )

    @pytest.mark.parametrize(("runs", "titles"), VARIANTS)
    def test_variants_have_titles_of_their_own(self, runs, titles):
        assert [row[0] for row in rows(accuracy_table(runs))] == titles

    def test_options_read_from_json_make_no_variants(self, runs):
        record = json.loads(json.dumps(runs[0].config))
        again = accuracy_table([replace(runs[0], config=record), *runs[1:]])
        assert lines(again) == lines(accuracy_table(runs))


class TestRefusals:
    def test_no_runs(self, tmp_path):
        for call in (accuracy_table, lambda runs: write_run_report(tmp_path, runs)):
            with pytest.raises(ValueError, match=r"`runs` should hold a run\. Got none\."):
                call([])
        assert list(tmp_path.iterdir()) == []

    def test_mixed_settings(self):
        mixed = [run("taskres", 1), run("taskres", 2, data="cached")]
        text = (
            r"`runs` should share one backbone and one kind of training data\. Got "
            r"open_clip/RN50/openai \(online\), open_clip/RN50/openai \(cached\)\. "
            r"Make one table for each\."
        )
        for table in (accuracy_table, protocol_table, terms_table, difference_table):
            with pytest.raises(ValueError, match=text):
                table(mixed)
        assert [len(part) for part in by_setting(mixed).values()] == [1, 1]

    def test_a_run_twice(self, runs):
        text = (
            r"`runs` should hold each run once\. Got TaskRes on imagenet at 1 shots with seed 1 "
            r"twice\. Give one of them another `title`\."
        )
        with pytest.raises(ValueError, match=text):
            accuracy_table([*runs, runs[0]])


class TestDifferences:
    def test_paired_by_seed_with_interval(self, runs):
        header, row = lines(difference_table(runs))
        title = "difference, points [95 % interval]"
        assert header == [title, "1-shot", "16-shot", "all", "seeds", "better/equal/worse"]
        cells = ["+0.00 [-12.71, +12.71]", "+2.00 [-10.71, +14.71]", "+1.00 [+1.00, +1.00]"]
        assert row == ["HC-TR - TaskRes", *cells, "2", "3/0/1"]
        assert difference_table(runs[:2]).empty
        assert difference_table([run("taskres", 1), run("hc_tr", 1, dataset="dtd")]).empty

    def test_the_unit_of_all_is_the_seed(self):
        gains = {1: (0, 1, 2), 2: (2, 3, 4), 4: (4, 5, 6)}
        runs = []
        for shots, values in gains.items():
            runs += seeds("taskres", [50] * 3, shots=shots)
            runs += seeds("hc_tr", [50 + value for value in values], shots=shots)
        low, high = stats.t.interval(0.95, 2, 3, stats.sem([2, 3, 4]))
        [row] = rows(difference_table(runs))
        assert row[-3:] == [f"+3.00 [{low:+.2f}, {high:+.2f}]", "3", "8/1/0"]

    def test_all_leaves_out_incomplete_seeds(self, runs):
        [row] = rows(difference_table(runs[:-1]))
        assert row[1:] == ["+0.00 [-12.71, +12.71]", "+1.00", "+1.00", "1", "2/0/1"]

    def test_data_sets_are_averaged_within_a_seed(self):
        runs = []
        for dataset, gain in (("dtd", 1), ("imagenet", 3)):
            for preset, more in (("taskres", 0), ("hc_tr", gain)):
                runs += seeds(preset, (50 + more, 60 + more), dataset=dataset)
        [row] = rows(difference_table(runs))
        assert row[1:] == ["+2.00 [+2.00, +2.00]", "+2.00 [+2.00, +2.00]", "2", "4/0/0"]

    def test_rounding_gives_no_negative_zero(self):
        [row] = rows(difference_table([run("taskres", 50.0), run("hc_tr", 49.999)]))
        assert row[1] == "+0.00"

    def test_each_variant_has_a_row(self, runs):
        other = seeds("hc_tr", (75, 77), "constraint.weight=0.1", shots=1)
        first, second = rows(difference_table(runs + other))
        assert first[0] == "HC-TR (weight=0.15) - TaskRes"
        assert second[0] == "HC-TR (weight=0.1) - TaskRes"
        assert second[2:] == ["-", "+5.00 [+5.00, +5.00]", "2", "2/0/0"]


def test_protocols_and_apart_from_them_oracles():
    several = [
        run("taskres", 70, best_val=71, **{"oracle:best_test": 82.0}),
        run("tip_adapter_f", 75, last=74, best_val=73),
    ]
    expected = """
        accuracy, %, 1 seed | headline protocol | headline | last | best_val | last+val_search
        TaskRes, 16-shot | last | 70.00 | 70.00 | 71.00 | -
        Tip-Adapter-F, 16-shot | last+val_search | 75.00 | 74.00 | 73.00 | 75.00
    """
    same(protocol_table(several), expected)
    title = "NOT RESULTS: selected on test labels; accuracy, %, 1 seed"
    expected = f"""
        {title} | headline protocol | headline | oracle:best_test
        TaskRes, 16-shot | last | 70.00 | 82.00
    """
    same(protocol_table(several, oracles=True), expected)
    assert protocol_table(several[1:], oracles=True).empty


def test_more_metrics():
    metrics = {"top5": 90.0, "mean_per_class": 50.0}
    runs = [replace(one, metrics=metrics) for one in seeds("taskres", (70, 72))]
    columns = "headline protocol | headline | last | best_val | top-5 | mean of classes"
    expected = f"""
        accuracy, %, 2 seeds | {columns}
        TaskRes, 16-shot | last | 71.00 ± 1.41 | 71.00 ± 1.41 | - | 90.00 ± 0.00 | 50.00 ± 0.00
        HC-TR, 16-shot | last | 1.50 ± 0.71 | 1.50 ± 0.71 | 3.00 ± 0.00 | - | -
    """
    same(protocol_table(runs + seeds("hc_tr", (1, 2), best_val=3)), expected)


class TestAblations:
    def test_terms(self):
        presets = ("zero_shot", "hc_tr", "taskres", "hc_tr_tc", "hc_tr_dp", "clip_adapter")
        presets += ("hc_taf", "tip_adapter_f")
        runs = [run(preset, value) for value, preset in enumerate(presets)]
        expected = """
            accuracy, %, 1 seed | track coincidence | deviating perturbation | 16-shot
            TaskRes | no | no | 2.00
            HC-TR, perturbation only | no | yes | 4.00
            HC-TR, coincidence only | yes | no | 3.00
            HC-TR | yes | yes | 1.00
            Tip-Adapter-F | no | no | 7.00
            HC-TAF | yes | yes | 6.00
        """
        same(terms_table(runs), expected)
        assert terms_table(runs[:1]).empty

    def test_factor(self):
        runs = seeds("hc_tr", (60, 62), "constraint.weight=0.05") + seeds("hc_tr", (65, 65))
        more = seeds("hc_tr", (1, 1), "constraint.perturbation_weight=1.5")
        runs += more + seeds("taskres", (2,)) + seeds("hc_tr", (3,), "constraint.weight=0")
        expected = """
            accuracy, %, by weight | 0.05 | 0.15
            HC-TR (perturbation_weight=2.5), 16-shot | 61.00 ± 1.41 | 65.00 ± 0.00
        """
        same(factor_table(runs, "weight"), expected)
        [row] = rows(factor_table(runs, "perturbation_weight"))
        assert row[0] == "HC-TR (weight=0.15), 16-shot"
        [row] = rows(factor_table(runs[:4], "weight"))
        assert row[0] == "HC-TR, 16-shot (perturbation_weight=2.5)"
        assert factor_table(runs, "coincidence_weight").empty
        runs = runs[:4] + [run("hc_taf", n, f"constraint.weight={n}") for n in (20, 3)]
        header, *series = lines(factor_table(runs, "weight"))
        assert header[1:] == ["0.05", "0.15", "3", "20"]
        assert [row[0].split(",")[0] for row in series] == ["HC-TR", "HC-TAF"]
        assert series[1][1:] == ["-", "-", "3.00 (1 seed)", "20.00 (1 seed)"]

    def test_other_options_make_other_series(self):
        points = ((1, "weight=0.1"), (2, "weight=0.2"), (3, "weight=0.1"))
        runs = [
            run("hc_tr", value, f"constraint.{text}", f"constraint.memory_batches={value // 3}")
            for value, text in points
        ]
        title = "HC-TR (memory_batches=0), 16-shot (perturbation_weight=2.5)"
        assert rows(factor_table(runs, "weight")) == [[title, "1.00", "2.00"]]


class TestTransfers:
    @pytest.fixture
    def folder(self, tmp_path):
        made = {"metrics": {"top5": 99.0}, "features": {"views": "3", "test images": "a"}}
        for one in seeds("taskres", (60, 62), epochs=1):
            one = replace(one, **made)
            folder = tmp_path / f"seed{one.seed}"
            (folder / "transfer").mkdir(parents=True)
            write_result(folder, {"schema": SCHEMA, "run": asdict(one)})
            for target, value in (("imagenet_a", 20), ("imagenet_r", 50)):
                self.transfer(folder, one, target, value + one.seed)
        return tmp_path

    @staticmethod
    def transfer(folder, one, target, value, **other):
        record = {"run": one.identity, "target": target, "accuracy": value, **other}
        write_json(folder / "transfer" / f"{target}.json", record)

    def test_a_run_for_each_target(self, folder):
        self.transfer(folder / "seed2", run("taskres", 62), "imagenet_r", 52, features="b")
        (folder / "seed1/transfer").rename(folder / "transfer")
        (folder / "seed1/transfer").mkdir()  # the other one is of no run
        for target, value in (("imagenet_a", 21), ("imagenet_r", 51)):
            self.transfer(folder / "seed1", run("taskres", 60), target, value)
        found = read_transfers(folder)
        assert all((one.log, one.metrics) == ([], {}) for one in found)
        seen = [{"views": "3", "test images": images} for images in ("", "", "", "b")]
        assert [one.features for one in found] == seen
        assert [(r.seed, r.dataset, r.accuracies["last"]) for r in found] == [
            *((1, "imagenet_a", 21.0), (1, "imagenet_r", 51.0)),
            *((2, "imagenet_a", 22.0), (2, "imagenet_r", 52.0)),
        ]
        title = "accuracy, %, trained on imagenet"
        expected = f"""
            {title} | imagenet | imagenet_a | imagenet_r | average of targets
            TaskRes, 16-shot | 61.00 ± 1.41 | 21.50 ± 0.71 | 51.50 ± 0.71 | 36.50 ± 0.71
        """
        same(transfer_table([run("hc_tr", 1), *seeds("taskres", (60, 62))], found), expected)

    @pytest.mark.parametrize(
        ("record", "text"),
        [
            ({"accuracy": None}, r"should hold the accuracy on a target\. Got TypeError"),
            ({"accuracy": float("nan")}, r"should be JSON"),
            ({"run": "another"}, r"should belong to the run in its folder\. Got the acc"),
        ],
    )
    def test_damaged_and_foreign_files(self, folder, record, text):
        record = {"run": "", "target": "imagenet_a", "accuracy": 1.0} | record
        (folder / "seed1/transfer/imagenet_a.json").write_text(json.dumps(record))
        with pytest.raises(ValueError, match=text):
            read_transfers(folder)


def test_runs_are_read_in_order(tmp_path):
    parts = ("a", "b"), ("zero_shot", "taskres", "mine"), (1, 16), (1, 2)
    places = list(itertools.product(*parts))
    for number, (dataset, preset, shots, seed) in enumerate(places[::-1]):
        one = run("taskres", 1, dataset=dataset, shots=shots, seed=seed)
        (tmp_path / str(number)).mkdir()
        content = {"schema": SCHEMA, "run": asdict(replace(one, preset=preset))}
        write_result(tmp_path / str(number), content)
    found = read_runs(tmp_path)
    assert [(one.dataset, one.preset, one.shots, one.seed) for one in found] == places
    with pytest.raises(ValueError, match=r"`accuracies` should have the headline 'x'\. Got none"):
        replace(found[0], headline="x")


class TestReports:
    def test_run_report(self, tmp_path):
        runs = [
            *seeds("hc_tr", (66, 65), "constraint.weight=0.1", epochs=2),
            *seeds("hc_tr", (65.8, 66.2), epochs=2, **{"oracle:best_test": 77.0}),
            *seeds("taskres", (65, 66), epochs=2),
            *seeds("hc_tr_tc", (65.5, 65.9), epochs=2),
            run("taskres", 88.5, dataset="oxford_pets", backbone="devise", data="cached"),
        ]
        moved = [replace(runs[4], dataset="imagenet_a")]
        names = write_run_report(tmp_path, runs, transfers=moved)
        setting = "open_clip_RN50_openai-online"
        drawn = [f"{name}-{setting}.png" for name in ("accuracy", "terms", "weight", "training")]
        assert names == [
            "results.csv",
            "results.json",
            "results.md",
            *drawn,
            "accuracy-devise-cached.png",
        ]
        assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
        with (tmp_path / "results.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {row["oracle"] for row in rows} == {"0", "1"}
        assert rows[0]["preset"] == "taskres"  # as the presets are ordered
        text = (tmp_path / "results.md").read_text()
        parts = """## open_clip/RN50/openai, online views;## devise, cached views;NOT RESULTS
;accuracy, %, by weight;### Other data sets;track coincidence
;![devise, cached views](accuracy-devise-cached.png)"""
        assert all(part.strip() in text for part in parts.split(";"))
        assert text.index("NOT RESULTS") > text.index("accuracy, %, by weight")

    def test_a_folder_of_one_setting_has_short_names(self, tmp_path):
        runs = seeds("taskres", (65, 66)) + seeds("taskres", (80,), dataset="dtd", epochs=2)
        names = write_run_report(tmp_path, runs, compare_paper=5)
        assert names == [
            "results.csv",
            "results.json",
            "results.md",
            "accuracy.png",
            "training-dtd.png",
        ]
        text = (tmp_path / "results.md").read_text()
        assert "### Average over 2 data sets" in text
        assert "## Beside table 5 of the paper" in text
        assert r"| HC\*-TR, 16-shot (quoted from the paper) |" in text

    def test_a_refused_comparison_writes_nothing(self, tmp_path):
        with pytest.raises(ValueError, match="do not compare with the paper's"):
            write_run_report(tmp_path, [run("taskres", 1, backbone="devise")], compare_paper=1)
        assert list(tmp_path.iterdir()) == []

    def test_table_2_of_the_paper_has_all_backbones(self, tmp_path):
        backbones = ("open_clip/RN50/openai", "open_clip/ViT-B-16/openai")
        runs = [run("taskres", 60, backbone=name) for name in backbones]
        runs += [run(preset, 50) for preset in PRESETS if preset != "taskres"]  # any stands in one
        write_run_report(tmp_path, runs, compare_paper=2)
        compared = (tmp_path / "results.md").read_text().split("## Beside table 2")[1]
        assert compared.count("| --- |") == 1


def test_markdown():
    table = pd.DataFrame({"b": ["d"]}, index=pd.Index(["HC*-TR | x"], name="a"))
    assert markdown(table) == "| a | b |\n| --- | ---: |\n| HC\\*-TR \\| x | d |\n"


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ({"views": "3"}, "views 10 and 3"),
        ({"views": "3", "scale": "0.1,1"}, "views 10 and 3; scale 0.5,1 and 0.1,1"),
        ({"test images": "d"}, "test images a and d"),
    ],
)
def test_runs_on_other_features_are_not_compared(features, told):
    made = {"views": "10", "scale": "0.5,1", "test images": "a"}
    old = run("taskres", 69, seed=2)
    ours = replace(run("hc_tr", 71), features=made, hashes={"split": "a"})
    other = replace(run("taskres", 70), features=made | features)
    for table in (accuracy_table, difference_table, protocol_table):
        table([ours, old, replace(other, features=made)])
        table([ours, replace(other, dataset="dtd")])
        with pytest.raises(ValueError, match=rf"Got imagenet with {told}\. Move runs that differ"):
            table([ours, old, other])


def test_runs_on_other_splits_are_not_averaged():
    first, second = (
        replace(one, hashes={"split": 20 * letter}, weights={"sha256": letter})
        for one, letter in zip(seeds("taskres", (70, 72)), "ab", strict=True)
    )
    told = f"Got imagenet with split {20 * 'a'} and {20 * 'b'}; sha256 a and b"
    with pytest.raises(ValueError, match=told):
        accuracy_table([first, second])
