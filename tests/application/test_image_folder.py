"""A user's own images."""

import json
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


def test_shares_per_class_leave_a_training_image(folder):
    split = image_folder(folder).split
    counts = [
        Counter(sample.label for sample in part) for part in (split.train, split.val, split.test)
    ]
    assert counts == [{0: 1, 1: 1, 2: 5}, {2: 2}, {0: 1, 2: 3}]


def test_cut_is_always_the_same(folder):
    test = [sample.path for sample in image_folder(folder).split.test]
    assert test == ["crow/00.jpg", "owl/01.jpg", "owl/05.jpg", "owl/06.jpg"]


def test_a_new_class_leaves_the_other_cuts_alone(folder):
    before = {sample.path for sample in image_folder(folder).split.test}
    fill(folder, {"auk": 10})
    after = {sample.path for sample in image_folder(folder).split.test}
    assert {path for path in after if "auk" not in path} == before


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


TWO = {"train/crow": 3, "train/owl": 3}


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"crow": 1, "owl": 1}, r"images for testing\. Got 2 images in 2 classes, and none left\."),
        (TWO | {"val/crow": 3, "val/owl": 3}, r"for testing\. Got 12 images in 2 classes, and"),
        (TWO | {"test/crow": 3}, r"test` should have the class folders of `train`\. Got 'owl' in"),
        (TWO | {"test/crow": 3, "test/owl": 0}, r"test.owl` should hold images .*Got 0 other file"),
        ({"crow": 3, "owl": 3, "emu": 0}, r"emu` should hold images .*Got 0 other files"),
        ({"owl": 3}, r"should hold two or more class folders of images, .*Got owl\. Make on"),
        ({}, r"should hold two or more class folders of images, .*Got none\. Make one folder"),
    ],
)
def test_folders_that_are_no_data_set(tmp_path, classes, message):
    fill(tmp_path, classes)
    with refused(message):
        image_folder(tmp_path)


@pytest.mark.parametrize("name", ["b\udcff", "owl/b\udcff.jpg"])
def test_names_that_are_not_utf_8(folder, name):
    (folder / name).touch() if name.endswith("jpg") else fill(folder, {name: 3})
    with refused(r"`.*birds.*`: every name in it should be text in UTF-8\. Got 'b\\udcff.*Rename"):
        image_folder(folder)


def test_no_such_folder(tmp_path):
    with refused("No such file or directory: '.*none'"):
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
