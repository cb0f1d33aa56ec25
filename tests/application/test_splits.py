"""Split files: CoOp's format, and tables of paths and labels."""

import hashlib
import json
import pickle

import pytest
from application.helpers import refused
from vlm_adapters.data.folders import split_dataset
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


def test_two_classes_may_share_a_name(file):
    file.write_text(json.dumps({**GOOD, "test": [["x.jpg", 2, "cat"]]}))
    assert read_split(file).class_names == ("cat", "sea_dog", "cat")


@pytest.mark.parametrize(
    ("path", "found"), [("a..b/1.jpg", "a..b/1.jpg"), ("./a//1.jpg", "a/1.jpg")]
)
def test_spellings_of_a_path(file, path, found):
    file.write_text(json.dumps({**GOOD, "train": [[path, 0, "cat"]]}))
    assert read_split(file).train[0].path == found


def test_missing_file(tmp_path):
    with refused(r"No such file or directory: '.*none\.json'"):
        read_split(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"<html>", r"should be JSON\. Got .*Download"),
        (b"\xff\xfe\x00\xd8", r"should be JSON\. Got .*Download"),
        ([1, 2], rf"{IMAGES} `train`\. Got None"),
        ({"train": [CAT], "test": [CAT]}, rf"{IMAGES} `val`\. Got None"),
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
        (["cats/1.jpg", 0], ENTRY),
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
        (b"path\na.jpg", r"columns `path` and `label`, perhaps.* Got 1 rows of path\. Name"),
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
