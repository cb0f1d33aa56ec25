"""The same seed gives the same bytes of everything that is kept, whoever makes the runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from application.helpers import kept
from vlm_adapters.cli.commands import make_runs
from vlm_adapters.cli.inputs import Inputs
from vlm_adapters.config import lineage, load_methods
from vlm_adapters.experiments import Sweep, plan_jobs, run_jobs
from vlm_adapters.results.report import write_run_report
from vlm_adapters.runs import ADAPTER, RESULT
from vlm_adapters.tuning import Plan, Search, tune, write_trials

ADAPTERS = ("zero_shot", "linear_probe", "tip_adapter", "clip_adapter", "hc_clip_adapter")
PRESETS = (*ADAPTERS, "hc_tr", "hc_taf", "hc_tr_p1")
ROOTS = ("taskres", "clip_adapter", "tip_adapter_f", "hc_taf")
FAST = tuple(f"{preset}.training.{key}" for preset in ROOTS for key in ("epochs=2", "batch_size=6"))


def fast(presets):
    """The overrides that some of the presets take."""
    used = {member for preset in presets for member in lineage(preset)}
    return tuple(text for text in FAST if text.split(".")[0] in used)


def methods(presets=PRESETS):
    return load_methods(presets, overrides=fast(presets))


def make(source, folder, seeds=(1,), **options):
    run_jobs(source, plan_jobs(methods(), [2], seeds, folder=folder, dataset="x"), **options)
    return kept(folder)


def test_the_same_seed_gives_the_same_bytes_whatever_ran_before_in_any_processes(source, tmp_path):
    first = make(source, tmp_path / "a")
    assert len(first) == 2 * len(PRESETS)
    assert {Path(name).name for name in first} == {RESULT, ADAPTER}
    torch.rand(7)  # the global generator is nobody's
    run_jobs(source, plan_jobs(methods(), [1], [5]))
    torch.manual_seed(0)
    assert make(source, tmp_path / "b") == first
    told = []
    assert make(source, tmp_path / "c", processes=2, on_epochs=told.append) == first
    assert sorted(told) == [0, 0, 0, 2, 2, 2, 2, 2]  # after each run


def test_another_seed_gives_another_run(source, tmp_path):
    found = make(source, tmp_path, seeds=(1, 2))
    trained = [name for name in found if "seed1" in name and name.endswith(ADAPTER)]
    differs = [found[name] != found[name.replace("seed1", "seed2")] for name in trained]
    assert sum(differs) == len(PRESETS) - 1  # zero-shot draws nothing


def test_two_threads_give_the_accuracies_of_one(source):
    def accuracies(threads):
        runs = run_jobs(source, plan_jobs(methods(), [2], [1]), threads=threads)
        return [run.accuracies for run in runs]

    assert accuracies(1) == accuracies(2)


def swept(bundle_file, out):
    """The files of a tiny sweep and of its report."""
    presets, inputs = ("zero_shot", "taskres", "hc_tr", "hc_taf"), Inputs(bundle=bundle_file)
    plan = Sweep(inputs, presets, (1, 2), (1, 2), out, overrides=fast(presets))
    write_run_report(out, make_runs(plan))
    return kept(out)


def test_a_sweep_and_its_report_repeat(bundle_file, tmp_path):
    first, second = (swept(bundle_file, tmp_path / name) for name in ("a", "b"))
    assert {"results.csv", "results.md"} <= first.keys()
    assert len(first) >= 2 * 16 + 4 + 2
    assert first.keys() == second.keys()
    different = [name for name in first if first[name] != second[name]]
    assert different == []


def test_a_search_repeats(source, tmp_path):
    rate, weight = "training.learning_rate", "constraint.weight"
    plan = Plan("taskres", {rate: [1e-3, 1e-1]}, "hc_tr", {rate: [0.5]}, {weight: [0.3]})
    search, tried = Search([1], [1, 2], [plan], "last"), methods(("taskres", "hc_tr"))
    for name, jobs in (("a", 1), ("b", 1), ("c", 2)):
        write_trials(tmp_path / name, tune(source, tried, search, jobs=jobs), [])
    first = (tmp_path / "a").read_bytes()
    assert len(json.loads(first)) == 4
    assert [(tmp_path / name).read_bytes() for name in "bc"] == [first, first]


SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from application.test_determinism import make
from vlm_adapters.features.bundle import BundleSource
make(BundleSource(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_every_process_gives_the_same_bytes(bundle_file, tmp_path):
    """Whatever the hash seed: nothing goes through the order of a set."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    for seed in ("0", "4242"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path}
        words = [sys.executable, "-c", SCRIPT, bundle_file, tmp_path / seed]
        subprocess.run(words, check=True, timeout=300, env=environment)
    first, second = kept(tmp_path / "0"), kept(tmp_path / "4242")
    assert first == second
    assert len(first) == 2 * len(PRESETS)
