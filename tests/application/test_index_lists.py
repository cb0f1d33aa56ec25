"""Few-shot index lists as files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vlm_adapters.data import FewShot, IndexList, few_shot_split, read_index_list, write_index_list

TASK = few_shot_split([0] * 9 + [1] * 9, [0] * 5 + [1] * 5, shots=4, seed=1)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An index list in a folder that had to be made."""
    path = tmp_path / "lists" / "seed1.json"
    write_index_list(path, TASK, dataset="dtd", shots=4, seed=1, split_sha256="ab" * 32)
    return path


def test_reads_what_was_written(file: Path) -> None:
    expected = IndexList(TASK, dataset="dtd", shots=4, seed=1, split_sha256="ab" * 32)
    assert read_index_list(file) == expected
    assert read_index_list(file, split_sha256="ab" * 32) == expected


def test_remembers_where_validation_rows_count(file: Path) -> None:
    task = FewShot([3, 1], [2], val_from_train=True)
    file = file.with_name("seed2.json")
    write_index_list(file, task, dataset="imagenet", shots=1, seed=2, split_sha256="")
    assert read_index_list(file).few_shot == task


def test_leaves_no_other_file(file: Path) -> None:
    assert [path.name for path in file.parent.iterdir()] == ["seed1.json"]


@pytest.mark.parametrize(
    "other",
    [{"split_sha256": "cd" * 32}, {"seed": 2}, {"few_shot": FewShot([0, 9], [1], False)}],
    ids=str,
)
def test_a_list_of_other_rows_is_not_replaced(file: Path, other: dict[str, Any]) -> None:
    same = {"few_shot": TASK, "dataset": "dtd", "shots": 4, "seed": 1, "split_sha256": "ab" * 32}
    before = file.read_bytes()
    write_index_list(file, **same)
    with pytest.raises(ValueError, match=r"should hold the rows of this task\. Got those of anot"):
        write_index_list(file, **same | other)
    assert file.read_bytes() == before
    file.write_bytes(before[:-20])
    write_index_list(file, **same)  # a damaged one is
    assert file.read_bytes() == before


def test_a_failed_write_leaves_no_file(file: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_index_list(
            file.with_name("new.json"), TASK, dataset={1}, shots=1, seed=1, split_sha256=""
        )
    assert len(list(file.parent.iterdir())) == 1


def test_missing_file(tmp_path: Path) -> None:
    message = r"`path` should be an index list\. Got '.*none\.json', which is no file"
    with pytest.raises(FileNotFoundError, match=message):
        read_index_list(tmp_path / "none.json")


def test_truncated_file(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"`seed1\.json` should be complete JSON\. Got .*again\."):
        read_index_list(file)


@pytest.mark.parametrize("content", ["[1, 2]", '{"train": [1], "val": []}'])
def test_foreign_file(file: Path, content: str) -> None:
    file.write_text(content)
    message = r"`seed1\.json` should be an index list\. Got JSON without the schema `vlm_adapters"
    with pytest.raises(ValueError, match=message):
        read_index_list(file)


def edit(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change an index list by hand."""
    document = json.loads(file.read_text())
    change(document)
    file.write_text(json.dumps(document))


def test_newer_version(file: Path) -> None:
    edit(file, lambda document: document.update(schema_version=2))
    message = r"`seed1\.json` should have schema version 1\. Got 2\. Upgrade topreg"
    with pytest.raises(ValueError, match=message):
        read_index_list(file)


@pytest.mark.parametrize("subset", ["train", "val"])
def test_changed_rows(file: Path, subset: str) -> None:
    edit(file, lambda document: document[subset].reverse())
    message = rf"should have rows under `{subset}` that match their hash\. Got .*was changed"
    with pytest.raises(ValueError, match=message):
        read_index_list(file)


@pytest.mark.parametrize(
    "change",
    [
        {"shots": "4"},
        {"dataset": None},
        {"val_from_train": 0},
        {"train": [1.5]},
        {"train": [True]},
        {"val": [-1]},
        {"val": 3},
        {"split_sha256": None},
    ],
    ids=str,
)
def test_field_of_another_type(file: Path, change: dict[str, Any]) -> None:
    edit(file, lambda document: document.update(change))
    with pytest.raises(ValueError, match=r"`seed1\.json` should have every field of an index list"):
        read_index_list(file)


def test_missing_field(file: Path) -> None:
    edit(file, lambda document: document.pop("seed"))
    with pytest.raises(ValueError, match=r"Got one missing or of another type\. Draw the task"):
        read_index_list(file)


def test_list_of_another_split(file: Path) -> None:
    message = (
        r"`seed1\.json` should count rows of the split cdcdcdcdcdcdcdcd\. Got rows of "
        r"abababababababab \(dtd\)\. Use the split that they were drawn from\."
    )
    with pytest.raises(ValueError, match=message):
        read_index_list(file, split_sha256="cd" * 32)
