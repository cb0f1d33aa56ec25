"""A trained adapter on another data set, and on single images."""

import dataclasses
import json

import pytest
import torch
from application.fake_backbone import FakeBackbone
from application.helpers import equal, method
from application.source_helpers import extraction
from application.synthetic_data import write_folder
from PIL import Image
from torch.nn.functional import normalize
from vlm_adapters.data.datasets import open_dataset
from vlm_adapters.data.folders import image_folder
from vlm_adapters.experiments import Job, run_job
from vlm_adapters.features.views import extract_features
from vlm_adapters.runs import read_result, read_saved_run, write_result
from vlm_adapters.transfer import Target, accuracy_on, image_files, predict

KINDS = ("taskres", "tip_adapter_f", "clip_adapter", "linear_probe", "zero_shot")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


def saved_run(root, store, folder, dataset="imagenet", preset="taskres"):
    source = extraction(root, store, dataset).source([(2, 1)])
    run_job(source, Job(preset, method(preset, epochs=3), 2, 1, folder))
    return read_saved_run(folder)


@pytest.fixture(scope="module", params=KINDS)
def saved(request, root, store, tmp_path_factory):
    return saved_run(root, store, tmp_path_factory.mktemp("run"), preset=request.param)


def directly(saved, dataset, columns):
    """Accuracy of the columns of some classes on a data set's test images."""
    paths, labels = zip(
        *((sample.path, sample.label) for sample in dataset.split.test), strict=True
    )
    images = normalize(extract_features(FakeBackbone(), dataset.images, paths), dim=1)
    chosen = saved.adapter(images)[:, columns].argmax(1)
    return pytest.approx(100 * float((chosen == torch.tensor(labels)).double().mean()))


@pytest.mark.parametrize(
    ("name", "columns", "images"), [("imagenet_a", [1, 2], 20), ("imagenetv2", [0, 1, 2], 30)]
)
def test_targets_with_some_or_all_of_the_classes(root, store, saved, name, columns, images):
    found = accuracy_on(saved, Target(extraction(root, store, name)))
    target = open_dataset(name, root)
    assert list(target.classes) == columns
    assert found["accuracy"] == directly(saved, target, columns)
    assert (found["images"], found["source"], found["target"]) == (images, "imagenet", name)
    assert (found["preset"], found["shots"], found["seed"]) == (saved.run.preset, 2, 1)
    assert json.loads(json.dumps(found)) == found


def test_its_own_test_images(root, store, saved):
    own = accuracy_on(saved, Target(extraction(root, store, "imagenet")))
    assert own["accuracy"] == saved.run.accuracies[saved.run.headline]


@pytest.fixture(scope="module")
def dtd_run(root, store, tmp_path_factory):
    return saved_run(root, store, tmp_path_factory.mktemp("dtd"), "dtd")


def own_images(root, folder, names):
    """A target of the user's images."""
    write_folder(folder / "photos", dict.fromkeys(names, 4), "png")
    target = extraction(root, folder / "store")
    return dataclasses.replace(target, dataset=image_folder(folder / "photos"))


def test_classes_are_found_by_name(root, dtd_run, tmp_path):
    theirs = [dtd_run.class_names[2], dtd_run.class_names[0]]
    target = own_images(root, tmp_path, theirs)
    names = target.dataset.split.class_names
    assert sorted(theirs) == list(names)
    columns = [dtd_run.class_names.index(name) for name in names]
    found = accuracy_on(dtd_run, Target(target))["accuracy"]
    assert found == directly(dtd_run, target.dataset, columns)


def test_names_that_the_run_does_not_have_or_has_twice(root, dtd_run, tmp_path):
    target = own_images(root, tmp_path, ["crane", "owl"])
    with pytest.raises(ValueError, match=r"should be among the run's 3\. Got 'crane'\."):
        accuracy_on(dtd_run, Target(target))
    twice = dtd_run._replace(class_names=("crane", "crane", *dtd_run.class_names[2:]))
    with pytest.raises(ValueError, match=r"should have distinct names .* Got a name twice"):
        accuracy_on(twice, Target(target))
    data = open_dataset("dtd", root)
    same = dataclasses.replace(data.split, class_names=twice.class_names)  # in the same order
    target = dataclasses.replace(target, dataset=dataclasses.replace(data, split=same))
    assert accuracy_on(twice, Target(target))["accuracy"] == dtd_run.run.accuracies["last"]


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


def test_images_are_read_as_those_of_the_run(root, store, tmp_path):
    """The two halves of an image, which the backbone sees, differ once it is turned."""
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture = Image.new("RGB", (8, 8), "red")
    picture.paste("blue", (0, 0, 4, 8))
    picture.save(tmp_path / "turned.png", exif=exif)
    file, probabilities = tmp_path / "turned.png", []
    for published in (False, True):
        source = extraction(root, store, published_pixels=published).source([(2, 1)])
        folder = tmp_path / f"{published}"
        run_job(source, Job("taskres", method("taskres", epochs=1), 2, 1, folder))
        saved = read_saved_run(folder)
        assert saved.run.published_pixels is published
        [item] = predict(saved, FakeBackbone(), [file], 1)
        [seen] = extract_features(FakeBackbone(), tmp_path, [file.name], published=published)
        shares = saved.adapter(normalize(seen, dim=0)[None]).softmax(1)
        probabilities.append(item["classes"][0]["probability"])
        assert probabilities[-1] == pytest.approx(float(shares.detach().max()))
    assert probabilities[0] != probabilities[1]


def test_older_results_do_not_tell_how_images_were_read(root, store, tmp_path):
    saved_run(root, store, tmp_path)
    content = read_result(tmp_path)
    assert content["run"].pop("features")["pixels"] == "corrected"
    write_result(tmp_path, content)
    assert read_saved_run(tmp_path).run.published_pixels is False


def test_no_more_classes_than_there_are_and_those_of_one_name_apart(root, saved):
    dataset = open_dataset("imagenet", root)
    file = dataset.images / dataset.split.test[0].path
    twins = saved._replace(class_names=("crane",) * 3)
    [item] = predict(twins, FakeBackbone(), [file], 99)
    assert [each["class"] for each in item["classes"]] == ["crane"] * 3
    assert sum(each["probability"] for each in item["classes"]) == pytest.approx(1)


def test_files_that_are_no_images(root, store, tmp_path):
    saved = saved_run(root, store, tmp_path / "run")
    text = (
        r"`IMAGES` should be image files or folders of them\. Got '.*none\.png', which is neither"
    )
    with pytest.raises(FileNotFoundError, match=text):
        image_files([tmp_path / "none.png"])
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "b\udcff.png").write_text("text")
    twice = image_files([tmp_path / "b\udcff.png", *[tmp_path / "text.png"] * 2])
    odd, *both = predict(saved, FakeBackbone(), twice, 1)
    assert odd["path"].endswith("b\\udcff.png")
    assert both[0] == both[1]
    assert both[0]["classes"] == []
    assert "text.png" in both[0]["error"]
    assert json.dumps(odd, ensure_ascii=False).encode()  # can be printed


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
    run_job(
        made.source([(2, 1)]), Job("taskres", method("taskres", epochs=1), 2, 1, tmp_path / "run")
    )
    saved = read_saved_run(tmp_path / "run")
    assert saved.run.weights == {"file sha256": "12" * 32}
    assert accuracy_on(saved, Target(made))["images"] > 0
    text = r"weights that the adapter was trained on, file sha256 1212121212121212\. Got none\. Tra"
    with pytest.raises(ValueError, match=text):
        accuracy_on(saved, Target(extraction(root, tmp_path / "store", "dtd")))
    with pytest.raises(ValueError, match=text):
        predict(saved, FakeBackbone(), [], 1)
