"""Compiled code on disk is never older than the sources that it contains."""

import os
import pathlib
import shutil
import subprocess
import sys

import topreg
from topreg import warm_up

ONE = "from topreg._compiled import compiled\n\n\n@compiled\ndef inner(x):\n    return x + {}\n"
TWO = (
    "from topreg._compiled import compiled\nfrom topreg._one_kernels import inner\n\n\n"
    "@compiled\ndef outer(x):\n    return inner(x)\n"
)


def run(folder, code):
    """What a fresh process prints that imports the library from a folder."""
    environment = os.environ | {"PYTHONPATH": str(folder)}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_code_of_a_called_file_is_compiled_again(tmp_path):
    package = tmp_path / "topreg"
    shutil.copytree(
        pathlib.Path(topreg.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "_two_kernels.py").write_text(TWO)
    code = (
        "from topreg._two_kernels import outer\n"
        "print(outer(1), sum(outer.stats.cache_hits.values()))"
    )
    (package / "_one_kernels.py").write_text(ONE.format(1))
    assert run(tmp_path, code) == ["2", "0"]
    assert run(tmp_path, code) == ["2", "1"]
    (package / "_one_kernels.py").write_text(ONE.format(5))
    assert run(tmp_path, code) == ["6", "0"]


def test_every_loop_is_compiled_in_advance(tmp_path):
    """After `warm_up` searches of the usual kinds compile nothing."""
    code = """
import torch, topreg
topreg.warm_up()
import numba.core.dispatcher as dispatcher
compiled = []
compile_new = dispatcher.Dispatcher.compile
def spy(self, signature):
    before = len(self.overloads)
    found = compile_new(self, signature)
    if len(self.overloads) > before:
        compiled.append(self.py_func.__name__)
    return found
dispatcher.Dispatcher.compile = spy
for dtype in (torch.float32, torch.float64):
    for shape in ((30, 2), (30, 20), (3, 30, 20)):
        x = torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(0))
        for metric in ("euclidean", "cosine", "manhattan"):
            topreg.RipsFiltration(metric=metric)(x)
            topreg.RipsFiltration(metric=metric)(x, 1)
        topreg.RipsFiltration(engine="tiled")(x)
        topreg.signature_loss(x, x.flip(-2), dimensions=(0, 1), normalize=1.0)
        topreg.rtd(x, x.flip(-2))
    topreg.wasserstein_distance(*torch.rand(2, 5, 2, dtype=dtype).sort(-1).values)
    topreg.pairwise_distances(x[0], x[1, :4])
print(*sorted(set(compiled)))
"""
    assert run(pathlib.Path(topreg.__file__).parents[1], code) == []


def test_the_command_tells_its_steps():
    done = subprocess.run(
        [sys.executable, "-m", "topreg", "warm-up"], capture_output=True, text=True, check=True
    )
    assert "matchings" in done.stdout
    steps = []
    warm_up(lambda step, seconds: steps.append(step))
    assert len(done.stdout.splitlines()) == len(steps) > 10
