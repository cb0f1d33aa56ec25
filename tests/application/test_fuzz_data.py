"""Damaged images, folders, tables and weights: a right answer, or one message that tells why."""

import io
import json
import os
import random
import re
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from application.fake_backbone import FakeBackbone
from application.synthetic_data import write_dataset
from application.test_fuzz import SOME, changed, damaged, dumped
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from vlm_adapters._files import json_hash
from vlm_adapters.backbones.open_clip import find_weights
from vlm_adapters.cli.inputs import Inputs
from vlm_adapters.data.check import check_dataset, check_images, image_kinds, without_damaged
from vlm_adapters.data.datasets import open_dataset
from vlm_adapters.data.folders import image_folder
from vlm_adapters.data.splits import SUBSETS, ImageDataset, Sample, listed_split, read_split
from vlm_adapters.features.store import content_hashes
from vlm_adapters.features.views import Augmentation, crop_box, extract_features, read_image
from vlm_adapters.transfer import image_files
from vlm_adapters.weights import is_torchscript, was_trained_with_quick_gelu


def told(function, *arguments, **options):
    """The value of a function, or None after an error that tells what should be."""
    try:
        return function(*arguments, **options)
    except (ValueError, FileNotFoundError) as error:
        kind, text = type(error), str(error)
    assert kind in (ValueError, FileNotFoundError), kind
    assert re.match(r"`.*` ?.* should .*Got", text, re.DOTALL), text
    return None


# Images


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of damaged EXIF data


def encoded(kind, mode, **options):
    """The bytes of an image of some kind."""
    stream = io.BytesIO()
    image = Image.radial_gradient("L").resize((24, 18)).convert(mode)
    image.save(stream, kind, **options)
    return stream.getvalue()


EXIF = Image.Exif()
EXIF[0x0112] = 6
IMAGES = {
    "a.jpg": encoded("JPEG", "RGB", exif=EXIF),
    "a.png": encoded("PNG", "RGBA"),
    "b.png": encoded("PNG", "I;16"),
    "p.png": encoded("PNG", "P"),
    "a.gif": encoded("GIF", "P"),
    "a.bmp": encoded("BMP", "RGB"),
    "a.webp": encoded("WEBP", "RGB"),
    "a.tiff": encoded("TIFF", "F"),  # grey values above 1: it can be decoded, but not scaled
    "z.tiff": encoded("TIFF", "RGB", compression="tiff_lzw"),
    "a.ppm": encoded("PPM", "RGB"),
}


def one_image(folder, name, content):
    """A data set whose test images are this file and a good one."""
    (folder / name).write_bytes(content)
    (folder / "good.bmp").write_bytes(IMAGES["a.bmp"])
    samples = [Sample(name, 0), Sample("good.bmp", 1)]
    split = listed_split((), (), samples, ["cat", "dog"])
    return ImageDataset("x", folder, split, ("{}",), ("{}",))


def check_image(name, content):
    """Whoever asks about an image gets the same answer."""
    with tempfile.TemporaryDirectory() as temporary:
        dataset = one_image(Path(temporary), name, content)
        shown = told(read_image, dataset.images, name)
        told(read_image, dataset.images, name, published=True)
        problems = check_images(dataset, verify=True)
        assert [problem.files for problem in problems] == [(name,)] * (shown is None)
        kept = without_damaged(dataset)
        assert ("good.bmp" in kept.split.paths()) == (len(kept.split.paths()) > 0)
        image_kinds(dataset.images, dataset.split.paths())
        features = extract_features(FakeBackbone(), dataset.images, kept.split.paths())
        assert features.shape == (2 - (shown is None), 6)
        assert bool(features.isfinite().all())


@pytest.mark.parametrize("name", IMAGES)
def test_good_images(name):
    check_image(name, IMAGES[name])


@pytest.mark.parametrize("name", IMAGES)
@given(st.data())
@SOME
def test_damaged_images(name, data):
    check_image(name, data.draw(damaged(IMAGES[name])))


# Folders


NAMES = st.sampled_from(
    [
        *("train", "Val", "test", "valid", "crow", "owl", "emu", ".hidden", "a b", "ü", "\udcff"),
        *("x\ny", "1.jpg", "2.PNG", "notes.txt", "._1.jpg", ".jpg", "a.jpg.txt"),
    ]
)
TREES = st.recursive(
    st.sampled_from(["file", "link to nothing", "link to the folder"]),
    lambda inside: st.dictionaries(NAMES, inside, max_size=4),
    max_leaves=12,
)


def plant(place, tree):
    """Write a tree of folders, empty files and links."""
    if isinstance(tree, dict):
        place.mkdir()
        for name, inside in tree.items():
            plant(place / name, inside)
    elif tree == "file":
        place.touch()
    else:
        place.symlink_to("nothing" if tree.endswith("nothing") else "..")


@given(st.dictionaries(NAMES, TREES, max_size=5), st.booleans())
@settings(max_examples=4 * settings().max_examples)
def test_folders_of_any_shape(tree, only_test):
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "images"
        plant(folder, tree)
        told(image_files, [folder])
        dataset = told(image_folder, folder, only_test=only_test)
        if dataset is None:
            return
        split = dataset.split
        samples = [sample for name in SUBSETS for sample in split.subset(name)]
        assert len(split.class_names) >= 2
        assert len(split.paths()) == len(samples)  # each image once
        assert {label for _, label in samples} == set(range(len(split.class_names)))
        for path, label in samples:
            assert path.split("/")[-2] == split.class_names[label]
            assert os.path.lexists(folder / path)
        assert split == image_folder(folder, only_test=only_test).split
        json.dumps([problem._asdict() for problem in check_images(dataset, verify=True)])


PUBLISHED = ("dtd", "fgvc_aircraft", "imagenet", "imagenetv2", "imagenet_a")


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """A small data set of each kind of layout."""
    found = {}
    for name in PUBLISHED:
        found[name] = tmp_path_factory.mktemp(name)
        write_dataset(found[name], name, size=4, images=3)
    return found


@pytest.mark.parametrize("name", PUBLISHED)
@given(st.integers(0, 2**32), st.integers(1, 3))
@SOME
def test_layouts_with_missing_moved_and_cut_files(roots, name, seed, count):
    """What the check calls good can be opened and read."""
    draws = random.Random(seed)
    with tempfile.TemporaryDirectory() as temporary:
        root = shutil.copytree(roots[name], Path(temporary) / "root")
        for _ in range(count):
            places = sorted(root.rglob("*"))
            if not places:
                break
            place = draws.choice(places)
            match draws.choice(["remove", "move", "cut", "folder"]):
                case "move":
                    place.rename(place.with_name(draws.choice(["x", "7", "n00000001", "y.jpg"])))
                case "cut" if place.is_file():
                    content = place.read_bytes()
                    place.write_bytes(content[: draws.randrange(len(content))])
                case "folder" if place.is_file():
                    place.unlink()
                    place.mkdir()
                case _ if place.is_dir():
                    shutil.rmtree(place)
                case _:
                    place.unlink()
        problems = check_dataset(name, root, verify=True, sizes=False)
        assert all(problem.what and problem.fix for problem in problems)
        dataset = told(open_dataset, name, root)
        if dataset is None:
            assert problems
        elif not problems:
            extract_features(FakeBackbone(), dataset.images, dataset.split.paths())


# Tables and the index of contents


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), min_size=1, max_size=6)
ENTRIES = st.lists(st.tuples(CELLS, CELLS, st.sampled_from(SUBSETS)), min_size=1, max_size=6)


@given(ENTRIES)
@SOME
def test_tables_of_any_text(entries):
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "table.csv"
        quoted = [
            [f'"{cell}"' for cell in (p.replace('"', '""'), c.replace('"', '""'), s)]
            for p, c, s in entries
        ]
        lines = ["path,label,subset", *(",".join(row) for row in quoted)]
        file.write_bytes("\n".join(lines).encode())
        split = told(read_split, file)
        if split is None:
            return
        assert split.class_names == tuple(sorted({name for _, name, _ in entries}))
        for subset in SUBSETS:
            expected = [name for _, name, part in entries if part == subset]
            assert [split.class_names[s.label] for s in split.subset(subset)] == expected


@given(st.data())
@SOME
def test_a_damaged_index_of_contents_costs_time_alone(data):
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        (root / "a.jpg").write_bytes(b"content")
        index = root / f"contents-{json_hash(str(root.resolve()))[:16]}.json"
        content = {"a.jpg": ["ab" * 16, [7, 1, 2, 3]], "b.jpg": ["cd" * 16, [1, 2, 3, 4]]}
        index.write_text(dumped(data.draw(changed(content))))
        assert content_hashes(root, root, ["a.jpg"]) == (sha256(b"content").hexdigest()[:32],)


# Weights


def archive():
    """The bytes of weights as torch saves them."""
    stream = io.BytesIO()
    torch.save({"a": torch.ones(2)}, stream)
    return stream.getvalue()


ARCHIVE = archive()


@given(damaged(ARCHIVE) | st.binary(max_size=40))
def test_the_kind_of_any_file_of_weights_is_told(content):
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "weights"
        file.write_bytes(content)
        assert not is_torchscript(file)
        assert not was_trained_with_quick_gelu(file)
        assert find_weights("ViT-B-32-quickgelu", file).file == file


# Constructors


@given(st.integers(-2, 3), st.tuples(st.floats(), st.floats()), st.data())
def test_augmentations(views, scale, data):
    made = told(Augmentation, views, scale)
    if made is not None:
        size = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
        top, left, height, width = crop_box(*size, random.Random(1), scale)
        assert 0 <= top <= top + height <= size[1]
        assert 0 <= left <= left + width <= size[0]
        assert min(height, width) > 0


@given(st.text(max_size=6))
def test_names_of_the_users_images(name):
    inputs = told(Inputs, name, images=Path("photos"))
    if inputs is not None:
        parts = Path(inputs.name).parts
        assert len(parts) == 1
        assert not set(inputs.name) & set('/\\:*?"<>|\0\n')
        assert inputs.name == name
