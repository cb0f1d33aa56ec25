"""The command as a user calls it: the demo end to end, and every wrong call in one line."""

import csv
import importlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
import typer
from safetensors.torch import load_file, save_file
from vlm_adapters import cli
from vlm_adapters.cli import run
from vlm_adapters.features.bundle import load_bundle

ABSENT = """
import importlib.abc
import sys


class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == PACKAGE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent())
"""
FAST = " ".join(
    f"--set={name}.training.epochs=3" for name in ("taskres", "hc_tr", "tip_adapter_f", "hc_taf")
)


@pytest.fixture
def call(capsys, monkeypatch):
    """Run the command in this process; returns exit code, output and errors.

    A command is words, or one text of them.
    """

    def run_command(*arguments, cwd):
        if len(arguments) == 1:
            arguments = shlex.split(arguments[0])
        monkeypatch.chdir(cwd)
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["vlm-adapters", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            run()
        out, err = capsys.readouterr()
        return SimpleNamespace(returncode=stopped.value.code or 0, stdout=out, stderr=err)

    return run_command


def process(words, folder, **environment):
    """Run a command in a process of its own."""
    options = {"capture_output": True, "text": True, "timeout": 120, "check": False}
    return subprocess.run(words, cwd=folder, env=os.environ | environment, **options)


def refused(result, code, text, folder):
    """One clear line, the right exit code, no traceback, nothing written."""
    assert result.returncode == code, result.stderr
    assert text in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    written = [path for path in folder.rglob("*") if path.is_file() and "results" in path.name]
    assert written == []


def test_demo_end_to_end(call, bundle_file, tmp_path):
    out = tmp_path / "out"
    words = f"demo --jobs=1 --bundle={bundle_file} --out={out} --shots=1,4 --seeds=1,2"
    result = call(f"{words} {FAST}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    figures = {"accuracy.png", "terms.png", "training.png"}
    written = {path.name for path in out.iterdir()}
    assert written == {"results.csv", "results.json", "results.md"} | figures
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = "method preset dataset backbone data shots seed protocol oracle accuracy"
    assert list(rows[0]) == columns.split()
    methods = {"Zero-shot", "TaskRes", "HC-TR", "Tip-Adapter-F", "HC-TAF"}
    assert {row["method"] for row in rows} == methods
    assert len(rows) == 2 * 2 * (1 + 2 * 2 + 2 * 3)  # protocols of the five methods
    assert all(0 <= float(row["accuracy"]) <= 100 for row in rows)
    content = json.loads((out / "results.json").read_text())
    assert content["methods"]["taskres"]["training"]["epochs"] == 3
    assert set(content["environment"]) >= {"topreg", "torch", "python", "threads"}
    assert len(content["features"]["sha256"]) == 64
    assert len(content["runs"][0]["hashes"]["train"]) == 16
    assert "one centre-cropped view" in result.stdout
    assert "no memory across batches" in result.stdout
    assert "HC-TR - TaskRes" in result.stdout


def test_quiet_is_quiet(call, bundle_file, tmp_path):
    words = "--quiet demo --methods=zero_shot --jobs=1 --shots=1 --seeds=1 --device=cpu"
    result = call(f"{words} --bundle={bundle_file}", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert "Zero-shot" in result.stdout


def test_demo_repeats(call, bundle_file, tmp_path):
    for name in ("a", "b"):
        words = f"demo --jobs=1 --bundle={bundle_file} --out={tmp_path / name} --shots=2 --seeds=1"
        call(f"{words} {FAST}", cwd=tmp_path)
    first = (tmp_path / "a" / "results.csv").read_bytes()
    assert first == (tmp_path / "b" / "results.csv").read_bytes()
    assert first.count(b"\n") == 1 + 11


def test_shipped_bundle_and_tuned_values(tmp_path):
    from vlm_adapters.cli._options import SHIPPED
    from vlm_adapters.cli.runs import DEMO_VALUES as TUNED
    from vlm_adapters.cli.runs import METHODS
    from vlm_adapters.config import load_methods, read_toml

    bundle = load_bundle(SHIPPED)
    assert len(bundle.features) == 8242
    assert SHIPPED.stat().st_size < 10 * 2**20
    tuned = read_toml(TUNED)
    assert tuned.pop("dataset") == "caltech101"  # used for others it is refused
    assert set(tuned) == set(METHODS.split(",")) - {"zero_shot"}
    methods = load_methods(METHODS.split(","), tuned=TUNED)
    rate = tuned["taskres"]["training"]["learning_rate"]
    assert methods["taskres"].training.learning_rate == rate


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--shots", "1,x"], "`--shots` should be a comma list of distinct positive numbers"),
        (
            ["--shots", "0"],
            "`--shots` should be a comma list of distinct positive numbers. Got '0'",
        ),
        (["--seeds", "1,1"], "`--seeds` should be a comma list of distinct positive numbers"),
        (
            ["--set", "taskres.training.learning_rat=1"],
            "should be a known key: optimizer",
        ),
        (["--set", "taskres.training.epochs=soon"], "should be of type int. Got 'soon'"),
        (["--set", "taskres.protocol=best"], "`protocol` should be one of"),
        (["--methods", "taskres,coop"], "`methods` should be one of"),
        (["--tuned", "nothing.toml"], "`nothing.toml` should be a file or a shipped preset"),
    ],
)
def test_usage_errors(call, arguments, text, bundle_file, tmp_path):
    result = call("demo", "--bundle", bundle_file, *arguments, cwd=tmp_path)
    refused(result, 2, text, tmp_path)


def test_unknown_command_and_option(call, tmp_path):
    for arguments in (["dmo"], ["demo", "--shot", "1"]):
        result = call(*arguments, cwd=tmp_path)
        assert result.returncode == 2
        assert "No such" in result.stderr
        assert "Traceback" not in result.stderr


def test_out_is_a_file(call, bundle_file, tmp_path):
    (tmp_path / "taken").write_text("mine")
    result = call("demo", "--bundle", bundle_file, "--out", tmp_path / "taken", cwd=tmp_path)
    refused(result, 2, "`--out` should be a folder", tmp_path)
    assert (tmp_path / "taken").read_text() == "mine"


def test_out_is_a_folder(call, bundle_file, tmp_path):
    result = call("tune", "--bundle", bundle_file, "--out", tmp_path, cwd=tmp_path)
    refused(result, 2, "`--out` should be a file", tmp_path)


def test_other_methods(call, bundle_file, tmp_path):
    words = "demo --jobs=1 --out=out --methods=zero_shot,tip_adapter --shots=1 --seeds=1"
    result = call(f"{words} --bundle={bundle_file}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "out" / "results.csv").read_text()
    assert "Tip-Adapter,tip_adapter,synthetic,unknown,cached,1,1,last+val_search,0," in text


def test_missing_bundle(call, tmp_path):
    refused(call("demo", "--bundle", "no.safetensors", cwd=tmp_path), 2, "no.safetensors", tmp_path)


def test_unreadable_bundle(call, bundle_file, tmp_path):
    whole = bundle_file.read_bytes()
    for name, content in (
        ("short", whole[:-100]),
        ("foreign", b"PK\x03\x04" + whole[:50]),
        ("empty", b""),
    ):
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        refused(call("demo", "--bundle", path, cwd=tmp_path), 2, path.name, tmp_path)


def test_nan_features(call, bundle_file, tmp_path):
    from safetensors import safe_open

    tensors = load_file(bundle_file)
    tensors["features"][7, 2] = torch.nan
    with safe_open(bundle_file, "pt") as file:
        metadata = file.metadata()
    save_file(tensors, tmp_path / "nan.safetensors", metadata)
    result = call("demo", "--bundle", tmp_path / "nan.safetensors", cwd=tmp_path)
    refused(result, 2, "`features` should be finite", tmp_path)
    assert "row 7" in result.stderr


def test_missing_images(call, tmp_path):
    result = call("bundle", "--root", tmp_path, "--out", tmp_path / "b.safetensors", cwd=tmp_path)
    refused(result, 2, "should hold caltech101", tmp_path)
    assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize("package", ["typer", "pydantic", "pandas", "safetensors", "matplotlib"])
def test_missing_extra(package, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(f"PACKAGE = {package!r}\n{ABSENT}")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    result = process([sys.executable, "-m", "vlm_adapters", "demo"], tmp_path, PYTHONPATH=path)
    assert result.returncode == 1
    assert 'Run `pip install "topreg[vlm]"`.' in result.stderr
    assert "Traceback" not in result.stderr


def test_console_script(tmp_path):
    beside_python = os.path.dirname(sys.executable)  # the environment need not be activated
    script = shutil.which("vlm-adapters", path=beside_python + os.pathsep + os.environ["PATH"])
    assert script is not None, "install the project: `pip install '.[vlm,test]'`"
    result = process([script, "demo", "--bundle", "no.safetensors"], tmp_path)
    refused(result, 2, "no.safetensors", tmp_path)


def test_the_help_of_commands_is_that_of_their_functions():
    """The list that the help prints without importing any command."""
    runner = typer.main.get_group(cli.app)
    for name, (module, text) in cli.COMMANDS.items():
        importlib.import_module(f"vlm_adapters.cli.{module}")
        found = typer.main.get_group(cli.app).commands[name]
        assert " ".join((found.help or "").split("\n\n")[0].split()) == text, name
    assert set(runner.commands) == set(cli.COMMANDS)
