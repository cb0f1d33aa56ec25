"""An interrupted training that goes on gives every bit of an uninterrupted one."""

import dataclasses
import json

import pytest
import torch
from application.helpers import constrained, method
from safetensors import safe_open
from safetensors.torch import save_file
from vlm_adapters import training
from vlm_adapters.features.views import CachedViews
from vlm_adapters.sources import few_shot_task
from vlm_adapters.training import KEY, train

EPOCHS = 3
PRESETS = ("taskres", "hc_tr", "tip_adapter_f", "hc_taf", "clip_adapter", "hc_clip_adapter")


class Broken(Exception):
    """Ends a training."""


def chosen(preset):
    return method(preset, epochs=EPOCHS, batch_size=6, learning_rate=0.05)


@pytest.fixture(scope="module")
def task(bundle):
    """A task with two views an image, so that the draws of views count too."""
    task = few_shot_task(bundle, shots=4, seed=1)
    views = torch.randn(20, 2, 12, generator=torch.Generator().manual_seed(0))
    images = task.train.units + 0.3 * views
    return dataclasses.replace(task, train=CachedViews(images))


def interrupt(task, method, after, file, **options):
    """End a training in the first step after some epochs."""
    whole, rest = divmod(len(task.train_labels), method.training.batch_size)
    each = whole + (rest > 0 and not method.training.drop_last)
    steps, real = iter(range(after * each)), training.one_step

    def one_step(*arguments):
        if next(steps, None) is None:
            raise Broken
        return real(*arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "one_step", one_step)
        with pytest.raises(Broken):
            train(task, method, checkpoint=file, seconds_between=0, **options)


def same_best(a, b):
    assert (a is None) == (b is None)
    if a is not None:
        assert (a.epoch, a.accuracy) == (b.epoch, b.accuracy)
        same_tensors(a.tensors, b.tensors)


def same_tensors(a, b):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=0, atol=0)


def same(a, b):
    assert a.log == b.log
    same_tensors(a.adapter.state_dict(), b.adapter.state_dict())
    same_best(a.best_val, b.best_val)
    same_best(a.best_test, b.best_test)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resumed_run_equals_an_uninterrupted_one(task, tmp_path, preset):
    options = {"follow_test": preset == "hc_taf"}
    whole = train(task, chosen(preset), **options)
    for after in range(1, EPOCHS):
        file = tmp_path / f"run{after}" / "checkpoint.safetensors"
        interrupt(task, chosen(preset), after, file, **options)
        resumed = train(task, chosen(preset), checkpoint=file, seconds_between=0, **options)
        same(resumed, whole)
        assert len(resumed.log) == EPOCHS
        assert (resumed.best_test is not None) == options["follow_test"]


def test_epochs_before_the_interruption_are_not_trained_again(task, tmp_path, monkeypatch):
    file = tmp_path / "c"
    interrupt(task, chosen("taskres"), 2, file)
    steps, real = [], training.one_step
    monkeypatch.setattr(training, "one_step", lambda *a: steps.append(1) or real(*a))
    train(task, chosen("taskres"), checkpoint=file)
    assert len(steps) == 3  # 20 images in batches of 6, the last one dropped
    train(task, chosen("taskres"), checkpoint=file, seconds_between=0)
    assert len(steps) == 6
    train(task, chosen("taskres"), checkpoint=file)  # which is that of the last epoch now
    assert len(steps) == 6


def test_interrupted_twice(task, tmp_path):
    file = tmp_path / "c"
    interrupt(task, chosen("hc_tr"), 1, file)
    interrupt(task, chosen("hc_tr"), 1, file)  # one more
    same(train(task, chosen("hc_tr"), checkpoint=file), train(task, chosen("hc_tr")))


def test_no_checkpoint_before_its_time(task, tmp_path):
    train(task, chosen("taskres"), checkpoint=tmp_path / "c", seconds_between=1e6)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_checkpoint_before(task, tmp_path, monkeypatch):
    file = tmp_path / "c"
    interrupt(task, chosen("taskres"), 1, file)
    before = file.read_bytes()

    def full(path, data):
        real(path, data[:100])
        raise OSError(28, "No space left on device")

    real = type(file).write_bytes
    with monkeypatch.context() as patched:
        patched.setattr(type(file), "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            train(task, chosen("taskres"), checkpoint=file, seconds_between=0)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert file.read_bytes() == before
    same(train(task, chosen("taskres"), checkpoint=file), train(task, chosen("taskres")))


@pytest.fixture(scope="module")
def saved(task, tmp_path_factory):
    """A checkpoint of a run with one epoch behind it."""
    file = tmp_path_factory.mktemp("saved") / "c"
    interrupt(task, chosen("tip_adapter_f"), 1, file)
    return file.read_bytes()


@pytest.fixture
def file(saved, tmp_path):
    file = tmp_path / "c.safetensors"
    file.write_bytes(saved)
    return file


def rewrite(file, drop="", **changes):
    """Change the text of a checkpoint, or leave out tensors."""
    with safe_open(file, "pt") as archive:
        content = json.loads(archive.metadata()[KEY])
        tensors = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118
    tensors = {n: t for n, t in tensors.items() if not (drop and n.startswith(drop))}
    save_file(tensors, file, {KEY: json.dumps(content | changes)})


@pytest.mark.parametrize(
    ("drop", "changes"),
    [
        ("generator", {}),
        ("adapter.keys", {}),
        ("", {"log": [[1.0, 2.0]]}),
        ("", {"log": 5}),
        ("", {"best_val": [1]}),
        ("adapter", {}),
        ("optimizer", {}),
    ],
)
def test_an_incomplete_checkpoint(task, file, drop, changes):
    rewrite(file, drop, **changes)
    text = r"(?s)c\.safetensors` should be a checkpoint of a training\. Got .*Remove it to start "
    with pytest.raises(ValueError, match=text):
        train(task, chosen("tip_adapter_f"), checkpoint=file)


def other_method(**training):
    return method("tip_adapter_f", **{"epochs": EPOCHS, "batch_size": 6, **training})


OTHER_RUNS = {  # what they replace in the task, the method, and options of the call
    "learning rate": ({}, other_method(), {}),
    "epochs": ({}, other_method(epochs=9, learning_rate=0.05), {}),
    "constraint": ({}, constrained(chosen("tip_adapter_f"), weight=0.3), {}),
    "preset": ({}, chosen("clip_adapter"), {}),
    "seed": ({"seed": 2}, chosen("tip_adapter_f"), {}),
    "draw": ({"hashes": {"train": "other"}}, chosen("tip_adapter_f"), {}),
    "scale": ({"logit_scale": 7.0}, chosen("tip_adapter_f"), {}),
    "features": ({}, chosen("tip_adapter_f"), {"identity": "of other features"}),
    "protocols": ({}, chosen("tip_adapter_f"), {"follow_test": True}),
}


@pytest.mark.parametrize("name", OTHER_RUNS)
def test_a_checkpoint_of_another_run(task, file, name):
    changes, method, options = OTHER_RUNS[name]
    before = file.read_bytes()
    text = r"should be of a run with these settings\. Got a checkpoint of another\. Remove it to st"
    with pytest.raises(ValueError, match=text):
        train(dataclasses.replace(task, **changes), method, checkpoint=file, **options)
    assert file.read_bytes() == before
