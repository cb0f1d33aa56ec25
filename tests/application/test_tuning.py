"""The search plan: budgets, order, and what wins."""

import dataclasses

import pytest
from vlm_adapters.config import load_methods
from vlm_adapters.tuning import (
    Plan,
    Trial,
    best,
    changed,
    grid,
    read_search,
    tune,
    tuned_values,
)

LR, DECAY, WEIGHT = "training.learning_rate", "training.weight_decay", "constraint.weight"


def test_grid():
    assert grid({"a": [1, 2], "b": [3, 4]}) == [
        {"a": 1, "b": 3}, {"a": 1, "b": 4}, {"a": 2, "b": 3}, {"a": 2, "b": 4},
    ]  # fmt: skip


def test_best_breaks_ties_by_cross_entropy():
    trials = [
        Trial("a", "s", {"x": 1.0}, 80.0, 0.5),
        Trial("a", "s", {"x": 2.0}, 80.0, 0.4),
        Trial("a", "s", {"x": 3.0}, 79.0, 0.1),
    ]
    assert best(trials).values == {"x": 2.0}


def test_changed():
    method = load_methods(["hc_tr"])["hc_tr"]
    new = changed(method, {LR: 7.0, WEIGHT: 3.0})
    assert (new.training.learning_rate, new.constraint.weight) == (7.0, 3.0)
    assert (
        dataclasses.replace(new, training=method.training, constraint=method.constraint) == method
    )


def test_both_sides_get_one_budget(bundle):
    methods = {
        name: changed(method, {"training.epochs": 2})
        for name, method in load_methods(["taskres", "hc_tr"]).items()
    }
    plan = Plan("taskres", "hc_tr", {LR: [1e-4, 0.1]}, {LR: [0.5, 2.0]}, {WEIGHT: [0.1, 1.0]})
    calls = []
    trials = tune(bundle, methods, plan, [1], [1, 2], on_trial=lambda: calls.append(1))
    assert len(calls) == 6
    assert [trial.stage for trial in trials] == ["shared"] * 2 + ["refine"] * 2 + ["constrain"] * 2
    start = best(trials[:2]).values[LR]
    assert [trial.values[LR] for trial in trials[2:4]] == [0.5 * start, 2.0 * start]
    assert [trial.values for trial in trials[4:]] == [
        {LR: start, WEIGHT: 0.1}, {LR: start, WEIGHT: 1.0},
    ]  # fmt: skip


def test_uneven_budgets_are_refused(bundle):
    methods = load_methods(["taskres", "hc_tr"])
    plan = Plan("taskres", "hc_tr", {LR: [1e-3]}, {DECAY: [1.0]}, {WEIGHT: [0.1, 1.0]})
    with pytest.raises(
        ValueError, match=r"`refine` and `constrain` should have as many .* 1 and 2"
    ):
        tune(bundle, methods, plan, [1], [1])


def test_shipped_search_gives_both_sides_one_budget_and_other_seeds_than_the_demo():
    search = read_search("tune.toml")
    assert [(plan.baseline, plan.constrained) for plan in search.plans] == [
        ("taskres", "hc_tr"), ("tip_adapter_f", "hc_taf"),
    ]  # fmt: skip
    for plan in search.plans:
        points = [grid(axes) for axes in (plan.shared, plan.refine, plan.constrain)]
        assert [len(values) for values in points] == [24, 24, 24]
        assert plan.trials() == 72
        assert all(value > 0 for axes in plan.shared.values() for value in axes)  # factors count
    assert not set(search.seeds) & {1, 2, 3}


def test_search_without_shots(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text("seeds = [1]\n")
    with pytest.raises(ValueError, match=r"plan.toml.shots` should be given"):
        read_search(str(path))


def test_tuned_values_are_read_back(tmp_path):
    trials = [
        Trial("taskres", "shared", {LR: 1e-3, DECAY: 0.5}, 70.0, 1.0),
        Trial("taskres", "refine", {LR: 0.0023456, DECAY: 0.5}, 80.0, 0.9),
        Trial("hc_tr", "constrain", {LR: 1e-3, WEIGHT: 0.015}, 81.0, 0.8),
    ]
    path = tmp_path / "tuned.toml"
    path.write_text(tuned_values(trials, "somewhere"))
    methods = load_methods(["taskres", "hc_tr"], tuned=str(path))
    assert methods["taskres"].training.learning_rate == 0.002346
    assert methods["taskres"].training.weight_decay == 0.5
    assert methods["hc_tr"].constraint.weight == 0.015
    assert "best of 2 trials: validation accuracy 80.00 %" in path.read_text()


@pytest.mark.parametrize(
    ("plan", "text"),
    [
        (
            Plan("taskres", "hc", {LR: [1.0]}, {LR: [1.0]}, {LR: [1.0]}),
            "A plan should name presets",
        ),
        (Plan("taskres", "hc_tr", {DECAY: [0.0]}, {DECAY: [1.0]}, {LR: [1.0]}), "are not 0. Got"),
        (Plan("taskres", "hc_tr", {LR: [1e-3]}, {DECAY: [1.0]}, {LR: [1.0]}), "are not 0. Got"),
        (Plan("taskres", "hc_tr", {"training.rate": [1.0]}, {}, {}), "`training.rate` should be"),
        (Plan("taskres", "hc_tr", {"rate": [1.0]}, {}, {}), "`rate` should be a key of a preset"),
    ],
)
def test_plans_that_make_no_sense(bundle, plan, text):
    methods = {
        name: changed(method, {"training.epochs": 1})
        for name, method in load_methods(["taskres", "hc_tr"]).items()
    }
    with pytest.raises(ValueError, match=text):
        tune(bundle, methods, plan, [1], [1])


def test_trials_cannot_read_test_images(bundle, monkeypatch):
    from vlm_adapters import tuning

    seen = []
    monkeypatch.setattr(tuning, "_validate", lambda tasks, method: seen.extend(tasks) or (1.0, 1.0))
    methods = load_methods(["taskres", "hc_tr"])
    plan = Plan("taskres", "hc_tr", {LR: [1e-3]}, {LR: [1.0]}, {LR: [1e-3]})
    tune(bundle, methods, plan, [1], [1])
    assert seen
    assert all(len(task.test_features) == len(task.test_labels) == 0 for task in seen)
