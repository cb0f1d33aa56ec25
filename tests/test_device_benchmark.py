"""What ``benchmarks/devices.py`` measures, keeps and prints; no time is looked at."""

import importlib
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerator import DEVICE, on_accelerator

ABOUT = {"device": "one", "type": "cpu", "torch": "2", "topreg": "0"}
TIMES = {"ms": {"there": [1.0, 2.0, 3.0], "over the CPU": [2.0, 4.0, 6.0]}}
NOT_ON_THE_CPU = "tests", "use of the device", "warps"


@pytest.fixture(scope="module")
def devices():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
        yield importlib.import_module("devices")
    torch.set_flush_denormal(False)


def stages_of(path, key="one, 2, 0"):
    return json.loads(path.read_text())[key]["stages"]


def never(seconds):
    pytest.fail("measured again")


def test_every_row_is_measured_once_and_printed(devices, monkeypatch, tmp_path, capsys):
    out = tmp_path / "new" / "results.json"
    command = ["devices.py", "--device=cpu", "--tiny", "--seconds=0", f"--out={out}"]
    monkeypatch.setattr(sys, "argv", command)
    devices.main()
    printed = capsys.readouterr().out
    (run,) = json.loads(out.read_text()).values()
    assert (run["type"], run["torch"]) == ("cpu", torch.__version__)
    found = [(stage, name) for stage, records in run["stages"].items() for name in records]
    rows = list(devices.rows(devices.TINY, torch.device("cpu"), 60))
    assert found == [(row.stage, row.name) for row in rows]
    assert all(name in printed for _, name in found)
    for stage in NOT_ON_THE_CPU:
        for record in run["stages"].pop(stage).values():
            assert list(record) == ["skipped"]
    for stage, records in run["stages"].items():
        for record in records.values():
            least = 3 if stage == "dimension 0" else 2
            assert least <= len(record["ms"]) <= least + (record.get("batch") == 1)
            for low, median, high in record["ms"].values():
                assert 0 < low <= median <= high < math.inf
    assert 'OVER_THE_CPU["cpu"] = ' in printed

    before = out.read_text()
    monkeypatch.setattr(devices, "rows", lambda *_: [row._replace(measure=never) for row in rows])
    for options in ([], ["--table"]):
        monkeypatch.setattr(sys, "argv", command + options)
        devices.main()
        assert capsys.readouterr().out == printed
    assert out.read_text() == before
    assert list(out.parent.iterdir()) == [out]


def test_a_stopped_run_goes_on_where_it_stopped(devices, tmp_path):
    def stop(seconds):
        raise KeyboardInterrupt

    out, row = tmp_path / "results.json", devices.Row
    first, last = row("losses", "a", lambda _: TIMES), row("losses", "c", lambda _: TIMES)
    with pytest.raises(KeyboardInterrupt):
        devices.measure(out, [first, row("losses", "b", stop), last], ABOUT, math.inf, 0)
    assert list(stages_of(out)["losses"]) == ["a"]
    second = row("losses", "b", lambda _: {"ms": {"there": [4.0, 4.0, 4.0]}})
    rows = [first._replace(measure=never), second, last]
    assert devices.measure(out, rows, ABOUT, math.inf, 0) == []
    assert stages_of(out) == {"losses": {"a": TIMES, "b": second.measure(0), "c": TIMES}}


def test_a_failure_is_a_result_and_is_tried_again(devices, tmp_path):
    def fail(seconds):
        raise NotImplementedError("this device has no argmin")

    out, row = tmp_path / "results.json", devices.Row
    rows = [row("steps", "a", fail), row("steps", "b", lambda _: TIMES)]
    assert devices.measure(out, rows, ABOUT, math.inf, 0) == []
    reason = "NotImplementedError: this device has no argmin"
    assert stages_of(out)["steps"] == {"a": {"error": reason}, "b": TIMES}
    printed = devices.markdown(json.loads(out.read_text())["one, 2, 0"])
    assert f"steps a: error: {reason}" in printed
    assert "| b | 2.000 (1.000 to 3.000) | 4.000 (2.000 to 6.000) |" in printed
    rows = [rows[0]._replace(measure=lambda _: TIMES), rows[1]._replace(measure=never)]
    devices.measure(out, rows, ABOUT, math.inf, 0)
    assert stages_of(out)["steps"] == {"a": TIMES, "b": TIMES}


@pytest.mark.parametrize("name", ["device", "torch", "topreg"])
def test_another_device_or_version_has_rows_of_its_own(devices, tmp_path, name):
    out, rows = tmp_path / "results.json", [devices.Row("losses", "a", lambda _: TIMES)]
    devices.measure(out, rows, ABOUT, math.inf, 0)
    devices.measure(out, rows, ABOUT | {name: "other"}, math.inf, 0)
    assert len(json.loads(out.read_text())) == 2
    assert stages_of(out) == {"losses": {"a": TIMES}}


def test_a_row_that_may_not_fit_is_left(devices, monkeypatch, tmp_path):
    now = [0.0]
    monkeypatch.setattr(devices.time, "monotonic", lambda: now[0])

    def ten_seconds(seconds):
        now[0] += 10
        return TIMES

    out = tmp_path / "results.json"
    rows = [devices.Row("losses", str(number), ten_seconds) for number in range(9)]
    # rows begin at 0, 10, ... 60; from 70 one of four times ten seconds might end after 100
    assert devices.measure(out, rows, ABOUT, 100.0, 2.0) == ["losses: 7", "losses: 8"]
    assert list(stages_of(out)["losses"]) == ["0", "1", "2", "3", "4", "5", "6"]
    assert devices.measure(out, rows, ABOUT, now[0] + 100, 2.0) == []


@pytest.mark.parametrize(
    ("times", "size"),
    [
        ([(3, 1), (3, 2), (3, 4)], 32),
        ([(3, 1), (3, 4), (3, 2)], 16),  # later ones may be noise
        ([(1, 3), (3, 1), (3, 1)], 0),
        ([(3, 1), (3, 1), (3, 1)], 64),
    ],
)
def test_the_size_up_to_which_the_cpu_is_faster(devices, times, size):
    records = [{"n": 16, "batch": 8, "ms": {"there": [1, 1, 1], "over the CPU": [9, 9, 9]}}]
    for n, (there, over) in zip((16, 32, 64), times, strict=True):
        quartiles = {"there": [0, there, 9], "other": [0, 0, 0], "over the CPU": [0, over, 9]}
        records.append({"n": n, "batch": 1, "ms": quartiles})
    assert devices.faster_over_the_cpu(records) == size


def test_the_device_is_waited_for_within_every_time(devices, monkeypatch):
    rows, log = importlib.import_module("_device_rows"), []
    monkeypatch.setattr(torch.accelerator, "synchronize", log.append)
    device = torch.device("cuda")
    calls = {name: lambda name=name: log.append(name) for name in "ab"}
    record = rows.timed(calls, device, 0)
    assert list(record["ms"]) == ["a", "b"]
    assert log == ["a", device, "b", device] * (1 + record["calls"])


@on_accelerator
def test_every_row_can_be_measured_on_an_accelerator(devices):
    for row in devices.rows(devices.TINY, DEVICE, 60):
        if row.stage != "tests":
            record = row.measure(0)
            times = record.get("ms", {}).values()
            assert record.keys() & {"ms", "skipped"}, row.name
            assert all(quartiles[0] > 0 for quartiles in times), row.name


def test_the_work_of_a_device_is_added_up():
    rows = importlib.import_module("_device_rows")

    def event(kind, microseconds, annotation=False):
        return SimpleNamespace(
            device_type=SimpleNamespace(name=kind),
            time_range=SimpleNamespace(elapsed_us=lambda: microseconds),
            is_user_annotation=annotation,
        )

    events = [event("CPU", 1000), event("CUDA", 20), event("CUDA", 30), event("CUDA", 500, True)]
    assert rows.work_of(events, "CUDA") == (2, 0.05)


def test_a_column_that_some_rows_lack_is_empty_there(devices):
    more = {"ms": TIMES["ms"] | {"other": [7.0, 8.0, 9.0]}}
    printed = devices.markdown({"stages": {"losses": {"a": TIMES, "b": more}}})
    assert "| losses | there, ms | over the CPU, ms | other, ms |" in printed
    assert "| a | 2.000 (1.000 to 3.000) | 4.000 (2.000 to 6.000) |  |" in printed


def test_marked_tests_are_counted(devices, tmp_path):
    file = tmp_path / "test_some.py"
    file.write_text(
        "import pytest\npytestmark = pytest.mark.gpu\n"
        "def test_good(): pass\n"
        "def test_bad(): assert 1 == 2\n"
        "def test_absent(): pytest.skip('no device')\n"
    )
    rows = importlib.import_module("_device_rows")
    record = rows.marked_tests(torch.device("cuda"), 60, [str(file)])
    assert record["counts"] == {"passed": 1, "failed": 1, "skipped": 1}
    assert "test_bad - assert 1 == 2" in record["error"]
    file.write_text(file.read_text().replace("1 == 2", "2 == 2"))
    record = rows.marked_tests(torch.device("cuda"), 60, [str(file)])
    assert record == {"counts": {"passed": 2, "skipped": 1}}
    file.write_text("import pytest\npytest.skip('no device', allow_module_level=True)\n")
    record = rows.marked_tests(torch.device("cuda"), 60, [str(file)])
    assert record["error"].startswith("1 skipped in")
    record = rows.marked_tests(torch.device("cuda"), 60, [str(tmp_path / "none.py")])
    assert "none.py" in record["error"]


@pytest.mark.parametrize(("present", "expected"), [(False, "cpu"), (True, "xpu")])
def test_a_device_without_its_driver_is_not_taken(devices, monkeypatch, present, expected):
    """A build of torch names its type of accelerator even where there is none."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: present)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("xpu"))
    assert devices.default_device() == expected


def test_without_results_there_is_no_table(devices, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["devices.py", "--table", f"--out={tmp_path / 'none.json'}"])
    with pytest.raises(SystemExit):
        devices.main()
    assert "none.json. Measure first." in capsys.readouterr().err
