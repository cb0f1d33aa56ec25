"""Files, tables and the figure."""

import json

import pytest
from vlm_adapters.experiments import Run
from vlm_adapters.results import (
    accuracy_table,
    difference_table,
    markdown,
    save_accuracy_figure,
    write_csv,
    write_json,
    write_text,
)


def run(preset, shots, seed, value):
    titles = {"taskres": "TaskRes", "hc_tr": "HC-TR"}
    return Run(
        titles[preset], preset, shots, seed, "last", {"last": value, "other": 1.0}, {}, [], 0.1
    )


@pytest.fixture
def runs():
    values = {("taskres", 1): (70, 72), ("hc_tr", 1): (71, 71), ("taskres", 16): (90, 92),
              ("hc_tr", 16): (91, 95)}  # fmt: skip
    return [
        run(preset, shots, seed, float(value))
        for (preset, shots), pair in values.items()
        for seed, value in zip((1, 2), pair, strict=True)
    ]


def test_csv(runs, tmp_path):
    write_csv(tmp_path / "r.csv", runs[:1])
    assert (tmp_path / "r.csv").read_text() == (
        "method,shots,seed,protocol,accuracy\nTaskRes,1,1,last,70.0000\nTaskRes,1,1,other,1.0000\n"
    )


def test_accuracy_table(runs):
    assert accuracy_table(runs) == [
        ["accuracy, %, 2 seeds", "1-shot", "16-shot"],
        ["TaskRes", "71.00 ± 1.41", "91.00 ± 1.41"],
        ["HC-TR", "71.00 ± 0.00", "93.00 ± 2.83"],
    ]


def test_differences_are_paired_by_seed(runs):
    assert difference_table(runs, {"hc_tr": "taskres"})[1] == [
        "HC-TR - TaskRes", "+0.00 ± 1.41", "+2.00 ± 1.41", "+1.00 ± 1.63", "3 of 4",
    ]  # fmt: skip


def test_one_seed_has_no_deviation(runs):
    assert accuracy_table(runs[::2])[1] == ["TaskRes", "70.00", "90.00"]


def test_markdown():
    assert markdown([["a", "b"], ["c", "d"]]) == "| a | b |\n| --- | ---: |\n| c | d |\n"


def test_figure_is_a_png_and_leaves_nothing_else(runs, tmp_path):
    save_accuracy_figure(tmp_path / "a.png", runs, "title")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_json_round_trip(runs, tmp_path):
    write_json(tmp_path / "r.json", [run.as_record() for run in runs])
    assert json.loads((tmp_path / "r.json").read_text())[0]["accuracies"]["last"] == 70.0


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "r.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.txt"]
