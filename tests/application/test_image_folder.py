"""A user's own images."""

import json
import shutil
from collections import Counter

import pytest
from application.helpers import refused
from vlm_adapters.data.folders import image_folder, split_dataset
from vlm_adapters.data.splits import Sample


@pytest.fixture
def folder(tmp_path):
    """Three classes of ten, two and one files; no file is opened here."""
    root = tmp_path / "birds"
    fill(root, {"owl": 10, "crow": 2, "emu": 1})
    return root


def fill(root, classes):
    """Empty files with the names of images."""
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for row in range(count):
            (root / name / f"{row:02d}.jpg").touch()


def test_every_image_is_in_one_subset(folder):
    split = image_folder(folder).split
    everything = split.train + split.val + split.test
    assert sorted(sample.path for sample in everything) == sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg")
    )
    assert split.class_names == ("crow", "emu", "owl")
    assert all(sample.path.startswith(split.class_names[sample.label]) for sample in everything)


def test_shares_per_class_leave_a_training_image(folder):
    split = image_folder(folder).split
    counts = [
        Counter(sample.label for sample in part) for part in (split.train, split.val, split.test)
    ]
    assert counts == [{0: 1, 1: 1, 2: 5}, {2: 2}, {0: 1, 2: 3}]


def test_cut_is_always_the_same(folder):
    test = [sample.path for sample in image_folder(folder).split.test]
    assert test == ["crow/00.jpg", "owl/01.jpg", "owl/05.jpg", "owl/06.jpg"]
    assert image_folder(folder).split == image_folder(folder).split


def test_a_new_class_leaves_the_other_cuts_alone(folder):
    before = {sample.path for sample in image_folder(folder).split.test}
    fill(folder, {"auk": 10})
    after = {sample.path for sample in image_folder(folder).split.test}
    assert {path for path in after if "auk" not in path} == before


def test_order_is_by_class_and_name(folder):
    paths = [sample.path for sample in image_folder(folder).split.train]
    assert paths == sorted(paths)


def test_names_and_templates(folder):
    dataset = image_folder(folder)
    assert (dataset.name, dataset.images) == ("birds", folder)
    assert dataset.templates == dataset.taskres_templates == ("a photo of a {}.",)
    dataset = image_folder(folder, name="mine", templates=("a {}.", "the {}."))
    assert (dataset.name, dataset.templates) == ("mine", ("a {}.", "the {}."))


def test_other_files_and_hidden_ones_are_left_out(folder):
    expected = image_folder(folder).split
    for name in ("notes.txt", ".hidden.jpg", "owl/notes.txt", "owl/._00.jpg"):
        (folder / name).touch()
    for name in (".cache", "owl/part.jpg"):
        (folder / name).mkdir()
    assert image_folder(folder).split == expected


@pytest.mark.parametrize("ending", ["jpg", "JPEG", "png", "webp", "BMP"])
def test_endings_of_images(tmp_path, ending):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for row in range(4):
            (tmp_path / name / f"{row}.{ending}").touch()
    assert len(image_folder(tmp_path).split.train) == 4


def test_subsets_are_taken_as_they_are(tmp_path):
    for subset, count in {"train": 2, "val": 1, "test": 1}.items():
        fill(tmp_path / subset, {"crow": count, "owl": count})
    split = image_folder(tmp_path).split
    assert split.train[2] == Sample("train/owl/00.jpg", 1)
    assert split.val == (Sample("val/crow/00.jpg", 0), Sample("val/owl/00.jpg", 1))
    assert [len(split.train), len(split.test)] == [4, 2]


def test_a_class_may_be_named_train(tmp_path):
    fill(tmp_path, {"train": 4, "bus": 4})
    assert image_folder(tmp_path).split.class_names == ("bus", "train")


def test_subsets_without_testing(tmp_path):
    for subset in ("train", "val"):
        fill(tmp_path / subset, {"crow": 3, "owl": 3})
    with refused(r"should have images for testing\. Got 12 images in 2 classes, and none left\. A"):
        image_folder(tmp_path)


def test_subsets_differ_in_their_classes(tmp_path):
    fill(tmp_path / "train", {"crow": 3, "owl": 3})
    fill(tmp_path / "test", {"crow": 3})
    with refused(r"test` should have the class folders of `train`\. Got 'owl' in one of the two o"):
        image_folder(tmp_path)


@pytest.mark.parametrize("subset", ["", "test"])
def test_an_empty_class(tmp_path, subset):
    fill(tmp_path / "train" if subset else tmp_path, {"crow": 3, "owl": 3})
    fill(tmp_path / subset, {"crow": 3, "owl": 0} if subset else {"emu": 0})
    which = "test.owl" if subset else "emu"
    with refused(rf"{which}` should hold images .*Got 0 other files and folders\."):
        image_folder(tmp_path)


@pytest.mark.parametrize(
    ("remove", "got"), [(("crow", "emu"), "owl"), (("crow", "emu", "owl"), "none")]
)
def test_fewer_than_two_classes(folder, remove, got):
    for name in remove:
        shutil.rmtree(folder / name)
    with refused(rf"birds` should hold two or more class folders of images, .*Got {got}\. Make on"):
        image_folder(folder)


def test_nothing_left_for_testing(tmp_path):
    fill(tmp_path, {"crow": 1, "owl": 1})
    with refused(r"should have images for testing\. Got 2 images in 2 classes, and none left\. Ad"):
        image_folder(tmp_path)


@pytest.mark.parametrize("name", ["b\udcff", "owl/b\udcff.jpg"])
def test_names_that_are_not_utf_8(folder, name):
    (folder / name).touch() if name.endswith("jpg") else fill(folder, {name: 3})
    with refused(r"`.*birds.*`: every name in it should be text in UTF-8\. Got 'b\\udcff.*Rename"):
        image_folder(folder)


def test_no_such_folder(tmp_path):
    with refused(r"`path` should be a folder of images\. Got '.*none', not a folder"):
        image_folder(tmp_path / "none")


def test_template_as_one_string(folder):
    with refused(r"`templates` should be a sequence of one or more strings .* Got 'a \{\}\.'"):
        image_folder(folder, templates="a {}.")


def test_split_file_with_an_image_folder(folder, tmp_path):
    split = {"train": [["owl/00.jpg", 0, "owl"]], "val": [["owl/01.jpg", 0, "owl"]]}
    split["test"] = [["crow/00.jpg", 1, "crow"]]
    file = tmp_path / "my_split.json"
    file.write_text(json.dumps(split))
    dataset = split_dataset(file, folder)
    assert (dataset.name, dataset.images, dataset.classes) == ("my_split", folder, None)
    assert dataset.split.test == (Sample("crow/00.jpg", 1),)
    assert dataset.templates == ("a photo of a {}.",)
    assert split_dataset(file, folder, name="x", templates=("{}!",)).templates == ("{}!",)


def test_split_file_without_its_image_folder(tmp_path):
    with refused(r"`images` should be a folder of images\. Got "):
        split_dataset(tmp_path / "split.json", tmp_path / "none")
