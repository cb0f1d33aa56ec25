"""Damaged folders, tables and weights: a right answer, or one message that tells why."""

import io
import json
import os
import random
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from application.fake_backbone import FakeBackbone
from application.helpers import dumped, told
from application.synthetic_data import write_dataset
from application.test_fuzz import SOME, changed, damaged
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vlm_adapters._files import json_hash
from vlm_adapters.backbones.open_clip import find_weights
from vlm_adapters.cli.inputs import Inputs
from vlm_adapters.data.check import check_dataset, check_images
from vlm_adapters.data.datasets import open_dataset
from vlm_adapters.data.folders import image_folder
from vlm_adapters.data.splits import SUBSETS, read_split
from vlm_adapters.features.store import content_hashes
from vlm_adapters.features.views import Augmentation, crop_box, extract_features
from vlm_adapters.transfer import image_files
from vlm_adapters.weights import is_torchscript, was_trained_with_quick_gelu

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
    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patched:
        patched.setattr("vlm_adapters.features.store.SETTLED", -(10**12))
        root = Path(temporary)
        (root / "a.jpg").write_bytes(b"content")
        index = root / f"contents-{json_hash(str(root.resolve()))[:16]}.json"
        content = {"a.jpg": ["ab" * 16, [7, 1, 2, 3]], "b.jpg": ["cd" * 16, [1, 2, 3, 4]]}
        index.write_text(dumped(data.draw(changed(content))))
        digest = sha256(b"content").hexdigest()[:32]
        assert content_hashes(root, root, ["a.jpg"]) == (digest,)
        assert json.loads(index.read_text())["a.jpg"][0] == digest  # mended


# Weights


STREAM = io.BytesIO()
torch.save({"a": torch.ones(2)}, STREAM)


@given(damaged(STREAM.getvalue()) | st.binary(max_size=40))
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


@example("../x")
@given(st.text(max_size=6))
def test_names_of_the_users_images(name):
    inputs = told(Inputs, name, images=Path("photos"))
    if inputs is not None:
        parts = Path(inputs.name).parts
        assert len(parts) == 1
        assert not set(inputs.name) & set('/\\:*?"<>|\0\n')
        assert inputs.name == name
