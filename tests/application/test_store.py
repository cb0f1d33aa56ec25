"""The feature store: found again, never confused, and whole or not at all."""

import dataclasses
import errno
import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from vlm_adapters.features.recipe import Recipe
from vlm_adapters.features.store import FEATURES, META, PARTS, FeatureStore

IMAGES, VIEWS, WIDTH, BLOCK = 7, 2, 3, 3
VALUES = torch.randn(IMAGES, VIEWS, WIDTH, generator=torch.Generator().manual_seed(0))
RECIPE = Recipe(
    dataset="dtd",
    split="abc",
    view={"kind": "augmented", "seed": 1},
    backbone={"name": "fake", "version": "1"},
    libraries={"torch": "2"},
    paths=tuple(f"{k}.jpg" for k in range(IMAGES)),
    contents=tuple(f"hash {k}" for k in range(IMAGES)),
    labels=(0, 0, 1, 1, 2, 2, 2),
)


def encode(part, progress=None):
    return VALUES[part]


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "store")


def extract(store, recipe=RECIPE, encode=encode, **options):
    store.make(recipe, BLOCK, encode, **options)
    return store.finish(recipe, BLOCK)


def content(entry):
    return {path.name: path.read_bytes() for path in entry.iterdir()}


def subset(rows):
    lists = {
        name: tuple(getattr(RECIPE, name)[row] for row in rows)
        for name in ("paths", "contents", "labels")
    }
    return dataclasses.replace(RECIPE, **lists)


def equal(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_an_entry_is_found_again_and_whole(store):
    assert store.find(RECIPE) is None
    entry = extract(store)
    assert store.find(RECIPE) == entry
    assert sorted(content(entry)) == [FEATURES, META]
    equal(store.read(RECIPE, entry), VALUES)
    equal(load_file(entry / FEATURES)["labels"], torch.tensor(RECIPE.labels))


def changed(name, value):
    return dataclasses.replace(RECIPE, **{name: value})


@pytest.mark.parametrize(
    "other",
    [
        changed("dataset", "dtd2"),
        changed("split", "abd"),
        changed("view", {"kind": "centre"}),
        changed("view", {"kind": "augmented", "seed": 2}),
        changed("backbone", {"name": "fake", "version": "2"}),
        changed("libraries", {"torch": "2.1"}),
        changed("paths", ("9.jpg", *RECIPE.paths[1:])),
        changed("contents", ("other", *RECIPE.contents[1:])),
        changed("labels", (1, *RECIPE.labels[1:])),
    ],
    ids=["dataset", "split", "kind", "seed", "backbone", "libraries", "path", "size", "label"],
)
def test_every_field_makes_another_entry(store, other):
    entry = extract(store)
    assert store.find(other) is None
    assert other.folder != RECIPE.folder
    with pytest.raises(ValueError, match=r"should hold the features asked for\. Got those of ano"):
        store.read(other, entry)
    extract(store, other)
    assert store.find(RECIPE) == entry
    assert len(list(store.root.iterdir())) == 2


@pytest.mark.parametrize("rows", [[2], [5, 0, 3], list(range(IMAGES))[::-1]])
def test_an_entry_serves_a_subset_in_any_order(store, rows):
    entry = extract(store)
    assert store.find(subset(rows)) == entry
    equal(store.read(subset(rows), entry), VALUES[rows])


def test_the_name_of_a_data_set_is_no_pattern(store):
    entry = extract(store, changed("dataset", "photos [2023]"))
    assert store.find(dataclasses.replace(subset([1]), dataset="photos [2023]")) == entry


def test_an_entry_does_not_serve_more_images(store):
    extract(store, subset([0, 1, 2]))
    assert store.find(subset([0, 1, 2, 3])) is None


def test_an_image_that_comes_twice(store):
    twice = subset([0, 1, 1, 2])
    entry = extract(store, twice, lambda part, progress: VALUES[[0, 1, 1, 2]][part])
    equal(store.read(twice, entry), VALUES[[0, 1, 1, 2]])


def raising(after):
    """An encoder that fails once it has made some parts."""
    made = itertools.count()

    def encode_some(part, progress):
        if next(made) == after:
            raise RuntimeError("no more")
        return VALUES[part]

    return encode_some


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_extraction_goes_on_to_the_same_bytes(store, tmp_path, after):
    whole = extract(FeatureStore(tmp_path / "whole"))
    with pytest.raises(RuntimeError, match="no more"):
        extract(store, encode=raising(after))
    assert store.find(RECIPE) is None
    calls = []
    entry = extract(store, encode=lambda part, progress: calls.append(part.start) or VALUES[part])
    assert calls == [0, 3, 6][after:]
    assert content(entry) == content(whole)


def test_interrupted_between_the_last_part_and_the_entry(store):
    store.make(RECIPE, BLOCK, encode)
    assert store.find(RECIPE) is None
    assert content(extract(store, encode=raising(0))).keys() == {FEATURES, META}


def parts(store):
    return store.root / RECIPE.folder / PARTS


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "another block"])
def test_a_damaged_part_is_made_anew(store, damage):
    store.make(RECIPE, BLOCK, encode)
    part = parts(store) / "00000003.safetensors"
    match damage:
        case "truncated":
            part.write_bytes(part.read_bytes()[:-1])
        case "empty":
            part.write_bytes(b"")
        case "foreign":
            save_file({"other": VALUES}, part)
        case "another block":
            save_file({"features": VALUES[3:5].contiguous()}, part)
    calls = []
    entry = extract(store, encode=lambda part, progress: calls.append(part.start) or VALUES[part])
    assert calls == [3]
    equal(store.read(RECIPE, entry), VALUES)


@pytest.mark.parametrize("kept", [0, 5, 60, -1])
def test_truncated_features(store, kept):
    entry = extract(store)
    file = entry / FEATURES
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(
        ValueError, match=r"features\.safetensors` should be a complete safetensors "
    ):
        store.read(RECIPE, entry)


def test_missing_features(store):
    entry = extract(store)
    (entry / FEATURES).unlink()
    with pytest.raises(FileNotFoundError, match=r"should be a safetensors file\. Got no file\."):
        store.read(RECIPE, entry)


@pytest.mark.parametrize(
    ("tensors", "text"),
    [
        ({"other": VALUES}, r"should hold features of 7 images\. Got shape \(0,\)"),
        ({"features": VALUES[:5].contiguous()}, r"features of 7 images\. Got shape \(5, 2, 3\)"),
        ({"features": VALUES[:, 0].contiguous()}, r"features of 7 images\. Got shape \(7, 3\)"),
        ({"features": VALUES.log()}, r"should be finite\. Got \d images with NaN or infinity"),
    ],
    ids=["names", "rows", "rank", "nan"],
)
def test_foreign_features(store, tensors, text):
    entry = extract(store)
    save_file(tensors, entry / FEATURES)
    with pytest.raises(ValueError, match=text):
        store.read(RECIPE, entry)


def test_features_that_are_not_finite_are_refused_before_they_are_kept(store):
    bad = VALUES.clone()
    bad[4, 1, 0] = torch.inf
    with pytest.raises(ValueError, match=r"should be finite\. Got infinity or NaN for '4\.jpg'"):
        extract(store, encode=lambda part, progress: bad[part])
    assert [path.name for path in parts(store).iterdir()] == ["00000000.safetensors"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "should be JSON. Got: "),
        ('{"fingerprint": "', "should be JSON. Got: "),
        ("[]", "should describe features. Got another document"),
        ('{"images": []}', "should describe features. Got another document"),
        ('{"fingerprint": "", "base": {}, "images": 5}', "should describe features. Got anoth"),
        ('{"fingerprint": "", "base": {}, "images": [["a", 1]]}', "should describe features."),
    ],
)
def test_damaged_description(store, text, message):
    entry = extract(store)
    (entry / META).write_text(text)
    with pytest.raises(ValueError, match=message):
        store.read(RECIPE, entry)
    with pytest.raises(ValueError, match=message):  # where it is only a candidate
        store.find(subset([0]))


@pytest.mark.parametrize("failing", ["00000003.safetensors", FEATURES, META])
def test_a_full_disk_leaves_no_half_written_file(store, monkeypatch, failing):
    real = {name: getattr(Path, name) for name in ("write_bytes", "write_text")}

    def full(name):
        def write(path, data, *args, **kwargs):
            if failing in path.name:
                real[name](path, data[: len(data) // 2], *args, **kwargs)
                raise OSError(errno.ENOSPC, "No space left on device")
            return real[name](path, data, *args, **kwargs)

        return write

    with monkeypatch.context() as patched:
        for name in real:
            patched.setattr(Path, name, full(name))
        with pytest.raises(OSError, match="No space left on device"):
            extract(store)
    written = {path.name for path in store.root.rglob("*") if path.is_file()}
    assert failing not in written
    assert not [name for name in written if name.startswith(".")]
    assert store.find(RECIPE) is None
    entry = extract(store)
    assert sorted(content(entry)) == [FEATURES, META]
    equal(store.read(RECIPE, entry), VALUES)


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_shares_make_the_bytes_of_one(store, tmp_path, ranks):
    whole = extract(FeatureStore(tmp_path / "whole"))
    progress, made = [], []

    def count(part, progress):
        made.append(part.start)
        return VALUES[part]

    for rank in reversed(range(ranks)):
        store.make(
            RECIPE,
            BLOCK,
            count,
            share=(rank, ranks),
            progress=lambda *numbers: progress.append(numbers),
        )
    assert sorted(made) == [0, 3, 6]
    assert sum(done == total for done, total in progress) == min(ranks, 3)
    assert content(store.finish(RECIPE, BLOCK)) == content(whole)


def test_progress_counts_parts_that_are_there(store):
    with pytest.raises(RuntimeError, match="no more"):
        extract(store, encode=raising(2))
    progress = []
    extract(store, progress=lambda *numbers: progress.append(numbers))
    assert progress == [(0, 7), (3, 7), (6, 7), (7, 7)]


def test_texts_are_encoded_once(store):
    calls = []

    def encode_texts(file):
        calls.append(file)
        file.write_text("texts")

    for recipe in ({"a": 1}, {"a": 1}, {"a": 2}):
        file = store.texts("dtd", recipe, encode_texts)
        assert file.read_text() == "texts"
    assert len(calls) == len(set(calls)) == 2


def test_equal_recipes_have_equal_fingerprints_whatever_the_order_of_keys():
    turned = dataclasses.replace(RECIPE, backbone=dict(reversed(RECIPE.backbone.items())))
    assert turned.fingerprint() == RECIPE.fingerprint()
    assert json.loads(json.dumps(RECIPE.base())) == RECIPE.base()
