"""What the check of a data set finds."""

import json
import os

import pytest
from application.synthetic_data import LAYOUTS, write_dataset
from vlm_adapters.data.check import check_dataset, check_images
from vlm_adapters.data.datasets import DATASETS, Problem
from vlm_adapters.data.folders import split_dataset

SPLIT = "split_zhou_DescribableTextures.json"


@pytest.fixture
def dtd(tmp_path):
    """Folder of a small data set."""
    return write_dataset(tmp_path, "dtd", size=16)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_good_data_have_no_problem(tmp_path, name):
    write_dataset(tmp_path, name, size=16, images=4)
    assert check_dataset(name, tmp_path, verify=True, sizes=False) == []


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_wrong_numbers(tmp_path, name):
    write_dataset(tmp_path, name, size=4)
    (problem,) = check_dataset(name, tmp_path)
    assert problem.path == str(tmp_path / LAYOUTS[name][0])
    classes = 2 if name in ("imagenet_a", "imagenet_r") else 3
    assert f"give {classes} classes, " in problem.what
    classes, train, val, test = DATASETS[name].sizes
    published = f"{classes} classes, {train} training, {val} validation and {test} test images"
    assert problem.what.endswith(f", not {published}.")
    assert problem.fix.startswith("Is it complete, and no other data set? Get the images of")


def test_published_numbers():
    assert DATASETS["caltech101"].sizes == (100, 4128, 1649, 2465)
    assert len({spec.sizes for spec in DATASETS.values()}) == len(DATASETS)


def test_split_of_another_data_set(dtd):
    sizes = DATASETS["oxford_pets"].sizes
    entries = {
        subset: [[f"{subset}{row}.jpg", row % 37, f"pet {row % 37}"] for row in range(count)]
        for subset, count in zip(("train", "val", "test"), sizes[1:], strict=True)
    }
    (dtd / SPLIT).write_text(json.dumps(entries))
    numbers, missing = check_dataset("dtd", dtd.parent)
    assert "3669 test images, the numbers of oxford_pets, not 47 classes" in numbers.what
    assert missing.what == (
        "7349 of 7349 images (train0.jpg, train1.jpg, train2.jpg, ...) are missing."
    )


def test_root_does_not_exist(tmp_path):
    root = tmp_path / "none"
    assert check_dataset("dtd", root) == [
        Problem(str(root), "There is no such folder.", "Name the folder that holds `dtd`.")
    ]


LINKS = "get `classnames.txt` by the links of section"
MISSING = [
    *((name, {".": "CoOp/blob/main/DATASETS.md"}) for name in sorted(LAYOUTS)),
    ("fgvc_aircraft", dict.fromkeys(["images", "images_variant_val.txt"], "robots.ox.ac.uk")),
    ("imagenet", {"images/val": "sorted into class folders", "classnames.txt": LINKS}),
    ("imagenet_a", {"../imagenet/classnames.txt": LINKS}),
    ("stanford_cars", {"cars_test": "official link is dead"}),
]


@pytest.mark.parametrize(("name", "missing"), MISSING)
def test_missing_files_and_folders(tmp_path, name, missing):
    folder = write_dataset(tmp_path, name, size=4)
    for number, place in enumerate(missing):
        (folder / place.removeprefix("../imagenet/")).rename(tmp_path / f"moved {number}")
    found = check_dataset(name, tmp_path)
    assert [problem.path for problem in found] == [os.path.normpath(folder / p) for p in missing]
    for problem, fix in zip(found, missing.values(), strict=True):
        assert fix in problem.fix


def test_a_bad_split_is_a_problem(dtd):
    (dtd / SPLIT).write_text('{"train": [')
    (problem,) = check_dataset("dtd", dtd.parent)
    assert "should be JSON" in problem.what


def test_missing_images_count_and_first_few(dtd):
    files = [dtd / "images" / "class_1" / f"01{row:03d}.jpg" for row in (0, 1, 5, 9)]
    for file in files:
        file.unlink()
    files[0].symlink_to(dtd / "nothing")
    files[1].mkdir()
    (problem,) = check_dataset("dtd", dtd.parent, sizes=False)
    assert problem == Problem(
        str(dtd / "images"),
        "4 of 30 images (class_1/01000.jpg, class_1/01001.jpg, class_1/01005.jpg, ...) "
        "are missing.",
        "Unpack or copy the images again, or name the right folder.",
        tuple(f"class_1/01{row:03d}.jpg" for row in (0, 1, 5, 9)),
    )
    assert str(problem).startswith(f"{dtd / 'images'}: 4 of 30 images (class_1/01000.jpg, ")


def test_damaged_images_are_found_by_decoding(dtd):
    folder = dtd / "images" / "class_2"
    content = (folder / "02003.jpg").read_bytes()
    (folder / "02003.jpg").write_bytes(content[: len(content) * 3 // 4])
    (folder / "02004.jpg").write_bytes(b"")
    (folder / "02007.jpg").write_bytes(b"<html>404</html>")
    (folder / "02008.jpg").unlink()
    assert len(check_dataset("dtd", dtd.parent, sizes=False)) == 1
    steps = []
    missing, damaged = check_dataset(
        "dtd", dtd.parent, verify=True, sizes=False, progress=lambda *step: steps.append(step)
    )
    assert missing.what.startswith("1 of 30 images (class_2/02008.jpg)")
    assert damaged.what == (
        "3 of 30 images (class_2/02003.jpg, class_2/02004.jpg, class_2/02007.jpg) are damaged."
    )
    assert steps == [(done, 29) for done in range(1, 30)]


def test_split_of_the_user(tmp_path):
    (tmp_path / "a.jpg").touch()
    split = {
        "train": [["a.jpg", 0, "cat"], ["b.jpg", 1, "dog"]],
        "val": [["c.jpg", 0, "cat"]],
        "test": [["./a.jpg", 0, "cat"]],
    }
    (tmp_path / "split.json").write_text(json.dumps(split))
    missing, shared = check_images(split_dataset(tmp_path / "split.json", tmp_path))
    assert missing.what == "2 of 3 images (b.jpg, c.jpg) are missing."
    assert shared.what == "1 of 3 images (a.jpg) are in two subsets or twice in one."
