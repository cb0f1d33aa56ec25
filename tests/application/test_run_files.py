"""What a run leaves in its folder: read back, not run again, and refused where it does not fit."""

import dataclasses
import sys

import pytest
import torch
from application.helpers import constrained, method
from vlm_adapters import experiments
from vlm_adapters._files import read_json, read_tensors, write_json
from vlm_adapters.adapters import TipAdapterF
from vlm_adapters.evaluation import ORACLE, accuracy
from vlm_adapters.experiments import Job, plan_jobs, run_job, run_jobs
from vlm_adapters.options import AdapterOptions, Method
from vlm_adapters.runs import (
    ADAPTER,
    CHECKPOINT,
    RESULT,
    is_done,
    read_run,
    read_runs,
    read_saved_run,
)
from vlm_adapters.training import train

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


def test_folders(source, tmp_path):
    jobs = plan_jobs(
        {"taskres": methods()["taskres"]}, [1, 2], [1, 3], folder=tmp_path, dataset="synthetic"
    )
    run_jobs(source, jobs)
    folders = [
        tmp_path / f"taskres/synthetic/{shots}shot/seed{seed}"
        for shots in (1, 2)
        for seed in (1, 3)
    ]
    assert [job.folder for job in jobs] == folders
    for folder in folders:
        assert sorted(path.name for path in folder.iterdir()) == [ADAPTER, RESULT]


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
    assert type(saved.adapter).__name__.lower() == preset.replace(
        "hc_taf", "tip_adapter_f"
    ).replace("_", "")
    trained = train(task, methods()[preset])
    adapter = trained.adapter
    if preset == "taskres":
        adapter = adapter.at(trained.best_val.tensors)
    if isinstance(adapter, TipAdapterF):
        adapter = adapter.with_factors(*run.factors["last+val_search"])
        assert saved.adapter.options.sharpness != methods()[preset].adapter.sharpness
    torch.testing.assert_close(
        saved.adapter(task.test_features), adapter(task.test_features), rtol=0, atol=0
    )


def test_what_a_result_holds(source, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["vlm-adapters", "train", "--shots=2"])
    run = run_job(source, job(tmp_path, "hc_taf"))
    content = read_json(tmp_path / RESULT)
    assert content["command"] == ["vlm-adapters", "train", "--shots=2"]
    assert {"topreg", "torch", "python", "threads"} <= content["environment"].keys()
    found = content["run"]
    assert (found["method"], found["preset"]) == ("HC-TAF", "hc_taf")
    place = [found[key] for key in ("dataset", "backbone", "data")]
    assert place == ["synthetic", "unknown", "cached"]
    assert (found["shots"], found["seed"], found["headline"]) == (2, 1, "last+val_search")
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
    runs = run_jobs(source, jobs, on_run=told.append)
    assert len(made) == len(jobs) - 2
    assert sorted(map(id, told)) == sorted(map(id, jobs))
    assert [run.preset for run in runs] == [job.preset for job in jobs]
    assert [without_seconds(run) for run in runs[:2]] == [without_seconds(run) for run in first]
    assert run_jobs(source, jobs) == runs  # read or made
    assert len(made) == len(jobs) - 2


def test_a_run_without_its_result_is_run_again(source, tmp_path):
    """The result is written last: without it the adapter may be of an older run."""
    run = run_job(source, job(tmp_path))
    (tmp_path / RESULT).unlink()
    (tmp_path / ADAPTER).write_bytes(b"half")
    [again] = run_jobs(source, [job(tmp_path)])
    assert without_seconds(again) == without_seconds(run)
    read_saved_run(tmp_path)


def other_jobs(folder):
    plain = methods()["taskres"]
    return {
        "rate": job(folder, method=method("taskres", epochs=2, learning_rate=0.06)),
        "constraint": job(folder, method=constrained(plain, weight=0.1)),
        "protocol": job(folder, method=dataclasses.replace(plain, protocol="last")),
        "shots": job(folder, shots=4),
        "seed": job(folder, seed=2),
        "every": job(folder, every=True),
    }


@pytest.mark.parametrize("name", ["rate", "constraint", "protocol", "shots", "seed", "every"])
def test_a_result_of_other_settings_is_refused(source, tmp_path, name):
    run_job(source, job(tmp_path))
    before = (tmp_path / RESULT).read_bytes()
    text = r"should hold a run with these settings\. Got a result of other settings, features or ve"
    with pytest.raises(ValueError, match=text):
        run_jobs(source, [other_jobs(tmp_path)[name]])
    assert (tmp_path / RESULT).read_bytes() == before


def test_a_result_on_other_features_is_refused(source, tmp_path):
    class Other:
        dataset, backbone, data = source.dataset, source.backbone, source.data
        class_names, task, weights = source.class_names, source.task, {}

        @staticmethod
        def identity(shots, seed):
            return {"bundle": "other"}

    run_job(source, job(tmp_path))
    with pytest.raises(ValueError, match=r"Got a result of other settings, features or versions"):
        run_jobs(Other(), [job(tmp_path)])
    (tmp_path / RESULT).unlink()
    write_checkpoint(source, tmp_path)
    with pytest.raises(ValueError, match=r"should be of a run with these settings\. Got a checkpo"):
        run_jobs(Other(), [job(tmp_path)])


def write_checkpoint(source, folder):
    """What an interrupted run leaves."""
    task, mine = source.task(2, 1), job(folder)
    train(
        task,
        mine.method,
        checkpoint=folder / CHECKPOINT,
        identity=mine.identity(source),
        seconds_between=0,
    )


def test_a_run_goes_on_from_its_checkpoint_and_removes_it(source, tmp_path, monkeypatch):
    expected = run_job(source, job(None))
    write_checkpoint(source, tmp_path)
    monkeypatch.setattr("vlm_adapters.training.one_step", None)  # every epoch is done
    run = run_job(source, job(tmp_path))
    assert without_seconds(run) == without_seconds(expected)
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ([], r"should be a result of schema 3\. Got None"),
        ({"schema": 4}, r"should be a result of schema 3\. Got 4\. Run it again"),
        ({"run": None}, r"should hold a run\. Got: `run` should be of type table\. Got None\."),
        ({"run": {"method": "x"}}, r"should hold a run\. Got: `run\.preset` should be given"),
        ({"run": 5}, r"should hold a run\. Got: `run` should be of type table\. Got 5\."),
        ({"x": 1}, r"should hold a run\. Got: `run\.x` should be a known key: method"),
        ({"factors": {"last": 1}}, r"Got: `run\.factors\.last` should be of type tuple\. Got 1\."),
        ({"factors": []}, r"Got: `run\.factors` should be of type table\. Got \[\]\."),
        ({"accuracies": {}}, r"`accuracies` should have the headline 'best_val'\. Got none"),
        ({"accuracies": 5}, r"Got: `run\.accuracies` should be of type table\. Got 5\."),
        ({"seconds": "1"}, r"Got: `run\.seconds` should be of type float\. Got '1'\."),
    ],
)
def test_damaged_results(source, tmp_path, change, text):
    run_job(source, job(tmp_path))
    content = read_json(tmp_path / RESULT)
    if change and not change.keys() & content.keys():
        change = {"run": content["run"] | change}
    write_json(tmp_path / RESULT, change and content | change)
    for read in (read_run, read_runs, read_saved_run, lambda f: run_jobs(source, [job(f)])):
        with pytest.raises(ValueError, match=rf"`.*result\.json` .*{text}"):
            read(tmp_path)


@pytest.mark.parametrize("kept", [0, 1, 300, -3])
def test_truncated_results(source, tmp_path, kept):
    run_job(source, job(tmp_path))
    file = tmp_path / RESULT
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(
        ValueError, match=r"result\.json` should be JSON\. Got: .*Remove it to have"
    ):
        run_jobs(source, [job(tmp_path)])


@pytest.mark.parametrize(
    "change",
    [
        None,
        {"options": {"kind": "coop"}},
        {"options": {"kind": "tip_adapter"}},
        {"class_names": 5},
        {"class_names": ["a"]},
        {"logit_scale": None},
    ],
)
def test_damaged_adapters(source, tmp_path, change):
    run_job(source, job(tmp_path))
    content = read_json(tmp_path / RESULT)
    write_json(tmp_path / RESULT, content | {"adapter": change and content["adapter"] | change})
    text = r"should hold a run.*\. Got.*(Train it again|Remove the folder)"
    with pytest.raises(ValueError, match=text):
        read_saved_run(tmp_path)


def test_a_damaged_adapter_is_not_done(source, tmp_path):
    run = run_job(source, job(tmp_path))
    whole = (tmp_path / ADAPTER).read_bytes()
    for content in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b""):
        (tmp_path / ADAPTER).write_bytes(content)
        assert not is_done(tmp_path)
        [again] = run_jobs(source, [job(tmp_path)])
        assert without_seconds(again) == without_seconds(run)
        assert (tmp_path / ADAPTER).read_bytes() == whole
        assert is_done(tmp_path)


def test_adapters_that_are_not_there(source, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"should hold runs\. Got no result\.json below it"):
        read_runs(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"result\.json` should be a JSON file\. Got no fil"
    ):
        read_saved_run(tmp_path)
    run_job(source, job(tmp_path))
    (tmp_path / ADAPTER).write_bytes((tmp_path / ADAPTER).read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"adapter\.safetensors` should be a complete safetensors"):
        read_saved_run(tmp_path)
    (tmp_path / ADAPTER).unlink()
    with pytest.raises(FileNotFoundError, match=r"should be a safetensors file\. Got no file"):
        read_saved_run(tmp_path)


def test_runs_come_in_the_order_of_the_presets(source, tmp_path):
    wanted = {name: methods()[name] for name in ("taskres", "zero_shot")}
    jobs = plan_jobs(wanted, [2, 1], [1], folder=tmp_path, dataset="synthetic")
    mine = jobs[0]._replace(preset="mine", folder=tmp_path / "a")
    run_jobs(source, [mine, *jobs])
    shipped = [(preset, shots) for preset in ("zero_shot", "taskres") for shots in (1, 2)]
    assert [(run.preset, run.shots) for run in read_runs(tmp_path)] == [*shipped, ("mine", 2)]


def test_every_protocol(source, tmp_path):
    run = run_job(source, job(tmp_path, "hc_taf", every=True))
    oracles = {f"{ORACLE}best_test", f"{ORACLE}best_test+test_search"}
    honest = {"last", "best_val", "last+val_search", "last+all_val_search"}
    assert set(run.accuracies) == honest | oracles
    assert without_seconds(read_run(tmp_path)) == without_seconds(run)
    tensors = read_tensors(tmp_path / ADAPTER)[1]
    assert tensors.keys() == {"text", "keys", "cached_labels"}


def test_a_job_knows_its_epochs():
    adapters = {"zero_shot": 0, "linear_probe": 0, "tip_adapter": 0, "taskres": 7}
    for kind, epochs in adapters.items():
        plain = Method("t", AdapterOptions(kind))
        training = dataclasses.replace(plain.training, epochs=7, epochs_from_8_shots=9)
        one = Job(kind, dataclasses.replace(plain, training=training), 4, 1)
        assert one.epochs == epochs
        assert one._replace(shots=8).epochs == (9 if epochs else 0)
