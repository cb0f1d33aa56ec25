"""The few-shot sampler against CoOp's published index lists, and index lists as files."""

import csv
import doctest
import json
import random
from pathlib import Path

import pytest
import torch
from application.helpers import refused
from vlm_adapters.data import splits
from vlm_adapters.data.splits import (
    FewShot,
    draw_rows,
    draw_task,
    indices_hash,
    rows_by_class,
    write_index_list,
)
from vlm_adapters.features import texts

GOLDEN = Path(__file__).with_name("golden_fewshot.csv")
TASK = draw_task([range(9), range(9, 18)], [range(5), range(5, 10)], shots=4, seed=1)
FIELDS = {"drawn": TASK, "dataset": "dtd", "shots": 4, "seed": 1, "split_sha256": "ab" * 32}


def write(folder, **fields):
    """Write one list, and return its file."""
    write_index_list(folder, **fields)
    return folder / "dtd-4shot-seed1.json"


def few_shot_split(train, val, shots, seed, **options):
    return draw_task(rows_by_class(train), rows_by_class(val), shots, seed, **options)


def indices(labels, shots, seed):
    return draw_rows(rows_by_class(labels), shots, random.Random(seed))


def golden_rows():
    """The lists' hashes, for 1 to 16 shots and three seeds."""
    with GOLDEN.open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


@pytest.mark.parametrize("row", golden_rows(), ids=lambda row: f"{row['shots']}-{row['seed']}")
def test_equals_the_published_lists(row):
    train = [label for label in range(47) for _ in range(60)]
    val = [label for label in range(47) for _ in range(24)]
    split = few_shot_split(train, val, shots=int(row["shots"]), seed=int(row["seed"]))
    assert indices_hash(split.train) == row["train_sha256_16"]
    assert indices_hash(split.val) == row["val_sha256_16"]


def test_draws_from_the_stream_of_the_global_generator():
    state = random.getstate()
    try:
        random.seed(5)
        expected = [random.sample(range(10), 3), random.sample(range(10, 20), 3)]
    finally:
        random.setstate(state)
    drawn = indices([0] * 10 + [1] * 10, 3, 5)
    assert drawn == expected[0] + expected[1]
    assert random.getstate() == state


def test_classes_come_in_order_of_first_appearance():
    labels = [7, 2, 7, 2, 0]
    assert [labels[row] for row in indices(labels, 1, 0)] == [7, 2, 0]
    assert indices(torch.tensor(labels), 2, 3) == indices(labels, 2, 3)  # grouped by value
    assert sorted(indices(labels, 3, 1)) == [0, 1, 2, 3, 4]  # a small class gives all its rows
    with refused(r"^`shots` should be 1 or more\. Got 0\.$"):
        indices(labels, 0, 0)


def test_classes_are_in_order_of_their_first_row_that_is_left():
    for seed in range(8):
        val = few_shot_split([0, 1, 0, 1], [], 1, seed=seed, val_from_train=True).val
        assert val == sorted(val)


def test_classes_without_rows_left_have_no_validation_rows():
    task = few_shot_split([0, 0, 1, 1, 1], [], 2, seed=1, val_from_train=True)
    assert (len(task.train), len(task.val)) == (4, 1)
    told = r"`shots` should leave .* Got 2, and no class with more than 2 training .*take fewer"
    with refused(told):
        few_shot_split([0, 0, 1], [], 2, seed=1, val_from_train=True)
    with refused(r"Got 1, and no class with more than 1 training .* Add images to a class, or put"):
        few_shot_split([0, 1], [], 1, seed=1, val_from_train=True)
    task = few_shot_split([0, 1], [], 1, seed=1, val_from_train=True, val_needed=False)
    assert (task.train, task.val) == ([0, 1], [])


def test_validation_is_drawn_after_training_with_at_most_four_rows_per_class():
    generator = random.Random(2)
    train = generator.sample(range(9), 6)
    val = generator.sample(range(6), 4)
    assert few_shot_split([0] * 9, [0] * 6, shots=6, seed=2) == FewShot(train, val)


def test_validation_from_training_rows_is_disjoint_and_from_the_same_stream():
    labels = [label for label in (3, 1, 2) for _ in range(30)]
    task = few_shot_split(labels, [], shots=16, seed=2, val_from_train=True)
    plain = few_shot_split(labels, [], shots=16, seed=2)
    assert task.train == plain.train
    assert task.val_from_train
    assert not set(task.train) & set(task.val)
    assert [labels[row] for row in task.val] == [3] * 4 + [1] * 4 + [2] * 4
    generator = random.Random(2)
    for start in (0, 30, 60):
        generator.sample(range(start, start + 30), 16)
    left = [row for row in range(30) if row not in task.train]
    assert task.val[:4] == generator.sample(left, 4)


def test_hash_depends_on_the_order_and_takes_tensor_elements():
    assert indices_hash([0, 2]) != indices_hash([2, 0])
    assert indices_hash(list(torch.tensor([0, 2]))) == indices_hash([0, 2])


@pytest.fixture
def file(tmp_path):
    """An index list in a folder that had to be made."""
    return write(tmp_path / "lists", **FIELDS)


@pytest.mark.parametrize("task", [TASK, FewShot([3, 1], [2], val_from_train=True)])
def test_what_is_written(tmp_path, task):
    file = write(tmp_path, **FIELDS | {"drawn": task})
    found = json.loads(file.read_text())
    assert found == {
        **{"schema": "vlm_adapters.index_list", "schema_version": 1},
        **{name: value for name, value in FIELDS.items() if name != "drawn"},
        **{"train": task.train, "val": task.val, "val_from_train": task.val_from_train},
        **{"train_hash": indices_hash(task.train), "val_hash": indices_hash(task.val)},
    }
    assert [path.name for path in tmp_path.iterdir()] == ["dtd-4shot-seed1.json"]


@pytest.mark.parametrize(
    "other", [{"split_sha256": "cd" * 32}, {"drawn": FewShot([0, 9], [1], False)}], ids=str
)
def test_a_list_of_other_rows_is_not_replaced_but_a_damaged_one_is(file, other):
    before = file.read_bytes()
    write(file.parent, **FIELDS)
    with refused(r"should hold the rows of this task\. Got those of anot"):
        write(file.parent, **FIELDS | other)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [
        *(lambda text, end=end: text[:end] for end in (0, 1, -20)),
        *(
            lambda text, change=change: json.dumps(json.loads(text) | change).encode()
            for change in (
                *({"train": TASK.train[::-1]}, {"val": TASK.val[1:]}, {"val": 3}, {"val": [None]}),
                *({"train_hash": 1}, {"train": [1e400]}, {"train": "x"}),
            )
        ),
        *(lambda text, new=new: new for new in (b"[" * 100_000, b"\xff", b"[]", b"3", b"{}")),
    ],
)
def test_a_damaged_list_is_replaced(file, damage):
    before = file.read_bytes()
    file.write_bytes(damage(before))
    write(file.parent, **FIELDS)
    assert file.read_bytes() == before


@pytest.mark.parametrize("module", [splits, texts])
def test_examples_print_what_they_say(module):
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)
