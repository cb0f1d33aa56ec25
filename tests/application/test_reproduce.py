"""The scripts' own plans: jobs, commands, and their way through the report, without training."""

import dataclasses
import shlex
from pathlib import Path

import pytest
import typer
from application.helpers import python
from application.synthetic_runs import run_of
from vlm_adapters.cli import UsageError, app
from vlm_adapters.cli.inputs import DEFAULTS, Inputs, read_inputs
from vlm_adapters.cli.report import PLANS, print_transfers, sweeps
from vlm_adapters.experiments import Sweep
from vlm_adapters.results.report import write_run_report

TABLES = (1, 2, 3, 4, 5)


def planned(plan, folder=Path("out"), backbone="open_clip/{model}/openai", **changes):
    inputs = Inputs(root=Path("data"), backbone=backbone)
    return list(sweeps(plan, Sweep(inputs, (), (), (1, 2), folder, **changes)))


def methods_of(sweep):
    return {job.preset: job.method for job in sweep.jobs()}


def runs_of(plan, folder):
    """A run with an invented accuracy for each job of a plan."""
    return [
        run_of(
            job.method,
            job.preset,
            60.0 + number % 7,
            shots=job.shots,
            seed=job.seed,
            dataset=sweep.inputs.name,
            backbone=sweep.inputs.backbone,
            data="cached",
            epochs=2,
        )
        for sweep in planned(plan, folder)
        for number, job in enumerate(sweep.jobs())
    ]


ROWS = {
    1: "HC-TR (paper)",
    2: "HC-TR, ResNet-50 (paper)",
    3: "TaskRes, TC yes, DP yes (paper)",
    4: "HC-TR, eta 5 (lambda 2.5) (paper)",
    5: "HC-TR, 16-shot (paper)",
}


@pytest.mark.parametrize("table", TABLES)
def test_a_plan_goes_through_the_report(table, tmp_path):
    # Drawing four backbones, or eleven data sets, takes long.
    shorter = {2: {"models": PLANS[2].models[:2]}}
    shorter[5] = {"datasets": ("imagenet", "dtd"), "shots": (1, 16)}
    plan = dataclasses.replace(PLANS[table], **shorter.get(table, {}))
    runs = runs_of(plan, tmp_path)
    moved = [
        dataclasses.replace(run, dataset=target, log=[]) for run in runs for target in plan.targets
    ]
    write_run_report(tmp_path, runs, compare_paper=table, transfers=moved)
    text = (tmp_path / "results.md").read_text()
    assert f"table {table}, accuracy" in text
    assert ROWS[table] in text


@pytest.mark.parametrize("tuned", [False, True])
@pytest.mark.parametrize("table", TABLES)
def test_no_run_is_made_twice(table, tuned, tmp_path):
    for dataset in PLANS[table].datasets:
        (tmp_path / f"{dataset}.toml").write_text(
            "[hc_tr.constraint]\nweight = 0.2\nperturbation_weight = 3.0\n"
            "[hc_taf.constraint]\nweight = 0.3\nperturbation_weight = 50.0\n"
        )
    options = {"tuned": f"{tmp_path}/{{dataset}}.toml"} if tuned else {}
    jobs = [
        (sweep.inputs.backbone, sweep.inputs.name, repr(job.method), job.shots, job.seed)
        for sweep in planned(PLANS[table], **options)
        for job in sweep.jobs()
    ]
    assert len(jobs) == len(set(jobs))


def test_factors_of_table_4_are_the_papers():
    weights = {}
    for sweep in planned(PLANS[4]):
        for job in sweep.jobs():
            constraint = job.method.constraint
            weights.setdefault(job.preset, set()).add(
                (round(constraint.weight, 6), constraint.perturbation_weight)
            )
    eta = {(value / 100, 2.5) for value in (5, 10, 15, 20, 25)}
    omega = {(value / 10, 100.0) for value in (1, 2, 3, 4, 5)}
    assert weights["hc_tr"] == eta | {(0.15, value) for value in (1.5, 2.0, 2.5, 3.0, 3.5)}
    assert weights["hc_taf"] == omega | {(0.4, value) for value in (50, 100, 150, 200, 250)}


@pytest.mark.parametrize("table", [1, 2, 3, 5])
def test_the_constraint_is_compared_at_equal_epochs(table):
    for sweep in planned(PLANS[table]):
        methods = methods_of(sweep)
        if "hc_taf" in methods:
            on, off = methods["hc_taf"], methods["hc_taf_off"]
            assert dataclasses.replace(off, title=on.title, constraint=on.constraint) == on
        star = "tip_adapter_f_star"
        pairs = {"hc_tr": "taskres", "hc_tr_star": "taskres_star", "hc_taf_star": star}
        for form, plain in pairs.items():
            if form in methods:
                assert methods[form].training == methods[plain].training
                assert methods[form].text == methods[plain].text


def test_values_are_taken_for_each_data_set_and_backbone():
    found = planned(PLANS[5], tuned="t/{dataset}.toml", backbone="devise")
    assert [sweep.tuned for sweep in found][:2] == ["t/imagenet.toml", "t/caltech101.toml"]
    assert {sweep.inputs.backbone for sweep in found} == {"devise"}
    backbones = [
        sweep.inputs.backbone
        for sweep in planned(PLANS[2], backbone="open_clip/{model}/w/{model}.pt")
    ]
    assert backbones[-1] == "open_clip/ViT-B-16/w/ViT-B-16.pt"


def test_options_of_images_hold_for_every_data_set():
    inputs = Inputs(root=Path("data"), skip_damaged=True, backbone="{model}")
    for sweep in sweeps(PLANS[5], Sweep(inputs, (), (), (1,), Path("out"))):
        assert (sweep.inputs.root, sweep.inputs.skip_damaged) == (Path("data"), True)


def test_commands_of_table_2_name_the_targets(capsys):
    sweep = planned(PLANS[2])[0]
    print_transfers(sweep, PLANS[2].targets)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 * len(sweep.jobs())
    assert lines[0].startswith("vlm-adapters evaluate out/RN50/zero_shot/imagenet/16shot/seed1")
    assert "--dataset=imagenetv2 --root=data" in lines[0]


def test_printed_evaluations_are_those_that_the_table_makes(capsys):
    """With the options of images that hold for its runs."""
    given = {"root": Path("my data"), "skip_damaged": True, "batch_size": 7, "device": "cuda"}
    inputs = Inputs(dataset="imagenet", **given, published_pixels=True)
    sweep = Sweep(inputs, ("zero_shot",), (1,), (1,), Path("out"))
    print_transfers(sweep, ["imagenetv2"])
    program, name, *words = shlex.split(capsys.readouterr().out)
    assert (program, name) == ("vlm-adapters", "evaluate")
    evaluate = typer.main.get_command(app).commands["evaluate"]
    values = evaluate.make_context("evaluate", words).params
    found = {key: values[key] for key in DEFAULTS if key in values}
    assert read_inputs(**found) == dataclasses.replace(inputs, dataset="imagenetv2")


VARIED = "`--set` should leave alone what the table varies"
REFUSED = [
    (2, {"backbone": "devise"}, r"`--backbone` should hold \{model\}.*Got 'devise'"),
    (5, {"tuned": "dtd.toml"}, r"`--tuned` should hold \{dataset\}.*Got 'dtd.toml'"),
    (3, {"overrides": ("hc_trr.a.b=1",)}, r"`--set` should begin with a preset: .*Got 'hc_trr\.a"),
    (4, {"overrides": (" hc_tr.constraint.weight = 0.2",)}, VARIED),
]


@pytest.mark.parametrize(("table", "changes", "text"), REFUSED)
def test_what_a_table_cannot_take(table, changes, text):
    with pytest.raises(UsageError, match=text):
        planned(PLANS[table], **changes)


def test_overrides_are_read_where_a_method_has_them():
    planned(PLANS[4], overrides=("hc_tr.training.epochs=2",))
    overrides = (" hc_taf.constraint.weight=0.25",)
    methods = [methods_of(sweep) for sweep in planned(PLANS[3], overrides=overrides)]
    assert {m["hc_taf"].constraint.weight for m in methods if "hc_taf" in m} == {0.25}


@pytest.mark.parametrize("what", ["4", "figure3"])
def test_a_script_is_the_command(what, tmp_path):
    words = ["-m", "vlm_adapters.reproduce", what, "--out=x", "--dry-run"]
    done = python(*words, cwd=tmp_path, check=False)
    if what == "figure3":
        assert (done.returncode, "No such option: --dry-run" in done.stderr) == (2, True)
    else:
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 18 * 3
        assert done.stdout.startswith("vlm-adapters train --method=hc_tr --shots=16 --seed=1 ")
