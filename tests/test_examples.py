"""The worked examples run from end to end, at their smallest settings."""

import pathlib
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "examples"
SMALL = {
    "topological_autoencoder.py": ["--seeds", "1", "--epochs", "1"],
    "connected_classes.py": ["--seeds", "1", "--steps", "3"],
    "paired_views.py": ["--seeds", "1", "--steps", "3"],
    "layers_by_rtd.py": ["--seeds", "1", "--steps", "3", "--points", "20"],
}


def test_every_example_is_run():
    assert set(SMALL) == {path.name for path in FOLDER.glob("[!_]*.py")}


@pytest.mark.parametrize(("name", "options"), SMALL.items())
def test_an_example_prints_a_table(name, options):
    pytest.importorskip("sklearn")
    run = subprocess.run(
        [sys.executable, str(FOLDER / name), *options], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    assert "| --- |" in run.stdout
    assert "nan" not in run.stdout
