"""The published data sets in CoOp's layout, and few-shot tasks drawn from them."""

import contextlib
import os
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest
from application.helpers import refused
from application.synthetic_data import LAYOUTS, class_name, wnid, write_dataset
from vlm_adapters.data.datasets import DATASETS, open_dataset, read_class_names
from vlm_adapters.data.splits import FewShot, Sample, draw_task

TARGETS = ("imagenetv2", "imagenet_sketch", "imagenet_a", "imagenet_r")
NAMES = tuple(class_name(label) for label in range(3))


def test_the_fifteen_data_sets():
    assert set(DATASETS) == set(LAYOUTS)
    assert {name for name, spec in DATASETS.items() if not spec.templates} == set(TARGETS)


@pytest.mark.parametrize("name", sorted(set(LAYOUTS) - set(TARGETS) - {"imagenet"}))
def test_opens_a_data_set_with_three_subsets(tmp_path, name):
    write_dataset(tmp_path, name, size=4)
    dataset = open_dataset(name, tmp_path)
    split = dataset.split
    assert dataset.images == tmp_path / LAYOUTS[name][0] / LAYOUTS[name][1]
    assert [len(split.train), len(split.val), len(split.test)] == [15, 6, 9]
    assert split.class_names == NAMES
    assert all((dataset.images / sample.path).is_file() for sample in split.train + split.test)
    assert dataset.templates == dataset.taskres_templates == DATASETS[name].templates
    assert (dataset.name, dataset.classes, dataset.val_from_train) == (name, None, False)


def test_opens_imagenet_without_a_validation_split(tmp_path):
    write_dataset(tmp_path, "imagenet", size=4)
    dataset = open_dataset("imagenet", tmp_path)
    split = dataset.split
    assert split.train[0] == Sample(f"train/{wnid(0)}/000.JPEG", 0)
    assert split.train[-1] == Sample(f"train/{wnid(2)}/009.JPEG", 2)
    assert [len(split.train), len(split.val), len(split.test)] == [30, 0, 12]
    assert split.test[4] == Sample(f"val/{wnid(1)}/000.JPEG", 1)
    assert (split.class_names, dataset.val_from_train, dataset.classes) == (NAMES, True, None)
    assert dataset.templates == DATASETS["imagenet"].templates
    assert dataset.taskres_templates == (*DATASETS["imagenet"].templates, "a photo of a {}.")


def test_labels_of_imagenet_follow_the_lines_and_images_the_sorted_folders(tmp_path):
    file = write_dataset(tmp_path, "imagenet", size=4) / "classnames.txt"
    file.write_text("".join(sorted(file.read_text().splitlines(keepends=True), reverse=True)))
    split = open_dataset("imagenet", tmp_path).split
    assert list(dict.fromkeys(sample.label for sample in split.train)) == [2, 1, 0]
    assert split.class_names == NAMES[::-1]


def test_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    write_dataset(tmp_path, "imagenet", size=4)
    expected = open_dataset("imagenet", tmp_path).split
    scandir = os.scandir

    def shuffled(path):
        with scandir(path) as entries:
            found = list(entries)
        return contextlib.nullcontext(random.Random(0).sample(found, len(found)))

    monkeypatch.setattr(os, "scandir", shuffled)
    assert open_dataset("imagenet", tmp_path).split == expected


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("with_imagenet", [True, False])
def test_opens_a_target_domain(tmp_path, name, with_imagenet):
    if with_imagenet:
        write_dataset(tmp_path, "imagenet", size=4, images=1)
    folder = write_dataset(tmp_path, name, size=4) / LAYOUTS[name][1]
    for file in ("._000.JPEG", "notes.txt"):  # not images
        next(part for part in folder.iterdir() if part.is_dir()).joinpath(file).touch()
    dataset = open_dataset(name, tmp_path)
    classes = (1, 2) if name in ("imagenet_a", "imagenet_r") else (0, 1, 2)
    assert dataset.classes == classes
    assert dataset.split.class_names == tuple(NAMES[position] for position in classes)
    assert (dataset.split.train, dataset.split.val, dataset.val_from_train) == ((), (), False)
    counts = Counter(sample.label for sample in dataset.split.test)
    assert counts == dict.fromkeys(range(len(classes)), 10)
    folder = "0" if name == "imagenetv2" else wnid(classes[0])
    assert dataset.split.test[0] == Sample(f"{folder}/000.JPEG", 0)
    assert len(dataset.taskres_templates) == 8


def test_numbered_folders_are_sorted_as_numbers(tmp_path):
    write_dataset(tmp_path, "imagenetv2", size=2, classes=11, images=1)
    split = open_dataset("imagenetv2", tmp_path).split
    assert [sample.path for sample in split.test] == [f"{k}/000.JPEG" for k in range(11)]
    assert [sample.label for sample in split.test] == list(range(11))


@pytest.mark.parametrize(
    ("name", "folder", "alias"),
    [
        ("fgvc_aircraft", "fgvc_aircraft", "fgvc"),
        ("dtd", "dtd", "DTD"),
        ("imagenet", "imagenet/images/train", "imagenet/train"),
    ],
)
def test_other_folder_names_in_use(tmp_path, name, folder, alias):
    write_dataset(tmp_path, name, size=4)
    expected = open_dataset(name, tmp_path).split
    (tmp_path / folder).rename(tmp_path / alias)
    if name == "imagenet":
        (tmp_path / "imagenet/images/val").rename(tmp_path / "imagenet/val")
    assert open_dataset(name, tmp_path).split == expected


def test_hash_of_a_listing_knows_images_labels_and_names(tmp_path):
    folder = write_dataset(tmp_path, "imagenet_a", size=4, images=2)
    hashes = {open_dataset("imagenet_a", tmp_path).split.sha256}
    file = folder / "classnames.txt"
    file.write_text(file.read_text().replace("green", "grey"))
    hashes.add(open_dataset("imagenet_a", tmp_path).split.sha256)
    image = folder / "imagenet-a" / wnid(1) / "000.JPEG"
    image.rename(image.with_name("005.JPEG"))
    hashes.add(open_dataset("imagenet_a", tmp_path).split.sha256)
    assert len(hashes) == 3


def test_what_is_not_there(tmp_path):
    known = r'`--dataset` should be one of "imagenet", "caltech101", .*, "imagenet_r"'
    with refused(known + r"\. Got 'cifar10'\."):
        open_dataset("cifar10", tmp_path)
    with refused(r"`root` should hold dtd in CoOp's layout\. Got '.*nowhere', without '.*nowhere'"):
        open_dataset("dtd", tmp_path / "nowhere")
    (write_dataset(tmp_path, "dtd", size=4) / "split_zhou_DescribableTextures.json").unlink()
    with refused(r"without '.*Textures\.json'\. Get .* get `split_zhou_DescribableTextures\.json`"):
        open_dataset("dtd", tmp_path)


def loosen(folder):
    """Move images out of their class folders."""
    for number, image in enumerate(sorted(folder.rglob("*.JPEG"))):
        image.rename(folder / f"{number}.JPEG")
    bare(folder)


def bare(folder):
    """Remove the folders in a folder."""
    for entry in list(folder.iterdir()):
        if entry.is_dir():
            shutil.rmtree(entry)


def blind(folder):
    """Give every image another ending."""
    for image in list(folder.iterdir()):
        image.rename(image.with_suffix(".txt"))


SECOND, LOST = wnid(1), r"Got 2 folders and 0 images in none, without '{}'\. Move other folders"


@pytest.mark.parametrize(
    ("name", "change", "place", "message"),
    [
        ("imagenet", loosen, "val", r"Got 0 folders and 12 images in none, without 'n10*'\. S"),
        ("imagenet", shutil.rmtree, f"train/{SECOND}", LOST.format(SECOND)),
        ("imagenet_sketch", shutil.rmtree, SECOND, LOST.format(SECOND)),
        ("imagenetv2", shutil.rmtree, "1", LOST.format("1")),
        ("imagenetv2", Path.mkdir, "n0", r"the 3 of `classnames\.txt`\. Got 4 folders .*'n0'"),
        ("imagenet_r", Path.mkdir, "n0", r"the 3 of `classnames\.txt`\. Got 3 folders .*'n0'"),
        ("imagenet_a", bare, "", r"imagenet-a` should hold .* Got 0 folders and 0 images"),
        ("imagenet", blind, f"val/{SECOND}", rf"{SECOND}` should hold images .* Got 4 other files"),
        ("imagenet_a", blind, SECOND, rf"{SECOND}` should hold images .* Got 10 other files and f"),
    ],
)
def test_class_folders_of_another_form(tmp_path, name, change, place, message):
    change(write_dataset(tmp_path, name, size=4) / LAYOUTS[name][1] / place)
    with refused(message):
        open_dataset(name, tmp_path)


def test_two_classes_of_imagenet_may_share_a_name(tmp_path):
    (tmp_path / "classnames.txt").write_text("n04008634 missile\nn03773504 missile\n")
    assert list(read_class_names(tmp_path / "classnames.txt").values()) == ["missile", "missile"]


def test_a_data_set_draws_its_own_tasks(tmp_path):
    write_dataset(tmp_path, "imagenet", size=4)
    task = open_dataset("imagenet", tmp_path).few_shot(4, seed=1)
    assert task == draw_task(
        [[*range(k, k + 10)] for k in (0, 10, 20)], [], 4, 1, val_from_train=True
    )
    write_dataset(tmp_path, "dtd", size=4)
    task = open_dataset("dtd", tmp_path).few_shot(2, seed=1)
    assert task == draw_task(
        [range(5), range(5, 10), range(10, 15)], [[0, 1], [2, 3], [4, 5]], 2, 1
    )
    assert isinstance(task, FewShot)


def test_a_test_set_has_no_few_shot_tasks(tmp_path):
    write_dataset(tmp_path, "imagenet_a", size=4)
    with refused(r"`imagenet_a` should have training images\. Got a data set that is only a test "):
        open_dataset("imagenet_a", tmp_path).few_shot(1, seed=1)
