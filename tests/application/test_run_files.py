"""What a run leaves in its folder: read back, not run again, and refused where it does not fit."""

import dataclasses
import sys

import pytest
from application.helpers import constrained, equal, method, refused
from vlm_adapters import experiments
from vlm_adapters._files import read_json
from vlm_adapters.adapters.tip_adapter import TipAdapterF
from vlm_adapters.experiments import Job, plan_jobs, run_job, run_jobs
from vlm_adapters.features.bundle import BundleSource, save_bundle
from vlm_adapters.runs import (
    ADAPTER,
    CHECKPOINT,
    RESULT,
    is_done,
    read_run,
    read_runs,
    read_saved_run,
)
from vlm_adapters.training import accuracy, train

SEARCHED = {"search_sharpness": 5.0, "search_cache_weight": 100.0}


def methods():
    fast = {"epochs": 2, "learning_rate": 0.05}
    tip = method("hc_taf", **fast)
    return {
        "zero_shot": method("zero_shot"),
        "linear_probe": method("linear_probe"),
        "taskres": dataclasses.replace(method("taskres", **fast), protocol="best_val"),
        "clip_adapter": method("clip_adapter", **fast),
        "hc_taf": dataclasses.replace(tip, adapter=dataclasses.replace(tip.adapter, **SEARCHED)),
    }


def job(folder, preset="taskres", **changes):
    return Job(preset, methods()[preset], 2, 1, folder)._replace(**changes)


def without_seconds(run):
    return dataclasses.replace(run, seconds=0.0)


@pytest.mark.parametrize("preset", methods())
def test_a_run_is_read_back_with_its_adapter(source, tmp_path, preset):
    run = run_job(source, job(tmp_path, preset))
    saved = read_saved_run(tmp_path)
    assert without_seconds(saved.run) == without_seconds(run)
    assert without_seconds(read_run(tmp_path)) == without_seconds(run)
    assert saved.run.factors == run.factors
    assert saved.class_names == source.class_names
    task = source.task(2, 1)
    test = task.test_features, task.test_labels
    assert accuracy(saved.adapter, *test) == run.accuracies[run.headline]
    kind = preset.replace("hc_taf", "tip_adapter_f").replace("_", "")
    assert type(saved.adapter).__name__.lower() == kind
    trained = train(task, methods()[preset])
    adapter = trained.adapter
    if preset == "taskres":
        adapter = adapter.at(trained.best_val.tensors)
    if isinstance(adapter, TipAdapterF):
        adapter = adapter.with_factors(*run.factors["last+val_search"])
        assert saved.adapter.options.sharpness != methods()[preset].adapter.sharpness
    equal(saved.adapter(task.test_features), adapter(task.test_features))


def test_what_a_result_holds(source, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["vlm-adapters", "train", "--shots=2"])
    run = run_job(source, job(tmp_path, "hc_taf"))
    content = read_json(tmp_path / RESULT)
    assert content["command"] == ["vlm-adapters", "train", "--shots=2"]
    assert {"topreg", "torch", "python", "threads"} <= content["environment"].keys()
    found = content["run"]
    expected = {"method": "HC-TAF", "preset": "hc_taf", "dataset": "synthetic", "data": "cached"}
    expected |= {"backbone": "unknown", "shots": 2, "seed": 1, "headline": "last+val_search"}
    assert found.items() >= expected.items()
    assert found["accuracies"].keys() == {"last", "best_val", "last+val_search"}
    assert found["config"]["constraint"]["perturbation_weight"] == 100.0
    assert found["config"]["training"]["epochs"] == 2
    terms = {"cross_entropy", "track_coincidence", "deviating_perturbation"}
    assert [set(epoch) for epoch in found["log"]] == [
        terms | {"learning_rate", "val_accuracy"} for _ in range(2)
    ]
    assert found["best_epoch"] in (0, 1)
    assert found["hashes"] == source.task(2, 1).hashes
    assert run.seconds > 0
    assert run.accuracy == found["accuracies"]["last+val_search"]
    assert len(found["identity"]) == 64


def test_a_finished_run_is_not_run_again(source, tmp_path, monkeypatch):
    jobs = plan_jobs(methods(), [1], [1], folder=tmp_path)
    first, told = run_jobs(source, jobs[:2]), []
    made, real = [], experiments.train
    monkeypatch.setattr(experiments, "train", lambda *a, **k: made.append(1) or real(*a, **k))
    runs = run_jobs(source, jobs, on_epochs=told.append)
    assert len(made) == len(jobs) - 2
    assert sum(told) == sum(job.epochs for job in jobs)
    assert [run.preset for run in runs] == [job.preset for job in jobs]
    assert runs[:2] == first
    assert run_jobs(source, jobs) == runs  # read or made
    assert len(made) == len(jobs) - 2


PLAIN = methods()["taskres"]
OTHERS = {
    "rate": {"method": method("taskres", epochs=2, learning_rate=0.06)},
    "constraint": {"method": constrained(PLAIN, weight=0.1)},
    "protocol": {"method": dataclasses.replace(PLAIN, protocol="last")},
    "shots": {"shots": 4},
    "seed": {"seed": 2},
    "every": {"every": True},
}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_a_result_of_other_settings_is_refused(source, tmp_path, changes):
    run_job(source, job(tmp_path))
    before = (tmp_path / RESULT).read_bytes()
    text = r"should hold a run with these settings\. Got a result of other settings, features or ve"
    with pytest.raises(ValueError, match=text):
        run_jobs(source, [job(tmp_path, **changes)])
    assert (tmp_path / RESULT).read_bytes() == before


def test_a_result_on_other_features_is_refused(source, bundle, tmp_path):
    save_bundle(dataclasses.replace(bundle, logit_scale=21.0), tmp_path / "other")
    other = BundleSource(tmp_path / "other")
    run_job(source, job(tmp_path))
    with pytest.raises(ValueError, match=r"Got a result of other settings, features or versions"):
        run_jobs(other, [job(tmp_path)])
    (tmp_path / RESULT).unlink()
    write_checkpoint(source, tmp_path)
    with pytest.raises(ValueError, match=r"should be of a run with these settings\. Got a checkpo"):
        run_jobs(other, [job(tmp_path)])


def write_checkpoint(source, folder):
    """What an interrupted run leaves."""
    mine = job(folder)
    options = {"checkpoint": folder / CHECKPOINT, "identity": mine.identity(source)}
    train(source.task(2, 1), mine.method, seconds_between=0, **options)


def test_a_run_goes_on_from_its_checkpoint_and_removes_it(source, tmp_path, monkeypatch):
    expected = run_job(source, job(None))
    write_checkpoint(source, tmp_path)
    monkeypatch.setattr("vlm_adapters.training.one_step", None)  # every epoch is done
    run = run_job(source, job(tmp_path))
    assert without_seconds(run) == without_seconds(expected)
    assert not (tmp_path / CHECKPOINT).exists()
    (tmp_path / CHECKPOINT).touch()  # of a process that was killed after it wrote the result
    assert run_jobs(source, [job(tmp_path)]) == [run]
    assert not (tmp_path / CHECKPOINT).exists()


def test_every_reader_sees_a_damaged_result(source, tmp_path):
    run_job(source, job(tmp_path))
    file = tmp_path / RESULT
    file.write_text(file.read_text()[:300])
    for read in (read_run, read_runs, read_saved_run, lambda f: run_jobs(source, [job(f)])):
        with pytest.raises(ValueError, match=r"`.*result\.json` should be JSON\. Got: .*Remove it"):
            read(tmp_path)


def test_a_damaged_adapter_is_not_done(source, tmp_path):
    run = run_job(source, job(tmp_path))
    whole = (tmp_path / ADAPTER).read_bytes()
    for content in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"", None):
        (tmp_path / ADAPTER).unlink()
        if content is not None:
            (tmp_path / ADAPTER).write_bytes(content)
        assert not is_done(tmp_path)
        [again] = run_jobs(source, [job(tmp_path)])
        assert without_seconds(again) == without_seconds(run)
        assert (tmp_path / ADAPTER).read_bytes() == whole
        assert is_done(tmp_path)


def test_runs_that_are_not_there(source, tmp_path):
    with refused(r"should hold runs\. Got no result\.json below it"):
        read_runs(tmp_path)
    with refused(r"No such file or directory: '.*result\.json'"):
        read_saved_run(tmp_path)
    run_job(source, job(tmp_path))
    (tmp_path / ADAPTER).unlink()
    with refused(r"should be a safetensors file\. Got no file"):
        read_saved_run(tmp_path)
