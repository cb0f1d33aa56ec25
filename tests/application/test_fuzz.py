"""Damaged files: what is read is valid, or a documented error tells it; no pickle ever runs."""

import contextlib
import copy
import dataclasses
import io
import json
import math
import pickle
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import safetensors.torch
import torch
from application.helpers import equal, method
from application.synthetic_data import write_dataset
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from vlm_adapters._files import json_hash, read_tensors
from vlm_adapters.backbones import TextProjection
from vlm_adapters.backbones.open_clip import find_weights
from vlm_adapters.config import load_methods
from vlm_adapters.data.check import check_images
from vlm_adapters.data.datasets import open_dataset, read_class_names
from vlm_adapters.data.splits import SUBSETS, read_split
from vlm_adapters.experiments import plan_jobs, run_jobs
from vlm_adapters.features.bundle import BundleSource, FeatureBundle, load_bundle, save_bundle
from vlm_adapters.features.store import FeatureTable
from vlm_adapters.features.texts import ClassTexts, HiddenTexts, load_texts, read_weight, save_texts
from vlm_adapters.runs import ADAPTER, RESULT, read_run, read_runs, read_saved_run
from vlm_adapters.training import train
from vlm_adapters.tuning import Trial, best, read_search, read_trials, write_trials
from vlm_adapters.weights import convert_weights

SOME = settings(max_examples=max(settings().max_examples // 2, 5))


def randn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))


# Valid files, and what is true of whatever their loaders take


def write_bundle(folder):
    save_bundle(BUNDLE, folder / "file")


BUNDLE = FeatureBundle(
    features=torch.arange(24.0).reshape(8, 3) / 8 + 1,
    labels=torch.tensor([0, 1, 1, 0, 1, 0, 0, 1]),
    subsets=torch.tensor([0, 0, 0, 0, 1, 1, 2, 2]),
    text_raw=torch.tensor([[0.1, 0.2, 0.3], [1.0, 2.0, 3.0]]),
    text_normalized=torch.eye(3)[:2],
    class_names=("cat", "sea_horse"),
    logit_scale=12.5,
    provenance={"data": {"name": "x", "split_sha256": "ab"}, "backbone": {"name": "b"}},
)


def use_bundle(file):
    bundle = load_bundle(file)
    source = BundleSource(file)
    texts = [source.dataset, source.backbone, *source.class_names, *source.weights.values()]
    assert all(isinstance(text, str) for text in texts)
    with contextlib.suppress(ValueError):  # a class without training images
        task = source.task(1, 1)
        assert task.train_labels.max() < len(bundle.class_names) == len(bundle.text_raw)


RECIPE = {"view": {"kind": "augmented", "seed": 1}, "backbone": {"name": "fake"}}
IMAGES = [(f"{k}.jpg", f"{k:032x}") for k in range(5)]
VALUES, BLOCK = randn(5, 2, 3), 2


def table_in(folder):
    return FeatureTable(folder, "dtd", RECIPE, {"torch": "2"})


def encode(paths, progress):
    return VALUES[[int(path[0]) for path in paths]]


def write_table(folder):
    table_in(folder).extract(IMAGES, encode, block=BLOCK)


def use_table(file):
    """Images whose names were damaged are encoded again."""
    table = table_in(file.parents[1])
    places = table.extract(IMAGES, encode, block=BLOCK)
    features = table.read([places[key] for key in IMAGES])
    assert (features.dtype, features.ndim, len(features)) == (torch.float32, 3, 5)
    assert bool(features.isfinite().all())


def write_texts(folder):
    hidden = HiddenTexts(randn(2, 3, 4), TextProjection(randn(4, 5), randn(5)), 1)
    save_texts(ClassTexts(randn(3, 5), randn(3, 5), hidden), folder / "file", {"a": 1})


def use_texts(file):
    texts = load_texts(file)
    assert texts.raw.shape == texts.normalized.shape
    assert {texts.raw.dtype, texts.normalized.dtype} == {torch.float32}
    if texts.hidden is not None:
        hidden = texts.hidden
        assert 0 < hidden.templates <= len(hidden.features)
        projected = texts.projected(hidden.projection.weight)
        assert projected.raw.shape == projected.normalized.shape == texts.raw.shape


def write_split(folder):
    entries = [[f"{k}/{n}.jpg", k, f"class {k}"] for n in range(2) for k in range(2)]
    (folder / "file").write_text(json.dumps(dict.fromkeys(SUBSETS, entries)))


def use_split(file):
    split = read_split(file)
    for subset in SUBSETS:
        assert split.subset(subset) or file.suffix == ".csv"  # which may be cut anew
        for sample in split.subset(subset):
            assert isinstance(split.class_names[sample.label], str)
            assert ".." not in Path(sample.path).parts


CHANGED = set()
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


SHOTS, SEED, EPOCHS = 1, 1, 2


def run_job_of(bundle, folder, **changes):
    bundle_file = folder / "bundle"
    save_bundle(bundle, bundle_file)
    methods = {"taskres": method("taskres", epochs=EPOCHS)}
    source = BundleSource(bundle_file)
    run_jobs(source, plan_jobs(methods, [SHOTS], [SEED], folder=folder / "runs", dataset="x"))


def write_finished(folder):
    run_job_of(BUNDLE, folder)


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
    torch.save(
        {"state_dict": {"weight": randn(3, 4), "bias": randn(3)}, "epoch": 3}, folder / "file"
    )


def use_weights(file):
    target = file.with_name("made.safetensors")
    convert_weights(file, target)
    assert all(isinstance(t, torch.Tensor) for t in read_tensors(target)[1].values())


def use_weight(file):
    weight = read_weight(file)
    assert (weight.dtype, weight.ndim) == (torch.float32, 2)


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


def write_config(folder):
    config = {"model_cfg": {"embed_dim": 8, "text_cfg": {}}, "preprocess_cfg": {"mean": [0.5]}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))


def use_config(file):
    assert find_weights(f"local-dir:{file.parent}", None).has_config


FILE = f"{table_in(Path()).folder}/{json_hash(IMAGES[2:4])[:32]}.safetensors"
LOADERS = {
    "bundle": (write_bundle, "file", use_bundle),
    "features": (write_table, FILE, use_table),
    "texts": (write_texts, "file", use_texts),
    "split": (write_split, "file", use_split),
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
    "config": (write_config, "open_clip_config.json", use_config),
    "weights": (write_state, "file", use_weights),
    "text weight": (write_state, "file", use_weight),
}
VALID = {}


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
        try:
            use(folder / file)
        except (ValueError, FileNotFoundError) as error:
            kind, text = type(error), str(error)
        else:
            return True
    assert kind in (ValueError, FileNotFoundError) or kind.__name__ == "Diverged", kind
    assert re.match(r"`|[A-Z]", text), text
    assert " should " in text, text
    assert "Got" in text or "should be a known key" in text, text
    return False


@pytest.mark.parametrize("name", LOADERS)
def test_what_is_not_damaged_is_taken(name):
    assert load(name, VALID[name][1])


# Bytes


@st.composite
def damaged(draw, content):
    """Bytes with a few places changed."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        end = min(len(content), start + draw(st.integers(1, 8)))
        match draw(st.sampled_from(["cut", "flip", "insert", "delete", "repeat", "swap", "set"])):
            case "cut":
                content = content[:start]
            case "flip" if content:
                flipped = content[start] ^ (1 << draw(st.integers(0, 7)))
                content = content[:start] + bytes([flipped]) + content[start + 1 :]
            case "insert":
                content = content[:start] + draw(st.binary(max_size=4)) + content[start:]
            case "delete":
                content = content[:start] + content[end:]
            case "repeat":
                content = content[:end] + content[start:end] + content[end:]
            case "swap":
                content = content[end:] + content[:end]
            case "set":
                new = draw(st.sampled_from([b"\0", b"\xff", b"0", b'"', b"{", b"9" * 8]))
                content = content[:start] + new + content[start + len(new) :]
    return content


@pytest.mark.parametrize("name", LOADERS)
@given(st.data())
@SOME
def test_damaged_bytes(name, data):
    load(name, data.draw(damaged(VALID[name][1])))


@pytest.mark.parametrize("name", LOADERS)
@given(st.binary(max_size=40))
@SOME
def test_any_bytes(name, content):
    load(name, content)


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
    CHANGED.clear()
    CHANGED.update({"hash"} if "hash" in str(key) else ())
    match draw(st.sampled_from(["replace", "replace", "replace", "leave out", "add", "deep"])):
        case "replace":
            owner[key] = draw(JSON)
        case "leave out":
            del owner[key]
        case "add" if isinstance(owner, dict):
            owner["new"] = owner[key]
        case "add":
            owner.append(owner[key])
        case "deep":
            owner[key] = "DEEP"
    return document


def dumped(document):
    """JSON, very deep where asked for."""
    return json.dumps(document).replace('"DEEP"', "[" * 100_000)


OF_JSON = ("split", "trials", "run", "config")


@pytest.mark.parametrize("name", OF_JSON)
@given(st.data())
@settings(max_examples=2 * settings().max_examples)
def test_other_values_in_json(name, data):
    document = data.draw(changed(json.loads(VALID[name][1])))
    load(name, dumped(document).encode())


SHAPES = ((0,), (), (2, 3), (2, 2, 3), (8,), (8, 3), (5056,), (5, 2, 3))
TENSORS = [torch.ones(shape).to(dtype) for shape in SHAPES for dtype in (torch.half, torch.float)]
TENSORS += [torch.arange(8), torch.full((8, 3), torch.nan), torch.tensor([-1, 2**40])]
TENSORS += [torch.zeros(2, dtype=torch.bool), torch.zeros(5056).byte(), torch.zeros(3, 2).double()]


@st.composite
def other_tensors(draw, content):
    """A safetensors file with another tensor, name or text in it."""
    tensors = safetensors.torch.load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.get("__metadata__", {})
    name = draw(st.sampled_from(sorted(tensors)))
    tensor = tensors[name]
    match draw(st.sampled_from(["text", "text", "tensor", "tensor", "drop", "name", "like"])):
        case "text" if metadata:
            key = draw(st.sampled_from(sorted(metadata)))
            metadata[key] = dumped(draw(changed(json.loads(metadata[key]))))
            assume("\\ud800" not in metadata[key])
        case "drop":
            del tensors[name]
        case "name":
            other = draw(st.sampled_from(["x", "optimizer.0.x", "optimizer.x", "adapter.x"]))
            tensors[other] = tensors.pop(name)
        case "like":
            like = [tensor.double(), tensor.half(), tensor.long(), tensor.flatten(), tensor * 0 - 1]
            like += [tensor[None], tensor[:-1] if tensor.ndim else tensor[None]]
            tensors[name] = draw(st.sampled_from(like)).contiguous().clone()
        case _:
            tensors[name] = draw(st.sampled_from(TENSORS))
    return safetensors.torch.save(tensors, metadata or None)


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


KEYS = """title protocol training.epochs training.learning_rate training adapter.kind new.key
title.x constraint.dimensions constraint.weight text.checkpoint extends . training.epochs.x"""


@given(
    st.sampled_from(["", *KEYS.split()]),
    st.sampled_from(TOML) | st.text(max_size=5),
    st.sampled_from(["taskres.", "hc_tr.", "hc_taf.", "", "  hc_tr."]),
    st.sampled_from(["=", " = ", "", "=="]),
)
@settings(max_examples=4 * settings().max_examples)
def test_overrides(key, value, preset, equals):
    try:
        methods = load_methods(["taskres", "hc_tr"], overrides=[f"{preset}{key}{equals}{value}"])
    except ValueError as error:
        text = str(error)
    else:
        are_methods(methods)
        return
    assert re.match(r"`.*` should .*(Got|Known)", text, re.DOTALL), text


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


# The feature store beside a dictionary of what it should hold


class StoreMachine(RuleBasedStateMachine):
    """One table of five images; values depend on the image alone."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.table = table_in(Path(self.folder.name) / "store")
        self.held = set()
        self.damaged = set()

    def teardown(self):
        self.folder.cleanup()

    rows = st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True).map(tuple)

    @precondition(lambda self: not self.damaged)
    @rule(rows=rows, left=st.integers(0, 2), leftover=st.booleans())
    def extract(self, rows, left, leftover):
        """Some blocks, or all of them."""
        calls = []

        def encode_some(paths, progress):
            if len(calls) >= left:
                raise RuntimeError("killed")
            calls.append(paths)
            return encode(paths, progress)

        with contextlib.suppress(RuntimeError):
            self.table.extract([IMAGES[row] for row in rows], encode_some, block=BLOCK)
        made = [int(path[0]) for paths in calls for path in paths]
        assert made == [row for row in rows if row not in self.held][: len(made)]
        self.held |= set(made)
        if leftover and self.held:  # of a process that was killed while it wrote
            (self.table.folder / ".00000000.safetensors.1.1").write_bytes(b"half")

    @precondition(lambda self: not self.damaged)
    @rule(one=rows, other=rows)
    def two_at_once(self, one, other):
        """Two that know nothing of each other."""

        def work(rows):
            return self.table.extract([IMAGES[row] for row in rows], encode, block=BLOCK)

        with ThreadPoolExecutor(2) as pool:
            for rows, places in zip((one, other), pool.map(work, (one, other)), strict=True):
                assert {IMAGES[row] for row in rows} <= set(places)
        self.held |= {*one, *other}

    @precondition(lambda self: self.held)
    @rule(data=st.data(), kept=st.floats(0, 0.95))
    def damage(self, data, kept):
        file = data.draw(st.sampled_from(sorted(self.table.folder.glob("*.safetensors"))))
        content = file.read_bytes()
        file.write_bytes(content[: int(kept * len(content))])
        self.damaged.add(file)

    @precondition(lambda self: self.damaged)
    @rule()
    def follow_the_advice(self):
        for file in self.damaged:
            file.unlink()
        self.damaged.clear()
        self.held = {IMAGES.index(key) for key in self.table.places()}

    @rule(rows=rows)
    def read(self, rows):
        if self.damaged:
            with pytest.raises(ValueError, match=r"`.*` should .*Got.*Remove it"):
                self.table.places()
            return
        places = self.table.places()
        assert set(places) == {IMAGES[row] for row in self.held}
        rows = [row for row in rows if row in self.held]
        if rows:
            equal(self.table.read([places[IMAGES[row]] for row in rows]), VALUES[rows])


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=max(settings().max_examples // 4, 5), stateful_step_count=15
)


# What this found, one by one


def found_content(name, change):
    """A file with other bytes; or with other tensors, or other values in its JSON."""
    content = VALID[name][1]
    if isinstance(change, bytes):
        return change
    if isinstance(change, tuple):
        return content.replace(*change)
    if name not in OF_TENSORS:
        return dumped(json.loads(content) | change).encode()
    tensors = {key: value for key, value in change.items() if torch.is_tensor(value)}
    text = {key: value for key, value in change.items() if key not in tensors}
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata = header.get("__metadata__")
    if text:
        [(key, old)] = metadata.items()
        metadata = {key: dumped(json.loads(old) | text)}
    return safetensors.torch.save(safetensors.torch.load(content) | tensors, metadata)


DEEP = ("[" * 100_000).encode()
UNFIT = "should hold class texts. Got shapes or dtypes that do not fit each other. Remove it"
NAMES = "should hold features (n, v, d) and the names of n images. Got: "
METADATA = "should have complete metadata of schema version 1. Got an error in "
UNCHANGED = "should be an unchanged checkpoint of a training. Got another file. Remove it"
FOUND = [
    ("split", DEEP, "should be JSON. Got maximum recursion depth"),
    ("features", {"images": [[[], 1, 2]]}, NAMES + "too many values to unpack"),
    ("features", {"images": "DEEP"}, NAMES + "maximum recursion depth"),
    ("features", {"features": VALUES.double()}, NAMES + "(5, 2, 3), torch.float64 for 2 images."),
    ("bundle", {"class_names": "ab"}, METADATA + "class_names: "),
    ("bundle", {"provenance": [1]}, METADATA + "provenance: "),
    ("bundle", {"logit_scale": "DEEP"}, METADATA + "the document: Inv"),
    ("bundle", {"logit_scale": 10**400}, "`logit_scale` should be positive and finite. Got inf."),
    ("bundle", {"labels": torch.tensor(3)}, "`features` should have shape (0, 3). Got (8, 3)."),
    ("texts", {"templates": math.inf}, "Got no cannot convert float infinity"),
    ("texts", {"templates": 9}, UNFIT),
    ("texts", {"raw": torch.zeros(3, 4)}, UNFIT),
    ("texts", {"raw": torch.zeros(3, 5).half()}, UNFIT),
    ("texts", {"bias": torch.zeros(4)}, UNFIT),
    ("texts", {"weight": torch.zeros(3, 5)}, UNFIT),
    ("run", {"command": []}, "should be as it was written. Got another content. Remove the fold"),
    ("run", (b'"schema": 4', b'"schema": NaN'), "should be JSON. Got: NaN in place of a"),
    ("adapter", {"residual": torch.zeros(3, 3)}, "should hold its adapter. Got another one. Train"),
    ("checkpoint", {"optimizer.0.step": torch.tensor(-1)}, UNCHANGED),
    ("checkpoint", {"log": []}, UNCHANGED),
    ("checkpoint", {"log": "DEEP"}, UNCHANGED),
    ("preset", b"a = " + DEEP, "should be TOML. Got: maximum recursion depth"),
    ("preset", (b"1e-3", b"inf"), "file.toml.training.learning_rate` should be finite. Got inf."),
    ("preset", (b"1e-3", b"9" * 400), "should be finite. Got 999"),
    ("plan", (b"[1, 4]", b'["a"]'), "0` should be of type int. Got"),
    ("plan", (b"[1e-3, 1e-2]", b"5"), "learning_rate` should be of type list. Got 5."),
    ("trials", (b"70.0", b"NaN"), "should be JSON. Got: NaN"),
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
    text = r"`cached_labels` should be -1 to 1\. Got others\."
    with pytest.raises(ValueError, match=text):
        type(adapter)(tensors, adapter.options, 1.0)
