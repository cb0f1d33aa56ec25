"""Split files in CoOp's format."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
from vlm_adapters.data import Sample, read_split

CAT = ["cats/1.jpg", 0, "cat"]
DOG = ["dogs/1.jpg", 1, "sea_dog"]
GOOD = {"train": [DOG, CAT], "val": [CAT], "test": [DOG]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where each test writes its split."""
    return tmp_path / "split.json"


def test_reads_samples_in_order_and_names_by_label(file: Path) -> None:
    file.write_text(json.dumps(GOOD))
    split = read_split(file)
    assert split.train == (Sample("dogs/1.jpg", 1), Sample("cats/1.jpg", 0))
    assert split.subset("val") == (Sample("cats/1.jpg", 0),)
    assert split.subset("test") == (Sample("dogs/1.jpg", 1),)
    assert split.class_names == ("cat", "sea_dog")


def test_hash_is_that_of_the_file(file: Path) -> None:
    file.write_text(json.dumps(GOOD, indent=2))
    assert read_split(file).sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_split_can_be_sent_to_another_process(file: Path) -> None:
    file.write_text(json.dumps(GOOD))
    split = read_split(file)
    assert pickle.loads(pickle.dumps(split)) == split


def test_two_classes_may_share_a_name(file: Path) -> None:
    file.write_text(json.dumps({**GOOD, "test": [["x.jpg", 2, "cat"]]}))
    assert read_split(file).class_names == ("cat", "sea_dog", "cat")


def test_unknown_subset(file: Path) -> None:
    file.write_text(json.dumps(GOOD))
    with pytest.raises(ValueError, match=r"`name` should be one of train, val, test\. Got 'all'"):
        read_split(file).subset("all")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"`path` should be a split file\. Got .*none\.json"
    ):
        read_split(tmp_path / "none.json")


def test_not_json(file: Path) -> None:
    file.write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"`split\.json` should be JSON\. Got .*Download"):
        read_split(file)


def test_not_text(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(ValueError, match=r"`split\.json` should be JSON\. Got "):
        read_split(file)


@pytest.mark.parametrize(
    ("document", "subset", "got"),
    [
        ([1, 2], "train", "None"),
        ({"train": [CAT], "test": [CAT]}, "val", "None"),
        ({**GOOD, "test": []}, "test", r"\[\]"),
        ({**GOOD, "val": "x" * 99}, "val", r"'x{56}\.\.\."),
    ],
    ids=["list", "missing", "empty", "text"],
)
def test_subset_is_no_list(file: Path, document: object, subset: str, got: str) -> None:
    file.write_text(json.dumps(document))
    message = (
        rf"`split\.json` should have a list of one or more images under `{subset}`\. Got {got}"
    )
    with pytest.raises(ValueError, match=message):
        read_split(file)


@pytest.mark.parametrize(
    "entry",
    [
        "cats/1.jpg",
        ["cats/1.jpg", 0],
        ["cats/1.jpg", "0", "cat"],
        ["1.jpg", True, "cat"],
        [1, 0, ""],
    ],
    ids=["text", "short", "text label", "boolean label", "number path"],
)
def test_entry_has_another_form(file: Path, entry: object) -> None:
    file.write_text(json.dumps({**GOOD, "val": [CAT, entry]}))
    message = r"`split\.json`, `val`\[1\], should be \[path, label, class name\]\. Got "
    with pytest.raises(ValueError, match=message):
        read_split(file)


@pytest.mark.parametrize(
    "path",
    [
        "../secret.jpg",
        "a/../../b.jpg",
        "/etc/x.jpg",
        "C:\\x.jpg",
        "C:x.jpg",
        "a\\..\\..\\b.jpg",
        "",
    ],
)
def test_path_leaves_the_image_folder(file: Path, path: str) -> None:
    file.write_text(json.dumps({**GOOD, "train": [CAT, [path, 1, "sea_dog"]]}))
    message = r"`train`\[1\], should have a path below the image folder\. Got .*without `\.\.`"
    with pytest.raises(ValueError, match=message):
        read_split(file)


def test_dots_inside_a_name_are_fine(file: Path) -> None:
    file.write_text(json.dumps({**GOOD, "train": [["a..b/1.jpg", 0, "cat"]]}))
    assert read_split(file).train[0].path == "a..b/1.jpg"


def test_negative_label(file: Path) -> None:
    file.write_text(json.dumps({**GOOD, "val": [["x.jpg", -1, "cat"]]}))
    with pytest.raises(
        ValueError, match=r"`val`\[0\], should have a label of 0 or more\. Got -1\."
    ):
        read_split(file)


def test_label_out_of_range(file: Path) -> None:
    file.write_text(json.dumps({**GOOD, "test": [["x.jpg", 9, "owl"]]}))
    message = r"should use the labels 0 to 2 for its 3 classes\. Got label 9 and no label 2\."
    with pytest.raises(ValueError, match=message):
        read_split(file)


def test_class_with_two_names(file: Path) -> None:
    file.write_text(json.dumps({**GOOD, "test": [["x.jpg", 1, "owl"]]}))
    message = r"`test`\[0\], should name class 1 as before, 'sea_dog'\. Got 'owl'\."
    with pytest.raises(ValueError, match=message):
        read_split(file)
