"""The whole command line on synthetic data sets with a tiny open_clip model, offline."""

import dataclasses
import errno
import json
import re
import shutil
import sys
from types import SimpleNamespace

import pytest
from application.synthetic_data import write_dataset
from application.tiny_clip import write_tiny_clip
from PIL import Image
from vlm_adapters.cli import UsageError, report, run
from vlm_adapters.cli.report import Plan, run_plan
from vlm_adapters.experiments import Sweep
from vlm_adapters.features import store as store_module
from vlm_adapters.inputs import FeatureInputs, ImageInputs
from vlm_adapters.training import Diverged

TR = "--set=taskres.training.epochs=2"
TAF = "--set=tip_adapter_f.training.epochs=2"
FAST = (TR, TAF, "--set=hc_taf.training.epochs=2")


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    files = write_tiny_clip(tmp_path_factory.mktemp("tiny"))
    return f"open_clip/local-dir:{files['local_dir']}"


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for name in ("caltech101", "imagenet", "imagenet_a"):
        write_dataset(root, name)
    return root


@pytest.fixture
def photos(tmp_path):
    for name, colour in {"cat": (200, 50, 50), "dog": (50, 200, 50), "owl": (50, 50, 200)}.items():
        folder = tmp_path / "photos" / name
        folder.mkdir(parents=True)
        for number in range(10):
            noise = Image.effect_noise((40, 36), 60).convert("RGB")
            Image.blend(noise, Image.new("RGB", (40, 36), colour), 0.7).save(
                folder / f"{number}.png"
            )
    return tmp_path / "photos"


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run the command in this process; returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def run_command(*arguments):
        monkeypatch.setattr(sys, "argv", ["vlm-adapters", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            run()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return SimpleNamespace(code=stopped.value.code or 0, out=out, err=err)

    return run_command


def one_line(result, code, text):
    """The right exit code and one line that says what is wrong."""
    assert result.code == code, result.err
    lines = [line for line in result.err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert text in lines[0]


def inputs(root, backbone, dataset="caltech101"):
    return (f"--dataset={dataset}", f"--root={root}", f"--backbone={backbone}", "--views=2")


def test_from_data_to_report(call, root, backbone, tmp_path):
    common = inputs(root, backbone)
    assert "Everything is there." in call("data", "check", *common[:2], "--partial").out
    extracted = call("extract", *common, "--shots=1,2", "--seeds=1,2")
    assert extracted.code == 0, extracted.err
    listed = call("data", "store").out.splitlines()
    assert len(listed) == 2
    assert all(re.fullmatch(r"features/caltech101-\S+: \d+ images, 0\.\d MiB", x) for x in listed)
    assert call("data", "store", "--store=none").out == "none has no features.\n"
    sweep = (
        "sweep",
        *common,
        "--shots=1,2",
        "--seeds=1,2",
        "--jobs=1",
        *FAST,
        "--methods=zero_shot,taskres,hc_tr,hc_tr_star,tip_adapter_f,hc_taf",
    )
    plan = call(*sweep, "--dry-run")
    commands = plan.out.splitlines()
    assert len(commands) == 6 * 2 * 2
    assert all(line.startswith("vlm-adapters train --method=") for line in commands)
    assert "24 runs, 0 of them done" in plan.err
    first = call(*sweep, "--json")
    assert first.code == 0, first.err
    results = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("result.json")}
    assert len(results) == 24
    again = call(*sweep, "--json")
    assert json.loads(again.out) == json.loads(first.out)
    assert results == {file: file.stat().st_mtime_ns for file in results}
    assert len(list((tmp_path / "runs" / "few_shot").glob("*.json"))) == 4
    report = call("report", "runs")
    assert report.code == 0, report.err
    assert {"results.csv", "results.md", "accuracy.png", "training.png"} <= {
        file.name for file in (tmp_path / "runs").iterdir()
    }


def test_a_printed_command_makes_the_run_of_its_sweep(call, root, backbone, tmp_path):
    sweep = (
        "sweep",
        *inputs(root, backbone),
        "--shots=1",
        "--seeds=3",
        "--methods=hc_tr",
        "--jobs=1",
        TR,
    )
    [command] = call(*sweep, "--dry-run").out.splitlines()
    assert call(*command.split()[1:]).code == 0
    made = (tmp_path / "runs/hc_tr/caltech101/1shot/seed3/result.json").stat().st_mtime_ns
    assert call(*sweep).code == 0
    assert (tmp_path / "runs/hc_tr/caltech101/1shot/seed3/result.json").stat().st_mtime_ns == made


def test_tuned_values_are_taken_up(call, root, backbone, tmp_path):
    (tmp_path / "plan.toml").write_text(
        'shots = [1]\nseeds = [5]\n[a]\nbaseline = "zero_shot_star"\nalso = ["hc_tr_star"]\n'
        '[a.shared]\n"text.epochs" = [1, 2]\n'
        '[b]\nbaseline = "taskres"\nconstrained = "hc_tr"\n'
        '[b.shared]\n"training.learning_rate" = [0.001, 0.01]\n'
        '[b.refine]\n"training.learning_rate" = [0.5, 2.0]\n'
        '[b.constrain]\n"constraint.weight" = [0.1, 0.2]\n'
    )
    tuned = call(
        "tune",
        *inputs(root, backbone),
        "--plan=plan.toml",
        "--jobs=1",
        "--set=taskres.training.epochs=2",
    )
    assert tuned.code == 0, tuned.err
    text = (tmp_path / "tuned.toml").read_text()
    assert "hc_tr_star.text." in text
    assert "\ntaskres.training.epochs = 2\n" in text
    run_with = call(
        "train",
        *inputs(root, backbone),
        "--tuned=tuned.toml",
        "--method=hc_tr",
        "--shots=1",
        "--json",
    )
    [record] = json.loads(run_with.out)
    assert record["config"]["training"]["epochs"] == 2
    assert record["config"]["constraint"]["weight"] in (0.1, 0.2)


def test_domain_generalisation(call, root, backbone, tmp_path):
    trained = call(
        "train",
        *inputs(root, backbone, "imagenet"),
        "--method=hc_taf",
        "--shots=2",
        "--out=run",
        TAF,
        FAST[2],
    )
    assert trained.code == 0, trained.err
    result = call("evaluate", "run", "--dataset=imagenet_a", f"--root={root}")
    assert result.code == 0, result.err
    assert "HC-TAF from imagenet on imagenet_a" in result.out
    found = json.loads((tmp_path / "run/transfer/imagenet_a.json").read_text())
    assert 0 <= found["accuracy"] <= 100


@pytest.mark.parametrize("online", [False, True], ids=["cached", "online"])
def test_own_photos_to_a_prediction(call, photos, backbone, tmp_path, online):
    trained = call(
        "train",
        "--images=photos",
        f"--backbone={backbone}",
        "--method=tip_adapter_f",
        "--shots=4",
        "--views=2",
        "--out=my_run",
        TAF,
        *["--online"] * online,
    )
    assert trained.code == 0, trained.err
    shutil.copy(photos / "owl" / "3.png", tmp_path / "new.png")
    result = call("predict", "my_run", "new.png")
    assert result.out.startswith("new.png: owl ")
    [record] = json.loads(call("predict", "my_run", "new.png", "--json").out)
    shares = [entry["probability"] for entry in record["classes"]]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert json.loads((tmp_path / "my_run/result.json").read_text())["run"]["data"] == (
        "online" if online else "cached"
    )


def test_ctrl_c_keeps_what_is_done(call, root, backbone, tmp_path, monkeypatch):
    command = ("extract", *inputs(root, backbone), "--shots=2", "--seeds=1")
    monkeypatch.setattr("vlm_adapters.sources.BLOCK", 4)
    whole = store_module.write_tensors
    written = []

    def interrupted(path, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        whole(path, *rest)

    monkeypatch.setattr(store_module, "write_tensors", interrupted)
    one_line(call(*command), 130, "Interrupted. What was done is kept")
    kept = {file: file.stat().st_mtime_ns for file in written}
    monkeypatch.setattr(store_module, "write_tensors", whole)
    assert call(*command).code == 0
    assert kept == {file: file.stat().st_mtime_ns for file in written}
    assert len(list(written[0].parent.glob("*.safetensors"))) > 2


def test_a_full_disk_is_told_and_survived(call, root, backbone, tmp_path, monkeypatch):
    command = ("extract", *inputs(root, backbone), "--shots=2", "--seeds=2")
    whole = store_module.write_tensors

    def full(path, *rest):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(store_module, "write_tensors", full)
    one_line(call(*command), 1, "No space left on device")
    assert not list(tmp_path.glob("features/*/*"))
    monkeypatch.setattr(store_module, "write_tensors", whole)
    assert call(*command).code == 0


def test_images_that_are_missing_or_damaged(call, photos, backbone, tmp_path):
    command = ("train", "--images=photos", f"--backbone={backbone}", "--shots=4", "--out=r", TR)
    victim = photos / "dog" / "4.png"
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    result = call(*command)
    one_line(result, 1, "`dog/4.png` should be a readable image")
    checked = call("data", "check", "--images=photos", "--verify")
    assert checked.code == 1
    assert "4.png" in checked.err
    shutil.rmtree(photos / "owl")
    (photos / "owl").mkdir()
    one_line(call(*command), 2, "owl")


def test_wrong_words(call, root, backbone, tmp_path):
    one_line(call("train", "--out=r"), 2, "`--dataset` should name a published data set")
    one_line(call("train", "--dataset=dtd", "--out=r"), 2, "Give `--root` or set VLM_DATA")
    one_line(
        call("train", "--dataset=birds", f"--root={root}", "--out=r"), 2, "`name` should be one of"
    )
    one_line(
        call("train", *inputs(root, "open_clip/RN50/nowhere.pt")[:3], "--out=r"), 2, "nowhere.pt"
    )
    one_line(call("sweep", *inputs(root, backbone), "--methods=hc"), 2, "`methods` should be one")
    one_line(call("sweep", *inputs(root, backbone), "--shots=0"), 2, "`--shots` should be a comma")
    one_line(call("train", *inputs(root, backbone), "--scale=2"), 2, "`--scale` should be two")
    one_line(call("train", "--split=x.json"), 2, "`--split` should come with `--images`")
    one_line(call("report", "."), 2, "should hold runs")
    one_line(call("report", ".", "--compare=us"), 2, "`--compare` should be `paper`")
    one_line(call("predict", "nowhere", "x.png"), 2, "nowhere")


def test_the_paper_is_not_set_beside_other_backbones(call, bundle_file, tmp_path):
    swept = call(
        "sweep", f"--bundle={bundle_file}", "--methods=taskres", "--shots=1", "--seeds=1", TR
    )
    assert swept.code == 0, swept.err
    one_line(call("report", "runs", "--compare=paper"), 1, "open_clip")


def test_converted_weights_are_found_by_their_use(call, tmp_path):
    files = write_tiny_clip(tmp_path / "tiny")
    result = call("weights", "convert", files["pt"], "converted.safetensors")
    assert result.code == 0, result.err
    assert (tmp_path / "converted.safetensors").is_file()


def test_a_bundle_is_not_extracted(call):
    assert "--bundle" not in call("extract", "--help").out
    refused = call("extract", "--bundle=demo")
    assert refused.code == 2
    assert "No such option" in refused.err  # then --bundle, in words that differ between versions


@pytest.fixture
def script(root, backbone, tmp_path, monkeypatch):
    """Run a plan of zero-shot classification on two data sets and a target."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    plan = Plan(("zero_shot",), datasets=("caltech101", "imagenet"), shots=(1,))
    inputs = FeatureInputs(
        ImageInputs(None, root), backbone, store=tmp_path / "features", views=2, batch_size=8
    )
    base = Sweep(inputs, (), (), (1,), tmp_path / "out")
    return lambda **changes: run_plan(5, dataclasses.replace(plan, **changes), base, 1, 1)


def test_a_script_goes_on_where_a_run_or_a_target_fails(script, tmp_path, monkeypatch, capsys):
    made, done = report.make_runs, []

    def one_fails(sweep, *options):
        if sweep.inputs.name == "caltech101":
            raise Diverged("The loss should be finite.")
        done.append(sweep.inputs.name)
        return made(sweep, *options)

    monkeypatch.setattr(report, "make_runs", one_fails)
    with pytest.raises(RuntimeError, match=r"Some runs failed\. caltech101: The loss should be"):
        script(targets=("imagenet_a",))
    assert done == ["imagenet"]
    out = tmp_path / "out"
    assert (out / "results.md").is_file()
    [transfer] = out.rglob("imagenet_a.json")
    assert "imagenet" in str(transfer)
    told = capsys.readouterr()
    assert "caltech101: The loss" in told.err
    assert "values are not set beside these. `runs` should have a backbone of the" in told.out


def test_a_script_looks_for_all_data_before_it_trains(script, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "make_runs", lambda *_: pytest.fail("trained"))
    for changes in ({"datasets": ("caltech101", "dtd")}, {"targets": ("imagenet_r",)}):
        with pytest.raises(UsageError, match=r"should hold (dtd|imagenet_r) in CoOp"):
            script(**changes)
    assert not (tmp_path / "out").exists()


def test_a_script_without_a_run_says_so(script, tmp_path, monkeypatch):
    def fails(*_):
        raise OSError("no space")

    monkeypatch.setattr(report, "make_runs", fails)
    with pytest.raises(RuntimeError, match=r"No run was made\. caltech101: no space"):
        script(targets=("imagenet_a",))
    assert not (tmp_path / "features").exists()  # nor are images encoded for no adapter


def test_evaluate_refuses_the_data_of_the_run(call, photos, backbone, tmp_path):
    options = (f"--images={photos}", f"--backbone={backbone}", "--views=2")
    assert call("train", *options, "--method=zero_shot", "--shots=1", "--out=r").code == 0
    one_line(call("evaluate", "r", f"--images={photos}"), 2, "should name other images than those")
    assert call("evaluate", "r", f"--images={photos}", "--dataset=again").code == 0
    assert call("report", "r").code == 0


def test_every_missing_file_is_named_as_json(call, photos):
    for name in range(6):
        (photos / "cat" / f"{name}.png").write_bytes(b"")
    result = call("data", "check", f"--images={photos}", "--verify", "--json")
    assert result.code == 1
    [problem] = json.loads(result.out)
    assert sorted(problem["files"]) == [f"cat/{name}.png" for name in range(6)]


def test_a_finished_run_keeps_its_index_list(call, photos, backbone, tmp_path):
    options = (f"--images={photos}", f"--backbone={backbone}", "--views=2", "--method=zero_shot")
    assert call("train", *options, "--shots=1", "--out=r").code == 0
    [kept] = (tmp_path / "r").glob("photos-*.json")
    before = kept.read_bytes()
    for name in range(4):
        (photos / "cat" / f"{name}.png").unlink()
    refused = call("train", *options, "--shots=1", "--out=r")
    assert refused.code == 1
    assert "should hold the rows of this task" in refused.err
    assert kept.read_bytes() == before


@pytest.mark.parametrize(
    "option", ["--dataset=dtd", "--online", "--views=3", "--backbone=devise-7", "--scale=1,1"]
)
def test_options_that_a_bundle_does_not_read_are_refused(call, option):
    name = option.split("=")[0]
    one_line(call("train", "--bundle=demo", option), 2, f"`{name}` should not come with `--bundle`")


def test_options_that_would_do_nothing_are_refused(call, root, backbone):
    given = (*inputs(root, backbone), "--template=a {}")
    one_line(call("train", *given), 2, "`--template` should come with `--images`")
    one_line(call("report", ".", "--table=1"), 2, "`--table` should come with `--compare paper`")


def test_files_that_are_not_there_are_errors_of_usage(call, tmp_path):
    one_line(call("weights", "convert", "no.pt", "out.safetensors"), 2, "`source` should be a file")
