"""Presets: what they hold, what lies over them, and what is refused."""

import dataclasses
import re
import typing

import pytest
from application.helpers import refused
from vlm_adapters.adapters import adapter_class
from vlm_adapters.config import (
    ADAPTERS,
    BASELINES,
    PRESETS,
    PROTOCOLS,
    TRAINED_KINDS,
    AdapterOptions,
    ConstraintOptions,
    Method,
    TrainingOptions,
    build,
    lineage,
    load_methods,
    read_toml,
)
from vlm_adapters.data.datasets import DATASETS
from vlm_adapters.training import epochs_of

METHOD = Method("t", AdapterOptions("taskres"), constraint=ConstraintOptions(dimensions=(0, 1)))
NAMES = ("zero_shot", "taskres", "hc_tr", "tip_adapter_f", "hc_taf")


def test_presets_follow_the_specification():
    methods = load_methods(NAMES)
    taskres, tip = methods["taskres"].training, methods["tip_adapter_f"].training
    assert (taskres.epochs, taskres.epochs_from_8_shots, taskres.drop_last) == (100, 200, True)
    assert taskres.weight_decay == 5e-4
    assert (tip.optimizer, tip.eps, tip.weight_decay) == ("adamw", 1e-4, 0.01)
    assert methods["hc_tr"].constraint.combination == "constant"
    assert methods["hc_taf"].constraint.norm == "rowwise"


def test_the_official_presets_keep_their_arithmetic_whatever_was_tuned():
    names = ["tip_adapter_f_official", "hc_taf_released"]
    methods = load_methods(names, dataset="caltech101", tuned="caltech101_devise.toml")
    for method, epochs in zip(methods.values(), (20, 30), strict=True):
        training, adapter = method.training, method.adapter
        assert (training.optimizer, training.learning_rate) == ("adamw_half", 1e-3)
        assert (training.eps, training.epochs, method.protocol) == (1e-4, epochs, "last")
        assert (adapter.sharpness, adapter.cache_weight) == (1.0, 3.0)
    released = methods["hc_taf_released"].constraint
    assert (released.weight, released.perturbation_weight) == (0.4, 100.0)
    assert (released.undirected, released.unrelated) == ("zero", "skip")


@pytest.mark.parametrize(
    ("overrides", "epochs"),
    [
        ([], [100, 200]),
        (["taskres.training.epochs=3"], [3, 3]),
        (["taskres.training.epochs=3", "taskres.training.epochs_from_8_shots=5"], [3, 5]),
        (["taskres.training.epochs_from_8_shots=5", "taskres.training.epochs=3"], [3, 5]),
        (["taskres.training.epochs_from_8_shots=5"], [100, 5]),
    ],
)
def test_epochs_alone_hold_for_every_shot_count(overrides, epochs):
    training = load_methods(["hc_tr"], overrides=overrides)["hc_tr"].training
    assert [epochs_of(training, shots) for shots in (4, 8)] == epochs


DIMENSIONS = "`constraint.dimensions` should begin with 0 and hold each once. Got "
BAD = [
    (
        "training.learning_rat=1",
        "`taskres.training.learning_rat` should be a known key: optimizer, ",
    ),
    ("training.learning_rat=1", ". Got another. Did you mean 'learning_rate'?"),
    ("training.epochs=many", "`taskres.training.epochs` should be of type int. Got 'many'."),
    ("training.drop_last=1", "`taskres.training.drop_last` should be of type bool. Got 1."),
    ("training.epochs=true", "`taskres.training.epochs` should be of type int. Got True."),
    ("training=1", "`taskres.training` should be of type table. Got 1."),
    ("title=1", "`taskres.title` should be of type str. Got 1."),
    ("training.weight_decay=nan", "`taskres.training.weight_decay` should be finite. Got nan."),
    ("adapter.settings.x='a'", "`taskres.adapter.settings.x` should be of type int. Got 'a'."),
    ("adapter.kind=tip_adaptor", '`adapter.kind` should be one of "zero_shot", "linear_probe", '),
    ("adapter.kind=tip_adaptor", "Got 'tip_adaptor'. Did you mean 'tip_adapter'?"),
    ("constraint.dimensions=[]", f"{DIMENSIONS}[]."),
    ("constraint.dimensions=[0, 0]", f"{DIMENSIONS}[0, 0]."),
    ("constraint.dimensions=[0.0]", "constraint.dimensions.0` should be of type int. Got 0.0."),
    ("protocol=last+val_search", '`protocol` should be one of "last", "best_val". Got'),
    ("training.epochs", "`--set` should be `preset.section.key=value`"),
    ("=1", "`--set` should be `preset.section.key=value`"),
]


@pytest.mark.parametrize(("override", "text"), BAD)
def test_bad_values(override, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        load_methods(["taskres"], overrides=[f"taskres.{override}"])


def test_an_override_of_an_unknown_preset():
    with refused(r"begin with a preset: taskres\..* Did you mean 'taskres'\?"):
        load_methods(["taskres"], overrides=["taskrs.training.epochs=1"])


def test_what_the_options_allow_is_checked():
    """Every choice and every least value that an annotation declares."""
    choices = bounds = 0
    for section in dataclasses.fields(METHOD):
        value = getattr(METHOD, section.name)
        if not dataclasses.is_dataclass(value):
            continue
        for name, hint in typing.get_type_hints(type(value), include_extras=True).items():
            path = f"taskres.{section.name}.{name}"
            if typing.get_origin(hint) is typing.Literal:
                choices += 1
                with pytest.raises(ValueError, match=rf"`{path}` should be one of \".*Got 'no'"):
                    load_methods(["taskres"], overrides=[f"{path}=no"])
            elif typing.get_origin(hint) is typing.Annotated:
                bounds += 1
                least = hint.__metadata__[0].metadata[0].ge
                with refused(rf"`{path}` should be {least} or more\. Got {least - 1}"):
                    load_methods(["taskres"], overrides=[f"{path}={least - 1}"])
    assert (choices, bounds) == (16, 19)


def test_options_built_in_python_are_checked_too():
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        TrainingOptions(epochs=0)
    assert build(Method, dataclasses.asdict(METHOD), "m") == METHOD
    built = build(AdapterOptions, {"kind": "a.py:B", "settings": {"k": 3}}, "m")
    assert type(built.settings["k"]) is int


def test_a_constraint_needs_a_trained_adapter():
    text = r"weight` should be 0 with `adapter\.kind = \"zero_shot\"`, whose features are .* Got 1"
    with pytest.raises(ValueError, match=text):
        load_methods(["zero_shot"], overrides=["zero_shot.constraint.weight=1"])


TRAINED = {"taskres", "clip_adapter", "tip_adapter_f"}


@pytest.mark.parametrize("kind", ADAPTERS)
def test_protocols_are_those_that_the_adapter_has(kind):
    assert (kind in TRAINED_KINDS) == bool(adapter_class(kind).trainable) == (kind in TRAINED)
    has = {"last": True, "best_val": kind in TRAINED, "last+val_search": "tip" in kind}
    assert set(has) == set(PROTOCOLS)
    for protocol, there in has.items():
        if there:
            assert Method("t", AdapterOptions(kind), protocol).protocol == protocol
        else:
            with pytest.raises(ValueError, match=r"`protocol` should be one of \"last\""):
                Method("t", AdapterOptions(kind), protocol)


# Presets that extend each other


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)


@pytest.mark.parametrize("dataset", [None, *read_toml("datasets.toml")])
def test_compared_presets_differ_only_in_the_constraint(dataset):
    methods = load_methods(PRESETS, dataset=dataset)
    assert list(methods) == list(PRESETS)
    for form, plain in BASELINES.items():
        a, b = methods[plain], methods[form]
        assert (a.adapter, a.text) == (b.adapter, b.text)
        if "_off" not in form:
            assert (a.protocol, a.training) == (b.protocol, b.training)  # as many epochs, above all
            assert (a.constraint == b.constraint, b.constraint.weight > 0) == (False, True)


def test_published_values_have_known_data_sets_and_keys():
    tables = read_toml("datasets.toml")
    sources = {name for name, spec in DATASETS.items() if spec.sizes[1]}
    assert set(tables) <= sources
    for table in tables.values():
        assert set(table) <= set(PRESETS)


def test_a_data_sets_values_go_to_those_that_extend_a_preset():
    names = ["taskres", "taskres_official", "hc_tr", "tip_adapter_f", "hc_taf", "hc_taf_paper"]
    imagenet, eurosat = (load_methods(names, dataset=name) for name in ("imagenet", "eurosat"))
    rates = [imagenet[name].training.learning_rate for name in names[:3]]
    assert rates == [1e-4, 2e-4, 1e-4]
    assert {imagenet[name].adapter.cache_weight for name in names[3:]} == {1.17}
    assert {imagenet[name].adapter.search_sharpness for name in names[3:]} == {7.0}
    assert [imagenet[name].training.epochs for name in names[3:]] == [30, 30, 30]
    assert {eurosat[name].training.epochs for name in names[3:]} == {100}
    assert load_methods(names, dataset="my photos") == load_methods(names)
    flowers = load_methods(["taskres", "taskres_official"], dataset="oxford_flowers")
    assert [method.adapter.residual_scale for method in flowers.values()] == [1.0, 1.0]


def test_layers_go_to_those_that_extend_a_preset_unless_they_have_their_own(tmp_path):
    ours = "[taskres.training]\nlearning_rate = 0.5\nweight_decay = 0.25\n"
    write(tmp_path, tuned=f"{ours}[hc_tr.training]\nlearning_rate = 0.7")
    names = ["taskres", "hc_tr", "hc_tr_paper"]

    def rates(*overrides):
        methods = load_methods(
            names, dataset="imagenet", tuned=str(tmp_path / "tuned.toml"), overrides=overrides
        )
        assert {method.training.weight_decay for method in methods.values()} == {0.25}
        return [method.training.learning_rate for method in methods.values()]

    assert rates() == [0.5, 0.7, 0.7]
    assert rates("hc_tr.training.learning_rate=0.9") == [0.5, 0.9, 0.9]
    assert rates("taskres.training.learning_rate=0.9") == [0.9, 0.7, 0.7]
    both = ("taskres.training.learning_rate=0.9", "hc_tr_paper.training.learning_rate=2")
    assert rates(*both) == [0.9, 0.7, 2.0]


@pytest.mark.parametrize("method", ["hc_tr", "hc_taf"])
def test_an_ablation_keeps_what_it_leaves_out(method):
    names = [method, f"{method}_tc", f"{method}_dp", f"{method}_p1"]
    sets = ("weight=0.3", "perturbation_weight=7.0", "coincidence_weight=2.0", "dimensions=[0]")
    methods = load_methods(names, overrides=[f"{method}.constraint.{text}" for text in sets])
    whole, coincidence, perturbation, loops = (m.constraint for m in methods.values())
    assert {c.weight for c in (whole, coincidence, perturbation, loops)} == {0.3}
    assert (coincidence.coincidence_weight, coincidence.perturbation_weight) == (2.0, 0.0)
    assert (perturbation.coincidence_weight, perturbation.perturbation_weight) == (0.0, 7.0)
    assert (loops.perturbation_weight, loops.dimensions) == (7.0, (0, 1))


def test_a_preset_of_ones_own_extends_a_shipped_one(tmp_path):
    write(
        tmp_path,
        mine='title = "Mine"\nextends = "hc_tr"\n[constraint]\nweight = 0.3',
        more='title = "More"\nextends = "mine.toml"\n[training]\nepochs = 7',
    )
    names = ["hc_tr", str(tmp_path / "mine.toml"), str(tmp_path / "more.toml")]
    shipped, mine, more = load_methods(names, dataset="imagenet").values()
    assert list(load_methods(names)) == ["hc_tr", "mine", "more"]
    assert lineage(names[2]) == ["taskres", *names]
    assert mine == dataclasses.replace(
        shipped, title="Mine", constraint=dataclasses.replace(shipped.constraint, weight=0.3)
    )
    assert more == dataclasses.replace(
        mine,
        title="More",
        training=dataclasses.replace(mine.training, epochs=7, epochs_from_8_shots=0),
    )
    overrides = ["mine.training.batch_size=8", "more.title=Most", "hc_tr.training.eps=1e-3"]
    changed = load_methods(names, overrides=overrides)
    assert [method.training.batch_size for method in changed.values()] == [256, 8, 8]
    assert [method.title for method in changed.values()] == ["HC-TR", "Mine", "Most"]
    assert {method.training.eps for method in changed.values()} == {1e-3}


def test_files_in_the_working_folder_do_not_replace_shipped_presets(tmp_path, monkeypatch):
    expected = load_methods(["hc_tr"], dataset="imagenet")
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path,
        taskres='title = "Other"\nextends = "taskres"\n[training]\nepochs = 3',
        datasets="[imagenet.taskres.training]\nepochs = 4",
        caltech101_devise="[taskres.training]\nepochs = 5",
    )
    assert load_methods(["hc_tr"], dataset="imagenet") == expected
    tuned = load_methods(["taskres"], tuned="caltech101_devise.toml")["taskres"]
    assert tuned.training.epochs == 5  # other files do


EXTENDS = r"`a.toml: extends` should be a shipped preset or a TOML file\. Got "
CIRCLE = r"`a.toml` should not extend itself\. Got a circle: "
KNOWN = r"tuned.toml` should hold tables of zero_shot, .*taskres, "
OWN_NAME = r"`.*\.toml` should have a name without `\.` and `=` that .* shipped preset\. Got "
FILES = [
    ({}, ["nothing.toml"], r"`nothing.toml` should be a file or a shipped preset"),
    ({"a": 'extends = "a.toml"'}, ["a.toml"], CIRCLE + r"a.toml -> a.toml\."),
    (
        {"a": 'extends = "b.toml"', "b": 'extends = "./a.toml"'},
        ["a.toml"],
        CIRCLE + "a.toml -> b.toml -> a",
    ),
    ({"a": 'extends = "coop"'}, ["a.toml"], EXTENDS + "'coop'"),
    ({"a": "extends = 5"}, ["a.toml"], EXTENDS + "5"),
    ({"a": 'extends = ["taskres"]'}, ["a.toml"], EXTENDS),
    ({"a": 'extends = "b.toml"'}, ["a.toml"], r"b.toml` should be a file or a shipped preset"),
    ({"a": 'extends = "b.toml"', "b": "title ="}, ["a.toml"], r"`b.toml` should be TOML\. Got: "),
    ({"a": 'extends = "taskres"\nadapter = 5'}, ["a.toml"], "`a.toml.adapter` should be of type t"),
    ({"a": '[adapter]\nkind = "taskres"'}, ["a.toml"], r"`a.toml.title` should be given"),
    (
        {"a": 'extends = "taskres"\n[train]\nepochs = 5'},
        ["a.toml"],
        "`a.toml.train` should be a kn",
    ),
    ({}, ["taskres", "taskres"], r"should have different names\. Got 'taskres' twi"),
    ({"taskres": 'extends = "taskres"'}, ["taskres", "taskres.toml"], r"Got 'taskres' twice"),
    ({"taskres": 'extends = "taskres"'}, ["taskres.toml"], OWN_NAME + r"'taskres'\. Rename"),
    ({"my.own": 'extends = "taskres"'}, ["my.own.toml"], OWN_NAME + r"'my.own'\. Rename"),
    (
        {"a": 'extends = "hc_tr.toml"', "hc_tr": 'extends = "hc_tr"'},
        ["a.toml"],
        "`hc_tr.toml` should have a name",
    ),
    ({"tuned": "[tasres.training]\nepochs = 1\n"}, ["taskres"], KNOWN),
    ({"tuned": "taskres = 5\n"}, ["taskres"], KNOWN),
]


@pytest.mark.parametrize(("files", "names", "text"), FILES)
def test_files_that_cannot_be_read(tmp_path, monkeypatch, files, names, text):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, **files)
    with refused(text):
        load_methods(names, tuned="tuned.toml" if "tuned" in files else None)
