"""The search plan: budgets, order, and what wins."""

import dataclasses
from functools import partial

import pytest
import torch
from vlm_adapters import tuning
from vlm_adapters.config import load_methods, read_toml
from vlm_adapters.training import Diverged, train
from vlm_adapters.tuning import (
    Plan,
    Search,
    Trial,
    best,
    changed,
    grid,
    read_search,
    read_trials,
    tune,
    tuned_values,
    write_trials,
)

LR, DECAY, WEIGHT = "training.learning_rate", "training.weight_decay", "constraint.weight"


def plan_of(shared, refine, constrain, baseline="taskres", constrained="hc_tr"):
    return Plan(baseline, shared, constrained, refine, constrain)


def two_epochs(*presets):
    methods = load_methods(presets)
    return {name: changed(method, {"training.epochs": 2}) for name, method in methods.items()}


def search(*plans, shots=(1,), seeds=(1,), score="last"):
    return Search(list(shots), list(seeds), list(plans), score)


def test_best_breaks_ties_by_cross_entropy():
    results = {1.0: (80.0, 0.5), 2.0: (80.0, 0.4), 3.0: (79.0, 0.1)}
    trials = [Trial("a", "s", {"x": x}, *result) for x, result in results.items()]
    assert best(trials).values == {"x": 2.0}


def test_both_sides_get_one_budget(source):
    methods = two_epochs("taskres", "hc_tr")
    plan = plan_of({LR: [1e-4, 0.1]}, {LR: [0.5, 2.0]}, {WEIGHT: [0.1, 1.0]})
    calls = []
    trials = tune(source, methods, search(plan, seeds=[1, 2]), on_trial=calls.append)
    assert len(calls) == 6
    assert [trial.stage for trial in trials] == ["shared"] * 2 + ["refine"] * 2 + ["constrain"] * 2
    start = best(trials[:2]).values[LR]
    assert [trial.values[LR] for trial in trials[2:4]] == [0.5 * start, 2.0 * start]
    assert [trial.values for trial in trials[4:]] == [{LR: start, WEIGHT: w} for w in (0.1, 1.0)]


def test_shipped_search_gives_both_sides_one_budget_and_other_seeds_than_the_demo():
    shipped = read_search("tune.toml")
    compared = [(plan.baseline, plan.constrained) for plan in shipped.plans]
    assert compared == [("taskres", "hc_tr"), ("tip_adapter_f", "hc_taf")]
    for plan in shipped.plans:
        points = [grid(axes) for axes in (plan.shared, plan.refine, plan.constrain)]
        assert [len(values) for values in points] == [24, 24, 24]
        assert plan.trials() == 72
    assert not set(shipped.seeds) & {1, 2, 3}


def test_tuned_values_are_read_back_beside_overrides(tmp_path):
    trials = [
        Trial("taskres", "shared", {LR: 1e-3, "training.epochs": 6}, 70.0, 1.0),
        Trial("taskres", "refine", {LR: 0.0023456, "training.epochs": 7}, 80.0, 0.9),
        Trial("hc_tr", "constrain", {WEIGHT: 0.015}, 81.0, 0.8),
    ]
    overrides = [
        "taskres.title=Mine",
        "taskres.training.batch_size=9",
        "hc_tr.constraint.norm=rowwise",
        "taskres.training.drop_last=false",
        "tip_adapter_f.adapter.settings={share = 2}",
    ]
    path = tmp_path / "tuned.toml"
    path.write_text(
        tuned_values(trials, "x", also={"taskres": ["tip_adapter_f"]}, overrides=overrides)
    )
    assert "# taskres: best of 2 trials, validation accuracy 80.00 %" in path.read_text()
    names = ["taskres", "tip_adapter_f", "hc_tr"]
    taskres, tip, constrained = load_methods(names, tuned=str(path)).values()
    assert (taskres.title, taskres.training.batch_size, taskres.training.epochs) == ("Mine", 9, 7)
    assert (taskres.training.learning_rate, taskres.training.drop_last) == (0.002346, False)
    assert (tip.training.learning_rate, tip.training.epochs) == (0.002346, 7)
    assert (tip.training.batch_size, tip.adapter.settings) == (256, {"share": 2})
    assert (constrained.constraint.norm, constrained.constraint.weight) == ("rowwise", 0.015)


ONE_PLAN = '[one]\nbaseline = "taskres"\n[one.shared]\n'
ONE, KEY = {LR: [1.0]}, "`training.learning_rate` should be of type float. Got"
NONSENSE = [
    (plan_of(ONE, ONE, ONE, constrained="hc"), "A plan should name shipped presets"),
    (plan_of(ONE, ONE, {WEIGHT: [0.1, 1.0]}), "as many combinations. Got 1 and 2"),
    (plan_of({DECAY: [0.0]}, {DECAY: [1.0]}, ONE), "are not 0. Got"),
    (plan_of({DECAY: [0.1, 0.0]}, {DECAY: [1.0]}, ONE), "are not 0. Got '.*decay'"),
    (plan_of({LR: [1]}, {LR: [0.5]}, ONE), "with a point and are not 0. Got '.*_rate'"),
    (plan_of({"training.rate": [1.0]}, {}, {}), "`training.rate` should be"),
    (plan_of({"rate": [1.0]}, {}, {}), "`rate` should be a key of a preset"),
    (plan_of(ONE, {LR: [0.5]}, {"constraint.wait": [1.0]}), "`constraint.wait` should"),
    (plan_of(ONE, {LR: ["half"]}, {WEIGHT: [1.0]}), KEY),
    (plan_of({"training.epochs": [1.5]}, {}, {}), "`training.epochs` should be of type int."),
]


@pytest.mark.parametrize(("plan", "text"), NONSENSE)
def test_plans_that_make_no_sense(source, plan, text):
    methods = two_epochs("taskres", "hc_tr")
    trials = []
    with pytest.raises(ValueError, match=text):
        tune(source, methods, search(plan), on_trial=trials.append)
    assert trials == []  # it is told before any of them


def test_a_trial_is_the_mean_over_the_tasks(source):
    methods = two_epochs("taskres")
    [trial] = tune(source, methods, search(Plan("taskres", {LR: [0.05]}), shots=[1, 2]))
    accuracies, losses = [], []
    for shots in (1, 2):
        task = source.task(shots, 1)
        adapter = train(task, changed(methods["taskres"], {LR: 0.05})).adapter
        logits = adapter(task.val_features).detach()
        accuracies.append(100 * float((logits.argmax(1) == task.val_labels).double().mean()))
        losses.append(float(torch.nn.functional.cross_entropy(logits, task.val_labels)))
    assert trial.accuracy == pytest.approx(sum(accuracies) / 2)
    assert trial.cross_entropy == pytest.approx(sum(losses) / 2)


def test_what_a_search_needs(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text("""
        shots = [1, 4]
        seeds = [2, 3]
        [one]
        baseline = "taskres"
        constrained = "hc_tr"
        also = ["taskres_official"]
        [one.shared]
        "training.learning_rate" = [1e-3]
        [two]
        baseline = "taskres"
        [two.shared]
    """)
    read = read_search(str(path))
    assert read.draws() == [(1, 2), (1, 3), (4, 2), (4, 3)]
    assert read.presets() == ["taskres", "hc_tr"]
    assert read.also() == {"taskres": ["taskres_official"]}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seeds = [1]", r"plan.toml.shots` should be given"),
        ('shots = [1]\nseeds = [1]\nscore = "best"', r'`.*score` should be one of "headline", "la'),
        ("shots = [1]\nseeds = [1]\n[one]\nbase = 1", r"`one.base` should be a known key: basel"),
        (f"shots = []\nseeds = [1]\n{ONE_PLAN}", "`shots` of a search should be one number or m"),
        (f"shots = [0]\nseeds = [1]\n{ONE_PLAN}", r"plan.toml.shots.0` should be 1 or more"),
        (f"shots = [1]\nseeds = []\n{ONE_PLAN}", "`seeds` of a search should be one number or m"),
        ("shots = [1]\nseeds = [1]", r"`plans` of a search should be one table or more, each a"),
        (
            f"shots = [1]\nseeds = [1]\n{ONE_PLAN}'training.epochs' = []",
            r"`shared.training.epochs` should list one or more values to try\. Got none",
        ),
        *(
            (
                f"shots = [1]\nseeds = [1]\n{ONE_PLAN}[one.{axes}]\n'training.epochs' = []",
                rf"`{axes}.training.epochs` should list one or more values to try\. Got none",
            )
            for axes in ("refine", "constrain")
        ),
    ],
)
def test_plans_that_cannot_be_read(tmp_path, text, told):
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(ValueError, match=told):
        read_search(str(tmp_path / "plan.toml"))


def test_trials_cannot_read_test_images(source, monkeypatch):
    seen = []

    def train_and_look(task, method):
        seen.append(task)
        return train(task, changed(method, {"training.epochs": 1}))

    monkeypatch.setattr(tuning, "train", train_and_look)
    methods = load_methods(["taskres", "hc_tr"])
    plan = plan_of({LR: [1e-3]}, {LR: [1.0]}, {LR: [1e-3]})
    tune(source, methods, search(plan))
    assert seen
    assert all(len(task.test_features) == len(task.test_labels) == 0 for task in seen)


def test_plans_start_from_what_those_before_chose(source):
    methods = two_epochs("hc_tr")
    first = Plan("hc_tr", {WEIGHT: [0.1, 0.2]})
    second = Plan("hc_tr", {LR: [1e-3, 1e-2]})
    trials = tune(source, methods, search(first, second))
    chosen = best(trials[:2]).values[WEIGHT]
    found = [trial.values for trial in trials[2:]]
    assert found == [{WEIGHT: chosen, LR: rate} for rate in (1e-3, 1e-2)]
    assert {trial.stage for trial in trials} == {"shared"}  # there is no constrained form
    assert first.trials() == 2


def test_the_papers_procedure(source, tmp_path):
    """Eta, then lambda at the eta chosen; omega, then lambda."""
    shipped = read_search("tune_paper.toml")
    assert (shipped.shots, shipped.score) == ([16], "headline")
    assert shipped.trials() == 20
    short = dataclasses.replace(shipped, shots=[2])
    found = tune(source, two_epochs("hc_tr", "hc_taf"), short)
    path = tmp_path / "tuned.toml"
    path.write_text(tuned_values(found, "somewhere"))
    tuned = load_methods(["hc_tr", "hc_tr_star", "hc_taf", "hc_taf_star"], tuned=str(path))
    for family in ("hc_tr", "hc_taf"):
        trials = [trial for trial in found if trial.preset == family]
        assert [trial.values.keys() for trial in trials[5:]] == [
            {WEIGHT, "constraint.perturbation_weight"}
        ] * 5
        assert tuned[family].constraint.weight == best(trials).values[WEIGHT]
        assert tuned[family].constraint.weight == tuned[f"{family}_star"].constraint.weight


@pytest.fixture
def made(monkeypatch):
    """The methods of the trials that were made."""
    calls, original = [], tuning._validate
    monkeypatch.setattr(tuning, "_validate", lambda s, m: calls.append(m) or original(s, m))
    return calls


def kept_search(source, methods, search, file):
    """A search that goes on from a file, as the command does."""
    known = read_trials(file)
    keep = partial(write_trials, file, known=known)
    return tune(source, methods, search, known=known, on_trial=keep)


def test_an_interrupted_search_goes_on(source, tmp_path, made):
    methods, file = two_epochs("taskres", "hc_tr"), tmp_path / "trials.json"
    plan = plan_of({LR: [1e-4, 0.1]}, {LR: [0.5, 2.0]}, {WEIGHT: [0.1, 1.0]})
    whole = tune(source, methods, search(plan))

    def interrupt(found):
        write_trials(file, found, [])
        if len(found) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(source, methods, search(plan), on_trial=interrupt)
    assert read_trials(file) == whole[:3]
    assert read_trials(tmp_path / "none.json") == []
    made.clear()
    again = kept_search(source, methods, search(plan), file)
    assert again == whole == read_trials(file)
    assert len(made) == 3


def test_known_trials_are_kept_whatever_is_searched(source, tmp_path, made):
    """Another grid, another preset beside it, an interruption at once: nothing is lost."""
    file = tmp_path / "trials.json"
    first = tune(source, two_epochs("taskres"), search(Plan("taskres", {LR: [1e-4, 0.1]})))
    write_trials(file, first, [])
    more = search(Plan("clip_adapter", {LR: [1e-3]}), Plan("taskres", {LR: [0.5, 0.1, 1e-4]}))
    made.clear()
    second = kept_search(source, two_epochs("taskres", "clip_adapter"), more, file)
    assert len(made) == 2
    kept = read_trials(file)
    assert {trial.identity for trial in kept} == {t.identity for t in [*first, *second]}
    write_trials(file, second[:1], kept)
    assert len(read_trials(file)) == len(kept)


def test_what_a_trial_depends_on(source, tmp_path):
    def identity(method, **options):
        plan = Plan("taskres", {LR: [1e-3]})
        [trial] = tune(source, {"taskres": method}, search(plan, **options))
        return trial.identity

    plain = two_epochs("taskres")["taskres"]
    renamed = dataclasses.replace(plain, title="Another title")
    assert identity(plain) == identity(renamed)
    others = [
        identity(plain, seeds=[2]),
        identity(plain, score="headline"),
        identity(changed(plain, {DECAY: 0.5})),
    ]
    assert len({identity(plain), *others}) == 3  # TaskRes's headline is its last epoch
    text = dataclasses.replace(plain.text, projection="tuned", checkpoint=str(tmp_path / "base"))
    with_base = dataclasses.replace(plain, text=text)
    with pytest.raises(FileNotFoundError, match=r"`text\.checkpoint` should be a file"):
        identity(with_base)
    hashes = []
    for content in (b"one", b"two"):
        (tmp_path / "base").write_bytes(content)
        hashes.append(tuning._identity(with_base, [], search(Plan("taskres", {}))))
    assert hashes[0] != hashes[1]


def test_words_and_lists_can_be_searched(source, tmp_path):
    axes = {"training.optimizer": ["adam", "adamw"], "constraint.dimensions": [[0], [0, 1]]}
    found = tune(source, two_epochs("taskres"), search(Plan("taskres", axes)))
    write_trials(tmp_path / "trials.json", found, [])
    assert read_trials(tmp_path / "trials.json") == found
    (tmp_path / "tuned.toml").write_text(tuned_values(found, "somewhere"))
    tuned = load_methods(["taskres"], tuned=str(tmp_path / "tuned.toml"))["taskres"]
    assert tuned.training.optimizer == best(found).values["training.optimizer"]
    assert list(tuned.constraint.dimensions) == best(found).values["constraint.dimensions"]


def test_a_trial_that_diverges_loses(source, monkeypatch):
    def diverging(task, method):
        if method.training.learning_rate > 1:
            raise Diverged("The loss should be finite.")
        return train(task, method)

    monkeypatch.setattr(tuning, "train", diverging)
    plan = Plan("taskres", {LR: [1e30, 1e-3]})
    lost, found = tune(source, two_epochs("taskres"), search(plan))
    assert (lost.accuracy, lost.cross_entropy) == (0.0, 1e30)
    assert best([lost, found]) is found


def test_a_cache_model_is_scored_after_the_search_that_its_headline_has(source):
    methods = two_epochs("tip_adapter_f")
    plan = Plan("tip_adapter_f", {"adapter.sharpness": [8.0]})
    [last] = tune(source, methods, search(plan, shots=[4]))
    [headline] = tune(source, methods, search(plan, shots=[4], score="headline"))
    assert headline.accuracy >= last.accuracy  # its factors are the best on these images
    assert headline.cross_entropy != last.cross_entropy


@pytest.mark.parametrize("name", ["a\nb = 1", "bell\x07", "delete\x7f", "owl 🦉"])
def test_any_name_of_a_data_set_gives_toml(tmp_path, name):
    path = tmp_path / "tuned.toml"
    trials = [Trial("taskres", "shared", {LR: 0.25}, 1.0, 2.0)]
    overrides = ["taskres.regularizer.settings.two words\x7f=1"]
    text = tuned_values(trials, f"[1] shots; {name}", dataset=name, overrides=overrides)
    path.write_text(text, encoding="utf-8")
    assert read_toml(str(path)).keys() == {"dataset", "taskres"}
    assert read_toml(str(path))["dataset"] == name
    assert read_toml(str(path))["taskres"]["regularizer"]["settings"] == {"two words\x7f": 1}


def test_values_of_another_data_set_are_refused(tmp_path):
    path = tmp_path / "tuned.toml"
    trials = [Trial("taskres", "shared", {LR: 0.25}, 1.0, 2.0)]
    path.write_text(tuned_values(trials, "somewhere", dataset="dtd"))
    for dataset in ("dtd", None):
        loaded = load_methods(["taskres"], dataset=dataset, tuned=str(path))
        assert loaded["taskres"].training.learning_rate == 0.25
    with pytest.raises(ValueError, match=r"values tuned on ucf101\. Got those of dtd\. Tune on"):
        load_methods(["taskres"], dataset="ucf101", tuned=str(path))
