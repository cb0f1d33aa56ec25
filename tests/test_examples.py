"""The scripts of the gallery run from end to end, at their smallest settings."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

FOLDER = pathlib.Path(__file__).parents[1] / "docs" / "gallery"
SMALL = {
    "attention_trees.py": {"SEEDS": "1", "STEPS": "60", "SENTENCES": "60"},
    "broken_ring.py": {"SIDE": "24", "STEPS": "2"},
    "connected_classes.py": {
        "SEEDS": "1",
        "CHOOSING": "1",
        "STEPS": "3",
        "WEIGHTS": "(0.0, 0.3)",
    },
    "growing_complex.py": {"POINTS": "12", "STEPS": "2"},
    "layers_by_rtd.py": {"NETWORKS": "1", "STEPS": "3", "POINTS": "20"},
    "paired_views.py": {
        "SEEDS": "1",
        "CHOOSING": "1",
        "STEPS": "3",
        "WEIGHTS": "(0.0, 3.0)",
    },
    "prompt_and_answer.py": {
        "SEEDS": "1",
        "CHOOSING": "1",
        "STEPS": "3",
        "WEIGHTS": "(0.0, 1.0)",
    },
    "shaped_cloud.py": {"SEEDS": "1", "STEPS": "3", "POINTS": "20"},
    "tree_of_an_adapter.py": {"EPOCHS": "2", "SHOTS": "2", "CLASSES": "3"},
    "topological_autoencoder.py": {
        "SEEDS": "1",
        "CHOOSING": "1",
        "EPOCHS": "1",
        "WEIGHTS": "(0.0, 1.0)",
    },
}
NUMBERS_ALONE = {"growing_complex.py"}  # no experiment, hence no table


def made_small(name):
    """A script with the values of some constants replaced."""
    source = (FOLDER / name).read_text()
    for constant, value in SMALL[name].items():
        source, count = re.subn(rf"(?m)^{constant} = .*$", f"{constant} = {value}", source)
        assert count == 1, constant
    return source


def test_every_script_is_run():
    assert set(SMALL) == {path.name for path in FOLDER.glob("[!_]*.py")}


@pytest.mark.parametrize("name", SMALL)
def test_a_script_prints_what_it_found(name):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    if "vlm_adapters" in made_small(name):
        pytest.importorskip("safetensors")
        pytest.importorskip("pydantic")
    path = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-c", made_small(name)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"MPLBACKEND": "Agg", "PYTHONPATH": path},
    )
    assert run.returncode == 0, run.stderr
    assert "| --- |" in run.stdout or name in NUMBERS_ALONE
    assert run.stdout.strip()
    assert "nan" not in run.stdout
