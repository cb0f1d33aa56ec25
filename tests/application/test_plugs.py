"""Adapters and regularisers of the user, as the documentation's two pages write them."""

import dataclasses
import importlib
import json
import os
import pathlib
import re
import sys
from typing import get_type_hints

import pytest
import torch
from accelerator import DEVICE, on_accelerator
from application.helpers import constrained, equal, method
from vlm_adapters._files import file_sha256
from vlm_adapters.adapters import adapter_class, build_adapter
from vlm_adapters.backbones import load_backbone
from vlm_adapters.cli import as_usage
from vlm_adapters.config import RegularizerOptions, load_methods
from vlm_adapters.experiments import plan_jobs, run_jobs
from vlm_adapters.plugs import load_plug, plug_sha256, telling_parts
from vlm_adapters.regularizers import LOSSES, BatchViews, build_regularizer
from vlm_adapters.runs import read_saved_run
from vlm_adapters.training import (
    evaluate,
    load_checkpoint,
    one_step,
    save_checkpoint,
    start_training,
    train,
)

import topreg
from topreg import SignatureLoss

GUIDES = pathlib.Path(__file__).parents[2] / "docs" / "guides"


def block(page, language):
    text = (GUIDES / f"{page}.md").read_text()
    return re.search(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]


@pytest.fixture
def pages(tmp_path, monkeypatch):
    """The files that a reader of the two pages has."""
    monkeypatch.chdir(tmp_path)
    for page, file in (("own_adapter", "prototypes"), ("own_regularizer", "edges")):
        (tmp_path / f"{file}.py").write_text(block(page, "python"))
        (tmp_path / f"{file}.toml").write_text(block(page, "toml"))
    return tmp_path


def test_the_pages_are_as_short_as_they_say():
    adapter = block("own_adapter", "python")
    assert len(adapter.splitlines()) <= 70
    function = block("own_regularizer", "python")
    assert len(function[function.index("def ") :].strip().splitlines()) <= 10


def test_an_adapter_of_the_user_is_trained_searched_saved_and_read(pages, source):
    methods = load_methods(["prototypes.toml"])
    jobs = plan_jobs(methods, [4], [1], folder=pages / "runs", dataset="synthetic")
    [run] = run_jobs(source, jobs)
    assert set(run.accuracies) == {"last", "best_val", "last+val_search"}
    [share] = run.factors["last+val_search"]
    assert share in (0.25, 0.5, 1.0, 2.0, 4.0)
    assert run.log[0]["track_coincidence"] > 0
    assert run.log[-1]["cross_entropy"] < run.log[0]["cross_entropy"]
    spec = "prototypes.py:Prototypes"
    with pytest.raises(ValueError, match=r"Got code of the user\. Give `--adapter proto"):
        read_saved_run(jobs[0].folder)
    saved = read_saved_run(jobs[0].folder, spec)
    assert saved.adapter.options.settings == {"share": share}
    task = source.task(4, 1)
    right = (saved.adapter(task.test_features).argmax(1) == task.test_labels).double().mean()
    assert 100 * float(right) == pytest.approx(run.accuracy)


def test_its_search_takes_the_best_share(pages, task):
    adapter = build_adapter(task, load_methods(["prototypes.toml"])["prototypes"].adapter)
    images = task.val_features, task.val_labels
    hits = {
        share: int((adapter.with_factors(share)(images[0]).argmax(1) == images[1]).sum())
        for share in (0.25, 0.5, 1.0, 2.0, 4.0)
    }
    [found] = adapter.search(*images)
    assert hits[found] == max(hits.values())


@pytest.mark.parametrize("name", ["prototypes", "edges"])
def test_a_run_is_another_when_its_code_changes(pages, source, name):
    [job] = plan_jobs(load_methods([f"{name}.toml"]), [1], [1])
    before = job.identity(source)
    with (pages / f"{name}.py").open("a") as file:
        file.write("\n# another\n")
    assert job.identity(source) != before


def test_a_function_of_the_user_is_added_logged_and_resumed(pages, task, source):
    chosen = load_methods(["edges.toml"], overrides=["edges.training.epochs=3"])
    [run] = run_jobs(source, plan_jobs(chosen, [4], [1]))
    plain = train(task, method("taskres", epochs=3, epochs_from_8_shots=0))
    assert [epoch["relative_lengths"] > 0 for epoch in run.log] == [True] * 3
    assert "relative_lengths" not in plain.log[0]
    assert run.log[-1]["cross_entropy"] != plain.log[-1]["cross_entropy"]
    trained = train(task, chosen["edges"])
    unfinished = start_training(task, chosen["edges"])
    unfinished.log, unfinished.best_val = trained.log[:1], trained.best_val
    one_step(unfinished, task, torch.arange(8))
    save_checkpoint(pages / "checkpoint.safetensors", unfinished, "x")
    again = start_training(task, chosen["edges"])
    load_checkpoint(pages / "checkpoint.safetensors", again, "x")
    assert again.log == trained.log[:1]
    assert again.log[0]["relative_lengths"] > 0


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_topreg_are_known_by_name(name, task):
    torch.manual_seed(0)
    views = BatchViews(*torch.randn(3, 10, 6), torch.arange(10) % 3)
    settings = {"perturbation_weight": 2.0} if name == "HomologyConsistency" else {}
    [(term, value)] = build_regularizer(RegularizerOptions(name, 1.0, settings))(views).items()
    labels = [views.labels] * (name in ("DeviatingPerturbation", "HomologyConsistency"))
    expected = getattr(topreg, term)(views.source, views.target, *labels, **settings)
    equal(value, expected)
    assert value > 0


def test_the_step_descends_cross_entropy_and_the_weighted_loss(task):
    settings = {"normalize": 1.0}
    chosen = dataclasses.replace(
        method("taskres"), regularizer=RegularizerOptions("SignatureLoss", 0.7, settings)
    )
    training = start_training(task, chosen)
    adapter, rows = training.adapter, torch.arange(12)
    with torch.no_grad():
        adapter.residual += 0.1 * torch.randn(
            adapter.residual.shape, generator=torch.Generator().manual_seed(0)
        )
    features, labels = task.train.draw(rows, torch.Generator()), task.train_labels[rows]
    texts = torch.nn.functional.normalize(adapter.text + adapter.residual, dim=1)
    loss = torch.nn.functional.cross_entropy(task.logit_scale * features @ texts.T, labels)
    loss = loss + 0.7 * SignatureLoss(**settings)(features, texts[labels])
    (expected,) = torch.autograd.grad(loss, adapter.residual)
    found = one_step(training, task, rows)
    torch.testing.assert_close(adapter.residual.grad, expected)
    assert list(found) == [
        "cross_entropy",
        "track_coincidence",
        "deviating_perturbation",
        "signature_loss",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("Signature", 1.0), r'`regularizer.use` should be one of "TrackCoincidence", '),
        (("absent.py:f", 1.0), "`regularizer.use` should be `file.py:Name` or .*FileNotFoundError"),
        (("no_module_of_this_name:f", 1.0), "Got 'no_module.*ModuleNotFoundError"),
        (("json:absent", 1.0), "Got 'json:absent': AttributeError"),
        (("RTD", 1.0, {"x": 1}), "`regularizer.settings` should be options of topreg.RTD. Got: "),
    ],
)
def test_regularisers_that_cannot_be(options, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        build_regularizer(RegularizerOptions(*options))


def test_a_weight_needs_a_regulariser():
    with pytest.raises(ValueError, match=r"`regularizer.use` should name a regulariser. Got none"):
        RegularizerOptions(weight=1.0)
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        RegularizerOptions("RTD", -1.0)


def test_what_is_not_a_dict_of_terms(pages):
    (pages / "bad.py").write_text("def f(views):\n    return views.source.sum()\n")
    regularizer = build_regularizer(RegularizerOptions("bad.py:f", 1.0))
    with pytest.raises(ValueError, match=r"`bad.py:f` should return a dict of terms.*Got Tensor"):
        regularizer(BatchViews(*torch.randn(3, 4, 2), torch.arange(4)))


TERMS = [
    ('{"a": 1.0}', "Got float for 'a'."),
    ('{"a": views.labels}', "Got Tensor of shape (4,) for 'a'."),
    ("{1: views.source.sum()}", "Got Tensor of shape () for 1."),
]


@pytest.mark.parametrize(("terms", "told"), TERMS)
def test_terms_that_are_no_scalar_tensors(pages, terms, told):
    (pages / "bad.py").write_text(f"def f(views):\n    return {terms}\n")
    regularizer = build_regularizer(RegularizerOptions("bad.py:f", 1.0))
    told = "`bad.py:f` should return a dict of scalar tensors by name. " + told
    with pytest.raises(ValueError, match=re.escape(told)):
        regularizer(BatchViews(*torch.randn(3, 4, 2), torch.arange(4)))


TAKEN = [
    ("learning_rate", 0.0),
    ("cross_entropy", 0.0),
    ("val_accuracy", 0.0),
    ("track_coincidence", 0.1),
    ("deviating_perturbation", 0.1),
]


@pytest.mark.parametrize(("name", "weight"), TAKEN)
def test_a_term_with_the_name_of_another_of_the_log_is_refused(pages, task, name, weight):
    """At the first step; the constraint's names are free while it is off."""
    (pages / "mine.py").write_text(f"def f(views):\n    return {{{name!r}: views.source.sum()}}\n")
    chosen = dataclasses.replace(
        constrained(method("taskres"), weight=weight),
        regularizer=RegularizerOptions("mine.py:f", 1.0),
    )
    training = start_training(task, chosen)
    with pytest.raises(ValueError, match=rf"log does not have already\. Got '{name}'\. Choose an"):
        one_step(training, task, torch.arange(8))
    assert not training.optimizer.state


def test_a_loss_of_topreg_is_logged_where_the_constraint_does_not_have_it(task):
    regularizer = RegularizerOptions("TrackCoincidence", 1.0)
    for weight in (0.0, 0.1):
        chosen = constrained(method("taskres"), weight=weight)
        training = start_training(task, dataclasses.replace(chosen, regularizer=regularizer))
        if weight:
            with pytest.raises(
                ValueError, match=r"term of the constraint, .* `constraint\.weight`"
            ):
                one_step(training, task, torch.arange(8))
        else:
            assert one_step(training, task, torch.arange(8))["track_coincidence"] > 0


FAULTS = {
    "{}['a']": "KeyError: 'a'",
    "1 / 0": "ZeroDivisionError: division by zero",
    "len(3)": "TypeError: object of type 'int' has no len()",
    "views.source @ views.source": "RuntimeError: mat1 and mat2",
}


@pytest.mark.parametrize("code", FAULTS)
def test_an_error_in_code_of_the_user_is_told_with_its_place(pages, source, code):
    file = pages / "faulty.py"
    file.write_text(
        f"def f(views):\n    return {{'a': g(views)}}\ndef g(views):\n    return {code}\n"
    )
    load_plug("./faulty.py:g", "x")
    overrides = ['taskres.regularizer.use="faulty.py:f"', "taskres.regularizer.weight=1"]
    jobs = plan_jobs(load_methods(["taskres"], overrides=overrides), [1], [1])
    parts = r"`\./faulty\.py:g` or `faulty\.py:f`"
    text = rf"{parts} should run without an error\. Got {re.escape(FAULTS[code])}.* in "
    place = rf"{re.escape(str(file))}, line 4\."
    with pytest.raises(RuntimeError, match=rf"^{text}{place}$"):
        run_jobs(source, jobs)
    with pytest.raises(RuntimeError, match=rf"2 of 2 runs failed.*{text}{place}"):
        run_jobs(source, jobs * 2)


def test_an_error_in_a_search_and_one_while_a_file_is_loaded(pages, source):
    file = pages / "prototypes.py"
    text = file.read_text()
    line = next(n for n, found in enumerate(text.splitlines(), 1) if "hits = [" in found)
    file.write_text(text.replace("hits = [", "hits = [{}[0] or "))
    jobs = plan_jobs(load_methods(["prototypes.toml"]), [1], [1])
    with pytest.raises(RuntimeError, match=rf"Prototypes` .*KeyError: 0 in .*py, line {line}\."):
        run_jobs(source, jobs)
    file.write_text(f"{text}\n\n{{}}['b']\n")
    line = len(text.splitlines()) + 3
    with pytest.raises(ValueError, match=rf"Got 'prototypes.*KeyError: 'b' in .*py, line {line}\."):
        adapter_class("prototypes.py:Prototypes")


def test_an_error_in_a_backbone_is_none_of_usage(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text("def make():\n    raise ValueError('no weights')\n")
    text = r"`\./model\.py:make` should run .*\. Got ValueError: no weights in .*, line 2"
    with pytest.raises(RuntimeError, match=text), as_usage():
        load_backbone("./model.py:make")


MODULE = "def f(views):\n    return {{'a': {} * views.source.sum()}}\n"


def test_a_module_of_the_current_folder_has_one_hash_and_its_changes_are_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file, views = tmp_path / "mymod_of_a_user.py", BatchViews(*torch.ones(4, 1, 1))
    file.write_text(MODULE.format(1))
    spec = "mymod_of_a_user:f"
    before = plug_sha256(spec)
    assert before == file_sha256(file)
    try:
        assert load_plug(spec, "x")(views)["a"] == 1
        assert plug_sha256(spec) == before
        file.write_text(MODULE.format(1000))
        assert plug_sha256(spec) == file_sha256(file) != before
        assert load_plug(spec, "x")(views)["a"] == 1000
    finally:
        del sys.modules["mymod_of_a_user"]
    assert str(tmp_path) not in sys.path


def test_a_module_that_others_imported_is_not_run_again():
    assert load_plug("vlm_adapters.plugs:load_plug", "x") is load_plug
    with pytest.raises(ZeroDivisionError, match=r"^division by zero$"), telling_parts():
        _ = 1 / 0  # none of the user's, although the module of `telling_parts` is a part now


def test_what_cannot_be_found_has_no_hash_until_it_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken_package.py").write_text("1 / 0\n")
    before = tmp_path.stat()
    for spec in ("absent.py:f", "taskres", "sys:path", "broken_package.x:f", "written_just_now:f"):
        assert plug_sha256(spec) == ""
    (tmp_path / "written_just_now.py").write_text("")
    os.utime(tmp_path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a coarse clock has it
    assert plug_sha256("written_just_now:f") == file_sha256(tmp_path / "written_just_now.py")


def test_a_file_may_hold_dataclasses_and_import_those_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "parts"
    folder.mkdir()
    (folder / "helper_beside_it.py").write_text("VALUE = 3\n")
    (folder / "json.py").write_text(
        "from __future__ import annotations\nimport dataclasses\nimport helper_beside_it\n"
        "@dataclasses.dataclass\nclass Part:\n    value: int = helper_beside_it.VALUE\n"
    )
    (tmp_path / "json.py").symlink_to(folder / "json.py")  # beside itself, not beside the link
    path = list(sys.path)
    try:
        part = load_plug("json.py:Part", "x")
    finally:
        sys.modules.pop("helper_beside_it", None)
    assert part().value == 3
    assert load_plug("json.py:Part", "x") is part
    assert get_type_hints(part) == {"value": int}
    assert importlib.import_module("json") is json
    assert sys.path == path


@pytest.mark.parametrize("change", ["sys.path.insert(0, 'x')", "del sys.path[0]"])
def test_a_file_may_change_where_modules_are_looked_for(tmp_path, monkeypatch, change):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "a:b.py").write_text(f"import sys\n{change}\nPART = 1\n")
    assert load_plug(f"{tmp_path}/a:b.py:PART", "x") == 1
    assert str(tmp_path) not in sys.path
    assert ("x" in sys.path) == ("insert" in change)


def test_an_adapter_that_is_not_one():
    with pytest.raises(ValueError, match=r"`adapter.kind` should name a class below .*json:dumps"):
        adapter_class("json:dumps")
    assert adapter_class("vlm_adapters.adapters.residual:TaskRes") is adapter_class("taskres")


@on_accelerator
@pytest.mark.parametrize(
    "preset", ["taskres", "hc_tr", "tip_adapter_f_official", "hc_taf_released", "clip_adapter"]
)
def test_training_search_and_evaluation_stay_on_an_accelerator(task, preset):
    chosen = method(preset, epochs=2, epochs_from_8_shots=0)
    there = task.to(DEVICE)
    trained = train(there, chosen)
    assert {part.device.type for part in trained.adapter.state_dict().values()} == {DEVICE.type}
    found, expected = evaluate(trained, there), evaluate(train(task, chosen), task)
    assert found.accuracies.keys() == expected.accuracies.keys()
    assert found.accuracies["last"] == pytest.approx(expected.accuracies["last"], abs=5.0)
