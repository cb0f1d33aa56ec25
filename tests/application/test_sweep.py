"""Sweeps: their runs and their commands."""

import shlex
from pathlib import Path

import pytest
import typer
from vlm_adapters.cli import app
from vlm_adapters.cli.inputs import DEFAULTS, SHIPPED, Inputs, read_inputs
from vlm_adapters.experiments import Sweep

IMAGES = {
    "published": {"dataset": "dtd", "root": Path("/data with space")},
    "folder": {"images": Path("my photos"), "template": ("a {}.", 'it\'s a {}, "b"')},
    "split": {"dataset": "named", "images": Path("i"), "split": Path("s.json")},
    "template": {"images": Path("i"), "split": Path("s.csv"), "template": ("the {}",)},
}
INPUTS = {
    "cached": {"backbone": "open_clip/RN50/openai", "views": 7, "scale": "0.333,0.9"},
    "online": {"backbone": "m:f", "device": "cuda", "store": Path("a b"), "online": True},
}


def sweep(inputs, **options):
    options = {
        "presets": ("taskres", "hc_tr", "tip_adapter_f"),
        "shots": (1, 16),
        "seeds": (1, 3),
        "out": Path("runs here"),
    } | options
    return Sweep(inputs, **options)


def parsed(command):
    """What `train` makes of a command."""
    program, name, *arguments = shlex.split(command)
    assert (program, name) == ("vlm-adapters", "train")
    train = typer.main.get_command(app).commands["train"]
    values = train.make_context("train", arguments).params
    for name in ("root", "images", "split", "store", "bundle", "out"):  # texts before typer 0.17
        values[name] = values[name] and Path(values[name])
    return read_inputs(**{name: values[name] for name in DEFAULTS}), values


@pytest.mark.parametrize("images", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("options", INPUTS.values(), ids=INPUTS)
def test_commands_mean_what_the_sweep_runs(images, options, tmp_path):
    tuned = tmp_path / "tuned.toml"
    tuned.write_text("[hc_tr.constraint]\nweight = 0.1\n")
    inputs = Inputs(**images, **options)
    overrides = (
        "taskres.training.epochs=3",
        'tip_adapter_f.title="A title"',
        "tip_adapter.adapter.sharpness=2",
    )
    plan = sweep(inputs, overrides=overrides, tuned=str(tuned), every=True)
    commands, jobs = plan.commands(), plan.jobs()
    assert len(commands) == len(jobs) == 12
    for command, job in zip(commands, jobs, strict=True):
        found, values = parsed(command)
        assert found == inputs
        assert (values["shots"], values["seed"], values["out"]) == (job.shots, job.seed, job.folder)
        assert values["every"] is True
        alone = Sweep(
            found,
            (values["method"],),
            (values["shots"],),
            (values["seed"],),
            values["out"],
            values["tuned"],
            tuple(values["overrides"] or ()),
            values["every"],
        )
        assert [one.method for one in alone.jobs()] == [job.method]


def test_commands_of_a_bundle_and_of_ones_own_preset(bundle_file, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('title = "Mine"\nextends = "taskres"')
    plan = sweep(
        Inputs(bundle=bundle_file),
        presets=("taskres", str(mine)),
        overrides=("mine.training.epochs=2",),
    )
    for command, job in zip(plan.commands(), plan.jobs(), strict=True):
        found, values = parsed(command)
        assert found == plan.inputs
        assert values["method"] == {"taskres": "taskres", "mine": str(mine)}[job.preset]
        mine_only = ["mine.training.epochs=2"] if job.preset == "mine" else []
        assert list(values["overrides"] or ()) == mine_only
        assert not values["every"]


def test_the_shipped_bundle_has_a_name():
    assert read_inputs(bundle=Path("demo")) == Inputs(bundle=SHIPPED)


def test_the_data_sets_values_are_taken():
    plan = sweep(Inputs("eurosat", Path("d")))
    assert plan.jobs()[2].method.training.epochs == 100
    assert plan.jobs()[0].folder == Path("runs here/taskres/eurosat/1shot/seed1")
