"""Runs do not depend on how many processes make them."""

import dataclasses

import pytest
from vlm_adapters.config import load_methods
from vlm_adapters.experiments import plan_jobs, run_jobs


@pytest.fixture
def jobs():
    overrides = [f"{name}.training.epochs=3" for name in ("taskres", "hc_tr")]
    methods = load_methods(["zero_shot", "taskres", "hc_tr"], overrides=overrides)
    return plan_jobs(methods, [1, 2], [1])


def test_jobs_are_nested_and_know_their_epochs(jobs):
    assert [(job.shots, job.preset) for job in jobs] == [
        (1, "zero_shot"), (1, "taskres"), (1, "hc_tr"),
        (2, "zero_shot"), (2, "taskres"), (2, "hc_tr"),
    ]  # fmt: skip
    assert [job.epochs for job in jobs] == [0, 3, 3, 0, 3, 3]


def test_processes_change_nothing(bundle, jobs):
    def results(processes):
        finished = []
        runs = run_jobs(bundle, jobs, processes=processes, on_run=finished.append)
        assert sorted(map(id, finished)) == sorted(map(id, jobs))
        return [dataclasses.replace(run, seconds=0.0) for run in runs]

    alone = results(1)
    assert [run.preset for run in alone] == [job.preset for job in jobs]
    assert alone == results(2)


def test_an_error_in_a_process_keeps_its_text(bundle):
    overrides = ["tip_adapter_f.training.learning_rate=1e20", "tip_adapter_f.training.epochs=3"]
    methods = load_methods(["tip_adapter_f"], overrides=overrides)
    with pytest.raises(ValueError, match=r"The loss should be finite"):
        run_jobs(bundle, plan_jobs(methods, [1], [1]), processes=2)
