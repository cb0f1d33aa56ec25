"""Presets: what they hold, what lies over them, and what is refused."""

import pytest
from vlm_adapters.config import Method, build, load_methods, read_toml

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
        "[taskres.training]\nlearning_rate = 0.5\nepochs = 7\n[other.training]\nx = 1\n"
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


def test_missing_key():
    with pytest.raises(ValueError, match=r"`mine.title` should be given"):
        build(Method, {"adapter": {"kind": "taskres"}}, "mine")


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`nothing.toml` should be a preset"):
        read_toml("nothing.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("= 1")
    with pytest.raises(ValueError, match=r"broken.toml` should be TOML. Got: "):
        read_toml(str(broken))


def test_search_plan_has_grids_of_one_size():
    plan = read_toml("tune.toml")
    for side in (plan["residual"], plan["cache"]):
        sizes = []
        for grid in ("shared", "refine", "constrain"):
            size = 1
            for values in side[grid].values():
                size *= len(values)
            sizes.append(size)
        assert len(set(sizes)) == 1


def test_tuning_seeds_are_not_those_of_the_demo():
    assert not set(read_toml("tune.toml")["seeds"]) & {1, 2, 3}
