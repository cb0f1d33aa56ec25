"""The few-shot sampler against CoOp's published index lists."""

from __future__ import annotations

import csv
import random
from pathlib import Path

import pytest
import torch
from vlm_adapters.data import FewShot, few_shot_indices, few_shot_split, indices_hash

GOLDEN = Path(__file__).with_name("golden_fewshot.csv")


def golden_rows() -> list[dict[str, str]]:
    """The lists' hashes, for 1 to 16 shots and three seeds."""
    with GOLDEN.open(encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


@pytest.mark.parametrize("row", golden_rows(), ids=lambda row: f"{row['shots']}-{row['seed']}")
def test_equals_the_published_lists(row: dict[str, str]) -> None:
    train = [label for label in range(47) for _ in range(60)]
    val = [label for label in range(47) for _ in range(24)]
    split = few_shot_split(train, val, shots=int(row["shots"]), seed=int(row["seed"]))
    assert indices_hash(split.train) == row["train_sha256_16"]
    assert indices_hash(split.val) == row["val_sha256_16"]


def test_draws_from_the_stream_of_the_global_generator() -> None:
    state = random.getstate()
    try:
        random.seed(5)
        expected = [random.sample(range(10), 3), random.sample(range(10, 20), 3)]
    finally:
        random.setstate(state)
    drawn = few_shot_indices([0] * 10 + [1] * 10, 3, random.Random(5))
    assert drawn == expected[0] + expected[1]


def test_leaves_the_global_generator_alone() -> None:
    state = random.getstate()
    few_shot_split([0] * 5, [0] * 5, shots=2, seed=1)
    assert random.getstate() == state


def test_classes_come_in_order_of_first_appearance() -> None:
    labels = [7, 2, 7, 2, 0]
    drawn = few_shot_indices(labels, 1, random.Random(0))
    assert [labels[row] for row in drawn] == [7, 2, 0]


def test_tensor_labels_are_grouped_by_value() -> None:
    labels = torch.tensor([1, 0, 1, 0, 1])
    expected = few_shot_indices(labels.tolist(), 2, random.Random(3))
    assert few_shot_indices(labels, 2, random.Random(3)) == expected


def test_a_small_class_gives_all_its_rows() -> None:
    assert few_shot_indices([0, 0], 3, random.Random(1)) == [0, 1]


def test_a_small_class_is_drawn_with_replacement_on_request() -> None:
    drawn = few_shot_indices([0, 0], 3, random.Random(1), repeat=True)
    assert drawn == random.Random(1).choices([0, 1], k=3)


def test_validation_has_at_most_four_rows_per_class() -> None:
    split = few_shot_split([0] * 20 + [1] * 20, [0] * 9 + [1] * 9, shots=16, seed=1)
    assert (len(split.train), len(split.val)) == (32, 8)


def test_validation_is_drawn_after_training() -> None:
    generator = random.Random(2)
    train = generator.sample(range(6), 2)
    val = generator.sample(range(6), 2)
    assert few_shot_split([0] * 6, [0] * 6, shots=2, seed=2) == FewShot(train, val)


def test_hash_depends_on_the_order() -> None:
    assert indices_hash([0, 2]) != indices_hash([2, 0])


def test_hash_takes_tensor_elements() -> None:
    assert indices_hash(list(torch.tensor([0, 2]))) == indices_hash([0, 2])


def test_no_shots() -> None:
    with pytest.raises(ValueError, match=r"^`shots` should be 1 or more\. Got 0\.$"):
        few_shot_indices([0, 1], 0, random.Random(0))
