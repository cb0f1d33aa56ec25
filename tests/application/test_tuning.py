"""The search plan: budgets, order, and what wins."""

import dataclasses

import pytest
from vlm_adapters.config import load_methods
from vlm_adapters.tuning import Plan, Trial, best, changed, grid, tune

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
