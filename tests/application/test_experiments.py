"""Runs do not depend on how many processes make them."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import time

import pytest
import torch
from application.helpers import environment
from application.source_helpers import shrink
from vlm_adapters import experiments
from vlm_adapters.config import load_methods
from vlm_adapters.experiments import plan_jobs, run_all, run_jobs
from vlm_adapters.training import train


@pytest.fixture
def jobs():
    overrides = [f"{name}.training.epochs=3" for name in ("taskres", "hc_tr")]
    methods = load_methods(["zero_shot", "taskres", "hc_tr"], overrides=overrides)
    return plan_jobs(methods, [1, 2], [1])


def test_jobs_are_nested_and_know_their_epochs(jobs):
    found = [(job.shots, job.preset) for job in jobs]
    assert found == [(n, preset) for n in (1, 2) for preset in ("zero_shot", "taskres", "hc_tr")]
    assert [job.epochs for job in jobs] == [0, 3, 3, 0, 3, 3]


def test_the_longest_runs_come_first(source, jobs, monkeypatch):
    """So that processes end together; the results keep the order of the jobs."""
    made = []

    def watched(task, method, **options):
        made.append(method.title)
        return train(task, method, **options)

    monkeypatch.setattr(experiments, "train", watched)
    runs = run_jobs(source, jobs)
    assert [run.preset for run in runs] == [job.preset for job in jobs]
    assert made == ["TaskRes", "HC-TR", "TaskRes", "HC-TR", "Zero-shot", "Zero-shot"]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_run_that_fails_does_not_end_the_others(source, jobs, tmp_path, processes):
    mine = [job._replace(folder=tmp_path / f"{n}") for n, job in enumerate(jobs)]
    options = dataclasses.replace(mine[1].method.text, projection="tuned")
    mine[1] = mine[1]._replace(method=dataclasses.replace(mine[1].method, text=options))
    text = (
        r"1 of 6 runs failed, the others are done\. taskres at 1 shots with seed 1: "
        r".*\"tuned\"` should have text features before"
    )
    with pytest.raises(RuntimeError, match=text):
        run_jobs(source, mine, processes=processes)
    there = [(job.folder / "result.json").is_file() for job in mine]
    assert there == [True, False, True, True, True, True]


def test_of_several_failures_the_first_job_is_told_first(source, jobs, monkeypatch):
    """Longer ones run first; a text that several share is told once."""
    texts = iter(["short of memory", "no space", "no space"])
    names = {jobs[n].name: f"RuntimeError: {next(texts)}" for n in (0, 2, 1)}
    monkeypatch.setattr(experiments, "_try_job", lambda source, job, **_: names.get(job.name, "x"))
    with pytest.raises(RuntimeError, match="runs failed") as caught:
        run_jobs(source, jobs[:3])
    told = str(caught.value)
    assert told.index(jobs[0].name) < told.index(jobs[1].name)
    assert told.count("no space") == 1


def test_checkpoints_of_texts_are_looked_for_before_anything_runs(tmp_path):
    def plan(preset, file, shots):
        text = f"{preset}.text.checkpoint={tmp_path / file}"
        return plan_jobs(load_methods([preset], overrides=[text]), shots, [1])

    with pytest.raises(FileNotFoundError, match=r"`text\.checkpoint` should be a file\. Got"):
        plan("taskres_star", "base", [4])
    for name in ("base", "base1", "base4"):
        (tmp_path / name).touch()
    assert len(plan("taskres_star", "base", [4])) == 1
    assert len(plan("taskres_star", "base{shots}", [1, 4])) == 2
    assert len(plan("taskres", "nothing", [1, 4])) == 2  # a frozen projection reads none
    text = r"`taskres_star\.text\.checkpoint` should hold \{shots\}.* 2 shot counts\. Got '.*base'"
    with pytest.raises(ValueError, match=text):
        plan("taskres_star", "base", [1, 4])


@pytest.mark.parametrize("flush", [False, True])
def test_denormals_are_kept_or_flushed_in_every_process(flush):
    torch.set_flush_denormal(flush)
    results = [list(run_all(shrink, 1e-40, [0.5, 0.25], jobs=jobs)) for jobs in (1, 2)]
    assert results[0] == results[1]
    assert (results[0] == [0, 0]) == flush


STAY = """
import os, pathlib, sys, time
from vlm_adapters.experiments import run_all

def stay(folder, name):
    pathlib.Path(folder, name).write_text(str(os.getpid()))
    time.sleep(100)

if __name__ == "__main__":
    import stay as importable
    list(run_all(importable.stay, sys.argv[1], "ab", jobs=2))
"""


def alive(process):
    """Whether a process runs; one that has ended may still be listed."""
    try:
        state = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="looks for processes in /proc")
def test_processes_end_with_the_one_that_started_them(tmp_path):
    (tmp_path / "stay.py").write_text(STAY)
    words = [sys.executable, tmp_path / "stay.py", tmp_path]
    with subprocess.Popen(words, env=environment(tmp_path)) as parent:
        wait_until(lambda: all((tmp_path / name).is_file() for name in "ab"))
        workers = [int((tmp_path / name).read_text()) for name in "ab"]
        assert all(map(alive, workers))
        parent.kill()
    wait_until(lambda: not any(map(alive, workers)))


def wait_until(condition, seconds=60):
    """Wait, and fail if it takes too long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_an_error_in_a_process_keeps_its_text(source):  # last: it ends the processes
    overrides = ["tip_adapter_f.training.learning_rate=1e20", "tip_adapter_f.training.epochs=3"]
    methods = load_methods(["tip_adapter_f"], overrides=overrides)
    with pytest.raises(ValueError, match=r"The loss should be finite"):
        run_jobs(source, plan_jobs(methods, [1], [1]), processes=2)
