"""Faults that users met, each with its right value."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from application.fake_backbone import SPEC, FakeBackbone
from application.helpers import equal
from application.synthetic_data import write_folder
from PIL import Image
from vlm_adapters._files import claimed
from vlm_adapters.cli.commands import fewer_images
from vlm_adapters.cli.inputs import Inputs
from vlm_adapters.config import load_methods
from vlm_adapters.data.check import image_kinds, without_damaged
from vlm_adapters.data.folders import image_folder, split_dataset
from vlm_adapters.experiments import plan_jobs, run_job
from vlm_adapters.features.store import content_hashes
from vlm_adapters.features.views import Augmentation, Centre, extract_views, read_image
from vlm_adapters.runs import ADAPTER, RESULT
from vlm_adapters.sources import Extraction
from vlm_adapters.transfer import image_files


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "birds", {"crow": 6, "owl": 6})


def extraction(folder, store):
    inputs = Inputs(images=folder, backbone=SPEC, store=store, views=1)
    return Extraction(inputs, inputs.open(), FakeBackbone())


def test_exchanged_files_of_equal_size_are_encoded_again(folder, tmp_path):
    first, second = folder / "crow/00.bmp", folder / "owl/00.bmp"
    samples = image_folder(folder, only_test=True).split.test
    before = extraction(folder, tmp_path / "store").part(samples).features()
    first.rename(folder / "x"), second.rename(first), (folder / "x").rename(second)
    after = extraction(folder, tmp_path / "store").part(samples).features()
    equal(after[[0, 6]], before[[6, 0]])
    equal(after[1:6], before[1:6])


def test_an_edit_that_keeps_size_and_times_is_noticed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("vlm_adapters.features.store.SETTLED", 10**12)
    file = folder / "crow/00.bmp"
    os.utime(file, ns=(10**18, 10**18))
    [before] = content_hashes(tmp_path, folder, ["crow/00.bmp"])
    assert not list(tmp_path.glob("contents-*"))  # touched just now, whatever its time says
    file.write_bytes(file.read_bytes()[:-1] + b"\\0")
    os.utime(file, ns=(10**18, 10**18))
    assert content_hashes(tmp_path, folder, ["crow/00.bmp"]) != (before,)


def test_hashes_of_unchanged_files_are_remembered(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("vlm_adapters.features.store.SETTLED", -(10**12))
    paths = [f"crow/{place:02d}.bmp" for place in range(6)]
    first = content_hashes(tmp_path, folder, paths)
    monkeypatch.setattr("vlm_adapters.features.store._digest", lambda file: "read again")
    assert content_hashes(tmp_path, folder, paths) == first
    (folder / paths[2]).touch()
    assert content_hashes(tmp_path, folder, paths)[2] == "read again"


def test_sixteen_bits_are_scaled(tmp_path):
    values = np.array([[200, 257 * 51], [257 * 128, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    grey = np.asarray(read_image(tmp_path, "deep.png"))[..., 0]
    np.testing.assert_array_equal(grey, [[1, 51], [128, 255]])
    published = np.asarray(read_image(tmp_path, "deep.png", published=True))[..., 0]
    assert published[0, 1] == 255


GREY = [
    (np.array([[-1, 5]], dtype=np.int32), "from -1 to 5, of 65535"),
    (np.array([[0.5, np.nan]], dtype=np.float32), "from nan to nan, of 1"),
]


@pytest.mark.parametrize(("values", "told"), GREY)
def test_grey_values_without_a_scale_are_refused(tmp_path, values, told):
    Image.fromarray(values).save(tmp_path / "odd.tif")
    with pytest.raises(
        ValueError, match=rf"`odd\.tif` should be .* Got: grey values {told}\. Copy"
    ):
        read_image(tmp_path, "odd.tif")


def test_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (4, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path, "turned.jpg").size == (2, 4)
    assert read_image(tmp_path, "turned.jpg", published=True).size == (4, 2)


def test_transparent_pixels_are_white(tmp_path):
    Image.new("RGBA", (1, 1), (0, 0, 0, 51)).save(tmp_path / "clear.png")
    assert read_image(tmp_path, "clear.png").getpixel((0, 0)) == (204, 204, 204)
    assert read_image(tmp_path, "clear.png", published=True).getpixel((0, 0)) == (0, 0, 0)


def test_views_pass_on_how_images_are_read(tmp_path):
    Image.new("RGBA", (300, 300), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    backbone = FakeBackbone()
    for kind in (Centre, Augmentation):
        shown, plain = (
            extract_views(backbone, tmp_path, ["clear.png"], kind(published=published))
            for published in (False, True)
        )
        assert not torch.equal(shown, plain)


def test_modes_and_orientations_are_counted(folder):
    Image.new("RGBA", (1, 1)).save(folder / "owl/clear.png")
    kinds = image_kinds(folder, ["crow/00.bmp", "crow/01.bmp", "owl/clear.png"])
    assert kinds == {"RGB": 2, "RGBA": 1, "transparent": 1}


def test_what_is_left_out_is_told(folder, caplog):
    (folder / "owl/notes.txt").write_text("")
    (folder / "owl/more").mkdir()
    (folder / "owl/00.bmp").rename(folder / "owl/more/00.bmp")
    (folder / "owl/01.bmp").rename(folder / "owl/01.TIF")
    with caplog.at_level(logging.INFO):
        image_folder(folder)
    found, left = caplog.messages
    assert "2 classes, 11 images (" in found
    assert "2 files left out (owl/more/00.bmp, owl/notes.txt)" in left


def test_equal_images_in_two_classes_or_subsets_are_told(tmp_path, caplog):
    folder = write_folder(
        tmp_path / "birds",
        {f"{subset}/{name}": 2 for subset in ("train", "val", "test") for name in ("crow", "owl")},
    )
    crow = (folder / "train/crow/00.bmp").read_bytes()
    (folder / "val/crow/01.bmp").write_bytes(crow)
    (folder / "test/owl/01.bmp").write_bytes(crow)
    extraction(folder, tmp_path / "s").source([(2, 1)])
    [told] = [text for text in caplog.messages if "same content" in text]
    assert told.startswith("2 images have the same content")
    assert "train/crow/00.bmp of train is val/crow/01.bmp of val" in told
    assert "train/crow/00.bmp of crow is test/owl/01.bmp of owl" in told


def test_names_that_make_no_prompts_of_their_own_are_told(tmp_path, caplog):
    names = ("a_b", "a b", "A380", "n01855672", "_", "12", "4runner", "猫")
    folder = write_folder(tmp_path / "birds", dict.fromkeys(names, 3))
    image_folder(folder)
    equal_prompts, no_words = (text for text in caplog.messages if "Texts are made of" in text)
    assert equal_prompts.startswith("2 classes have names that make equal prompts ('a b', 'a_b').")
    assert no_words.startswith("3 classes have names that are not words ('12', '_', 'n01855672').")
    assert "`--split`" in no_words
    caplog.clear()
    rows = [f"{name}/00.bmp,{label},test" for name, label in zip(names, "xyxyxyxy", strict=True)]
    (tmp_path / "split.csv").write_text("\n".join(["path,label,subset", *rows]), encoding="utf-8")
    split_dataset(tmp_path / "split.csv", folder)
    assert not caplog.messages
    (tmp_path / "split.csv").write_text("path,label,subset\na,x_y,test\nb,x y,test\n")
    split_dataset(tmp_path / "split.csv", folder)
    assert "names that make equal prompts ('x y', 'x_y')" in caplog.text


@pytest.mark.parametrize(
    ("subset", "label", "told"),
    [
        ("val", "crow", []),
        ("test", "crow", ["crow/00.bmp of train is crow/00.bmp of test"]),
        ("test", "owl", ["crow/00.bmp of crow is crow/00.bmp of owl"]),
    ],
)
def test_a_path_in_two_subsets_of_a_table_is_told(folder, tmp_path, caplog, subset, label, told):
    parts = dict(zip(range(6), ["train", "train", "val", "val", "test", "test"], strict=True))
    rows = [
        f"{name}/{n:02}.bmp,{name},{part}" for name in ("crow", "owl") for n, part in parts.items()
    ]
    split = tmp_path / "split.csv"
    rows += [f"crow/00.bmp,{label},{subset}"]
    split.write_text("\n".join(["path,label,subset", *rows]))
    inputs = Inputs(images=folder, split=split, backbone=SPEC, store=tmp_path / "s", views=1)
    Extraction(inputs, inputs.open(), FakeBackbone()).source([(2, 1)])
    found = [text.partition(": ")[2] for text in caplog.messages if "same content" in text]
    assert found == [f"{text}." for text in told]


def test_damaged_images_can_be_left_out(folder, caplog):
    file = folder / "crow/03.bmp"
    file.write_bytes(file.read_bytes()[:100])
    split = Inputs(images=folder, skip_damaged=True).open().split
    assert sum(len(split.subset(name)) for name in ("train", "val", "test")) == 11
    assert "1 of 12 images (crow/03.bmp) left out" in caplog.text
    whole = image_folder(write_folder(folder.parent / "whole", {"crow": 3, "owl": 3}))
    assert without_damaged(whole) is whole
    for file in whole.images.rglob("*.bmp"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"should hold readable test images\. Got none\. Copy"):
        without_damaged(whole)


def test_folders_of_images_are_evaluated_and_classified(folder, monkeypatch):
    own = Inputs(dataset="dtd", images=folder)
    assert len(own.open(only_test=True).split.test) == 12
    assert (own.published, Inputs(dataset="dtd").published) == (None, "dtd")  # a label is not a key
    (folder / "owl/notes.txt").write_text("")
    for hidden in (".cache/thumbs", "owl/.cache"):
        (folder / hidden).mkdir(parents=True)
        (folder / hidden / "t.png").touch()
    assert len(image_files([folder, folder / "owl/00.bmp"])) == 13
    assert len(image_files([folder / ".cache/thumbs"])) == 1  # it is named
    found, listed = image_files([folder]), Path.rglob
    with monkeypatch.context() as patch:  # another file system
        patch.setattr(Path, "rglob", lambda *args: sorted(listed(*args), reverse=True))
        assert image_files([folder]) == found == sorted(found)
    (folder / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="a folder without images"):
        image_files([folder / "empty"])


def job(tmp_path, shots=2):
    [found] = plan_jobs(load_methods(["zero_shot"]), [shots], [1], folder=tmp_path, dataset="x")
    return found


def test_two_processes_cannot_write_one_run(source, tmp_path):
    mine = job(tmp_path)
    with claimed(mine.folder, RESULT), pytest.raises(RuntimeError, match="one process at a time"):
        run_job(source, mine)
    assert run_job(source, mine).accuracies
    assert not list(mine.folder.glob(".*"))


def test_files_of_others_in_the_folder_of_a_run_are_kept(source, tmp_path):
    mine = job(tmp_path)
    (mine.folder / ".venv3.11.2").mkdir(parents=True)
    others = {".notes.txt.swp", ".gitlab-ci.local.yml", ".python.3.11", ".venv3.11.2"}
    for name in (*others - {".venv3.11.2"}, f".{RESULT}.1.2", f".{ADAPTER}.1.2"):
        (mine.folder / name).touch()
    run_job(source, mine)
    assert {path.name for path in mine.folder.glob(".*")} == others


def test_counts_are_in_results(source, tmp_path):
    run = run_job(source, job(tmp_path, shots=16))
    assert run.images == {"train": 60, "val": 20, "test": 40, "fewest_per_class": 12}
    saved = json.loads((tmp_path / "zero_shot/x/16shot/seed1/result.json").read_text())
    assert saved["run"]["images"] == run.images
    assert fewer_images([run]) == [
        f"{run.dataset} at 16 shots: a class has no more than 12 training images."
    ]
