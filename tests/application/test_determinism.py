"""The same seed gives the same bytes of everything that is kept, whoever makes the runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from vlm_adapters.config import load_methods
from vlm_adapters.experiments import Sweep, plan_jobs, run_jobs
from vlm_adapters.inputs import FeatureInputs
from vlm_adapters.results.report import write_run_report
from vlm_adapters.runs import ADAPTER, RESULT
from vlm_adapters.tuning import Plan, Search, tune, write_trials

PRESETS = ("zero_shot", "linear_probe", "tip_adapter", "clip_adapter", "hc_clip_adapter",
           "hc_tr", "hc_taf", "hc_tr_p1")  # fmt: skip
ROOTS = ("taskres", "clip_adapter", "tip_adapter_f", "hc_taf")
FAST = tuple(f"{preset}.training.{key}" for preset in ROOTS for key in ("epochs=2", "batch_size=6"))


def methods(presets=PRESETS):
    return load_methods(presets, overrides=[text for text in FAST if used(text, presets)])


def used(override, presets):
    """Whether some preset takes an override."""
    try:
        load_methods(presets, overrides=[override])
    except ValueError:
        return False
    return True


def kept(folder):
    """The bytes of all files below a folder; results without their wall time and command."""
    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        if file.name == RESULT:
            document = json.loads(content)
            assert document["run"].pop("seconds") > 0
            del document["command"]  # that of the process, which may have served other tests
            content = json.dumps(document).encode()
        found[str(file.relative_to(folder))] = content
    return found


def make(source, folder, seeds=(1,), **options):
    run_jobs(source, plan_jobs(methods(), [2], seeds, folder=folder, dataset="x"), **options)
    return kept(folder)


def test_the_same_seed_gives_the_same_bytes_in_any_number_of_processes(source, tmp_path):
    first = make(source, tmp_path / "a")
    assert len(first) == 2 * len(PRESETS)
    assert {Path(name).name for name in first} == {RESULT, ADAPTER}
    assert make(source, tmp_path / "b") == first
    assert make(source, tmp_path / "c", processes=2) == first


def test_another_seed_gives_another_run(source, tmp_path):
    found = make(source, tmp_path, seeds=(1, 2))
    trained = [name for name in found if "seed1" in name and name.endswith(ADAPTER)]
    differs = [found[name] != found[name.replace("seed1", "seed2")] for name in trained]
    assert sum(differs) == len(PRESETS) - 1  # zero-shot draws nothing


def test_what_ran_before_changes_nothing(source, tmp_path):
    first = make(source, tmp_path / "a")
    torch.rand(7)  # the global generator is nobody's
    run_jobs(source, plan_jobs(methods(), [1], [5]))
    torch.manual_seed(0)
    assert make(source, tmp_path / "b") == first


def test_two_threads_give_the_accuracies_of_one(source):
    def accuracies(threads):
        runs = run_jobs(source, plan_jobs(methods(), [2], [1]), threads=threads)
        return [run.accuracies for run in runs]

    assert accuracies(1) == accuracies(2)


def swept(bundle_file, out):
    """The files of a tiny sweep and of its report."""
    presets = ("zero_shot", "taskres", "hc_tr", "hc_taf")
    plan = Sweep(
        FeatureInputs(bundle=bundle_file), presets, (1, 2), (1, 2), out,
        overrides=tuple(text for text in FAST if used(text, presets)),
    )  # fmt: skip
    runs = run_jobs(plan.source(plan.inputs.opened()), plan.jobs())
    write_run_report(out, runs)
    return kept(out)


def test_a_sweep_and_its_report_repeat(bundle_file, tmp_path):
    first, second = (swept(bundle_file, tmp_path / name) for name in ("a", "b"))
    assert {"results.csv", "results.md"} <= first.keys()
    assert len(first) >= 2 * 16 + 4 + 2
    assert first.keys() == second.keys()
    different = [name for name in first if first[name] != second[name]]
    assert different == []


def test_a_search_repeats(source, tmp_path):
    plan = Plan("taskres", {"training.learning_rate": [1e-3, 1e-1]}, "hc_tr",
                {"training.learning_rate": [0.5]}, {"constraint.weight": [0.3]})  # fmt: skip
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
from vlm_adapters.sources import BundleSource
make(BundleSource(Path(sys.argv[1])), Path(sys.argv[2]))
"""


def test_every_process_gives_the_same_bytes(bundle_file, tmp_path):
    """Whatever the hash seed: nothing goes through the order of a set."""
    path = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    for seed in ("0", "4242"):
        subprocess.run(
            [sys.executable, "-c", SCRIPT, bundle_file, tmp_path / seed], check=True, timeout=300,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": path},
        )  # fmt: skip
    first, second = kept(tmp_path / "0"), kept(tmp_path / "4242")
    assert first == second
    assert len(first) == 2 * len(PRESETS)
