"""Tasks from a feature store, from images at every step, and from a bundle."""

import dataclasses
import json
import pickle
from importlib.metadata import version

import pytest
import torch
from application.fake_backbone import FakeBackbone, Unprojected
from application.helpers import equal, refused
from application.source_helpers import AUGMENTATION, DRAWS, counting, extraction
from application.synthetic_data import write_dataset
from torch.nn.functional import normalize
from vlm_adapters._files import read_tensors
from vlm_adapters.data.datasets import open_dataset
from vlm_adapters.features.bundle import BundleSource
from vlm_adapters.features.texts import encode_classes, load_texts
from vlm_adapters.features.views import CachedViews, extract_features, extract_views


@pytest.fixture(scope="module")
def source(root, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    return extraction(root, store).source(DRAWS)


def paths_of(samples, rows=None):
    return [samples[row].path for row in (range(len(samples)) if rows is None else rows)]


def centre(data, samples, rows=None):
    return normalize(extract_features(FakeBackbone(), data.images, paths_of(samples, rows)), dim=1)


@pytest.mark.parametrize(("shots", "seed"), DRAWS)
def test_a_task_is_what_one_computes_directly(root, source, shots, seed):
    data = open_dataset("dtd", root)
    drawn, split, task = data.few_shot(shots, seed), data.split, source.task(shots, seed)
    views = extract_views(
        FakeBackbone(), data.images, paths_of(split.train, drawn.train), AUGMENTATION
    )
    equal(task.train.keys(), CachedViews(views.clone()).keys())
    equal(task.train.units, normalize(views, dim=2))
    equal(task.val_features, centre(data, split.val, drawn.val))
    equal(task.test_features, centre(data, split.test))
    equal(task.all_val[0], centre(data, split.val))
    for labels, samples, rows in (
        (task.train_labels, split.train, drawn.train),
        (task.val_labels, split.val, drawn.val),
        (task.test_labels, split.test, range(len(split.test))),
        (task.all_val[1], split.val, range(len(split.val))),
    ):
        assert labels.tolist() == [samples[row].label for row in rows]
    assert (task.shots, task.seed, task.logit_scale) == (shots, seed, 10.0)
    assert task.hashes["split"] == split.sha256
    assert len({*task.hashes.values()}) == 3


def test_a_task_is_moved_as_a_whole(source):
    there = source.task(1, 1).to("meta")
    parts = [there.train.units, there.train.keys(), there.train_labels, *there.all_val]
    parts += [there.val_features, there.val_labels, there.test_features, there.test_labels]
    for texts in (there.texts, there.texts_kept):
        hidden = texts.hidden
        parts += [texts.raw, texts.normalized, hidden.features]
        parts += [hidden.projection.weight, hidden.projection.bias]
    assert {part.device.type for part in parts} == {"meta"}


def test_texts_with_underscores_replaced_and_kept(root, source):
    data, task = open_dataset("dtd", root), source.task(1, 1)
    assert any("_" in name for name in data.split.class_names)
    for texts, replaced in ((task.texts, True), (task.texts_kept, False)):
        expected = encode_classes(FakeBackbone(), data, replace_underscores=replaced)
        equal(texts.raw, expected.raw)
        equal(texts.normalized, expected.normalized)
        equal(texts.hidden.features, expected.hidden.features)
    assert (task.texts.raw - task.texts_kept.raw).abs().max() > 0.1


def test_texts_of_a_backbone_without_a_linear_projection(root, tmp_path):
    made = extraction(root, tmp_path, backbone=Unprojected())
    task = made.source([(1, 1)]).task(1, 1)
    assert task.texts.hidden is None
    with pytest.raises(ValueError, match=r"should have text features before a linear projection"):
        task.texts.projected(torch.eye(3))


def test_damaged_texts_are_removed_and_encoded_again(root, tmp_path):
    source = extraction(root, tmp_path).source([(1, 1)])
    raw = load_texts(source.texts).raw.clone()  # not memory-mapped
    source.texts.write_bytes(b"short")
    with refused(r"-texts-.* should be a complete safetensors file\. Got an error.*Remove it"):
        source.task(1, 1)
    source.texts.unlink()  # as the message says
    equal(extraction(root, tmp_path).source([(1, 1)]).task(1, 1).texts.raw, raw)


def test_validation_images_from_the_training_images(root, tmp_path):
    source = extraction(root, tmp_path, "imagenet").source([(2, 1)])
    data, task = open_dataset("imagenet", root), source.task(2, 1)
    drawn = data.few_shot(2, 1)
    assert drawn.val_from_train
    assert task.all_val is None
    equal(task.val_features, centre(data, data.split.train, drawn.val))
    assert task.val_labels.tolist() == [data.split.train[row].label for row in drawn.val]
    assert len(source.val.images) == len(drawn.val)  # and not a million
    assert not set(drawn.val) & set(drawn.train)


def test_what_is_there_is_not_extracted_again(root, source):
    backbone = counting()
    again = extraction(root, source.test.table.store, backbone=backbone).source(DRAWS)
    assert (backbone.views, again) == (0, source)


@pytest.mark.parametrize("name", ["dtd", "imagenet"])
def test_another_seed_encodes_its_new_images_alone(root, tmp_path, name):
    def drawn(*draws):
        tasks = [open_dataset(name, root).few_shot(*draw) for draw in draws]
        train = {row for task in tasks for row in task.train}
        return train, {row for task in tasks for row in task.val if task.val_from_train}

    extraction(root, tmp_path, name).source([(2, 1)])
    backbone = counting()
    more = extraction(root, tmp_path, name, backbone).source([(2, 2), (4, 1)])
    train, val = (new - old for new, old in zip(drawn((2, 2), (4, 1)), drawn((2, 1)), strict=True))
    assert 0 < len(train) < len(drawn((2, 2), (4, 1))[0])
    assert backbone.views == 3 * len(train) + len(val)  # validation and test splits are there
    whole = extraction(root, tmp_path / "whole", name).source([(2, 2), (4, 1)])
    for draw in ((2, 2), (4, 1)):
        equal(more.task(*draw).train.units, whole.task(*draw).train.units)
        equal(more.task(*draw).val_features, whole.task(*draw).val_features)
        assert more.identity(*draw) == whole.identity(*draw)


def test_versions_of_libraries_are_recorded_and_make_no_other_features(root, tmp_path):
    table = extraction(root, tmp_path).source(DRAWS).test.table
    assert table.libraries["torch"] == version("torch")
    assert table.recipe["backbone"] == {"name": "fake"}
    [about] = read_tensors(next(table.folder.iterdir()))[0].values()
    assert json.loads(about)["libraries"] == table.libraries


@pytest.mark.parametrize("subset", ["train", "val", "test"])
def test_a_missing_image_is_told_before_any_is_encoded(tmp_path, subset):
    write_dataset(tmp_path, "dtd")
    data = open_dataset("dtd", tmp_path)
    drawn = data.few_shot(1, 1)
    row = {"train": drawn.train[-1], "val": 0, "test": -1}[subset]
    missing = data.images / data.split.subset(subset)[row].path
    missing.unlink()
    backbone = counting()
    text = rf"should hold every image .* Got No such file or directory for {missing}\. Run `vlm-"
    with pytest.raises(FileNotFoundError, match=text):
        extraction(tmp_path, tmp_path / "store", backbone=backbone).source([(1, 1)])
    assert backbone.views == 0
    with pytest.raises(FileNotFoundError, match=text):  # where training images are read online
        extraction(tmp_path, tmp_path / "store", online=True).source([(1, 1)])


def test_an_image_that_no_task_draws_may_be_missing(tmp_path):
    write_dataset(tmp_path, "dtd")
    data = open_dataset("dtd", tmp_path)
    spare = set(range(len(data.split.train))) - set(data.few_shot(1, 1).train)
    (data.images / data.split.train[min(spare)].path).unlink()
    extraction(tmp_path, tmp_path / "store").source([(1, 1)]).task(1, 1)


def test_a_data_set_that_is_only_a_test_set(root, tmp_path):
    with pytest.raises(ValueError, match=r"`imagenet_a` should have training images\. Got a data"):
        extraction(root, tmp_path, "imagenet_a").source([(1, 1)])
    assert not list(tmp_path.iterdir())


def test_identity_names_what_the_features_depend_on(root, tmp_path, source):
    def identity(backbone=None, changes=None, **options):
        made = extraction(root, tmp_path, backbone=backbone, **options)
        dataset = dataclasses.replace(made.dataset, **(changes or {}))
        return dataclasses.replace(made, dataset=dataset).source(DRAWS).identity(*DRAWS[0])

    assert identity() == source.identity(*DRAWS[0])  # not where they lie
    others = [
        identity(scale="0.4,1"),
        identity(views=2),
        identity(published_pixels=True),
        identity(online=True),
        identity(FakeBackbone(name="other")),
        identity(FakeBackbone(logit_scale=11.0)),
        identity(changes={"templates": ("another {}.",)}),
        identity(changes={"taskres_templates": ("{} texture.", "another {}.")}),
    ]
    assert all(other != source.identity(*DRAWS[0]) for other in others)


def test_identity_of_a_task_names_its_images_and_no_others(tmp_path):
    def identities(seed=0):
        write_dataset(tmp_path, "dtd", seed=seed)
        source = extraction(tmp_path, tmp_path / "store").source(DRAWS)
        return [source.identity(*draw) for draw in DRAWS]

    first = identities()
    more = extraction(tmp_path, tmp_path / "store").source([*DRAWS, (1, 7)])
    assert [more.identity(*draw) for draw in DRAWS] == first  # whatever else is extracted
    data = open_dataset("dtd", tmp_path)
    row = next(r for r in more.draws[2, 1].train if r not in more.draws[1, 1].train)
    (data.images / data.split.train[row].path).write_bytes(
        (data.images / data.split.train[row].path).read_bytes() + b" "
    )
    changed = extraction(tmp_path, tmp_path / "store").source(DRAWS)
    same = [changed.identity(*draw) == old for draw, old in zip(DRAWS, first, strict=True)]
    assert same == [row not in more.draws[draw].train for draw in DRAWS]
    assert not all(same)


# Online


@pytest.fixture(scope="module")
def online(root, tmp_path_factory):
    store = tmp_path_factory.mktemp("online")
    return extraction(root, store, online=True).source(DRAWS)


def test_online_keys_are_those_of_the_cache(online, source):
    task = online.task(2, 1)
    equal(task.train.keys(), source.task(2, 1).train.keys())
    assert task.train.keys() is task.train.keys()  # computed once
    assert len(task.train.paths) == 6


def test_online_draws_follow_the_generator(online, source):
    train, rows = online.task(2, 1).train, torch.tensor([4, 0, 3])

    def draws(seed, rows=rows):
        generator = torch.Generator().manual_seed(seed)
        return torch.stack([train.draw(rows, generator) for _ in range(2)])

    first, second = draws(1)
    equal(draws(1), torch.stack([first, second]))
    equal(draws(1, torch.arange(6))[:, rows], draws(1))  # rows are those asked for
    equal(first.norm(dim=1), torch.ones(3))
    others = [second[:, None], draws(2)[0][:, None], source.task(2, 1).train.units[rows]]
    assert (first[:, None] - torch.cat(others, dim=1)).abs().amax(2).min() > 1e-4  # new views


def test_an_online_source_is_that_of_its_store_but_for_the_training_images(
    online, source, tmp_path
):
    for name in ("dataset", "backbone", "class_names"):
        assert getattr(online, name) == getattr(source, name)
    assert (online.data, source.data) == ("online", "cached")
    assert online.identity(1, 1) != source.identity(1, 1)
    online.write_index_lists(tmp_path, DRAWS)
    for shots, seed in DRAWS:
        found = json.loads((tmp_path / f"dtd-{shots}shot-seed{seed}.json").read_text())
        drawn = source.draws[shots, seed]
        assert (found["train"], found["val"]) == (drawn.train, drawn.val)
        assert (found["dataset"], found["split_sha256"]) == ("dtd", source.split)
    for one in (online, source):
        sent = pickle.loads(pickle.dumps(one))
        equal(sent.task(1, 1).test_features, source.task(1, 1).test_features)


# Bundles


def test_a_bundle_source(bundle, bundle_file, tmp_path):
    source = BundleSource(bundle_file)
    assert (source.dataset, source.backbone, source.data) == ("synthetic", "unknown", "cached")
    assert source.class_names == bundle.class_names
    assert pickle.loads(pickle.dumps(source)) == source
    source.write_index_lists(tmp_path, [(2, 1)])
    task = source.task(2, 1)
    found = source.draw(2, 1)
    assert json.loads((tmp_path / "synthetic-2shot-seed1.json").read_text())["val"] == found.val
    equal(task.train.keys(), normalize(bundle.subset("train")[0][found.train], dim=1))
    equal(task.val_features, normalize(bundle.subset("val")[0][found.val], dim=1))
    equal(task.all_val[0], normalize(bundle.subset("val")[0], dim=1))
    equal(task.test_features, normalize(bundle.subset("test")[0], dim=1))


def test_features_in_words_tell_what_runs_must_share(root, tmp_path, source, bundle_file):
    made = {"views": "3", "scale": "0.5,1", "pixels": "corrected"}
    assert made.items() < source.features.items()
    for name, options in (
        ("views", {"views": 2}),
        ("scale", {"scale": "0.08,1"}),
        ("pixels", {"published_pixels": True}),
    ):
        other = extraction(root, tmp_path, **options).source(DRAWS).features
        assert {key for key in other if other[key] != source.features[key]} == {name}
    plain = extraction(root, tmp_path)
    data, split = plain.dataset, plain.dataset.split
    turned = tuple(sample._replace(label=(sample.label + 1) % 3) for sample in split.test)
    for name, changes in (
        ("templates", {"taskres_templates": (*data.templates, "a {}.")}),
        ("test images", {"split": dataclasses.replace(split, test=turned)}),
    ):
        other = dataclasses.replace(plain, dataset=dataclasses.replace(data, **changes))
        other = other.source(DRAWS).features
        assert {key for key in other if other[key] != source.features[key]} == {name}
    assert list(BundleSource(bundle_file).features) == ["bundle"]
