"""Presets: what they hold, what lies over them, and what is refused."""

import re

import pytest
from vlm_adapters.config import PRESETS, Method, build, load_methods, read_toml

NAMES = ("zero_shot", "taskres", "hc_tr", "tip_adapter_f", "hc_taf")


def test_presets_follow_the_specification():
    methods = load_methods(NAMES)
    taskres, tip = methods["taskres"], methods["tip_adapter_f"]
    assert (taskres.training.epochs, taskres.training.epochs_from_8_shots) == (100, 200)
    assert taskres.training.weight_decay == 5e-4
    assert taskres.training.drop_last
    assert (tip.training.optimizer, tip.training.eps, tip.training.weight_decay) == (
        "adamw", 1e-4, 0.01,
    )  # fmt: skip
    assert methods["hc_tr"].constraint.combination == "constant"
    assert methods["hc_taf"].constraint.norm == "rowwise"


@pytest.mark.parametrize(
    ("plain", "constrained"), [("taskres", "hc_tr"), ("tip_adapter_f", "hc_taf")]
)
def test_constrained_presets_differ_only_in_the_constraint(plain, constrained):
    a, b = load_methods((plain, constrained)).values()
    assert (a.adapter, a.training, a.protocol) == (b.adapter, b.training, b.protocol)
    assert a.constraint.weight == 0
    assert b.constraint.weight > 0


def test_tuned_values_lie_over_presets_and_overrides_over_both(tmp_path):
    tuned = tmp_path / "tuned.toml"
    tuned.write_text(
        "[taskres.training]\nlearning_rate = 0.5\nepochs = 7\n[hc_tr.training]\nx = 1\n"
    )
    methods = load_methods(
        ["taskres"], tuned=str(tuned), overrides=["taskres.training.epochs=9", "taskres.title=Mine"]
    )
    assert methods["taskres"].training.learning_rate == 0.5
    assert methods["taskres"].training.epochs == 9
    assert methods["taskres"].title == "Mine"
    assert methods["taskres"].training.weight_decay == 5e-4


@pytest.mark.parametrize(
    ("override", "text"),
    [
        (
            "taskres.training.learning_rat=1",
            r"`taskres.training.learning_rat` should be a known key",
        ),
        (
            "taskres.training.epochs=many",
            r"`taskres.training.epochs` should be of type int. Got 'many'",
        ),
        ("taskres.training.epochs=1.5", r"should be of type int. Got 1.5"),
        ("taskres.training.drop_last=1", r"should be of type bool. Got 1"),
        ("taskres.training=1", r"`taskres.training` should be of type TrainingOptions. Got 1"),
        ("hc.training.epochs=1", r"`--set` should begin with a preset: taskres"),
        ("taskres=1", r"`--set` should be `preset.section.key=value`"),
        ("taskres.training.epochs", r"`--set` should be `preset.section.key=value`"),
    ],
)
def test_bad_overrides(override, text):
    with pytest.raises(ValueError, match=text):
        load_methods(["taskres"], overrides=[override])


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("taskres.adapter.kind=coop", '`adapter.kind` should be one of "zero_shot", "taskres"'),
        ("taskres.training.optimizer=sgd", '`training.optimizer` should be one of "adam", "adamw"'),
        ("taskres.training.schedule=step", '`training.schedule` should be one of "epoch_cosine"'),
        ("taskres.training.epochs=0", "`training.epochs` should be 1 or more. Got 0"),
        ("taskres.training.batch_size=-1", "`training.batch_size` should be 1 or more. Got -1"),
        ("taskres.constraint.combination=sum", '`constraint.combination` should be one of "con'),
        ("taskres.constraint.norm=row", '`constraint.norm` should be one of "global"'),
        ("taskres.constraint.related=none", '`constraint.related` should be one of "endpoints"'),
        ("taskres.constraint.undirected=drop", '`constraint.undirected` should be one of "skip"'),
        ("taskres.protocol=last+val_search", '`protocol` should be one of "last". Got'),
    ],
)
def test_unknown_choices(override, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        load_methods(["taskres"], overrides=[override])


def test_every_preset_loads():
    assert set(load_methods(PRESETS)) == set(PRESETS)
    with pytest.raises(ValueError, match=r"`methods` should be one of .* Got 'coop'"):
        load_methods(["coop"])


@pytest.mark.parametrize("text", ["[tasres.training]\nepochs = 1\n", "taskres = 5\n"])
def test_tuned_files_with_unknown_tables(tmp_path, text):
    tuned = tmp_path / "tuned.toml"
    tuned.write_text(text)
    with pytest.raises(ValueError, match=r"tuned.toml` should hold tables of zero_shot, taskres"):
        load_methods(["taskres"], tuned=str(tuned))


def test_a_file_in_the_working_folder_comes_before_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "caltech101_devise.toml").write_text("[taskres.training]\nepochs = 3\n")
    methods = load_methods(["taskres"], tuned="caltech101_devise.toml")
    assert methods["taskres"].training.epochs == 3


def test_missing_key():
    with pytest.raises(ValueError, match=r"`mine.title` should be given"):
        build(Method, {"adapter": {"kind": "taskres"}}, "mine")


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`nothing.toml` should be a file or a"):
        read_toml("nothing.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("= 1")
    with pytest.raises(ValueError, match=r"broken.toml` should be TOML. Got: "):
        read_toml(str(broken))
