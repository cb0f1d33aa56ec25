"""Trees in one launch: what Triton interprets and compiles where there is no device."""

import importlib.util
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
from asserts import TORCH, equal_kruskal
from oracles import kruskal
from strategies import distances_by_differences, gaussian

from topreg._pairs import found_pairs
from topreg.persistence.dense import _device

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or TORCH < (2, 10),
    reason="Triton comes with some builds of torch; that of torch 2.7 interprets less",
)


@needs_triton
def test_the_interpreter_gives_the_trees_of_kruskal():
    file = Path(__file__).with_name("interpreted_trees.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=file.parents[1],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (passed,) = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) >= 10


@needs_triton
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Triton's own, on Python 3.13
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize(("lanes", "connected", "ragged"), [(16, True, True), (1024, False, False)])
def test_nothing_spills_where_it_is_compiled(capability, lanes, connected, ragged, tmp_path):
    """The compiler comes with Triton and needs no device."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from topreg.persistence.dense._triton_kernels import spanning_forests

    types = {"weights": "*i32", "table": "*i64", "n": "i32", "limit": "i32"}
    types |= dict.fromkeys(("births", "deaths", "elders"), "*i64")
    constants = {"CONNECTED": connected, "LANES": lanes} | ({} if ragged else {"table": None})
    source = ASTSource(spanning_forests, types | dict.fromkeys(constants, "constexpr"), constants)
    options = {"num_warps": _device.warps(lanes)}
    with mock.patch.dict(os.environ, TRITON_CACHE_DIR=str(tmp_path)):
        program = triton.compile(source, GPUTarget("cuda", capability, 32), options)
    (tmp_path / "program").write_bytes(program.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    told = subprocess.run(
        [tool, "--dump-resource-usage", tmp_path / "program"], capture_output=True, text=True
    ).stdout
    (registers,) = re.findall(r"REG:(\d+) STACK:0 .* LOCAL:0 ", told)
    assert int(registers) <= 64  # four programs of eight warps on a multiprocessor


def test_what_does_not_fit_is_left_to_boruvka(monkeypatch):
    monkeypatch.setattr(_device, "compiles", lambda device: True)
    monkeypatch.setattr(_device, "in_one_launch", lambda *_: pytest.fail("does not fit"))
    monkeypatch.setattr(_device, "MOST_LANES", 8)
    for cloud in (gaussian(0, 9, 3).float(), gaussian(0, 8, 3).double(), gaussian(0, 0, 3).float()):
        weights = distances_by_differences(cloud)
        edges = _device.trees_on_device(weights.flatten(), [len(cloud)], math.inf, False)
        equal_kruskal(found_pairs(0, *edges, (len(cloud),)), kruskal(weights))


def test_without_compiler_or_device_nothing_is_said():
    assert not _device.compiles(torch.device("cpu"))
    if not torch.cuda.is_available():
        assert not _device.compiles(torch.device("cuda"))
