"""Damaged files: what is read is valid, or a documented error tells it; no pickle ever runs."""

import contextlib
import copy
import dataclasses
import errno
import io
import json
import math
import pickle
import re
import shutil
import tempfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from application.fake_backbone import FakeBackbone
from application.helpers import BUNDLE, dumped, kept, method, opened, refused, rewritten, told
from application.synthetic_data import write_dataset
from application.test_store import KEYS, RECIPE, VALUES, Encoder
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from strategies import gaussian
from vlm_adapters._files import json_hash, read_tensors
from vlm_adapters.backbones import TextProjection
from vlm_adapters.backbones.open_clip import find_weights
from vlm_adapters.config import load_methods
from vlm_adapters.data.check import check_images, image_kinds, without_damaged
from vlm_adapters.data.datasets import open_dataset, read_class_names
from vlm_adapters.data.splits import SUBSETS, ImageDataset, Sample, listed_split, read_split
from vlm_adapters.experiments import plan_jobs, run_jobs
from vlm_adapters.features.bundle import BundleSource, load_bundle, save_bundle
from vlm_adapters.features.store import FeatureTable
from vlm_adapters.features.texts import ClassTexts, HiddenTexts, load_texts, read_weight, save_texts
from vlm_adapters.features.views import extract_features, read_image
from vlm_adapters.runs import ADAPTER, RESULT, read_run, read_runs, read_saved_run
from vlm_adapters.training import train
from vlm_adapters.tuning import Trial, best, read_search, read_trials, write_trials
from vlm_adapters.weights import convert_weights

SOME = settings(max_examples=max(settings().max_examples // 2, 5))


# Valid files, and what is true of whatever their loaders take


def write_bundle(folder):
    save_bundle(BUNDLE, folder / "file")


def use_bundle(file):
    bundle = load_bundle(file)
    source = BundleSource(file)
    texts = [source.dataset, source.backbone, *source.class_names, *source.weights.values()]
    assert all(isinstance(text, str) for text in texts)
    with contextlib.suppress(ValueError):  # a class without training images
        task = source.task(1, 1)
        assert task.train_labels.max() < len(bundle.class_names) == len(bundle.text_raw)


def table_in(folder):
    return FeatureTable(folder, "dtd", RECIPE, {"torch": "2"})


def write_table(folder):
    table_in(folder).extract(KEYS, Encoder(), block=3)


def use_table(file):
    """Images whose names were damaged are encoded again."""
    table = table_in(file.parents[1])
    places = table.extract(KEYS, Encoder(), block=3)
    features = table.read([places[key] for key in KEYS])
    assert (features.dtype, features.ndim, len(features)) == (torch.float32, 3, len(KEYS))
    assert bool(features.isfinite().all())


def write_texts(folder):
    means, weight, bias = (gaussian(n, n, 5).float() for n in (3, 4, 1))
    projection = TextProjection(weight, bias[0])
    hidden = HiddenTexts(gaussian(0, 2, 3, 4).float(), projection, 1)
    save_texts(ClassTexts(means, 2 * means, hidden), folder / "file", {"a": 1})


def use_texts(file):
    texts = load_texts(file)
    assert texts.raw.shape == texts.normalized.shape
    assert {texts.raw.dtype, texts.normalized.dtype} == {torch.float32}
    if texts.hidden is not None:
        hidden = texts.hidden
        assert 0 < hidden.templates <= len(hidden.features)
        projected = texts.projected(hidden.projection.weight)
        assert projected.raw.shape == projected.normalized.shape == texts.raw.shape


def use_split(file):
    split = read_split(file)
    for subset in SUBSETS:
        assert split.subset(subset) or file.suffix == ".csv"  # which may be cut anew
        for sample in split.subset(subset):
            assert isinstance(split.class_names[sample.label], str)
            assert ".." not in Path(sample.path).parts


ENTRIES = [[f"{k}/{n}.jpg", k, f"class {k}"] for n in range(2) for k in range(2)]
SPLIT = json.dumps(dict.fromkeys(SUBSETS, ENTRIES))
MODEL = {"model_cfg": {"embed_dim": 8, "text_cfg": {}}, "preprocess_cfg": {"mean": [0.5]}}
PRESET = """title = "Mine"
extends = "hc_taf"
protocol = "best_val"
[adapter]
kind = "tip_adapter_f"
residual_scale = 0.5
[text]
checkpoint = ""
[training]
epochs = 3
learning_rate = 1e-3
drop_last = false
[constraint]
weight = 0.5
dimensions = [0, 1]
"""
TUNED = """dataset = "dtd"
[taskres.training]
learning_rate = 0.5
[hc_tr.constraint]
weight = 0.25
dimensions = [0]
[hc_tr]
title = "HC"
"""
PLAN = """shots = [1, 4]
seeds = [11, 12]
score = "last"
[one]
baseline = "taskres"
constrained = "hc_tr"
also = ["taskres_official"]
[one.shared]
"training.learning_rate" = [1e-3, 1e-2]
"training.epochs" = [3]
[one.refine]
"training.learning_rate" = [0.5, 2.0]
[one.constrain]
"constraint.weight" = [0.1, 1.0]
"""


def text_file(text, name="file.toml"):
    return lambda folder: (folder / name).write_text(text)


def are_methods(methods):
    """What a run of them could write: JSON without NaN."""
    for chosen in methods.values():
        json.dumps(dataclasses.asdict(chosen), allow_nan=False)
        assert plan_jobs({"a": chosen}, [1], [1])[0].epochs >= 0


def use_preset(file):
    are_methods(load_methods([str(file)], dataset="dtd"))


def use_tuned(file):
    are_methods(load_methods(["taskres", "hc_tr", "hc_tr_paper"], tuned=str(file)))


def use_plan(file):
    search = read_search(str(file))
    assert all(type(number) is int for number in (*search.shots, *search.seeds))
    assert search.trials() >= 0
    assert all(isinstance(name, str) for name in search.presets())
    methods = load_methods(["taskres", "hc_tr"])
    for plan in search.plans:
        plan.check(methods)


def write_trial_file(folder):
    values = {"training.learning_rate": 0.5, "training.epochs": 3}
    trials = [Trial(name, "shared", values, 70.0, 0.5, "ab") for name in ("taskres", "hc_tr")]
    write_trials(folder / "file", trials, [])


def use_trials(file):
    trials = read_trials(file)
    if trials:
        best(trials)
        write_trials(file.with_name("again"), trials, trials)


EPOCHS = 2


def write_finished(folder):
    save_bundle(BUNDLE, folder / "bundle")
    methods = {"taskres": method("taskres", epochs=EPOCHS)}
    jobs = plan_jobs(methods, [1], [1], folder=folder / "runs", dataset="x")
    run_jobs(BundleSource(folder / "bundle"), jobs)


def use_run(file):
    folder = file.parent
    run = read_run(folder)
    json.dumps(dataclasses.asdict(run) | {"config": {}}, allow_nan=False)
    assert isinstance(run.accuracy, (int, float))
    texts = (run.method, run.preset, run.dataset, run.backbone, run.data, run.identity)
    assert all(isinstance(text, str) for text in texts)
    with tempfile.TemporaryDirectory() as other:  # results are sorted: beside one that is right
        shutil.copytree(folder, Path(other) / "a")
        shutil.copytree(folder, Path(other) / "b")
        (Path(other) / "b" / RESULT).write_bytes(VALID["run"][1])
        assert len(read_runs(Path(other))) == 2
    use_adapter(folder / ADAPTER)


def use_adapter(file):
    saved = read_saved_run(file.parent)
    assert all(isinstance(name, str) for name in saved.class_names)
    logits = saved.adapter(BUNDLE.features)
    assert logits.shape == (len(BUNDLE.features), len(saved.class_names))


def bundle_task(folder):
    save_bundle(BUNDLE, folder / "bundle")
    return BundleSource(folder / "bundle").task(2, 1)


def write_checkpoint(folder):
    train(bundle_task(folder), TIP, checkpoint=folder / "file", seconds_between=0)


TIP = method("tip_adapter_f", epochs=EPOCHS, batch_size=3, learning_rate=0.01)


def use_checkpoint(file):
    trained = train(bundle_task(file.parent), TIP, checkpoint=file)
    assert len(trained.log) >= EPOCHS  # what comes twice, comes twice
    numbers = [number for epoch in trained.log for number in epoch.values()]
    numbers += [trained.best_val.accuracy, trained.best_val.epoch]
    assert all(isinstance(number, (int, float)) for number in numbers)
    trained.adapter.at(trained.best_val.tensors)(BUNDLE.features)


def write_state(folder):
    weights = {"weight": torch.ones(3, 4), "bias": torch.zeros(3)}
    torch.save({"state_dict": weights, "epoch": 3}, folder / "file")


def use_weights(file):
    target = file.with_name("made.safetensors")
    convert_weights(file, target)
    assert all(isinstance(t, torch.Tensor) for t in read_tensors(target)[1].values())


ROWS = "path,label,subset\na.jpg,cat,train\nb/c.jpg,sea_dog,val\nd.jpg,cat,test\n"


def use_names(file):
    names = read_class_names(file)
    assert names
    assert all(re.fullmatch(r"n\d{8}", folder) and name for folder, name in names.items())


def write_aircraft(folder):
    write_dataset(folder, "fgvc_aircraft", size=4, images=3)


def use_aircraft(file):
    found = open_dataset("fgvc_aircraft", file.parents[1])
    assert all(re.fullmatch(r"\d+\.jpg", path) for path in found.split.paths())
    assert all(problem.fix for problem in check_images(found, verify=True))


def encoded(kind, mode, **options):
    """The bytes of an image of some kind."""
    stream = io.BytesIO()
    Image.radial_gradient("L").resize((24, 18)).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


EXIF = Image.Exif()
EXIF[0x0112] = 6
PICTURES = {
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


def use_image(file):
    """Whoever asks about an image gets the same answer."""
    folder, name = file.parent, file.name
    (folder / "good.bmp").write_bytes(PICTURES["a.bmp"])
    split = listed_split((), (), [Sample(name, 0), Sample("good.bmp", 1)], ["cat", "dog"])
    dataset = ImageDataset("x", folder, split, ("{}",), ("{}",))
    shown = told(read_image, folder, name)
    told(read_image, folder, name, published=True)
    problems = check_images(dataset, verify=True)
    assert [problem.files for problem in problems] == [(name,)] * (shown is None)
    image_kinds(folder, split.paths())
    paths = without_damaged(dataset).split.paths()
    assert paths == ["good.bmp"] if shown is None else [name, "good.bmp"]
    features = extract_features(FakeBackbone(), folder, paths)
    assert features.shape == (len(paths), 6)
    assert bool(features.isfinite().all())
    read_image(folder, name)


def picture(name):
    return lambda folder: (folder / name).write_bytes(PICTURES[name]), name, use_image


FILE = f"{table_in(Path()).folder}/{json_hash(KEYS[3:6])[:32]}.safetensors"
LOADERS = {
    "bundle": (write_bundle, "file", use_bundle),
    "features": (write_table, FILE, use_table),
    "texts": (write_texts, "file", use_texts),
    "split": (text_file(SPLIT, "file"), "file", use_split),
    "preset": (text_file(PRESET), "file.toml", use_preset),
    "tuned": (text_file(TUNED), "file.toml", use_tuned),
    "plan": (text_file(PLAN), "file.toml", use_plan),
    "trials": (write_trial_file, "file", use_trials),
    "run": (write_finished, f"runs/taskres/x/1shot/seed1/{RESULT}", use_run),
    "adapter": (write_finished, f"runs/taskres/x/1shot/seed1/{ADAPTER}", use_adapter),
    "checkpoint": (write_checkpoint, "file", use_checkpoint),
    "table": (text_file(ROWS, "file.csv"), "file.csv", use_split),
    "class names": (text_file("n01440764 tench\nn01443537 goldfish\n"), "file.toml", use_names),
    "aircraft": (write_aircraft, "fgvc_aircraft/images_variant_val.txt", use_aircraft),
    "config": (
        text_file(json.dumps(MODEL), "open_clip_config.json"),
        "open_clip_config.json",
        lambda file: find_weights(f"local-dir:{file.parent}", None),
    ),
    "weights": (write_state, "file", use_weights),
    "text weight": (write_state, "file", read_weight),
} | {name: picture(name) for name in PICTURES}
VALID = {}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of damaged EXIF data


@pytest.fixture(scope="module", autouse=True)
def _valid(tmp_path_factory):
    """Each kind's folder and the bytes of the file that is damaged."""
    for name, (write, file, _) in LOADERS.items():
        folder = tmp_path_factory.mktemp("valid")
        write(folder)
        VALID[name] = folder, (folder / file).read_bytes()


def load(name, content):
    """Whether a file of such bytes is taken; otherwise a documented error tells why."""
    _, file, use = LOADERS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "copy"
        shutil.copytree(VALID[name][0], folder)
        (folder / file).write_bytes(content)
        return told(lambda: [use(folder / file)])


@pytest.mark.parametrize("name", LOADERS)
def test_what_is_not_damaged_is_taken(name):
    assert bool(load(name, VALID[name][1])) == (name != "a.tiff")


# Bytes


NEW = [b"", b"\0", b"\xff", b"0", b'"', b"{", b"9" * 8]


@st.composite
def damaged(draw, content):
    """Bytes with a few places replaced, left out or doubled."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        end = start + draw(st.integers(0, 8) | st.just(len(content)))
        old = content[start:end]
        new = draw(st.sampled_from([*NEW, 2 * old, old[::-1]]) | st.binary(max_size=4))
        content = content[:start] + new + content[end:]
    return content


@pytest.mark.parametrize("name", LOADERS)
@given(st.data())
@settings(max_examples=settings().max_examples)
def test_damaged_and_other_bytes(name, data):
    load(name, data.draw(damaged(VALID[name][1]) | st.binary(max_size=40)))


# Values


NUMBERS = [0, 1, -1, 2, 3, 10**25, 1e400, -0.5, 1e300]
PLAIN = [None, True, False, *NUMBERS, "\ud800", {}, [[]], {"a": 1}]
LISTS = st.lists(st.integers(0, 2), max_size=3)
JSON = st.sampled_from(PLAIN) | st.floats() | st.text(max_size=3) | LISTS


def places(document):
    """Every container within a document, with its keys."""
    items = []
    if isinstance(document, dict | list):
        items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        yield document, key
        yield from places(value)


@st.composite
def changed(draw, document):
    """A JSON document with one value replaced, left out, or doubled."""
    document = copy.deepcopy(document)
    within = list(places(document))
    if not within or draw(st.integers(0, 19)) == 0:
        return draw(JSON)
    owner, key = draw(st.sampled_from(within))
    match draw(JSON | st.sampled_from(["DEEP", "LEFT OUT", "TWICE"])):
        case "LEFT OUT":
            del owner[key]
        case "TWICE" if isinstance(owner, dict):
            owner["new"] = owner[key]
        case "TWICE":
            owner.append(owner[key])
        case new:
            owner[key] = new
    return document


OF_JSON = ("split", "trials", "run", "config")


@pytest.mark.parametrize("name", OF_JSON)
@given(st.data())
@settings(max_examples=2 * settings().max_examples)
def test_other_values_in_json(name, data):
    document = data.draw(changed(json.loads(VALID[name][1])))
    load(name, dumped(document).encode())


def test_half_a_surrogate_pair_is_told():
    trials = json.loads(VALID["trials"][1])
    trials[0]["preset"] = "\ud800"
    assert load("trials", json.dumps(trials).encode()) is None


SHAPES = ((0,), (), (2, 3), (2, 2, 3), (8,), (8, 3), (5056,), (5, 2, 3))
DTYPES = (torch.half, torch.float, torch.long, torch.bool)
TENSORS = [torch.ones(shape).to(dtype) for shape in SHAPES for dtype in DTYPES]
TENSORS += [torch.full((8, 3), torch.nan), torch.tensor([-1, 2**40]), torch.zeros(5056).byte()]


@st.composite
def other_tensors(draw, content):
    """A safetensors file with another tensor, name or text in it."""
    tensors, metadata = opened(content)
    name = draw(st.sampled_from(sorted(tensors)))
    tensor = tensors[name]
    like = [tensor.double(), tensor.half(), tensor.long(), tensor.flatten(), tensor * 0 - 1]
    like += [tensor[None], tensor[:-1] if tensor.ndim else tensor[None]]
    match draw(st.sampled_from(["text", "text", "tensor", "tensor", "drop", "name"])):
        case "text" if metadata:
            text = draw(changed(json.loads(*metadata.values())))
            assume("\\ud800" not in dumped(text))
            return rewritten(content, document=dumped(text))
        case "drop":
            return rewritten(content, **{name: None})
        case "name":
            other = draw(st.sampled_from(["x", "optimizer.0.x", "optimizer.x", "adapter.x"]))
            return rewritten(content, **{name: None, other: tensor})
    return rewritten(content, **{name: draw(st.sampled_from(TENSORS + like)).clone()})


OF_TENSORS = ("bundle", "features", "texts", "adapter", "checkpoint")


@pytest.mark.parametrize("name", OF_TENSORS)
@given(st.data())
@settings(max_examples=2 * settings().max_examples)
def test_other_tensors(name, data):
    load(name, data.draw(other_tensors(VALID[name][1])))


TEXTS = r"""1 -1 0 1.5 -0.5 1e-9 inf nan true "text" "last" [] [0] [1,0] ["a"] [[1]] {} {a=1} [-1]
1979-05-27 [1e400] [nan] "\u0000" "taskres" "file.toml" [1,1] [true]"""
TOML = ["", "9" * 400, "[" * 5000, *TEXTS.split()]


@pytest.mark.parametrize("name", ["preset", "tuned", "plan"])
@given(st.data())
@settings(max_examples=2 * settings().max_examples)
def test_other_values_in_toml(name, data):
    lines = VALID[name][1].decode().splitlines()
    place = data.draw(st.integers(0, len(lines) - 1))
    key, equals, _ = lines[place].partition(" = ")
    if equals:
        lines[place] = f"{key} = {data.draw(st.sampled_from(TOML))}"
    else:
        lines[place] = data.draw(st.sampled_from(["", "[taskres]", "[[one]]", "[one.shared.x]"]))
    load(name, "\n".join(lines).encode())


OPTIONS = """title protocol training.epochs training.learning_rate training adapter.kind new.key
title.x constraint.dimensions constraint.weight text.checkpoint extends . training.epochs.x"""


@given(
    st.sampled_from(["", *OPTIONS.split()]),
    st.sampled_from(TOML) | st.text(max_size=5),
    st.sampled_from(["taskres.", "hc_tr.", "hc_taf.", "", "  hc_tr."]),
    st.sampled_from(["=", " = ", "", "=="]),
)
@settings(max_examples=4 * settings().max_examples)
def test_overrides(key, value, preset, equals):
    overrides = [f"{preset}{key}{equals}{value}"]
    methods = told(load_methods, ["taskres", "hc_tr"], overrides=overrides)
    are_methods(methods or {})


# A full disk


def write_converted(folder):
    write_state(folder.parent)
    convert_weights(folder.parent / "file", folder / "file.safetensors")


WRITERS = [LOADERS[name][0] for name in ("bundle", "features", "texts", "trials", "adapter")]


@pytest.mark.parametrize("write", [*WRITERS, write_checkpoint, write_converted])
@pytest.mark.parametrize("after", [0, 1])
def test_a_full_disk_leaves_no_half_written_file(write, after, tmp_path):
    """Whichever write fails; the same call then gives what it would have given."""
    whole, folder = tmp_path / "1" / "whole", tmp_path / "2" / "folder"
    for place in (whole, folder):
        place.mkdir(parents=True)
    write(whole)
    times, real = iter(range(after)), Path.write_bytes

    def full(path, content):
        if next(times, None) is not None:
            return real(path, content)
        real(path, content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with pytest.MonkeyPatch.context() as patched, contextlib.suppress(OSError):
        patched.setattr(Path, "write_bytes", full)
        patched.setattr(Path, "write_text", lambda path, text, **_: full(path, text.encode()))
        write(folder)
    expected, found = kept(whole), kept(folder)
    assert found.items() <= expected.items()
    assert (len(found) < len(expected)) == (after < len(expected))
    assert not [file for file in folder.rglob(".*") if file.suffix != ".lock"]
    write(folder)
    assert kept(folder) == expected


# Code


class Code:
    """Writes a file when it is unpickled."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return (open, (self.file, "w"))


def pickles(code):
    """Files that would run code if something read them as pickles."""
    saved, old = io.BytesIO(), io.BytesIO()
    torch.save({"state_dict": {"weight": torch.zeros(3, 4), "code": code}}, saved)
    torch.save({"state_dict": code}, old, _use_new_zipfile_serialization=False)
    plain = [
        pickle.dumps(content, protocol)
        for content in (code, {"weight": code})
        for protocol in (0, 2, 4)
    ]
    return [*plain, saved.getvalue(), old.getvalue()]


@pytest.mark.parametrize("name", LOADERS)
def test_no_loader_runs_a_pickle(name, tmp_path):
    canary = tmp_path / "written"
    for content in pickles(Code(canary)):
        assert not load(name, content)
        assert not canary.exists()
    pickle.loads(pickles(Code(canary))[0]).close()
    assert canary.exists()  # the canary sings


# What this found, one by one


def found_content(name, change):
    """A file with other bytes; or with other tensors, or other values in its JSON."""
    content = VALID[name][1]
    if callable(change):
        return change(content)
    if isinstance(change, bytes):
        return change
    if isinstance(change, tuple):
        return content.replace(*change)
    if name in OF_TENSORS:
        return rewritten(content, **change)
    return dumped(json.loads(content) | change).encode()


def cut(content):
    return content[:-1]


def saved(content):
    """The bytes that torch saves."""
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


DEEP = ("[" * 100_000).encode()
UNFIT = "should hold class texts. Got shapes or dtypes that do not fit each other. Remove it"
NAMES = "should hold features (n, v, d) and the names of n images. Got: "
METADATA = "should have complete metadata of schema version 1. Got an error in "
UNCHANGED = "should be an unchanged checkpoint of a training. Got another file. Remove it"
WHOLE = "should be a complete safetensors file. Got an error from safetensors: "
AGAIN = "Remove it, and the command that extracts features encodes its images again."
OTHER = "should be as it was written. Got another content. Remove the fold"
ENTRY = "images_variant_val.txt` should hold lines of the number of an image and a variant of"
NO_WEIGHT = "should be a checkpoint with a `state_dict` that holds `weight`. Got "
NEITHER = "file': a damaged file, or one of other things. Download it again"
NAMELESS = safetensors.torch.save({"features": VALUES})
FOUND = [
    ("split", DEEP, "should be JSON. Got maximum recursion depth"),
    ("features", {"images": [[[], 1, 2]]}, NAMES + "too many values to unpack"),
    ("features", {"images": "DEEP"}, NAMES + "maximum recursion depth"),
    ("features", {"images": [1, 2, 3]}, NAMES + "cannot unpack non-iterable int"),
    ("features", {"features": VALUES.double()}, NAMES + "(7, 2, 3), torch.float64 for 3 images."),
    ("features", {"features": VALUES[:3, 0]}, NAMES + "(3, 3), torch.float32 for 3 images."),
    ("features", {"features": VALUES[:3].log()}, "Got 3 images with NaN or infinity. " + AGAIN),
    ("features", {"features": VALUES[:3, :1]}, "rows of shape (2, 3). Got (3, 1, 3). " + AGAIN),
    ("features", {"x": VALUES}, NAMES + "the tensors features, x. " + AGAIN),
    ("features", NAMELESS, NAMES + "'vlm_adapters.features'. " + AGAIN),
    ("features", cut, WHOLE),
    ("bundle", NAMELESS, METADATA + "the document: "),
    ("bundle", {"subsets": None}, "should hold the tensors"),
    # A newer file may lack a field of ours; the version must be named all the same.
    ("bundle", {"document": '{"schema_version": 2}'}, METADATA + "schema_version: "),
    ("bundle", {"document": '{"schema_version": 1}'}, METADATA + "class_names: Field required"),
    ("bundle", {"document": "{"}, METADATA + "the document: Invalid JSON"),
    ("bundle", {"class_names": "ab"}, METADATA + "class_names: "),
    ("bundle", {"provenance": [1]}, METADATA + "provenance: "),
    ("bundle", {"logit_scale": "DEEP"}, METADATA + "the document: Inv"),
    ("bundle", {"logit_scale": 10**400}, "`logit_scale` should be positive and finite. Got inf."),
    ("bundle", {"labels": torch.tensor(3)}, "`features` should have shape (0, 3). Got (6, 3)."),
    ("texts", b"short", WHOLE),
    ("texts", NAMELESS, "should hold class texts. Got no 'vlm_adapters.class_texts'. Remove it"),
    ("texts", {"templates": math.inf}, "Got no cannot convert float infinity"),
    ("texts", {"templates": 9}, UNFIT),
    ("texts", {"templates": -1}, UNFIT),
    ("texts", {"raw": torch.zeros(3, 4)}, UNFIT),
    ("texts", {"bias": torch.zeros(4)}, UNFIT),
    ("texts", {"weight": torch.zeros(3, 5)}, UNFIT),
    ("run", b"", "should be JSON. Got: Expecting value"),
    ("run", lambda content: b"[]", "should be a result of schema 4. Got None"),
    ("run", (b'"schema": 4', b'"schema": 3'), "Got 3. Run it again"),
    ("run", (b'"sha256"', b'"x"'), OTHER),
    ("run", (b'"cat"', b'"dog"'), OTHER),
    ("run", (b'"schema": 4', b'"schema": NaN'), "should be JSON. Got: NaN in place of a"),
    ("adapter", cut, WHOLE),
    ("adapter", {"residual": torch.zeros(3, 3)}, "should hold its adapter. Got another one. Train"),
    ("checkpoint", cut, WHOLE),
    ("checkpoint", NAMELESS, UNCHANGED),
    ("checkpoint", {"document": "{"}, UNCHANGED),
    ("checkpoint", {"document": "[]"}, UNCHANGED),
    ("checkpoint", {"generator": None}, UNCHANGED),
    ("checkpoint", {"x": torch.zeros(2)}, UNCHANGED),
    ("checkpoint", {"optimizer.0.step": torch.tensor(5.0)}, UNCHANGED),
    ("checkpoint", (b"learning_rate", b"LEARNING_RATE"), UNCHANGED),
    ("checkpoint", {"log": []}, UNCHANGED),
    ("checkpoint", {"log": "DEEP"}, UNCHANGED),
    ("preset", b"a = " + DEEP, "should be TOML. Got: maximum recursion depth"),
    ("preset", (b"1e-3", b"inf"), "file.toml.training.learning_rate` should be finite. Got inf."),
    ("preset", (b"1e-3", b"9" * 400), "should be finite. Got 999"),
    ("plan", (b"[1, 4]", b'["a"]'), "0` should be of type int. Got"),
    ("plan", (b"[1e-3, 1e-2]", b"5"), "learning_rate` should be of type list. Got 5."),
    ("trials", (b"70.0", b"NaN"), "should be JSON. Got: NaN"),
    ("trials", b"no", "should be JSON. Got: "),
    ("trials", b"{}", "file` should"),
    ("trials", b"[{}]", "file.preset` should be given. Got no such key."),
    ("class names", b"n01440764 tench\ntench", "line 2, should be a class folder"),
    ("class names", b"n01440764", "Got 'n01440764'. Download"),
    ("class names", b"n01440764 a\nn01440764 b", "Got 'n01440764 b'"),
    ("class names", b"<!DOCTYPE html>", "line 1, should be a class folder"),
    ("class names", b"", "Got ''. Download"),
    ("aircraft", b"1 owl", ENTRY),
    ("aircraft", b"../x red_thing", ENTRY),
    ("aircraft", b"\xff", ENTRY),
    ("weights", b"hello world", NEITHER),
    ("weights", saved({"a": pytest.Mark}), NEITHER),
    ("weights", saved({}), "`source` should be a TorchScript archive or a state dict of"),
    ("weights", saved({"a": 1}), "file': a int under 'a'. Download"),
    ("weights", saved({3: torch.ones(1)}), "file': a Tensor under 3. Download"),
    ("text weight", saved({"state_dict": {"bias": torch.zeros(3)}}), NO_WEIGHT),
    ("text weight", saved({"weight": torch.zeros(3, 3)}), NO_WEIGHT),
    ("text weight", saved({"state_dict": {"weight": "text"}}), NO_WEIGHT),
]


@pytest.mark.parametrize(("name", "change", "text"), FOUND)
def test_messages_of_damaged_files(name, change, text, tmp_path):
    _, file, use = LOADERS[name]
    shutil.copytree(VALID[name][0], tmp_path / "copy")
    (tmp_path / "copy" / file).write_bytes(found_content(name, change))
    with pytest.raises(ValueError, match=re.escape(text)):
        use(tmp_path / "copy" / file)


def test_labels_of_a_cache_are_classes(tmp_path):
    """A count of labels would otherwise take as much memory as the largest of them."""
    adapter = train(bundle_task(tmp_path), TIP).adapter
    tensors = adapter.state_dict() | {"cached_labels": torch.tensor([0, 2**40, 1, -1])}
    with refused(r"`cached_labels` should be -1 to 1\. Got others\."):
        type(adapter)(tensors, adapter.options, 1.0)
