"""The command as a user calls it: each command end to end, and every wrong call in one line."""

import csv
import dataclasses
import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from application.helpers import environment, python
from application.synthetic_data import write_folder
from application.tiny_clip import write_tiny_clip
from rich.console import Console
from vlm_adapters.cli import UsageError, report, run
from vlm_adapters.cli.commands import DEMO_VALUES, METHODS
from vlm_adapters.cli.inputs import SHIPPED, Inputs
from vlm_adapters.cli.report import Plan, run_plan
from vlm_adapters.config import load_methods, read_toml
from vlm_adapters.experiments import Sweep
from vlm_adapters.features import store as store_module
from vlm_adapters.features.bundle import load_bundle
from vlm_adapters.training import Diverged

FAST = " ".join(
    f"--set={name}.training.epochs=2" for name in ("taskres", "hc_tr", "tip_adapter_f", "hc_taf")
)
TR, _, TAF, HC_TAF = FAST.split()
PLAN = 'shots = [1]\nseeds = [5]\n[a]\nbaseline = "zero_shot"\nshared = {}\n'


@pytest.fixture(scope="session")
def backbone(tmp_path_factory):
    files = write_tiny_clip(tmp_path_factory.mktemp("tiny"))
    return f"open_clip/local-dir:{files['local_dir']}"


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos", dict.fromkeys(("cat", "dog", "owl"), 10), "png")


@pytest.fixture
def call(capsys, monkeypatch, tmp_path, backbone, root):
    """Run a command in this process; names in braces stand for what the fixtures made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    of_data = f"--root={root} --backbone={backbone} --views=2"

    def run_command(text, **names):
        words = shlex.split(text.format(data=of_data, root=root, backbone=backbone, **names))
        monkeypatch.setattr(sys, "argv", ["vlm-adapters", *words])
        with pytest.raises(SystemExit) as stopped:
            run()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return SimpleNamespace(code=stopped.value.code or 0, out=out, err=err)

    return run_command


@pytest.fixture
def works(call):
    """Run a command that succeeds; returns what it prints."""

    def run_command(text, **names):
        result = call(text, **names)
        assert result.code == 0, result.err
        return result.out

    return run_command


@pytest.fixture
def fails(call):
    """Run a command that fails: an exit code, and one line that says what is wrong."""

    def run_command(text, code, told, **names):
        result = call(text, **names)
        assert result.code == code, result.err
        [line] = [line for line in result.err.splitlines() if line.startswith("Error: ")]
        assert re.search(told, line) or told in line

    return run_command


def test_demo_end_to_end(works, bundle_file, tmp_path):
    (tmp_path / "t.toml").write_text(
        "[hc_tr.constraint]\nmemory_batches = 0\n[hc_taf.constraint]\nmemory_batches = 0\n"
    )
    words = "demo --jobs=1 --bundle={bundle} --tuned=t.toml --shots=1,4 --seeds=1,2 --out=out "
    told = works(words + FAST, bundle=bundle_file)
    written = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    figures = {"accuracy.png", "terms.png", "training.png"}
    assert written == {"results.csv", "results.json", "results.md"} | figures
    content = json.loads((tmp_path / "out/results.json").read_text())
    assert len(content["runs"]) == 2 * 2 * 5
    assert set(content["environment"]) >= {"topreg", "torch", "python", "threads"}
    with (tmp_path / "out/results.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = "method preset dataset backbone data shots seed protocol oracle accuracy"
    assert list(rows[0]) == columns.split()
    methods = {"Zero-shot", "TaskRes", "HC-TR", "Tip-Adapter-F", "HC-TAF"}
    assert {row["method"] for row in rows} == methods
    assert len(rows) == 2 * 2 * (1 + 2 * 2 + 2 * 3)  # protocols of the five methods
    assert all(0 <= float(row["accuracy"]) <= 100 for row in rows)
    for text in ("one centre-cropped view", "no memory across batches", "HC-TR - TaskRes"):
        assert text in told


def test_quiet_is_quiet(call, bundle_file):
    words = "--quiet sweep --methods=zero_shot --jobs=1 --shots=1 --seeds=1 --bundle={bundle}"
    result = call(words, bundle=bundle_file)
    assert (result.code, result.err) == (0, "")
    assert "Zero-shot" in result.out


@pytest.mark.parametrize(("terminal", "quiet"), [(False, False), (True, False), (True, True)])
def test_progress_is_shown_on_terminals_alone(terminal, quiet, call, bundle_file, monkeypatch):
    monkeypatch.setattr(Console, "is_terminal", terminal)
    (bundle_file.parent / "plan.toml").write_text(PLAN)
    words = "{quiet} train --bundle={bundle} --method=taskres --shots=1 --threads=1 --out={out}"
    tune = "{quiet} tune --bundle={bundle} --plan={bundle.parent}/plan.toml --jobs=1 --out={out}"
    options = {"quiet": "--quiet" * quiet, "bundle": bundle_file}
    for command, name, count in ((f"{words} {TR}", "epochs", "2/2"), (tune, "trials", "1/1")):
        result = call(command, out=f"{name}-{terminal}-{quiet}", **options)
        assert result.code == 0, result.err
        shown = name in result.err and count in result.err
        assert shown == (terminal and not quiet)
        assert shown or not result.err


def test_shipped_bundle_and_tuned_values():
    bundle = load_bundle(SHIPPED)
    assert len(bundle.features) == 8242
    assert SHIPPED.stat().st_size < 10 * 2**20
    tuned = read_toml(DEMO_VALUES)
    assert tuned.pop("dataset") == "caltech101"  # used for others it is refused
    assert set(tuned) == set(METHODS.split(",")) - {"zero_shot"}
    methods = load_methods(METHODS.split(","), tuned=DEMO_VALUES)
    rate = tuned["taskres"]["training"]["learning_rate"]
    assert methods["taskres"].training.learning_rate == rate


def test_from_data_to_report(works, call, tmp_path):
    assert "Everything is there." in works(
        "data check --dataset=caltech101 --root={root} --partial"
    )
    works("extract --dataset=caltech101 {data} --shots=1,2 --seeds=1,2")
    listed = works("data store").splitlines()
    assert len(listed) == 2
    assert all(re.fullmatch(r"features/caltech101-\S+: \d+ images, 0\.\d MiB", x) for x in listed)
    assert works("data store --store=none") == "none has no features.\n"
    methods = "zero_shot,taskres,hc_tr,hc_tr_star,tip_adapter_f,hc_taf"
    sweep = "sweep --dataset=caltech101 {data} --shots=1,2 --seeds=1,2 --jobs=1 --methods="
    plan = call(f"{sweep}{methods} {FAST} --dry-run")
    commands = plan.out.splitlines()
    assert len(commands) == 6 * 2 * 2
    assert all(line.startswith("vlm-adapters train --method=") for line in commands)
    assert "24 runs, 0 of them done" in plan.err
    works(commands[0].removeprefix("vlm-adapters "))
    first = works(f"{sweep}{methods} {FAST} --json")
    results = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("result.json")}
    assert len(results) == 24
    made = min(results, key=results.get)  # by the printed command
    assert "zero_shot/caltech101/1shot/seed1" in str(made)
    assert json.loads(works(f"{sweep}{methods} {FAST} --json")) == json.loads(first)
    assert results == {file: file.stat().st_mtime_ns for file in results}
    assert len(list((tmp_path / "runs/few_shot").glob("*.json"))) == 4
    works("report runs")
    names = {file.name for file in (tmp_path / "runs").iterdir()}
    assert {"results.csv", "results.md", "accuracy.png", "training.png"} <= names


def test_tuned_values_are_taken_up(works, tmp_path):
    (tmp_path / "plan.toml").write_text(
        'shots = [1]\nseeds = [5]\n[a]\nbaseline = "zero_shot_star"\nalso = ["hc_tr_star"]\n'
        '[a.shared]\n"text.epochs" = [1, 2]\n'
        '[b]\nbaseline = "taskres"\nconstrained = "hc_tr"\n'
        '[b.shared]\n"training.learning_rate" = [0.001, 0.01]\n'
        '[b.refine]\n"training.learning_rate" = [0.5, 2.0]\n'
        '[b.constrain]\n"constraint.weight" = [0.1, 0.2]\n'
    )
    data = "--dataset=caltech101 {data}"
    works(f"tune {data} --plan=plan.toml --jobs=1 {TR}")
    text = (tmp_path / "tuned.toml").read_text()
    assert "hc_tr_star.text." in text
    assert "\ntaskres.training.epochs = 2\n" in text
    run_with = works(f"train {data} --tuned=tuned.toml --method=hc_tr --shots=1 --json")
    [record] = json.loads(run_with)
    assert record["config"]["training"]["epochs"] == 2
    assert record["config"]["constraint"]["weight"] in (0.1, 0.2)


def test_domain_generalisation(works, fails, tmp_path):
    works(
        "train --dataset=imagenet {data} --method=hc_taf --shots=2 --out=run " + f"{TAF} {HC_TAF}"
    )
    told = works("evaluate run --dataset=imagenet_a --root={root}")
    assert "HC-TAF from imagenet on imagenet_a" in told
    found = json.loads((tmp_path / "run/transfer/imagenet_a.json").read_text())
    assert 0 <= found["accuracy"] <= 100
    shutil.rmtree(tmp_path / "run/transfer")
    (tmp_path / "run/transfer").touch()
    told = r"`RUN` should have a folder to write into. Got run/transfer: File exists"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vlm_adapters.sources.Extraction.part", None)  # before the images
        fails("evaluate run --dataset=imagenet_a --root={root}", 2, told)


@pytest.mark.parametrize("online", [False, True], ids=["cached", "online"])
def test_own_photos_to_a_prediction(works, photos, tmp_path, online):
    words = "train --images=photos {data} --method=tip_adapter_f --shots=4 --out=r"
    told = works(f"{words} {'--online' * online} {TAF}")
    assert re.match(r"Tip-Adapter-F on photos, 4-shot, seed 1: \d+\.\d\d % of 9 test images", told)
    shutil.copy(photos / "owl" / "03.png", tmp_path / "new.png")
    assert works("predict r new.png").startswith("new.png: owl ")
    [record] = json.loads(works("predict r new.png --json"))
    shares = [entry["probability"] for entry in record["classes"]]
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    kept = json.loads((tmp_path / "r/result.json").read_text())["run"]
    assert kept["data"] == ("online" if online else "cached")


EXTRACT = "extract --dataset=caltech101 {data} --shots=2 --seeds=1"


def test_blanks_in_lists_do_not_count(works):
    sweep = "sweep --bundle=demo --dry-run --seeds=1"
    spaced = works(f"{sweep} --methods='taskres, hc_tr ' --shots='1, 2'")
    assert spaced == works(f"{sweep} --methods=taskres,hc_tr --shots=1,2")
    table = "reproduce 5 --root=. --shots=1 --seeds=1 --dry-run"
    assert works(f"{table} --datasets=' dtd,ucf101'") == works(f"{table} --datasets=dtd,ucf101")


@pytest.mark.parametrize("table", [False, True])
def test_zero_shot_needs_test_images_alone(works, fails, tmp_path, table):
    write_folder(tmp_path / "few", dict.fromkeys(("cat", "dog"), 2), "png")
    data = "--images=few --backbone={backbone} --shots=1"
    if table:
        rows = [f"{name}/0{n}.png,{name},test" for name in ("cat", "dog") for n in (0, 1)]
        (tmp_path / "few.csv").write_text("\n".join(["path,label,subset", *rows]))
        data += " --split=few.csv"
    told = works(f"train --method=zero_shot --every-protocol {data}")
    assert f"1-shot, seed 1: 50.00 % of {4 if table else 2} test images (last)." in told
    assert "training images" not in told
    message = "`few` should have training images" if table else "Add images to a class, or put"
    fails(f"train --method=taskres --out=other {data}", 1, message)
    tuned = "--set=zero_shot.text.projection=tuned"
    fails(f"train --method=zero_shot {tuned} --out=other {data}", 1, message)


def test_ctrl_c_keeps_what_is_done(works, fails, monkeypatch):
    monkeypatch.setattr("vlm_adapters.sources.BLOCK", 4)
    whole = store_module.write_tensors
    written = []

    def interrupted(path, *rest):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        whole(path, *rest)

    monkeypatch.setattr(store_module, "write_tensors", interrupted)
    fails(EXTRACT, 130, "Interrupted. What was done is kept")
    kept = {file: file.stat().st_mtime_ns for file in written}
    monkeypatch.setattr(store_module, "write_tensors", whole)
    works(EXTRACT)
    assert kept == {file: file.stat().st_mtime_ns for file in written}
    assert len(list(written[0].parent.glob("*.safetensors"))) > 2


def full_disk(path, *_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


TRAIN = "train --bundle={bundle} --shots=1 --out=r --method="
FULL = {
    "features.store.write_tensors": EXTRACT,
    "runs.write_tensors": f"{TRAIN}taskres {TR}",
    "runs.write_json": f"{TRAIN}zero_shot",
    "tuning.write_json": "tune --bundle={bundle} --plan=plan.toml --jobs=1 --out=t.toml",
    "results.write_text": "report done",
}


@pytest.mark.parametrize("writer", FULL)
def test_a_full_disk_is_told_and_survived(works, fails, bundle_file, tmp_path, monkeypatch, writer):
    (tmp_path / "plan.toml").write_text(PLAN)
    works("train --bundle={bundle} --method=zero_shot --shots=1 --out=done", bundle=bundle_file)
    with monkeypatch.context() as patched:
        patched.setattr(f"vlm_adapters.{writer}", full_disk)
        fails(FULL[writer], 1, f"{os.strerror(errno.ENOSPC)}: ", bundle=bundle_file)
    works(FULL[writer], bundle=bundle_file)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a folder that nobody writes into")
@pytest.mark.parametrize("words", ["train --out={0}", "sweep --out={0}", "tune --out={0}/t.toml"])
def test_a_read_only_folder_is_told(fails, bundle_file, words):
    told = "(should be a folder|lie in a writable folder). Got /proc/locked: No such file"
    fails(words.replace("{0}", "/proc/locked") + " --bundle={bundle}", 2, told, bundle=bundle_file)


def test_images_that_are_missing_or_damaged(call, fails, photos):
    command = f"train --images=photos {{data}} --shots=4 --out=r {TR}"
    victim = photos / "dog" / "04.png"
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    fails(command, 1, "`dog/04.png` should be a readable image")
    checked = call("data check --images=photos --verify")
    assert checked.code == 1
    assert "04.png" in checked.err
    for name in range(6):
        (photos / "cat" / f"0{name}.png").write_bytes(b"")
    checked = call("data check --images=photos --verify --json")
    assert checked.code == 1
    found = [name for problem in json.loads(checked.out) for name in problem["files"]]
    assert {f"cat/0{name}.png" for name in range(6)} <= set(found)
    shutil.rmtree(photos / "owl")
    (photos / "owl").mkdir()
    fails(command, 2, "owl")


WRONG = [
    ("demo --shots=1,x", "`--shots` should be a comma list of distinct positive numbers"),
    ("demo --shots=²", "`--shots` should be a comma list of distinct positive numbers. Got '²'"),
    ("demo --shots=1000000000", "`--shots` should be a comma list of distinct positive numbers"),
    ("demo --shots=1_6", "`--shots` should be a comma list of distinct positive numbers"),
    ("demo --shots=0", "`--shots` should be a comma list of distinct positive numbers. Got '0'"),
    ("demo --seeds=1,1", "`--seeds` should be a comma list of distinct positive numbers"),
    ("demo --set=taskres.training.learning_rat=1", "should be a known key: optimizer"),
    ("demo --methods=taskres,coop", "`methods` should be one of"),
    ("demo --methods=taskres,taskres", "`--methods` should be a comma list of distinct names. Got"),
    ("demo --methods=taskres,", "`--methods` should be a comma list of distinct names. Got"),
    ("sweep --bundle=demo --methods=' '", "`--methods` should be a comma list of distinct names"),
    ("sweep --bundle=demo --dry-run --json", "`--json` should not come with `--dry-run`, which"),
    ("reproduce 5 --datasets='dtd, dtd'", "`--datasets` should be a comma list of distinct names"),
    ("reproduce 5 --datasets='dtd, bird'", "`--datasets` should be one of"),
    ("train --dataset=dtd --root={root} --backbone=clip", "`--backbone` should be `devise`, "),
    ("demo --tuned=nothing.toml", "`nothing.toml` should be a file or a shipped preset"),
    ("demo --out=taken", "`--out` should be a folder"),
    ("demo --bundle=no.safetensors", "no.safetensors"),
    ("demo --bundle=taken", "`taken` should be a complete safetensors file"),
    ("tune --bundle={bundle} --out=.", "`--out` should be a file"),
    ("bundle --root=. --out=b.safetensors", "should hold caltech101"),
    ("train --out=r", "`--dataset` should name a published data set"),
    ("train --dataset=dtd --out=r", "Give `--root` or set VLM_DATA"),
    ("train --dataset=birds --root={root} --out=r", "`--dataset` should be one of"),
    ("train --dataset=dtd --root={root} --backbone=open_clip/RN50/nowhere.pt", "nowhere.pt"),
    ("train --dataset=caltech101 {data} --scale=2", "`--scale` should be two"),
    ("train --dataset=dtd --template='a {{}}'", "`--template` should come with `--images`"),
    ("train --split=x.json", "`--split` should come with `--images`"),
    ("reproduce 1 --datasets=dtd,birds", "`--datasets` should be one of"),
    ("report .", "should hold runs"),
    ("report . --compare-paper=6", "Invalid value for '--compare-paper'"),
    ("predict nowhere x.png", "nowhere"),
    ("weights convert no.pt out.safetensors", "`source` should be a file"),
    *(
        (f"train --bundle=demo {option}={value}", f"`{option}` should not come with `--bundle`")
        for option, value in (("--dataset", "dtd"), ("--views", 3), ("--backbone", "x"))
    ),
    *(
        (
            f"{words} --device=foo",
            "`--device` should be cpu or an accelerator, such as cuda or cuda:1",
        )
        for words in ("demo", "train --bundle=demo")
    ),
    ("demo --device=cuda:99", "`--device` should be a device that PyTorch finds on this machine"),
    ("train --bundle=demo --device=meta", "should be a device that PyTorch finds on this machine"),
    ("train --bundle=demo --online", "`--online` should not come with `--bundle`"),
    ("train --bundle=demo --scale=1,1", "`--scale` should not come with `--bundle`"),
]


@pytest.mark.parametrize(("command", "told"), WRONG)
def test_wrong_words(fails, command, told, bundle_file, tmp_path):
    """One clear line, exit code 2, nothing written."""
    (tmp_path / "taken").write_text("mine")
    before = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    fails(command, 2, told, bundle=bundle_file)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == before
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.parametrize("words", ["dmo", "demo --shot=1", "extract --bundle=demo"])
def test_unknown_command_and_option(call, words):
    result = call(words)
    assert result.code == 2
    assert "No such" in result.err  # then the name, in words that differ between versions of typer


def test_the_paper_is_not_set_beside_other_backbones(works, fails, bundle_file):
    words = "sweep --bundle={bundle} --methods=zero_shot --shots=1 --seeds=1 --jobs=1"
    works(words, bundle=bundle_file)
    fails("report runs --compare-paper=5", 1, "open_clip")


def test_converted_weights_are_found_by_their_use(works, tmp_path):
    files = write_tiny_clip(tmp_path / "tiny")
    told = works("weights convert {pt} converted.safetensors", pt=files["pt"])
    assert "Use it as open_clip/MODEL/converted.safetensors" in told
    assert (tmp_path / "converted.safetensors").is_file()


def test_a_run_and_its_data(works, fails, photos, tmp_path):
    """Evaluation asks for other images; the index list of a finished run is kept."""
    train = "train --images=photos {data} --method=zero_shot --shots=1 --out=r"
    works(train)
    fails("evaluate r --images=photos", 2, "should name other images than those")
    works("evaluate r --images=photos --dataset=again")
    works("report r")
    [kept] = (tmp_path / "r").glob("photos-*.json")
    before = kept.read_bytes()
    for name in range(4):
        (photos / "cat" / f"0{name}.png").unlink()
    fails(train, 1, "Got a result of other settings")
    (tmp_path / "r/result.json").unlink()
    fails(train, 1, "should hold the rows of this task")
    assert kept.read_bytes() == before


def test_a_run_keeps_how_its_images_are_read(works, photos, tmp_path):
    words = "train --images=photos {data} --method=zero_shot --shots=1 --out="
    found = []
    for place, option in enumerate(("", "--published-pixels")):
        works(f"{words}{place} {option}")
        works(f"evaluate {place} --images=photos --dataset=again")
        file = tmp_path / f"{place}/transfer/again.json"
        found.append(json.loads(file.read_text())["features"])
        works(f"evaluate {place} --images=photos --dataset=again --published-pixels")
        found.append(json.loads(file.read_text())["features"])
    assert found[0] != found[1] == found[2] == found[3]


def test_a_refused_run_leaves_nothing_in_the_folder_of_another(works, fails, bundle_file, tmp_path):
    words = "train --bundle={bundle} --method=zero_shot --out=r --shots="
    works(f"{words}1", bundle=bundle_file)
    before = {file: file.read_bytes() for file in (tmp_path / "r").iterdir()}
    fails(f"{words}2", 1, "Got a result of other settings", bundle=bundle_file)
    assert {file: file.read_bytes() for file in (tmp_path / "r").iterdir()} == before
    assert any(file.name.startswith("synthetic-1shot") for file in before)


def test_defaults_are_shipped_files_whatever_the_working_folder_holds(
    call, bundle_file, tmp_path, monkeypatch
):
    """Wrong ones of the same names lie there: naming them takes them, leaving them out does not."""
    for name in ("tune.toml", "tune_paper.toml", DEMO_VALUES):
        (tmp_path / name).write_text("[x]\n")
    monkeypatch.setattr("vlm_adapters.tuning.tune", lambda *_, **__: {})
    monkeypatch.setattr("vlm_adapters.tuning.tuned_values", lambda *_, **__: "")
    tune = "tune --jobs=1 "
    demo = "demo --methods=zero_shot --shots=1 --seeds=1 --jobs=1 --out=d"
    assert call(f"{tune} --bundle={bundle_file}").code == 0
    assert call(f"{tune} --bundle={bundle_file} --plan=tune.toml").code == 2
    assert "`root` should hold dtd" in call(f"{tune} --dataset=dtd --root=none").err
    assert call(demo).code == 0
    assert "should hold tables of" in call(f"{demo} --tuned={DEMO_VALUES}").err


def test_messages_show_words_between_colons(fails):
    """rich would make a picture of some."""
    fails("train --dataset=caltech101 {data} --backbone=mod:x:y", 2, "Got 'mod:x:y'")


@pytest.fixture
def script(root, backbone, tmp_path, monkeypatch):
    """Run a plan of zero-shot classification on two data sets and a target."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    plan = Plan(("zero_shot",), datasets=("caltech101", "imagenet"), shots=(1,))
    options = {"store": tmp_path / "features", "views": 2, "batch_size": 8}
    inputs = Inputs(root=root, backbone=backbone, **options)
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


def test_a_script_that_cannot_make_a_run_says_so(script, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "make_runs", lambda *_: pytest.fail("trained"))
    for changes in ({"datasets": ("caltech101", "eurosat")}, {"targets": ("imagenet_r",)}):
        with pytest.raises(UsageError, match=r"should hold (eurosat|imagenet_r) in CoOp"):
            script(**changes)  # before it trains
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(report, "make_runs", full_disk)
    with pytest.raises(RuntimeError, match=r"No run was made\. caltech101: .*No space left"):
        script(targets=("imagenet_a",))
    assert not (tmp_path / "features").exists()  # nor are images encoded for no adapter


@pytest.mark.parametrize("package", ["typer", "pydantic", "pandas", "safetensors", "matplotlib"])
def test_missing_extra(package, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(f"import sys; sys.modules[{package!r}] = None")
    words, env = ("-m", "vlm_adapters", "demo"), environment(tmp_path)
    result = python(*words, env=env, cwd=tmp_path, check=False)
    assert result.returncode == 1
    assert 'Run `pip install "topreg[vlm]"`.' in result.stderr
    assert "Traceback" not in result.stderr


def test_console_script(tmp_path):
    beside_python = os.path.dirname(sys.executable)  # the environment need not be activated
    script = shutil.which("vlm-adapters", path=beside_python + os.pathsep + os.environ["PATH"])
    assert script is not None, "install the project: `pip install '.[vlm,test]'`"
    words = [script, "demo", "--bundle", "no.safetensors"]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, "no.safetensors" in result.stderr) == (2, True)


MODULES = """
import sys
sys.argv[1:] = {words!r}
from vlm_adapters.__main__ import main
try:
    main()
finally:
    print(*sorted(name for name in sys.modules if name.startswith("vlm_adapters")))
    print(*{{"pandas", "scipy.stats", "matplotlib", "joblib"}} & sys.modules.keys())
"""


def test_training_imports_few_modules(root, tmp_path):
    """Neither tables nor figures, searches, other commands and the libraries that they need."""
    words = f"train --dataset=caltech101 --root={root} --backbone=application.fake_backbone:make "
    words = (words + f"--method=hc_tr --shots=1 --views=1 --out=r {TR}").split()
    result = python("-c", MODULES.format(words=words), cwd=tmp_path)
    modules, libraries = (line.split() for line in result.stdout.splitlines()[-2:])
    assert libraries == []
    assert len(modules) <= 25, modules
    assert not {"vlm_adapters.results", "vlm_adapters.tuning", "vlm_adapters.transfer"} & {*modules}
