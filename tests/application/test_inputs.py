"""What the commands' options mean."""

from pathlib import Path

import pytest
from application.fake_backbone import SPEC
from application.synthetic_data import write_dataset
from vlm_adapters.cli.inputs import Inputs, _own
from vlm_adapters.data.datasets import open_dataset
from vlm_adapters.features.bundle import BundleSource
from vlm_adapters.features.views import Augmentation
from vlm_adapters.sources import StoredSource


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder, "dtd")
    return folder


def images_of(root):
    dataset = open_dataset("dtd", root)
    return dataset.images, root / "dtd" / "split_zhou_DescribableTextures.json"


def test_names_are_those_of_the_data_sets(root, bundle_file):
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


def test_a_folder_is_named_after_itself_wherever_one_stands(root, monkeypatch):
    images, _ = images_of(root)
    monkeypatch.chdir(images)
    assert Inputs(images=Path()).name == images.name


def test_what_is_opened(root):
    images, split = images_of(root)
    published = Inputs("dtd", root).open()
    own = Inputs(images=images, split=split, template=("the {}.",)).open()
    assert own.split == published.split
    assert own.templates == own.taskres_templates == ("the {}.",)
    assert published.templates == ("{} texture.",)
    folders = Inputs(images=images, template=("one {}.",)).open()
    assert folders.split.class_names == ("class_0", "class_1", "class_2")


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (Inputs(), r"`--dataset` should name a published data set, or `--images` .* Got neit"),
        (Inputs("dtd"), r"`--root` should name the folder .* to find dtd\. Got none\. Give"),
        (Inputs("coop", Path()), r"`name` should be one of .* Got 'coop'"),
    ],
)
def test_inputs_that_name_nothing(inputs, text):
    with pytest.raises(ValueError, match=text):
        inputs.open()


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


def test_missing_things_are_told_when_the_inputs_are_opened(root, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none` should be a safetensors file"):
        Inputs(bundle=tmp_path / "none").opened()
    with pytest.raises(FileNotFoundError, match=r"`root` should hold dtd in CoOp's layout"):
        inputs(tmp_path, tmp_path).opened()
    with pytest.raises(ValueError, match=r"`spec` should be "):
        Inputs("dtd", root, backbone="coop").opened()


def test_views_that_make_no_sense():
    with pytest.raises(ValueError, match=r"`scale` should be two shares"):
        Inputs(scale="0.9,0.1")


def test_descriptions(root, bundle_file):
    text = inputs(root, Path("s"), scale="0.25,1").describe()
    assert text == f"dtd, {SPEC}, 2 views of scale 0.25,1"
    digest = BundleSource(bundle_file).sha256
    assert Inputs(bundle=bundle_file).describe() == f"bundle sha256 {digest}"


def test_each_process_of_torchrun_takes_an_accelerator_of_its_own(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert _own("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [_own(name) for name in ("cuda", "cuda:1", "cpu")] == ["cuda:3", "cuda:1", "cpu"]
