"""An interrupted training that goes on gives every bit of an uninterrupted one."""

import dataclasses

import pytest
import torch
from application.helpers import equal, method
from vlm_adapters import training
from vlm_adapters.features.views import CachedViews
from vlm_adapters.training import train

EPOCHS = 3
PRESETS = ("taskres", "hc_tr", "tip_adapter_f", "hc_taf", "clip_adapter", "hc_clip_adapter")


class Broken(Exception):
    """Ends a training."""


def chosen(preset):
    return method(preset, epochs=EPOCHS, batch_size=6, learning_rate=0.05)


@pytest.fixture(scope="module")
def task(source):
    """A task with two views an image, so that the draws of views count too."""
    task = source.task(4, 1)
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


def same(a, b):
    assert a.log == b.log
    equal(dict(a.adapter.state_dict()), dict(b.adapter.state_dict()))
    for one, other in ((a.best_val, b.best_val), (a.best_test, b.best_test)):
        assert (one is None) == (other is None)
        if one is not None:
            assert one[:2] == other[:2]
            equal(one.tensors, other.tensors)


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


def test_no_checkpoint_before_its_time(task, tmp_path):
    train(task, chosen("taskres"), checkpoint=tmp_path / "c", seconds_between=1e6)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_run(task, tmp_path):
    file = tmp_path / "c"
    interrupt(task, chosen("tip_adapter_f"), 1, file)
    before = file.read_bytes()
    text = r"should be of a run with these settings\. Got a checkpoint of another\. Remove it to st"
    with pytest.raises(ValueError, match=text):
        train(task, chosen("tip_adapter_f"), checkpoint=file, identity="of another run")
    assert file.read_bytes() == before
