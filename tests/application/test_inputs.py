"""What the commands' options mean, and the commands and runs of a sweep."""

import shlex
from pathlib import Path

import pytest
import typer
from application.fake_backbone import SPEC
from application.helpers import refused
from vlm_adapters.cli import app
from vlm_adapters.cli.inputs import DEFAULTS, SHIPPED, Inputs, _own, read_inputs
from vlm_adapters.data.datasets import open_dataset
from vlm_adapters.experiments import Sweep
from vlm_adapters.features.bundle import BundleSource
from vlm_adapters.features.views import Augmentation
from vlm_adapters.sources import StoredSource


def images_of(root):
    dataset = open_dataset("dtd", root)
    return dataset.images, root / "dtd" / "split_zhou_DescribableTextures.json"


def test_names_are_those_of_the_data_sets(root, bundle_file, monkeypatch):
    images, split = images_of(root)
    for inputs in (
        Inputs("dtd", root),
        Inputs(images=images),
        Inputs("mine", images=images),
        Inputs(images=images, split=split),
        Inputs("mine", images=images, split=split),
    ):
        assert inputs.open().name == inputs.name
    assert Inputs().name == ""
    assert Inputs(bundle=bundle_file).name == "synthetic"
    monkeypatch.chdir(images)
    assert Inputs(images=Path()).name == images.name  # wherever one stands


def test_what_is_opened(root):
    images, split = images_of(root)
    published = Inputs("dtd", root).open()
    own = Inputs(images=images, split=split, template=("the {}.",)).open()
    assert own.split == published.split
    assert own.templates == own.taskres_templates == ("the {}.",)
    assert published.templates == ("{} texture.",)
    folders = Inputs(images=images, template=("one {}.",)).open()
    assert folders.split.class_names == ("class_0", "class_1", "class_2")


NOWHERE = Path("/nowhere")
NOTHING = [
    ({}, r"`--dataset` should name a published data set, or `--images` .* Got neit"),
    ({"template": ("a {}.",)}, r"`--dataset` should name a published data set, .* Got neit"),
    ({"dataset": "dtd"}, r"`--root` should name the folder .* to find dtd\. Got none\. Give"),
    ({"dataset": "coop", "root": Path()}, r"`--dataset` should be one of .* Got 'coop'"),
    ({"dataset": "dtd", "root": NOWHERE}, r"`root` should hold dtd in CoOp's layout"),
    ({"bundle": NOWHERE}, r"nowhere` should be a safetensors file"),
    ({"backbone": "coop"}, r"`--backbone` should be "),
    ({"scale": "0.9,0.1"}, r"`scale` should be two shares"),
]


@pytest.mark.parametrize(("options", "text"), NOTHING)
def test_inputs_that_name_nothing(root, options, text):
    if "backbone" in options:
        options = options | {"dataset": "dtd", "root": root}
    with refused(text):
        Inputs(**options).opened()


def inputs(root, store, **options):
    return Inputs("dtd", root, backbone=SPEC, store=store, views=2, workers=1, **options)


def test_sources(root, tmp_path, bundle_file):
    stored = inputs(root, tmp_path).opened()([(1, 1)])
    assert isinstance(stored, StoredSource)
    assert stored.backbone == SPEC
    assert stored.task(1, 1).train.units.shape == (3, 2, 6)
    online = inputs(root, tmp_path, online=True, scale="0.1,1").opened()([(1, 1)])
    assert (stored.data, online.data) == ("cached", "online")
    assert online.task(1, 1).train.augmentation == Augmentation(2, (0.1, 1.0), 1)
    assert len(online.task(1, 1).train.paths) == 3
    bundle = Inputs(bundle=bundle_file).opened()([(1, 1)])
    assert bundle == BundleSource(bundle_file)


def test_progress_is_told(root, tmp_path):
    told = []
    inputs(root, tmp_path).opened(lambda *numbers: told.append(numbers))([(1, 1)])
    assert told[-1] == (9, 9)
    assert {total for _, total in told} == {3, 6, 9}  # training, validation and test images


def test_descriptions(root, bundle_file):
    text = inputs(root, Path("s"), scale="0.25,1").describe()
    assert text == f"dtd, {SPEC}, 2 views of scale 0.25,1"
    digest = BundleSource(bundle_file).sha256
    assert Inputs(bundle=bundle_file).describe() == f"bundle sha256 {digest}"


def test_each_process_of_torchrun_takes_an_accelerator_of_its_own(root, tmp_path, monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert _own("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [_own(name) for name in ("cuda", "cuda:1", "cpu")] == ["cuda:3", "cuda:1", "cpu"]
    monkeypatch.setenv("LOCAL_RANK", "99")
    with refused(r"on this machine\. Got 'cuda:99'"):
        inputs(root, tmp_path, device="cuda").extraction()


# Sweeps


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
        Inputs(bundle=bundle_file, device="cuda"),
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
