"""A trained adapter on another data set, and on single images."""

import dataclasses
import json

import pytest
import torch
from application.fake_backbone import FakeBackbone
from application.helpers import method
from application.rank_work import AUGMENTATION, equal, extraction
from application.synthetic_data import write_dataset
from PIL import Image
from torch.nn.functional import normalize
from vlm_adapters.data import image_folder, open_dataset
from vlm_adapters.experiments import Job, run_job
from vlm_adapters.features.views import extract_features
from vlm_adapters.run_files import read_saved_run
from vlm_adapters.transfer import Target, accuracy_on, image_files, predict

KINDS = ("taskres", "tip_adapter_f", "clip_adapter", "linear_probe", "zero_shot")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name in ("imagenet", "imagenet_a", "imagenetv2", "dtd"):
        write_dataset(folder, name, classes=4, images=6)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def saved_run(root, store, folder, dataset="imagenet", preset="taskres"):
    source = extraction(root, store, dataset).source([(2, 1)], AUGMENTATION)
    run_job(source, Job(preset, method(preset, epochs=3), 2, 1, folder))
    return read_saved_run(folder)


@pytest.fixture(scope="module", params=KINDS)
def saved(request, root, store, tmp_path_factory):
    return saved_run(root, store, tmp_path_factory.mktemp("run"), preset=request.param)


def test_a_target_with_some_of_the_classes(root, store, saved):
    """ImageNet-A: its labels 0, 1, 2 are ImageNet's 1, 2, 3."""
    found = accuracy_on(saved, Target(extraction(root, store, "imagenet_a")))
    target = open_dataset("imagenet_a", root)
    assert target.classes == (1, 2, 3)
    images = extract_features(
        FakeBackbone(), target.images, [sample.path for sample in target.split.test]
    )
    logits = saved.adapter(normalize(images, dim=1))[:, [1, 2, 3]]
    labels = torch.tensor([sample.label for sample in target.split.test])
    expected = 100 * float((logits.argmax(1) == labels).double().mean())
    assert found["accuracy"] == pytest.approx(expected)
    assert (found["images"], found["source"], found["target"]) == (18, "imagenet", "imagenet_a")
    assert (found["preset"], found["shots"], found["seed"]) == (saved.run.preset, 2, 1)
    assert json.loads(json.dumps(found)) == found


def test_a_target_with_all_classes(root, store, saved):
    found = accuracy_on(saved, Target(extraction(root, store, "imagenetv2")))
    assert found["images"] == 24
    assert 0 <= found["accuracy"] <= 100


def test_its_own_test_images(root, store, saved):
    found = accuracy_on(saved, Target(extraction(root, store, "imagenet")))
    assert found["accuracy"] == saved.run.accuracies[saved.run.headline]


def folder_of(root, names):
    for number, name in enumerate(names):
        (root / "photos" / name).mkdir(parents=True)
        for image in range(4):
            colour = (60 * number, 250 - 60 * number, 60 * image)
            Image.new("RGB", (12, 12), colour).save(root / "photos" / name / f"{image}.png")
    return image_folder(root / "photos")


def test_classes_are_found_by_name(root, store, tmp_path):
    saved = saved_run(root, store, tmp_path / "run", "dtd")
    theirs = [saved.class_names[2], saved.class_names[0]]
    target = dataclasses.replace(
        extraction(root, tmp_path / "store"), dataset=folder_of(tmp_path, theirs)
    )
    split = target.dataset.split
    assert sorted(theirs) == list(split.class_names)
    images = extract_features(
        FakeBackbone(), target.dataset.images, [sample.path for sample in split.test]
    )
    columns = [saved.class_names.index(name) for name in split.class_names]
    logits = saved.adapter(normalize(images, dim=1))[:, columns]
    labels = torch.tensor([sample.label for sample in split.test])
    expected = 100 * float((logits.argmax(1) == labels).double().mean())
    assert accuracy_on(saved, Target(target))["accuracy"] == pytest.approx(expected)


def test_classes_that_the_run_does_not_have(root, store, tmp_path):
    saved = saved_run(root, store, tmp_path / "run", "dtd")
    target = dataclasses.replace(
        extraction(root, tmp_path / "store"), dataset=folder_of(tmp_path, ["cat", "dog"])
    )
    with pytest.raises(ValueError, match=r"should be among the run's 4\. Got 'cat'\."):
        accuracy_on(saved, Target(target))


def test_names_that_come_twice(root, store, tmp_path):
    saved = saved_run(root, store, tmp_path / "run", "dtd")
    twice = saved._replace(class_names=("crane", "crane", *saved.class_names[2:]))
    target = dataclasses.replace(
        extraction(root, tmp_path / "store"), dataset=folder_of(tmp_path, ["crane", "owl"])
    )
    with pytest.raises(ValueError, match=r"should have distinct names .* Got a name twice"):
        accuracy_on(twice, Target(target))
    names = extraction(root, store, "dtd").dataset.split
    same = dataclasses.replace(names, class_names=twice.class_names)  # in the same order
    dataset = dataclasses.replace(open_dataset("dtd", root), split=same)
    own = accuracy_on(twice, Target(dataclasses.replace(target, dataset=dataset)))
    assert own["accuracy"] == saved.run.accuracies["last"]


@pytest.mark.parametrize("dataset", ["dtd", "imagenet"])
def test_a_variant_of_imagenet_needs_a_run_on_imagenet(root, store, tmp_path, dataset):
    saved = saved_run(root, store, tmp_path, dataset)
    names = saved.class_names[:2] if dataset == "dtd" else saved.class_names[::-1]
    other = saved._replace(class_names=names)
    with pytest.raises(ValueError, match=r"The run's class \d should be '.*'\. Got .* on ImageNet"):
        accuracy_on(other, Target(extraction(root, store, "imagenet_a")))


# Single images


def test_predictions_are_the_classes_by_falling_probability(root, saved):
    dataset = open_dataset("imagenet", root)
    files = [dataset.images / dataset.split.test[row].path for row in (7, 0, 5)]
    found = predict(saved, FakeBackbone(), files, 3)
    features = normalize(extract_features(FakeBackbone(), dataset.images, files), dim=1)
    shares = saved.adapter(features).softmax(1)
    assert [item["path"] for item in found] == list(map(str, files))
    assert json.loads(json.dumps(found)) == found
    for item, row in zip(found, shares, strict=True):
        best = row.argsort(descending=True, stable=True)[:3].tolist()
        assert [each["class"] for each in item["classes"]] == [saved.class_names[k] for k in best]
        equal(torch.tensor([each["probability"] for each in item["classes"]]), row[best].detach())


def test_no_more_classes_than_there_are_and_those_of_one_name_apart(root, saved):
    dataset = open_dataset("imagenet", root)
    file = dataset.images / dataset.split.test[0].path
    twins = saved._replace(class_names=("crane",) * 4)
    [item] = predict(twins, FakeBackbone(), [file], 99)
    assert [each["class"] for each in item["classes"]] == ["crane"] * 4
    assert sum(each["probability"] for each in item["classes"]) == pytest.approx(1)


def test_relative_paths(root, store, tmp_path, monkeypatch):
    saved = saved_run(root, store, tmp_path / "run")
    Image.new("RGB", (9, 9), (200, 10, 10)).save(tmp_path / "new.png")
    monkeypatch.chdir(tmp_path)
    relative, absolute = (
        predict(saved, FakeBackbone(), [path], 2)[0]["classes"]
        for path in (type(root)("new.png"), tmp_path / "new.png")
    )
    assert relative == absolute


def test_files_that_are_no_images(root, store, tmp_path):
    saved = saved_run(root, store, tmp_path / "run")
    text = (
        r"`IMAGES` should be image files or folders of them\. Got '.*none\.png', which is neither"
    )
    with pytest.raises(FileNotFoundError, match=text):
        image_files([tmp_path / "none.png"])
    (tmp_path / "text.png").write_text("text")
    [found] = predict(saved, FakeBackbone(), image_files([tmp_path / "text.png"]), 1)
    assert found["classes"] == []
    assert "text.png" in found["error"]


def test_what_an_accuracy_belongs_to(root, store, saved):
    target = Target(extraction(root, store, "imagenetv2"))
    key = target.key(saved.run)
    assert key.items() <= accuracy_on(saved, target).items()
    other = dataclasses.replace(saved.run, identity="other")
    assert target.key(other) != key
    assert Target(extraction(root, store, "imagenet")).key(saved.run) != key


class Weighed(FakeBackbone):
    def fingerprint(self):
        return {"name": self.name, "file sha256": "12" * 32}


def test_other_weights_are_refused(root, tmp_path):
    made = extraction(root, tmp_path / "store", "dtd", backbone=Weighed())
    run_job(made.source([(2, 1)], AUGMENTATION),
            Job("taskres", method("taskres", epochs=1), 2, 1, tmp_path / "run"))  # fmt: skip
    saved = read_saved_run(tmp_path / "run")
    assert saved.run.weights == {"file sha256": "12" * 32}
    assert accuracy_on(saved, Target(made))["images"] > 0
    text = r"weights that the adapter was trained on, file sha256 1212121212121212\. Got none\. Tra"
    with pytest.raises(ValueError, match=text):
        accuracy_on(saved, Target(extraction(root, tmp_path / "store", "dtd")))
    with pytest.raises(ValueError, match=text):
        predict(saved, FakeBackbone(), [], 1)
