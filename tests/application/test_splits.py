"""Split files, tables of paths and labels, and a user's folders of images."""

import hashlib
import json
import pickle
from collections import Counter

import pytest
from application.helpers import refused
from vlm_adapters.data.folders import image_folder, split_dataset
from vlm_adapters.data.splits import Sample, read_split

CAT = ["cats/1.jpg", 0, "cat"]
DOG = ["dogs/1.jpg", 1, "sea_dog"]
GOOD = {"train": [DOG, CAT], "val": [CAT], "test": [DOG]}
IMAGES = "should have a list of one or more images under"
ENTRY = r"`val`\[1\], should be \[path, label, class name\]\. Got "
BELOW = r"`val`\[1\], should have a path below the image folder\. Got .*without `\.\.`"


@pytest.fixture
def file(tmp_path):
    """A good split."""
    path = tmp_path / "split.json"
    path.write_text(json.dumps(GOOD, indent=2))
    return path


def test_reads_samples_in_order_and_names_by_label(file):
    split = read_split(file)
    assert split.train == (Sample("dogs/1.jpg", 1), Sample("cats/1.jpg", 0))
    assert split.subset("val") == (Sample("cats/1.jpg", 0),)
    assert split.subset("test") == (Sample("dogs/1.jpg", 1),)
    assert split.class_names == ("cat", "sea_dog")
    assert split.paths() == ["dogs/1.jpg", "cats/1.jpg"]
    assert split.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert pickle.loads(pickle.dumps(split)) == split


def test_spellings_of_paths_and_equal_names_of_classes(file):
    train = [["a..b/1.jpg", 0, "cat"], ["./a//1.jpg", 2, "cat"]]
    file.write_text(json.dumps({**GOOD, "train": train}))
    split = read_split(file)
    assert [sample.path for sample in split.train] == ["a..b/1.jpg", "a/1.jpg"]
    assert split.class_names == ("cat", "sea_dog", "cat")


def test_missing_file(tmp_path):
    with refused(r"No such file or directory: '.*none\.json'"):
        read_split(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"<html>", r"should be JSON\. Got .*Download"),
        ([1, 2], rf"{IMAGES} `train`\. Got None"),
        ({**GOOD, "test": []}, rf"{IMAGES} `test`\. Got \[\]"),
        ({**GOOD, "val": "x" * 99}, rf"{IMAGES} `val`\. Got 'x+\.\.\.x+'"),
        (
            {**GOOD, "test": [["x.jpg", 9, "owl"]]},
            r"should use the labels 0 to 2 for its 3 classes\. Got label 9 and no label 2\.",
        ),
    ],
)
def test_another_document(file, document, message):
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    file.write_bytes(content)
    with refused(rf"`split\.json` {message}"):
        read_split(file)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("cats/1.jpg", ENTRY),
        (["cats/1.jpg", "0", "cat"], ENTRY),
        (["1.jpg", True, "cat"], ENTRY),
        ([1, 0, ""], ENTRY),
        *(
            ([path, 1, "sea_dog"], BELOW)
            for path in ("../secret.jpg", "a/../../b.jpg", "/etc/x.jpg", "C:\\x.jpg", "C:x.jpg")
        ),
        (["a\\..\\..\\b.jpg", 1, "sea_dog"], BELOW),
        (["", 1, "sea_dog"], BELOW),
        (["x.jpg", 2, "\ud800"], r"`val`\[1\], should be text in UTF-8\. Got 'x\.jpg\\ud800'\."),
        (["x.jpg", -1, "x"], r"use the labels 0 to 2 .*\. Got label 1 and no label 2"),
        (["x.jpg", 1, "owl"], r"should name class 1 as before, 'sea_dog'\. Got 'owl'\."),
    ],
)
def test_another_entry(file, entry, message):
    file.write_text(json.dumps({**GOOD, "val": [CAT, entry]}))
    with refused(rf"`split\.json`.*{message}"):
        read_split(file)


@pytest.mark.parametrize(("ending", "separator"), [("csv", ","), ("TSV", "\t")])
def test_table_with_subsets(tmp_path, ending, separator):
    rows = ["label,subset,path", "sea_dog,train,./b.jpg", "cat,Valid,a.jpg", "cat,test,c/NA.jpg"]
    file = tmp_path / f"birds.{ending}"
    file.write_text("\n".join(rows).replace(",", separator))
    dataset = split_dataset(file, tmp_path)
    split = dataset.split
    assert (dataset.name, split.class_names) == ("birds", ("cat", "sea_dog"))
    assert (split.train, split.val, split.test) == (
        (Sample("b.jpg", 1),),
        (Sample("a.jpg", 0),),
        (Sample("c/NA.jpg", 0),),
    )


def test_table_without_subsets_is_cut_as_class_folders_are(tmp_path):
    from vlm_adapters.data.folders import image_folder

    for name, count in {"crow": 2, "owl": 10}.items():
        (tmp_path / "birds" / name).mkdir(parents=True)
        for row in range(count):
            (tmp_path / "birds" / name / f"{row}.jpg").touch()
    expected = image_folder(tmp_path / "birds").split
    samples = sorted([*expected.train, *expected.val, *expected.test])
    rows = [f"{path},{expected.class_names[label]}\n" for path, label in samples]
    file = tmp_path / "birds.csv"
    file.write_text("path,label\n" + "".join(rows))
    found = read_split(file)
    assert (found.train, found.val, found.test) == (expected.train, expected.val, expected.test)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"should be a table in UTF-8\. Got No columns"),
        (b"path,label\n\xff.jpg,a", r"should be a table in UTF-8\. Got 'utf-8' codec"),
        (b"path,label\n", r"should have the columns .* Got 0 rows of path, label\. Name the col"),
        (b"image,label\na.jpg,cat", r"no columns but path, label, subset\. Got 'image'\. Rena"),
        (b"path,label,subste\na,b,test", r"Got 'subste'\. Did you mean 'subset'\? Rename or"),
        (b"path,label\na.jpg,\n", r"one or more rows, each with a label\. Got 1 rows of path, la"),
        (b"path,label\na.jpg,b,c", r"should be a table in UTF-8\. Got Length of header"),
        (b"path,label,subset\na.jpg,cat,dev", r"under `subset`, and test at least once\. Got dev"),
        (b"path,label\na.jpg,cat", r"under `subset`, and test at least once\. Got train\. Write"),
        (b"path,label,subset\n../a.jpg,cat,test", r"should have a path below the image folder"),
    ],
)
def test_another_table(tmp_path, content, message):
    file = tmp_path / "split.csv"
    file.write_bytes(content)
    with refused(rf"`split\.csv`.* {message}"):
        read_split(file)


# Folders


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


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Train", "valid", "TEST")])
def test_subsets_are_taken_as_they_are(tmp_path, names):
    for subset, count in zip(names, (2, 1, 1), strict=True):
        fill(tmp_path / subset, {"crow": count, "owl": count})
    split, val = image_folder(tmp_path).split, names[1]
    assert split.train[2] == Sample(f"{names[0]}/owl/00.jpg", 1)
    assert split.val == (Sample(f"{val}/crow/00.jpg", 0), Sample(f"{val}/owl/00.jpg", 1))
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


def test_what_is_not_a_folder_or_a_template(folder, tmp_path):
    with refused("No such file or directory: '.*none'"):
        image_folder(tmp_path / "none")
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
